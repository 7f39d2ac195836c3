//! The server side of `DebugLogService` with responses that are encoded already, so that an event costs one encoding however many
//! viewers it has.

use bytes::{Buf, BufMut, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType};

#[allow(clippy::all, clippy::pedantic, clippy::allow_attributes, missing_debug_implementations, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/encoded/muster.v1.rs"));
}
pub use generated::debug_log_service_server;

/// The encoded bytes of one `StreamDebugLogsResponse`. Cloning it shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedResponse(Bytes);

impl EncodedResponse {
    /// Encodes a response, once.
    #[must_use]
    pub fn new(response: &crate::v1::StreamDebugLogsResponse) -> Self {
        Self(prost::Message::encode_to_vec(response).into())
    }

    /// A response that is encoded already: the bytes must be those of one `StreamDebugLogsResponse`.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl prost::Message for EncodedResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        // A server never decodes what it sends; skipping keeps the trait's contract.
        prost::encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
