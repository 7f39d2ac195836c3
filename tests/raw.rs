//! Calls by path with any bytes as their message: what no generated client would send.

use std::str::FromStr as _;

use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Response, Status};

use crate::{Caller, within};

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
