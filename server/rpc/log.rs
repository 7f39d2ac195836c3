//! The one log line of each operation.

use std::time::Duration;

use muster_proto::SerialNumber;
use tonic::Code;
use tracing::{info, warn};

use crate::writer::Operation;

/// Writes the line. It holds no secret: callers are named by serial number, relay or token name.
pub(super) fn operation(operation: &Operation, serial: Option<SerialNumber>, code: Code, reason: &str, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let serial = serial.as_ref().map_or("", SerialNumber::as_str);
    let (id, caller, method) = (&operation.id, &*operation.caller, operation.method);
    if matches!(code, Code::Internal | Code::Unavailable | Code::Unknown) {
        warn!(operation = %id, caller, method, serial, ?code, reason, micros, "operation");
    } else {
        info!(operation = %id, caller, method, serial, ?code, reason, micros, "operation");
    }
}
