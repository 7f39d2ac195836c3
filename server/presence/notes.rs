//! What channels leave in the debug feed besides the terminal event of each.

use muster_proto::debug_log::Level;
use muster_proto::{Reason, SerialNumber, Timestamp};
use rand::RngExt as _;
use tonic::Code;

use crate::feed::DebugEvent;
use crate::operation::OperationId;
use crate::writer::Operation;

/// What was being done.
pub(super) const STEP: &str = "channel";

/// A device opened a channel.
pub(super) fn opened(
    operation: &Operation,
    serial: SerialNumber,
    generation: u64,
    came_online: bool,
    now: Timestamp,
) -> DebugEvent {
    let what = if came_online { "online" } else { "back" };
    let message = format!("{what}: channel {generation} is open");
    of(operation, serial, Level::Outcome, message, now)
}

/// The clock of a device is off, or is right again.
pub(super) fn skew(operation: &Operation, serial: SerialNumber, skew: i64, is_off: bool, now: Timestamp) -> DebugEvent {
    if !is_off {
        return of(operation, serial, Level::Outcome, "the clock of the device is right again".to_owned(), now);
    }
    let (seconds, millis) = (skew.unsigned_abs() / 1_000_000, skew.unsigned_abs() / 1_000 % 1_000);
    let direction = if skew < 0 { "behind" } else { "ahead" };
    let message =
        format!("the clock of the device is {seconds}.{millis:03} s {direction}; {}", Reason::ClockSkewed.fix());
    let mut event = of(operation, serial, Level::Warning, message, now);
    event.reason = Some(Reason::ClockSkewed);
    event
}

/// A device is offline. Its channel has had its last event, so this one is an operation of its own.
pub(super) fn offline(serial: SerialNumber, generation: u64, message: &str, now: Timestamp) -> DebugEvent {
    let operation = OperationId::new(now, rand::rng().random());
    let mut event = DebugEvent::new(now, operation, Level::Warning, STEP, format!("{message}; channel {generation}"));
    event.serial = Some(serial);
    event.terminal = Some(Code::Ok);
    event
}

fn of(operation: &Operation, serial: SerialNumber, level: Level, message: String, now: Timestamp) -> DebugEvent {
    let mut event = DebugEvent::new(now, operation.id, level, STEP, message);
    event.serial = Some(serial);
    event.caller = Some(operation.caller.clone());
    event
}
