//! Events, as they arrive.

use muster_proto::Reason;
use proptest::option;
use proptest::prelude::*;
use tonic::Code;

use super::*;
use crate::feed::ValueChange;
use crate::feed::event::Entry;
use crate::feed::ring::Held as _;
use crate::registry::WebAppId;

#[test]
fn every_field_of_an_event_arrives_and_is_safe_for_terminals() {
    let feed = feed(ROOMY);
    feed.record(DebugEvent {
        device_time: Some(second(5)),
        serial: Some(serial("FGA")),
        vdom: Some("root".parse().unwrap()),
        realm: Some("re\u{1b}alm".into()),
        component: "fn\u{7}bamd".into(),
        reason: Some(Reason::IdentityMismatch),
        changes: vec![ValueChange { field: "hostname", before: "a\u{202e}b".to_owned(), after: "ä".to_owned() }],
        caller: Some("relay:\r".into()),
        terminal: Some(Code::PermissionDenied),
        web_app: Some(WebAppId(1_007)),
        ..event("\u{1b}[2Jgone")
    });
    let mut viewing = watch(&feed, &request(Start::Earliest, false));
    now(&mut viewing);
    let Some(Kind::Event(event)) = now(&mut viewing) else { panic!("an event was recorded") };
    let text = |text: &str| text.to_owned();
    assert_eq!(
        event,
        v1::DebugEvent {
            cursor: cursor(1).to_string(),
            time: Some(second(START).into()),
            device_time: Some(second(5).into()),
            operation_id: text("000000003b9aca000000000000000001"),
            serial_number: text("FGA0000000000000"),
            vdom: text("root"),
            realm: text("re\\u{1b}alm"),
            component: text("fn\\u{7}bamd"),
            level: 4,
            step: text("sync"),
            message: text("\\u{1b}[2Jgone"),
            reason: text("IDENTITY_MISMATCH"),
            changes: vec![v1::ValueChange { field: text("hostname"), before: text("a\\u{202e}b"), after: text("ä") }],
            caller: text("relay:\\r"),
            terminal: true,
            code: text("PERMISSION_DENIED"),
            web_app: text("webApps/1007"),
        }
    );
}

prop_compose! {
    fn any_event()(
        (seconds, device_time) in (0..4_000_000_000_i64, option::of(0..4_000_000_000_i64)),
        operation: u64,
        (serial, vdom) in (option::of("[A-Z0-9]{16}"), option::of("[a-z]{1,31}")),
        (realm, caller) in (option::of(".{0,40}"), option::of(".{0,300}")),
        (component, message) in (".{0,20}", ".{0,400}"),
        reason in option::of(prop::sample::select(Reason::ALL)),
        changes in prop::collection::vec((".{0,200}", ".{0,20}"), 0..4),
        terminal in option::of((0..17).prop_map(Code::from_i32)),
        web_app in option::of((1..=i64::MAX).prop_map(WebAppId)),
    ) -> DebugEvent {
        let changes = changes.into_iter().map(|(before, after)| ValueChange { field: "hostname", before, after });
        DebugEvent {
            time: second(seconds),
            device_time: device_time.map(second),
            operation: OperationId::new(second(seconds), operation),
            serial: serial.map(|serial| serial.parse().unwrap()),
            vdom: vdom.map(|vdom| vdom.parse().unwrap()),
            realm: realm.map(Into::into),
            component: component.into(),
            reason,
            changes: changes.collect(),
            caller: caller.map(Into::into),
            terminal,
            web_app,
            ..event(&message)
        }
    }
}

proptest! {
    #[test]
    fn an_event_survives_its_encoding_and_takes_no_more_than_was_counted(recorded in any_event(), position: u64) {
        let entry = Arc::new(Entry::new(recorded));
        let encoded = entry.encoded(cursor(position));
        let Kind::Event(wire) = decode(&encoded) else { panic!("an event was encoded") };
        prop_assert_eq!(v1::StreamDebugLogsResponse { kind: Some(Kind::Event(wire.clone())) }.encoded_len(), encoded.bytes().len());

        let event = entry.event();
        let DebugEvent { time, device_time, operation, serial, vdom, realm, component, level, step, message, .. } = event.clone();
        let text = |text: Option<String>| text.unwrap_or_default();
        prop_assert_eq!(wire, v1::DebugEvent {
            cursor: cursor(position).to_string(),
            time: Some(time.into()),
            device_time: device_time.map(Into::into),
            operation_id: operation.to_string(),
            serial_number: text(serial.map(|serial| serial.to_string())),
            vdom: text(vdom.map(|vdom| vdom.to_string())),
            realm: text(realm.map(|realm| realm.to_string())),
            component: component.into_owned(),
            level: level as u32,
            step: step.to_owned(),
            message: message.into_owned(),
            reason: text(event.reason.map(|reason| reason.to_string())),
            changes: event.changes.iter().map(|change| v1::ValueChange {
                field: change.field.to_owned(),
                before: change.before.clone(),
                after: change.after.clone(),
            }).collect(),
            caller: text(event.caller.as_ref().map(ToString::to_string)),
            terminal: event.terminal.is_some(),
            // The names of the codes are those of the specification, in another case.
            code: text(event.terminal.map(|code| snake(&format!("{code:?}")))),
            web_app: text(event.web_app.map(|app| format!("webApps/{}", app.0))),
        });

        let texts = event.message.len() + event.component.len() + event.realm.as_ref().map_or(0, |text| text.len());
        prop_assert!(entry.bytes() >= size_of::<Entry>() + texts + encoded.bytes().len());
    }
}

/// `PermissionDenied` as `PERMISSION_DENIED`.
fn snake(name: &str) -> String {
    let letters = name.char_indices().flat_map(|(index, letter)| {
        let break_before = (index > 0 && letter.is_ascii_uppercase()).then_some('_');
        break_before.into_iter().chain([letter.to_ascii_uppercase()])
    });
    letters.collect()
}
