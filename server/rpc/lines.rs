//! The debug lines of one device: how many it may send, and how the rest is counted.

use std::time::Duration;

use muster_proto::channel::DebugLine;
use muster_proto::debug_log::Level;
use muster_proto::{Reason, SerialNumber, Timestamp, v1};
use tokio::time::Instant;

use crate::feed::DebugEvent;
use crate::writer::Operation;

/// How many lines a second one device may send.
const RATE: f64 = 100.0;
/// How many it may send at once.
const BURST: f64 = 1_000.0;
/// How often at most it is said that lines were lost.
const SAY: Duration = Duration::from_secs(1);

/// So many things a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self { rate, burst, tokens: burst, filled: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let filled = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + filled).min(self.burst);
        self.filled = now;
        let one = self.tokens >= 1.0;
        if one {
            self.tokens -= 1.0;
        }
        one
    }
}

/// The lines of one device.
#[derive(Debug)]
pub(super) struct Lines {
    bucket: Bucket,
    lost: Lost,
    /// When it was last said that lines were lost.
    said: Option<Instant>,
}

/// Lines that are in no event of their own.
#[derive(Debug, Default)]
struct Lost {
    /// More than the device may send.
    excess: u64,
    /// More than the device could keep.
    by_device: u64,
    malformed: u64,
    /// What is wrong with the first malformed one.
    detail: String,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        Self { bucket: Bucket::new(RATE, BURST, now), lost: Lost::default(), said: None }
    }

    /// Turns lines into debug events.
    pub(super) fn take(
        &mut self,
        lines: v1::ChannelDebugLines,
        serial: SerialNumber,
        operation: &Operation,
        (now, at): (Instant, Timestamp),
    ) -> Vec<DebugEvent> {
        self.lost.by_device = self.lost.by_device.saturating_add(lines.lost);
        let mut events = Vec::with_capacity(lines.lines.len().min(64));
        for line in lines.lines {
            if !self.bucket.take(now) {
                self.lost.excess += 1;
                continue;
            }
            match DebugLine::try_from(line) {
                Ok(line) => {
                    // What is lost is said where it was lost, and not too often.
                    if self.said.is_none_or(|said| now - said >= SAY) {
                        events.extend(self.flush(serial, operation, (now, at)));
                    }
                    events.push(event(line, serial, operation, at));
                }
                Err(invalid) => {
                    if self.lost.malformed == 0 {
                        self.lost.detail = invalid.to_string();
                    }
                    self.lost.malformed += 1;
                }
            }
        }
        events
    }

    /// The event that says how many lines were lost, if any were.
    pub(super) fn flush(
        &mut self,
        serial: SerialNumber,
        operation: &Operation,
        (now, at): (Instant, Timestamp),
    ) -> Option<DebugEvent> {
        let Lost { excess, by_device, malformed, detail } = std::mem::take(&mut self.lost);
        let total = excess.saturating_add(by_device).saturating_add(malformed);
        if total == 0 {
            return None;
        }
        self.said = Some(now);
        let causes = [
            (excess > 0).then(|| format!("{excess} above {RATE} a second")),
            (by_device > 0).then(|| format!("{by_device} by the device itself")),
            (malformed > 0).then(|| format!("{malformed} malformed: {detail}")),
        ];
        let causes: Vec<String> = causes.into_iter().flatten().collect();
        let fix = Reason::DebugLinesLost.fix();
        let message = format!("{total} lines lost ({}); {fix}", causes.join(", "));
        let mut event = DebugEvent::new(at, operation.id, Level::Warning, "line", message);
        event.serial = Some(serial);
        event.reason = Some(Reason::DebugLinesLost);
        event.caller = Some(operation.caller.clone());
        Some(event)
    }
}

fn event(line: DebugLine, serial: SerialNumber, operation: &Operation, at: Timestamp) -> DebugEvent {
    let DebugLine { component, level, device_time, text, vdom } = line;
    let mut event = DebugEvent::new(at, operation.id, level, "line", text);
    event.device_time = device_time;
    event.serial = Some(serial);
    event.vdom = vdom;
    event.component = component.into();
    event.caller = Some(operation.caller.clone());
    event
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::operation::OperationId;

    fn lines(count: usize, lost: u64) -> v1::ChannelDebugLines {
        let line = v1::ChannelDebugLine { component: "fnbamd".to_owned(), text: "x".to_owned(), ..Default::default() };
        v1::ChannelDebugLines { lines: vec![line; count], lost }
    }

    fn operation() -> Operation {
        let at = Timestamp::from_micros(7);
        Operation {
            id: OperationId::new(at, 1),
            at,
            method: "Channel",
            caller: Arc::from("device:X"),
            proof: None,
            reach: crate::registry::Reach::Everything,
            address: None,
            web_app: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_and_the_excess_is_counted_in_one_event() {
        let (serial, operation, at) = ("FG101FTK19002788".parse().unwrap(), operation(), Timestamp::from_micros(7));
        let mut kept = Lines::new(Instant::now());
        let events = kept.take(lines(5_000, 3), serial, &operation, (Instant::now(), at));
        // That of the device's own loss stands before the lines that came after it.
        assert_eq!(events.len(), 1_001);
        assert!(events[0].message.starts_with("3 lines lost"), "{}", events[0].message);
        let event = kept.flush(serial, &operation, (Instant::now(), at)).unwrap();
        assert!(event.message.starts_with("4000 lines lost (4000 above 100 a second)"), "{}", event.message);
        assert_eq!(kept.flush(serial, &operation, (Instant::now(), at)), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(kept.take(lines(500, 0), serial, &operation, (Instant::now(), at)).len(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn malformed_lines_are_lost_and_what_is_wrong_is_said() {
        let (serial, operation, at) = ("FG101FTK19002788".parse().unwrap(), operation(), Timestamp::from_micros(7));
        let mut kept = Lines::new(Instant::now());
        let mut wire = lines(3, 0);
        wire.lines[1].component = "\u{1b}".to_owned();
        let events = kept.take(wire, serial, &operation, (Instant::now(), at));
        let messages: Vec<_> = events.iter().map(|event| event.message.split(' ').next().unwrap()).collect();
        assert_eq!(messages, ["x", "1", "x"]);
        assert!(events[1].message.contains("1 malformed: component must be"), "{}", events[1].message);
    }
}
