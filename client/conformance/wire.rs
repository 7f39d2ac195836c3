//! What goes over the wire: fields, limits, bytes.

use muster_proto::v1;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::Code;

use super::Found;
use super::subject::{Subject, answered, expect, items, refused};

const REGISTER: &str = "muster.v1.DeviceService/Register";

pub(super) async fn bad_fields_are_named_at_once(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let request = v1::SyncRequest {
        serial_number: "short".to_owned(),
        digest: vec![1; 31],
        ..device.sync_request(&["", "dmz", "dmz"])
    };
    let refusal = refused("Sync", device.client.sync(request).await, Code::InvalidArgument, "SERIAL_NUMBER_MALFORMED")?;
    let mut fields: Vec<_> = refusal.violations.into_iter().map(|(field, _)| field).collect();
    fields.sort();
    let expected = ["digest", "full_list.vdoms[0].name", "full_list.vdoms[2].name", "serial_number"];
    expect("the fields", fields, expected.map(str::to_owned).to_vec())
}

pub(super) async fn vdom_names_are_checked(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let long = "v".repeat(32);
    for name in ["", "a b", "dmz\n", "\u{1b}[2J", &long] {
        let result = device.client.register(device.register_request(&[name])).await;
        refused(&format!("the name {name:?}"), result, Code::InvalidArgument, "VDOM_NAME_MALFORMED")?;
    }
    let result = device.client.register(device.register_request(&["dmz", "dmz"])).await;
    refused("a name twice", result, Code::InvalidArgument, "VDOM_DUPLICATE")?;
    let answer = device.register(&["dmz", "DMZ"]).await?;
    expect("letter case counts", answer.vdoms.len(), 3)
}

pub(super) async fn vdom_lists_have_a_limit(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let names: Vec<_> = (0..501).map(|number| format!("v{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let result = device.client.register(device.register_request(&names)).await;
    refused("501 VDOMs", result, Code::InvalidArgument, "VDOM_LIST_TOO_LONG")?;
    expect("499 VDOMs and root", device.register(names.get(..499).unwrap_or_default()).await?.vdoms.len(), 500)
}

pub(super) async fn unknown_fields_are_ignored(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let mut message = device.register_request(&["dmz"]).encode_to_vec();
    // A text, a number and a group of a later version.
    message.extend(b"\xf2\x3f\x05hello\xf8\x3f\x96\x01\xfb\x3f\xfc\x3f");
    let answer = answered("Register", device.raw(REGISTER, message).await)?;
    let answer = v1::RegisterResponse::decode(answer).map_err(|error| format!("the answer: {error}"))?;
    expect("the VDOMs", items(&answer.vdoms), vec!["root created".to_owned(), "dmz created".to_owned()])
}

pub(super) async fn malformed_messages_are_refused(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    // A length beyond the end, a wrong wire type, no UTF-8, an unfinished number, field number 0, a group without end.
    for bytes in
        [&b"\x0a\xff\xff\xff\xff\x0fx"[..], b"\x08\x01", b"\x0a\x02\xc3\x28", b"\x80", b"\x02\x00", b"\xfb\x3f"]
    {
        let result = device.raw(REGISTER, bytes.to_vec()).await;
        refused(&format!("the bytes {bytes:02x?}"), result, Code::InvalidArgument, "MESSAGE_MALFORMED")?;
    }
    device.register(&[]).await.map(drop)
}

pub(super) async fn unknown_methods_are_told(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    for method in ["muster.v1.DeviceService/Reboot", "muster.v2.DeviceService/Register", "nothing/at-all"] {
        refused(method, device.raw(method, Vec::new()).await, Code::Unimplemented, "METHOD_UNKNOWN")?;
    }
    device.register(&[]).await.map(drop)
}

pub(super) async fn oversized_messages_are_refused(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let info = Some(v1::DeviceInfo { hostname: "h".repeat(5 << 20), ..Default::default() });
    let request = v1::RegisterRequest { info, ..device.register_request(&[]) };
    refused("5 MiB", device.client.register(request).await, Code::ResourceExhausted, "MESSAGE_TOO_LARGE")?;
    device.register(&[]).await.map(drop)
}

pub(super) async fn calls_side_by_side(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a"]).await?;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let mut device = device.clone();
        calls.spawn(async move { device.sync(&["root", "a"]).await });
    }
    while let Some(ended) = calls.join_next().await {
        let answer = ended.map_err(|error| error.to_string())??;
        expect("the device", answer.outcome(), v1::Outcome::Unchanged)?;
    }
    Ok(())
}
