//! Sessions as they read at a terminal: what is typed, what is answered, and what the session wants done outside.

mod configuring;
mod service;

use std::collections::BTreeSet;

use muster_proto::device::DeviceInfo;
use time::{Duration, OffsetDateTime};

use crate::conf::configuration::Configuration;
use crate::conf::words;
use crate::device::Device;
use crate::shell::commands::COMMANDS;
use crate::shell::effect::{Effect, Moment};
use crate::shell::grammar::{self, TokenKind};
use crate::shell::session::Session;

pub(super) const START: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

/// A box without VDOMs.
pub(super) fn single() -> Device {
    let info = DeviceInfo {
        model: "FortiGate-101F".parse().unwrap(),
        hostname: "branch".parse().unwrap(),
        firmware: "v7.4.8,build2795".parse().unwrap(),
    };
    Device::new("FG101FTK19002788".parse().unwrap(), info, "https://ftc.example".parse().unwrap())
}

/// A box with the VDOMs `root` and `dmz`.
pub(super) fn multi() -> Device {
    let mut device = single();
    device.add_vdom("dmz".parse().unwrap()).unwrap();
    device
}

/// What a terminal would show of these lines, a minute apart. What is wanted done stands behind an arrow.
pub(super) fn transcript(device: &mut Device, lines: &[&str]) -> String {
    let (mut session, mut shown) = (Session::default(), String::new());
    for (minute, line) in lines.iter().enumerate() {
        let now = START + Duration::minutes(i64::try_from(minute).unwrap());
        let prompt = session.prompt(device);
        shown.push_str(format!("{prompt}{line}").trim_end());
        shown.push('\n');
        let step = session.step(line, device, &Moment { now, salt: 1 });
        shown.push_str(&step.filter.map_or(step.output.clone(), |filter| filter.apply(&step.output)));
        for effect in &step.effects {
            let effect = match effect {
                Effect::Backup(file, text) => format!("Backup({file:?}, {} lines)", text.lines().count()),
                effect => format!("{effect:?}"),
            };
            shown = format!("{shown}-> {effect}\n");
        }
    }
    shown.push_str(session.prompt(device).trim_end());
    shown
}

/// Every command of the table is in one of the sessions above, and so in a snapshot.
#[test]
fn every_command_is_in_a_session() {
    let typed = [include_str!("configuring.rs"), include_str!("service.rs")];
    let lines: BTreeSet<Vec<String>> = typed
        .iter()
        .flat_map(|text| text.split('"'))
        .filter_map(|line| words::words(line).ok())
        .map(|words| words.into_iter().map(|word| word.text).collect())
        .collect();
    for usage in COMMANDS {
        let tokens = grammar::tokens(usage.line);
        let is_it = |line: &Vec<String>| {
            let fits = tokens.iter().zip(line).all(|(token, word)| match &token.kind {
                TokenKind::Words(words) => words.contains(word),
                TokenKind::Argument { .. } => true,
            });
            fits && line.len() >= tokens.iter().take_while(|token| !token.optional).count()
        };
        assert!(lines.iter().any(is_it), "no session has {:?}", usage.line);
    }
}
