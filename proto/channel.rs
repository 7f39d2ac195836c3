//! What devices say on their channel, and what admins ask of it, parsed.

use std::time::Duration;

use crate::debug_log::Level;
use crate::device::{DeviceInfo, serial_number};
use crate::{Check, Invalid, Reason, SerialNumber, Text, Timestamp, VdomName, printable, v1};

/// How many characters of a debug line are kept.
pub const MAX_LINE: usize = 1_024;
/// How many characters the name of a component may have.
const MAX_COMPONENT: usize = 32;
/// How many components one wish for debug lines may name.
const MAX_COMPONENTS: usize = 16;
/// How long a device is asked for debug lines if the admin does not say, as in `FortiOS` (domain sheet, section 3.5).
const DEBUG_DURATION: Duration = Duration::from_mins(30);
/// How long a device may be asked for debug lines.
const MAX_DEBUG_DURATION: Duration = Duration::from_hours(24);

/// What a device can do on a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It syncs when it is told to.
    pub sync_now: bool,
    /// It sends the debug lines that it is asked for.
    pub debug: bool,
}

/// The first message of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The device.
    pub serial: SerialNumber,
    /// What it says of itself.
    pub info: DeviceInfo,
    /// Drawn anew at each of its starts.
    pub boot_id: Text,
    /// Its clock.
    pub device_time: Option<Timestamp>,
    /// The digest of what it would report.
    pub digest: Option<[u8; 32]>,
    /// What it can do.
    pub features: Features,
}

impl TryFrom<&v1::ChannelHello> for Hello {
    type Error = Invalid;

    fn try_from(wire: &v1::ChannelHello) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let serial = serial_number(&mut check, &wire.serial_number);
        let info = DeviceInfo::parse(&mut check, wire.info.as_ref());
        let boot_id = check.take("boot_id", Reason::TextMalformed, wire.boot_id.parse::<Text>()).unwrap_or_default();
        let device_time = wire
            .device_time
            .as_ref()
            .and_then(|time| check.take("device_time", Reason::FieldInvalid, Timestamp::try_from(time)));
        let digest = if wire.digest.is_empty() {
            None
        } else {
            let digest = wire.digest.as_slice().try_into().map_err(|_| "must be a SHA-256: 32 bytes");
            check.take("digest", Reason::FieldInvalid, digest)
        };
        let features = Features {
            sync_now: wire.features().any(|feature| feature == v1::ChannelFeature::SyncNow),
            debug: wire.features().any(|feature| feature == v1::ChannelFeature::Debug),
        };
        match serial {
            Some(serial) if check.is_clean() => Ok(Self { serial, info, boot_id, device_time, digest, features }),
            _ => Err(check.invalid()),
        }
    }
}

/// A line that a daemon of a device wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugLine {
    /// The daemon.
    pub component: String,
    /// The level.
    pub level: Level,
    /// When, by the clock of the device.
    pub device_time: Option<Timestamp>,
    /// What it says: safe for terminals, and not too long.
    pub text: String,
    /// The VDOM it is about.
    pub vdom: Option<VdomName>,
}

impl TryFrom<v1::ChannelDebugLine> for DebugLine {
    type Error = Invalid;

    fn try_from(wire: v1::ChannelDebugLine) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let component = check.take("component", Reason::FieldInvalid, component(&wire.component));
        let level = check.take("level", Reason::FieldInvalid, level(wire.level));
        let device_time = wire
            .device_time
            .as_ref()
            .and_then(|time| check.take("device_time", Reason::FieldInvalid, Timestamp::try_from(time)));
        let vdom =
            (!wire.vdom.is_empty()).then(|| check.take("vdom", Reason::VdomNameMalformed, wire.vdom.parse())).flatten();
        match (component, level) {
            (Some(component), Some(level)) if check.is_clean() => {
                Ok(Self { component, level, device_time, text: line(&wire.text), vdom })
            }
            _ => Err(check.invalid()),
        }
    }
}

/// A name such as "fnbamd".
fn component(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=MAX_COMPONENT).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 32 characters of a-z, 0-9, '-', '_' and '.', as in fnbamd")
    }
}

fn level(bit: u32) -> Result<Level, &'static str> {
    match bit {
        1 => Ok(Level::Error),
        2 => Ok(Level::Warning),
        4 => Ok(Level::Outcome),
        0 | 8 => Ok(Level::Detail),
        _ => Err("must be 1 (error), 2 (warning), 4 (outcome) or 8 (detail)"),
    }
}

