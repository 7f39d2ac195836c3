//! Events, encoded.
//!
//! By hand, because the generated message would have every text copied first: that takes twice as long, and the first viewer
//! of every event pays for it.

use std::fmt::{Display, Write as _};

use data_encoding::HEXLOWER;
use muster_proto::encoded::EncodedResponse;
use muster_proto::{Cursor, SerialNumber, VdomName};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, message};
use prost_types::Timestamp;
use tonic::Code;

use super::event::DebugEvent;

/// The tag of an event in `StreamDebugLogsResponse`; those of its fields stand where they are written.
const EVENT: u32 = 2;
/// The most bytes that an encoded event has besides its texts of any length: ids, times, tags and lengths.
pub(super) const FIXED: usize = 192;
/// The same of the name of a Web app.
pub(super) const WEB_APP: usize = 32;
/// The same of a change.
pub(super) const CHANGE_FIXED: usize = 16;

/// Encodes the response that carries this event.
pub(super) fn event(event: &DebugEvent, cursor: Cursor) -> EncodedResponse {
    let mut fields = Fields::default();
    fields.display(1, cursor);
    message::encode(2, &Timestamp::from(event.time), &mut fields.bytes);
    if let Some(time) = event.device_time {
        message::encode(3, &Timestamp::from(time), &mut fields.bytes);
    }
    fields.display(4, HEXLOWER.encode_display(&event.operation.to_bytes()));
    fields.text(5, event.serial.as_ref().map_or("", SerialNumber::as_str));
    fields.text(6, event.vdom.as_ref().map_or("", VdomName::as_str));
    fields.text(7, event.realm.as_deref().unwrap_or_default());
    fields.text(8, &event.component);
    fields.number(9, event.level as u64);
    fields.text(10, event.step);
    fields.text(11, &event.message);
    fields.text(12, event.reason.map_or("", |reason| reason.as_str()));
    for change in &event.changes {
        let texts = [(1, change.field), (2, &change.before), (3, &change.after)];
        encode_key(13, WireType::LengthDelimited, &mut fields.bytes);
        encode_varint(texts.iter().map(|(_, text)| text_len(text)).sum::<usize>() as u64, &mut fields.bytes);
        for (tag, text) in texts {
            fields.text(tag, text);
        }
    }
    fields.text(14, event.caller.as_deref().unwrap_or_default());
    if let Some(code) = event.terminal {
        fields.number(15, 1);
        fields.text(16, code_name(code));
    }
    if let Some(web_app) = event.web_app {
        fields.display(17, format_args!("webApps/{}", web_app.0));
    }
    fields.within(EVENT)
}

/// The fields of a message, encoded one behind the other.
struct Fields {
    bytes: Vec<u8>,
    scratch: String,
}

impl Default for Fields {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(512), scratch: String::with_capacity(40) }
    }
}

impl Fields {
    fn text(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            encode_key(tag, WireType::LengthDelimited, &mut self.bytes);
            encode_varint(text.len() as u64, &mut self.bytes);
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    fn display(&mut self, tag: u32, value: impl Display) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        // Writing to a string cannot fail.
        let _ = write!(text, "{value}");
        self.text(tag, &text);
        self.scratch = text;
    }

    fn number(&mut self, tag: u32, number: u64) {
        encode_key(tag, WireType::Varint, &mut self.bytes);
        encode_varint(number, &mut self.bytes);
    }

    /// The response whose only field is the message of these fields.
    fn within(self, tag: u32) -> EncodedResponse {
        let length = self.bytes.len();
        let mut response = Vec::with_capacity(key_len(tag) + encoded_len_varint(length as u64) + length);
        encode_key(tag, WireType::LengthDelimited, &mut response);
        encode_varint(length as u64, &mut response);
        response.extend_from_slice(&self.bytes);
        EncodedResponse::from_bytes(response.into())
    }
}

/// How many bytes a text takes as a field with a tag below 16.
fn text_len(text: &str) -> usize {
    if text.is_empty() { 0 } else { 1 + encoded_len_varint(text.len() as u64) + text.len() }
}

/// The name of a gRPC code, as its specification writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
