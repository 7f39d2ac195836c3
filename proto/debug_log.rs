//! The request of the debug feed, parsed.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::{Check, Cursor, Invalid, Pattern, Reason, Timestamp, v1};

/// The level of a debug event: one bit, so that the masks of FortiOS select it (domain sheet, section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// A call failed.
    Error = 1,
    /// A call, or an item of it, was refused or needs attention.
    Warning = 2,
    /// How a call, or an item of it, ended.
    Outcome = 4,
    /// How it came to that.
    Detail = 8,
}

/// Where a stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is recorded from now on.
    Now,
    /// With the last so many events that pass the filters.
    Tail(u32),
    /// With the first event at or after this time.
    Since(Timestamp),
    /// Behind this position.
    Cursor(Cursor),
    /// With the earliest event that is still held.
    Earliest,
}

/// Events that have all of the given properties; at least one is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The serial number.
    pub serial: Option<Pattern>,
    /// The VDOM.
    pub vdom: Option<Pattern>,
    /// The realm.
    pub realm: Option<Pattern>,
    /// The component.
    pub component: Option<String>,
    /// Levels as a bit mask; `None` means all.
    pub level_mask: Option<u8>,
    /// The operation id.
    pub operation: Option<String>,
    /// Text that occurs in the message, in lower case.
    pub text: Option<String>,
}

/// `DebugLogService.StreamDebugLogs`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRequest {
    /// Where to start.
    pub start: Start,
    /// Whether to go on with new events.
    pub follow: bool,
    /// End before the first event after this time.
    pub until: Option<Timestamp>,
    /// End after so many events.
    pub limit: Option<NonZeroU64>,
    /// Show events that match any of these; empty means all.
    pub include: Vec<Filter>,
    /// Of those, leave out events that match any of these.
    pub exclude: Vec<Filter>,
    /// How often to say that the stream is alive while nothing else is sent.
    pub heartbeat: Duration,
}

/// How often a heartbeat is sent if the viewer does not choose, and at the least.
pub const HEARTBEAT: Duration = Duration::from_secs(25);
/// How many filters of each kind one request may have.
const MAX_FILTERS: usize = 64;
/// How many characters one property of a filter may have.
const MAX_PROPERTY: usize = 256;

fn text(check: &mut Check, field: &str, property: &str, text: &str) -> Option<String> {
    if text.chars().nth(MAX_PROPERTY).is_some() {
        let description = format_args!("must have at most {MAX_PROPERTY} characters");
        check.refuse(format!("{field}.{property}"), Reason::FieldInvalid, description);
    }
    (!text.is_empty()).then(|| text.to_owned())
}

impl Filter {
    fn parse(check: &mut Check, field: &str, wire: &v1::DebugFilter) -> Self {
        let filter = Self {
            serial: text(check, field, "serial_number", &wire.serial_number)
                .map(|serial| Pattern::new(&serial.to_ascii_uppercase())),
            vdom: text(check, field, "vdom", &wire.vdom).map(|vdom| Pattern::new(&vdom)),
            realm: text(check, field, "realm", &wire.realm).map(|realm| Pattern::new(&realm)),
            component: text(check, field, "component", &wire.component),
            level_mask: wire.level_mask.map(|mask| (mask & 0xff).try_into().unwrap_or(u8::MAX)),
            operation: text(check, field, "operation_id", &wire.operation_id),
            text: text(check, field, "text", &wire.text).map(|text| text.to_lowercase()),
        };
        if wire.level_mask.is_some_and(|mask| !(-1..=255).contains(&mask)) {
            check.refuse(format!("{field}.level_mask"), Reason::FieldInvalid, "must be -1 (all) or a mask of 0 to 255");
        }
        if filter == Self::default() {
            check.refuse(
                field,
                Reason::FieldInvalid,
                "must name at least one property; leave it out to match everything",
            );
        }
        filter
    }

    fn parse_all(check: &mut Check, field: &str, wire: &[v1::DebugFilter]) -> Vec<Self> {
        if wire.len() > MAX_FILTERS {
            check.refuse(field, Reason::FieldInvalid, format_args!("must have at most {MAX_FILTERS} filters"));
            return Vec::new();
        }
        wire.iter()
            .enumerate()
            .map(|(index, filter)| Self::parse(check, &format!("{field}[{index}]"), filter))
            .collect()
    }
}