/// The text of a line: its first characters, safe for terminals. The line break that every line of a daemon ends in is no part of it.
fn line(text: &str) -> String {
    let text = text.trim_end_matches(['\r', '\n']);
    match text.char_indices().nth(MAX_LINE) {
        None => printable(text),
        Some((end, _)) => printable(text.get(..end).unwrap_or_default()) + " ...",
    }
}

/// Which debug lines a device is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugWish {
    /// The components; empty means every one.
    pub components: Vec<String>,
    /// Levels as a bit mask; 0 means none.
    pub level_mask: u8,
    /// For how long.
    pub duration: Duration,
}

impl DebugWish {
    /// Reads the fields of `SetDeviceDebugRequest` besides the name.
    pub fn parse(check: &mut Check, wire: &v1::SetDeviceDebugRequest) -> Option<Self> {
        let mut components = Vec::new();
        if wire.components.len() > MAX_COMPONENTS {
            let description = format_args!("must name at most {MAX_COMPONENTS} components");
            check.refuse("components", Reason::FieldInvalid, description);
        } else {
            for (index, name) in wire.components.iter().enumerate() {
                components.extend(check.take(&format!("components[{index}]"), Reason::FieldInvalid, component(name)));
            }
        }
        let level_mask = wire.level_mask.unwrap_or(-1);
        if !(-1..=255).contains(&level_mask) {
            check.refuse("level_mask", Reason::FieldInvalid, "must be -1 (all) or a mask of 0 to 255");
        }
        let duration = match &wire.duration {
            None => Some(DEBUG_DURATION),
            Some(wire) => {
                let duration = Duration::try_from(*wire)
                    .ok()
                    .filter(|duration| (Duration::from_secs(1)..=MAX_DEBUG_DURATION).contains(duration))
                    .ok_or("must be 1 second to 24 hours");
                check.take("duration", Reason::FieldInvalid, duration)
            }
        };
        let level_mask = u8::try_from(level_mask & 0xff).unwrap_or(u8::MAX);
        duration.filter(|_| check.is_clean()).map(|duration| Self { components, level_mask, duration })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_of_a_hello_is_named_at_once() {
        let wire = v1::ChannelHello {
            serial_number: "short".to_owned(),
            boot_id: "\u{1b}c".to_owned(),
            device_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            digest: vec![1; 31],
            ..Default::default()
        };
        let invalid = Hello::try_from(&wire).unwrap_err();
        let fields: Vec<_> = invalid.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["serial_number", "boot_id", "device_time", "digest"]);
    }

    #[test]
    fn features_of_a_newer_device_are_ignored() {
        let features = vec![v1::ChannelFeature::SyncNow.into(), 99];
        let wire = v1::ChannelHello { serial_number: "FG101FTK19002788".to_owned(), features, ..Default::default() };
        assert_eq!(Hello::try_from(&wire).unwrap().features, Features { sync_now: true, debug: false });
    }

    #[test]
    fn a_debug_line_is_cut_and_made_safe_and_a_component_is_a_plain_name() {
        let wire = |component: &str, text: &str| v1::ChannelDebugLine {
            component: component.to_owned(),
            text: text.to_owned(),
            ..Default::default()
        };
        let parsed = DebugLine::try_from(wire("fnbamd", "\u{1b}[2J gone\r\n")).unwrap();
        assert_eq!((parsed.text.as_str(), parsed.level), ("\\u{1b}[2J gone", Level::Detail));
        let long = DebugLine::try_from(wire("httpsd", &"\u{e9}".repeat(5_000))).unwrap();
        assert_eq!(long.text.chars().count(), MAX_LINE + 4);
        for component in ["", "FNBAMD", "a b", "\u{1b}", &"x".repeat(33)] {
            DebugLine::try_from(wire(component, "")).unwrap_err();
        }
    }

    #[test]
    fn debug_is_asked_for_half_an_hour_unless_the_admin_says_otherwise() {
        let parse = |wire: &v1::SetDeviceDebugRequest| DebugWish::parse(&mut Check::default(), wire);
        let wish = parse(&v1::SetDeviceDebugRequest::default()).unwrap();
        assert_eq!((wish.level_mask, wish.duration), (255, Duration::from_mins(30)));
        let off = v1::SetDeviceDebugRequest { level_mask: Some(0), ..Default::default() };
        assert_eq!(parse(&off).unwrap().level_mask, 0);
        let duration = Some(prost_types::Duration { seconds: 86_401, nanos: 0 });
        assert_eq!(parse(&v1::SetDeviceDebugRequest { duration, ..Default::default() }), None);
    }
}
