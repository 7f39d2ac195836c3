//! Calls by path with any bytes as their message: what no generated client would send.

use std::str::FromStr as _;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Response, Status};

use super::subject::Caller;

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

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
