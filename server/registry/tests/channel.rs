//! The hello of a device, and what admins ask of its channel.

use std::time::Duration;

use muster_proto::Text;
use muster_proto::channel::{DebugWish, Features, Hello};

use super::*;

fn hello(digest: Option<[u8; 32]>) -> Action {
    let (boot_id, features) = (Text::default(), Features::default());
    Action::Hello(Hello { serial: serial(), info: DeviceInfo::default(), boot_id, device_time: None, digest, features })
}

fn request_sync() -> Action {
    Action::RequestSync { serial: serial(), why: Text::default() }
}

#[test]
fn a_hello_registers_a_device_and_adds_no_vdom_but_root() {
    let mut register = Register::empty();
    let answer = register.answer(hello(None));
    assert_eq!((answer.outcome, answer.status), (Outcome::Created, SyncStatus::ListNeeded));
    assert_eq!(register.active(), "root");
    register.sync("root a b");
    let answer = register.answer(hello(None));
    assert_eq!((answer.outcome, answer.status, answer.generation), (Outcome::Unchanged, SyncStatus::ListNeeded, 2));
    assert_eq!(register.active(), "a b root");
}

#[test]
fn a_hello_whose_digest_agrees_is_in_sync_and_reads_nothing_but_the_device() {
    let mut register = Register::with("a");
    let digest = register.device().digest;
    assert_eq!(register.answer(hello(Some(digest))).status, SyncStatus::InSync);
    let mut state = State::default();
    state.settings.load((), Some(Settings::NEW));
    state.devices.load(serial(), Some(register.device().clone()));
    let mut alone = Register { state, ..register };
    // What else it asked for would be taken as absent, and the device would get a second "root".
    assert_eq!(alone.plan(hello(Some(digest))).unwrap().records, []);
    assert!(alone.state.whole.owners.is_empty());
}

#[test]
fn what_a_device_says_of_itself_in_its_hello_is_taken_over() {
    let mut register = Register::with("");
    let Action::Hello(mut hello) = hello(None) else { return };
    hello.info.hostname = "branch-7".parse().unwrap();
    hello.digest = Some(digest(["", "branch-7", ""], [VdomName::ROOT]));
    let answer = register.answer(Action::Hello(hello));
    assert_eq!((answer.outcome, answer.status), (Outcome::Updated, SyncStatus::InSync));
    assert_eq!(register.device().info.hostname.as_str(), "branch-7");
}

#[test]
fn a_hello_restores_who_was_evicted_and_is_refused_to_who_was_banned_or_retired() {
    for (mode, reason) in [
        (DeleteMode::Evict, None),
        (DeleteMode::Ban, Some(Reason::DeviceBanned)),
        (DeleteMode::Retire, Some(Reason::DeviceRetired)),
    ] {
        let mut register = Register::with("a");
        let digest = register.device().digest;
        register.answer(deletion(Target::WholeDevice));
        register.state.devices.change(&serial()).unwrap().deleted.as_deref_mut().unwrap().mode = mode;
        register.state.devices.keep();
        let planned = register.plan(hello(Some(digest)));
        let planned = planned.and_then(|planned| planned.refused.clone().map_or(Ok(planned), Err));
        assert_eq!(planned.as_ref().err().map(|refusal| refusal.reason), reason);
        assert_eq!(planned.is_ok_and(|planned| planned.answer.outcome == Outcome::Restored), reason.is_none());
        // And nobody has one told something that may not call.
        assert_eq!(register.plan(request_sync()).err().map(|refusal| refusal.reason), reason);
    }
}

#[test]
fn a_hello_waits_for_an_admin_where_first_contact_does() {
    let mut register = Register::empty();
    register.settings(|settings| settings.auto_create_auth_clients = false);
    assert_eq!(register.refused(hello(None)), Reason::PendingApproval);
}

#[test]
fn what_admins_ask_of_a_channel_is_noted_and_changes_nothing_of_the_register() {
    let mut register = Register::empty();
    assert_eq!(register.refused(request_sync()), Reason::DeviceUnknown);
    register.register("a");
    let before = register.values();
    let wish = |level_mask| Action::SetDeviceDebug {
        serial: serial(),
        wish: DebugWish { components: vec!["fnbamd".to_owned()], level_mask, duration: Duration::from_mins(1) },
    };
    for (action, field, after) in [
        (request_sync(), "sync_now", "requested"),
        (wish(255), "debug", "fnbamd, level mask 255, for 60 s"),
        (wish(0), "debug", "off"),
    ] {
        let planned = register.plan(action).unwrap();
        let [record] = &planned.records[..] else { panic!("{planned:?}") };
        assert_eq!((record.changes[0].field, &*record.changes[0].after), (field, after));
    }
    assert_eq!(register.values(), before);
    register.reach = Reach::from_iter([RealmId(7)]);
    assert_eq!(register.refused(request_sync()), Reason::DeviceUnknown, "it is in no realm of theirs");
}
