//! Calls by path with any bytes as their message: what no generated client would send.

use std::str::FromStr as _;

use muster_proto::raw::RawCodec;
use prost::bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Response, Status};

use crate::{Caller, within};

impl Caller {
    /// Sends one message to a method such as "muster.v1.DeviceService/Sync"; the answer is the first message that comes back.
    pub async fn raw(&self, method: &str, message: impl Into<Bytes>) -> Result<Response<Bytes>, Status> {
        let path = PathAndQuery::from_str(&format!("/{method}")).unwrap();
        let mut grpc = Grpc::new(self.connection());
        grpc.ready().await.unwrap();
        let answer = within(grpc.server_streaming(Request::new(message.into()), path, RawCodec)).await?;
        let first = within(answer.into_inner().message()).await?;
        first.map(Response::new).ok_or_else(|| Status::unknown("a stream without a message"))
    }
}