impl From<&Filter> for v1::DebugFilter {
    fn from(filter: &Filter) -> Self {
        let pattern = |pattern: &Option<Pattern>| pattern.as_ref().map(ToString::to_string).unwrap_or_default();
        Self {
            serial_number: pattern(&filter.serial),
            vdom: pattern(&filter.vdom),
            realm: pattern(&filter.realm),
            component: filter.component.clone().unwrap_or_default(),
            level_mask: filter.level_mask.map(i32::from),
            operation_id: filter.operation.clone().unwrap_or_default(),
            text: filter.text.clone().unwrap_or_default(),
        }
    }
}

/// Refuses two fields that cannot both be given.
fn conflict(check: &mut Check, first: &str, second: &str) {
    check.refuse(second, Reason::FieldsConflict, format_args!("conflicts with {first}: give only one of them"));
}

fn time(check: &mut Check, field: &str, wire: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    wire.and_then(|time| check.take(field, Reason::FieldInvalid, Timestamp::try_from(time)))
}

fn start(check: &mut Check, wire: &v1::StreamDebugLogsRequest) -> Start {
    let given = [
        ("tail", wire.tail.is_some()),
        ("since", wire.since.is_some()),
        ("cursor", !wire.cursor.is_empty()),
        ("earliest", wire.earliest),
    ];
    let mut given = given.into_iter().filter_map(|(field, given)| given.then_some(field));
    if let Some(first) = given.next() {
        given.for_each(|field| conflict(check, first, field));
    }
    if let Some(count) = wire.tail {
        return Start::Tail(count);
    }
    if let Some(since) = time(check, "since", wire.since.as_ref()) {
        return Start::Since(since);
    }
    if !wire.cursor.is_empty()
        && let Some(cursor) = check.take("cursor", Reason::CursorMalformed, wire.cursor.parse())
    {
        return Start::Cursor(cursor);
    }
    if wire.earliest || !wire.follow { Start::Earliest } else { Start::Now }
}

impl TryFrom<&v1::StreamDebugLogsRequest> for FeedRequest {
    type Error = Invalid;

    fn try_from(wire: &v1::StreamDebugLogsRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let start = start(&mut check, wire);
        let until = time(&mut check, "until", wire.until.as_ref());
        if let (Start::Since(since), Some(until)) = (start, until)
            && until < since
        {
            check.refuse("until", Reason::FieldsConflict, "conflicts with since: it must not be earlier");
        }
        let heartbeat = match &wire.heartbeat_interval {
            None => HEARTBEAT,
            Some(_) if !wire.follow => {
                let description = "conflicts with follow = false: a stream that ends when caught up has no heartbeat";
                check.refuse("heartbeat_interval", Reason::FieldsConflict, description);
                HEARTBEAT
            }
            Some(interval) => Duration::try_from(*interval)
                .ok()
                .filter(|interval| (Duration::from_secs(1)..=HEARTBEAT).contains(interval))
                .unwrap_or_else(|| {
                    check.refuse("heartbeat_interval", Reason::FieldInvalid, "must be 1 to 25 seconds");
                    HEARTBEAT
                }),
        };
        let include = Filter::parse_all(&mut check, "include", &wire.include);
        let exclude = Filter::parse_all(&mut check, "exclude", &wire.exclude);
        if !check.is_clean() {
            return Err(check.invalid());
        }
        let limit = NonZeroU64::new(wire.limit);
        Ok(Self { start, follow: wire.follow, until, limit, include, exclude, heartbeat })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicting_fields_are_named() {
        let wire = v1::StreamDebugLogsRequest {
            tail: Some(5),
            cursor: Cursor { epoch: 1, position: 2 }.to_string(),
            earliest: true,
            heartbeat_interval: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
            ..Default::default()
        };
        let text = FeedRequest::try_from(&wire).unwrap_err().to_string();
        assert!(text.contains("cursor conflicts with tail"), "{text}");
        assert!(text.contains("earliest conflicts with tail"), "{text}");
        assert!(text.contains("heartbeat_interval conflicts with follow = false"), "{text}");
    }

    #[test]
    fn the_masks_of_fortios_are_understood() {
        for (mask, parsed) in [(-1, 255), (255, 255), (0, 0), (7, 7)] {
            let filter = v1::DebugFilter { level_mask: Some(mask), ..Default::default() };
            let wire = v1::StreamDebugLogsRequest { include: vec![filter], ..Default::default() };
            assert_eq!(FeedRequest::try_from(&wire).unwrap().include[0].level_mask, Some(parsed));
        }
    }

    #[test]
    fn a_request_without_start_begins_now_if_it_follows_and_with_the_earliest_if_not() {
        let start = |follow| {
            let wire = v1::StreamDebugLogsRequest { follow, ..Default::default() };
            FeedRequest::try_from(&wire).unwrap().start
        };
        assert_eq!(start(true), Start::Now);
        assert_eq!(start(false), Start::Earliest);
    }
}
