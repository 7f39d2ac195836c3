//! Calls by path with any bytes as their message: what no generated client would send.

use std::str::FromStr as _;

use bytes::Bytes;
use muster_proto::raw::RawCodec;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Response, Status};

use super::subject::Caller;

impl Caller {
    /// Sends one message to a method such as "muster.v1.DeviceService/Sync".
    pub(super) async fn raw(&self, method: &str, message: Vec<u8>) -> Result<Response<Bytes>, Status> {
        let path =
            PathAndQuery::from_str(&format!("/{method}")).map_err(|error| Status::internal(error.to_string()))?;
        let mut grpc = Grpc::new(self.connection.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        grpc.unary(Request::new(message.into()), path, RawCodec).await
    }
}
