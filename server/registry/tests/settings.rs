//! The settings, changed.

use muster_proto::settings::SettingsChange;

use super::people::People;
use super::*;

fn update(change: SettingsChange) -> Action {
    Action::UpdateSettings { change, etag: None }
}

fn none() -> SettingsChange {
    SettingsChange::default()
}

#[test]
fn the_settings_that_are_named_change_and_no_others() {
    let mut register = Register::empty();
    let change = SettingsChange { multi_realm_mode: Some(true), retention_days: Some(7), ..none() };
    let planned = register.plan(update(change.clone())).unwrap();
    let settings = register.state.settings().clone();
    let expected =
        Settings { multi_realm_mode: true, retention_days: 7, updated_at: settings.updated_at, ..Settings::NEW };
    assert_eq!((settings.clone(), planned.answer.outcome), (expected, Outcome::Updated));
    assert_eq!(planned.answer.after, After::Settings(settings.clone()));
    let changes = [Change::value("multi_realm_mode", false, true), Change::value("retention_days", 30, 7)];
    assert_eq!((planned.records[0].about, &planned.records[0].changes[..]), (0, &changes[..]));
    let again = register.plan(update(change)).unwrap();
    assert_eq!((again.answer.outcome, again.records.len()), (Outcome::Unchanged, 0));
    assert_eq!(register.state.settings().etag(), settings.etag());
}

#[test]
fn settings_change_only_with_their_etag_and_not_when_rehearsed() {
    let mut register = Register::empty();
    let etag = register.state.settings().etag();
    let change = |etag: &str| Action::UpdateSettings {
        change: SettingsChange { share_quota: Some(false), ..none() },
        etag: Some(etag.to_owned()),
    };
    assert_eq!(register.refused(change("0a")), Reason::EtagMismatch);
    assert_eq!(register.answer(rehearsed(change(&etag).into())).outcome, Outcome::Updated);
    assert!(register.state.settings().share_quota);
    register.answer(change(&etag));
    assert!(!register.state.settings().share_quota);
    assert_eq!(register.refused(change(&etag)), Reason::EtagMismatch);
}

#[test]
fn letter_case_is_decided_while_there_are_no_users() {
    let mut people = People::with("a");
    let fold = |fold| update(SettingsChange { fold_usernames: Some(fold), ..none() });
    people.0.answer(fold(false));
    people.0.answer(fold(true));
    people.add("a", "alice");
    let refusal = people.0.plan(fold(false)).unwrap_err();
    assert_eq!((refusal.reason, refusal.details), (Reason::SettingLocked, vec![("users", "1".to_owned())]));
    assert_eq!(people.0.answer(fold(true)).outcome, Outcome::Unchanged);
}

#[test]
fn a_quota_below_use_or_below_what_realms_are_promised_is_allowed_and_shown() {
    let mut people = People::with("a");
    people.add("a", "alice");
    let quota = |quota| update(SettingsChange { user_quota: Some(quota), ..none() });
    assert_eq!(people.0.answer(quota(Some(1))).reason, None);
    assert_eq!(people.0.answer(quota(Some(0))).reason, Some(Reason::QuotaBelowUse));
    assert_eq!(people.0.answer(quota(Some(5))).reason, None);
    let realm = people.0.state.realms.change(&RealmId::DEFAULT).unwrap();
    realm.user_quota = Some(6);
    people.0.state.keep();
    let unshared = people.0.answer(update(SettingsChange { share_quota: Some(false), ..none() }));
    assert_eq!(unshared.reason, Some(Reason::QuotaOverallocated));
    assert_eq!(people.0.answer(quota(None)).reason, None);
}

#[test]
fn multi_realm_mode_leaves_what_is_there_and_places_what_is_new() {
    let mut register = Register::with("a");
    register.answer(update(SettingsChange { multi_realm_mode: Some(true), ..none() }));
    assert_eq!(register.client("a").realm, RealmId::DEFAULT);
    register.register("b");
    let own = register.client("b").realm;
    assert_ne!(own, RealmId::DEFAULT);
    assert_eq!(register.state.realms.get(&own).unwrap().name.as_str(), "FG101FTK19002788-b");
    register.answer(update(SettingsChange { multi_realm_mode: Some(false), ..none() }));
    register.register("c");
    assert_eq!(register.client("c").realm, RealmId::DEFAULT);
}
