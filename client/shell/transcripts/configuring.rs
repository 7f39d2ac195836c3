//! Tables, rows, VDOMs, and whole configurations.

use super::*;

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
