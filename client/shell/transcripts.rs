//! Sessions as they read at a terminal: what is typed, what is answered, and what the session wants done outside.

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

#[test]
fn vdoms_are_made_entered_and_deleted() {
    let shown = transcript(
        &mut multi(),
        &[
            "config vdom",
            "edit lab",
            "end",
            "config vdom",
            "edit root",
            "next",
            "delete lab",
            "delete lab",
            "delete root",
            "delete nowhere",
            "edit bad/name",
            "edit a-name-too-long",
            "show",
            "get",
            "end",
            "config global",
            "config system global",
            "set long-vdom-name enable",
            "end",
            "end",
            "config vdom",
            "edit a-name-too-long",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn a_vdom_that_others_name_is_not_deleted() {
    let mut device = multi();
    let admins =
        ["config global", "config system admin", "edit helper", "set vdom dmz nowhere", "set vdom dmz", "end", "end"];
    let shown = transcript(&mut device, &[&admins[..], &["config vdom", "delete dmz"]].concat());
    insta::assert_snapshot!(shown);
}

#[test]
fn users_are_made_changed_shown_and_deleted() {
    let shown = transcript(
        &mut multi(),
        &[
            "config vdom",
            "edit dmz",
            "config user local",
            "edit alice",
            "set type password",
            "set two-factor fortitoken-cloud",
            "set email-to alice@example.com",
            "set passwd secret",
            "show",
            "next",
            "get",
            "edit alice",
            "get",
            "set sms-phone +14080123456",
            "abort",
            "config user local",
            "edit alice",
            "unset two-factor",
            "next",
            "edit alice",
            "set two-factor fortitoken-cloud",
            "next",
            "delete alice",
            "delete alice",
            "edit \"Bob B\"",
            "set two-factor fortitoken-cloud",
            "end",
            "show user local",
            "show user local Bob",
            "show user local \"Bob B\"",
            "get user local",
            "config user local",
            "purge",
            "n",
            "purge",
            "y",
            "show",
            "end",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn administrators_are_users_of_a_pseudo_vdom() {
    let lines = [
        "config system admin",
        "config global",
        "config system admin",
        "edit admin",
        "set two-factor fortitoken-cloud",
        "set email-to a@example.com",
        "set two-factor-authentication sms",
        "set two-factor-notification email",
        "next",
        "end",
        "show system admin",
    ];
    insta::assert_snapshot!(transcript(&mut multi(), &lines));
}

#[test]
fn what_a_setting_does_not_take_is_refused() {
    let shown = transcript(
        &mut single(),
        &[
            "config user local",
            "edit alice",
            "set nonsense 1",
            "set two-factor sometimes",
            "set authtimeout 99999",
            "set authtimeout x",
            "set ldap-server nowhere",
            "set type ldap",
            "next",
            "set email-to",
            "set email-to \"two words\" more",
            "unset",
            "set status dis",
            "set email-to \u{1b}[2J",
            "end",
            "edit",
            "config user local",
            "edit \u{7}",
            "set",
            "end",
            "end",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn a_directory_that_a_user_needs_is_not_deleted() {
    let shown = transcript(
        &mut single(),
        &[
            "config user ldap",
            "edit corp",
            "set server ldap.example",
            "set cnid sAMAccountName",
            "set dn \"dc=corp,dc=example\"",
            "set two-factor fortitoken-cloud",
            "set two-factor-filter \"(memberOf=cn=vpn)\"",
            "end",
            "config user local",
            "edit bob",
            "set type ldap",
            "set ldap-server corp",
            "end",
            "config user ldap",
            "delete corp",
            "show full-configuration",
            "get",
            "end",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn vdoms_are_switched_on_and_off() {
    let shown = transcript(
        &mut single(),
        &[
            "config system global",
            "set hostname hq",
            "set vdom-mode multi-vdom",
            "end",
            "n",
            "get system status",
            "config system global",
            "set vdom-mode multi",
            "end",
            "y",
            "execute fortitoken-cloud update",
            "config user local",
            "config vdom",
            "edit x",
            "end",
            "config global",
            "config system global",
            "set vdom-mode no-vdom",
            "end",
            "end",
            "config vdom",
            "delete x",
            "end",
            "config global",
            "conf sys glo",
            "unset vdom-mode",
            "end",
            "y",
            "show",
            "get system global",
            "config system ha",
            "set mode a-p",
            "set hbdev port3 50 port4 50",
            "set password ENC abc=",
            "show",
            "end",
            "show system ha",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn the_recipe_of_the_guide_is_understood_with_its_typographic_dash() {
    let shown = transcript(
        &mut multi(),
        &[
            "config global",
            "diag fortitoken-cloud debug enable",
            "diagnose debug console timestamp enable",
            "diag debug appl fnbamd \u{2013}1",
            "diag debug application httpsd 255",
            "diag debug enable",
            "diagnose debug info",
            "diagnose debug application sslvpn \u{2013}1",
            "diagnose debug application sslvpn",
            "diagnose debug application sslvpn 0",
            "diagnose debug application sslvpn 256",
            "diagnose debug application s/s 1",
            "diagnose fortitoken-cloud debug info",
            "diagnose debug duration",
            "diagnose debug duration 0",
            "diag debug appl fnbamd -1",
            "diagnose debug duration 100000",
            "diagnose debug duration 5",
            "diagnose debug disable",
            "diagnose debug reset",
            "diagnose fortitoken-cloud debug disable",
            "diagnose debug info",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn the_commands_of_the_service_are_understood() {
    let shown = transcript(
        &mut multi(),
        &[
            "execute fortitoken-cloud update",
            "execute date",
            "execute time",
            "config global",
            "execute fortitoken-cloud update",
            "execute fortitoken-cloud update dry-run",
            "execute fortitoken-cloud update confirm",
            "execute fortitoken-cloud sync",
            "execute fortitoken-cloud sync all",
            "execute fortitoken-cloud sync local",
            "execute fortitoken-cloud sync remote",
            "execute fortitoken-cloud sync all dry-run",
            "execute fortitoken-cloud sync local confirm",
            "execute fortitoken-cloud show",
            "execute fortitoken-cloud new alice local dmz",
            "execute fortitoken-cloud trial",
            "execute fortitoken-cloud region-info",
            "execute fortitoken-cloud region-reset",
            "execute fortitoken-cloud migrate-ftm EFTM123456789012 root",
            "diagnose fortitoken-cloud show server",
            "diagnose fortitoken-cloud show service",
            "diagnose fortitoken-cloud show realm",
            "diagnose fortitoken-cloud show users",
            "diagnose fortitoken-cloud show user alice dmz",
            "diagnose fortitoken-cloud server",
            "diagnose fortitoken-cloud server 10.0.0.1 9443",
            "diagnose fortitoken-cloud server",
            "diagnose fortitoken-cloud server a/b 1",
            "diagnose fortitoken-cloud clear",
            "diagnose fortitoken-cloud server",
            "diagnose fortitoken-cloud delete alice dmz",
            "diagnose fortitoken-cloud delete alice a/b",
            "diagnose fortitoken-cloud sync",
            "diagnose fortitoken-cloud set-http 402",
            "diagnose fortitoken-cloud set-http 9999",
            "diagnose fortitoken-cloud migrate-ftm show EFTM123456789012",
            "config system global",
            "set fortitoken-cloud disable",
            "end",
            "execute fortitoken-cloud update",
            "end",
            "config vdom",
            "edit quiet",
            "end",
            "config global",
            "execute backup config box.conf",
            "execute restore config box.conf",
            "n",
            "execute restore config box.conf",
            "y",
            "exit",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn a_command_can_be_run_elsewhere() {
    let shown = transcript(
        &mut multi(),
        &[
            "sudo global exec fortitoken-cloud update",
            "sudo dmz show user local",
            "sudo nowhere get system status",
            "sudo dmz config user local",
            "sudo global show system global",
            "config vdom",
            "edit dmz",
            "sudo root get system status | grep -n -i VIRTUAL",
            "sudo",
            "sudo global",
            "quit",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn an_output_can_be_filtered_and_a_line_continued() {
    let shown = transcript(
        &mut single(),
        &[
            "get system status | grep Serial-Number:",
            "get system status | grep -v : ",
            "get system status | grep -c a",
            "get system status |",
            "get system status | less",
            "get system status | grep",
            "get system status | grep a b",
            "get system status | grep (",
            "# a comment",
            "",
            "config system admin",
            "edit admin",
            "set comments \"one",
            "two\"",
            "set comments 'it is'",
            "show",
            "set comments \"a | b\"",
            "get | grep comm",
            "exit",
        ],
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn an_excerpt_is_taken_in_and_a_whole_configuration_takes_over() {
    let (mut session, mut device) = (Session::default(), multi());
    let step =
        session.restore("config user local\nedit alice\nset two-factor fortitoken-cloud\nnext\nend\n", &mut device);
    assert_eq!((step.effects.len(), device.conf.cloud_users().len()), (1, 1), "{step:?}");
    let whole =
        "#config-version=FG101F-7.4.8:vdom=0\nconfig system global\n    set hostname \"new\"\nend\nconfig x y\nend\n";
    let step = session.restore(whole, &mut device);
    assert_eq!(device.conf, Configuration::parse(whole).unwrap());
    assert!(matches!(step.effects.as_slice(), [Effect::Update(_), Effect::Users(_)]), "{step:?}");
    let before = device.clone();
    let step = session.restore("config x\n", &mut device);
    insta::assert_snapshot!(step.output, @r#"
    Command fail. Return code -1
    fix: line 2: the file ends before the last "end"
    "#);
    assert_eq!(device, before);
}

#[test]
fn a_session_leaves_a_vdom_that_another_deleted() {
    let (mut session, mut device) = (Session::default(), multi());
    let moment = Moment { now: START, salt: 1 };
    for line in ["config vdom", "edit dmz", "config user local", "edit alice"] {
        session.step(line, &mut device, &moment);
    }
    device.delete_vdom("dmz".parse().unwrap()).unwrap();
    let step = session.step("set type password", &mut device, &moment);
    assert!(step.output.starts_with("command parse error before 'set'"), "{step:?}");
    assert_eq!(session.prompt(&device), "branch # ");
    assert_eq!(device.vdoms().len(), 1);
}

/// Every command of the table is in one of the sessions above, and so in a snapshot.
#[test]
fn every_command_is_in_a_session() {
    let typed = include_str!("transcripts.rs");
    let lines: BTreeSet<Vec<String>> = typed
        .split('"')
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
