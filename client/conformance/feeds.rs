//! The debug feed, as a device sees it.

use muster_proto::v1;
use muster_proto::v1::debug_log_service_client::DebugLogServiceClient;
use muster_proto::v1::stream_debug_logs_response::Kind;
use tonic::{Code, Streaming};

use super::Found;
use super::subject::{Caller, Subject, answered, expect, refused};

fn own(device: &Caller) -> v1::StreamDebugLogsRequest {
    let filter = v1::DebugFilter { serial_number: device.serial.clone(), ..Default::default() };
    v1::StreamDebugLogsRequest { include: vec![filter], ..Default::default() }
}

type Feed = Streaming<v1::StreamDebugLogsResponse>;

async fn open(device: &Caller, request: v1::StreamDebugLogsRequest) -> Result<Feed, String> {
    let mut client = DebugLogServiceClient::new(device.connection.channel.clone());
    answered("StreamDebugLogs", client.stream_debug_logs(request).await)
}

async fn next(feed: &mut Feed) -> Result<Option<Kind>, String> {
    let message = feed.message().await.map_err(|status| format!("the feed ended with {:?}", status.code()))?;
    Ok(message.and_then(|message| message.kind))
}

/// Every event until the feed is complete, and the last cursor.
async fn events(device: &Caller, request: v1::StreamDebugLogsRequest) -> Result<(Vec<v1::DebugEvent>, String), String> {
    let mut feed = open(device, request).await?;
    let (mut events, mut cursor) = (Vec::new(), String::new());
    while let Some(kind) = next(&mut feed).await? {
        match kind {
            Kind::Event(event) => {
                cursor.clone_from(&event.cursor);
                events.push(event);
            }
            Kind::CaughtUp(at) => cursor = at.cursor,
            Kind::Gap(gap) => return Err(format!("expected no gap, got {gap:?}")),
            _ => {}
        }
    }
    Ok((events, cursor))
}

fn ends(events: &[v1::DebugEvent], operation: &str) -> Vec<String> {
    let ends = events.iter().filter(|event| event.terminal && event.operation_id == operation);
    ends.map(|event| event.code.clone()).collect()
}

pub(super) async fn opens_at_once(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&[]).await?;
    let mut feed = open(&device, own(&device)).await?;
    match next(&mut feed).await? {
        Some(Kind::Opened(opened)) => expect("its filters", opened.include.is_empty(), false)?,
        other => return Err(format!("the first message: expected opened, got {other:?}")),
    }
    let (mut caught_up, mut closing) = (false, None);
    while let Some(kind) = next(&mut feed).await? {
        match kind {
            Kind::CaughtUp(_) => caught_up = true,
            Kind::Closing(end) => closing = Some(end.reason()),
            _ => {}
        }
    }
    expect("caught_up and closing", (caught_up, closing), (true, Some(v1::ClosingReason::Complete)))
}

pub(super) async fn has_each_end(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let registered = device.register(&["a"]).await?.operation_id;
    let synced = device.sync(&["root", "a"]).await?.operation_id;
    expect("two operations", registered == synced, false)?;
    let (events, _) = events(&device, own(&device)).await?;
    expect("the end of Register", ends(&events, &registered), vec!["OK".to_owned()])?;
    expect("the end of Sync", ends(&events, &synced), vec!["OK".to_owned()])
}

pub(super) async fn has_refusals(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&[]).await?;
    let result = device.client.sync(device.sync_request(&[])).await;
    refused("an empty list", result, Code::InvalidArgument, "VDOM_LIST_EMPTY")?;
    let (events, _) = events(&device, own(&device)).await?;
    let found = events.iter().any(|event| event.terminal && event.reason == "VDOM_LIST_EMPTY");
    expect("a terminal event with the reason of the refusal", found, true)
}

pub(super) async fn cursor_resumes(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let before = device.register(&[]).await?.operation_id;
    let (_, cursor) = events(&device, own(&device)).await?;
    let after = device.sync(&["root", "a"]).await?.operation_id;
    let (events, _) = events(&device, v1::StreamDebugLogsRequest { cursor, ..own(&device) }).await?;
    expect("what was before", events.iter().any(|event| event.operation_id == before), false)?;
    expect("what came after", ends(&events, &after), vec!["OK".to_owned()])
}

pub(super) async fn cursor_is_checked(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let request = v1::StreamDebugLogsRequest { cursor: "nonsense".to_owned(), ..own(&device) };
    let mut client = DebugLogServiceClient::new(device.connection.channel.clone());
    let result = client.stream_debug_logs(request).await;
    refused("a cursor of nowhere", result, Code::InvalidArgument, "CURSOR_MALFORMED").map(drop)
}

pub(super) async fn is_ones_own(subject: &Subject) -> Found {
    let (one, other) = (subject.device().await?, subject.device().await?);
    let mut client = DebugLogServiceClient::new(one.connection.channel.clone());
    let result = client.stream_debug_logs(own(&other)).await;
    refused("the feed of another box", result, Code::PermissionDenied, "IDENTITY_MISMATCH").map(drop)
}

pub(super) async fn excludes(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let hidden = device.register(&[]).await?.operation_id;
    let shown = device.sync(&["root", "a"]).await?.operation_id;
    let exclude = vec![v1::DebugFilter { operation_id: hidden.clone(), ..Default::default() }];
    let (events, _) = events(&device, v1::StreamDebugLogsRequest { exclude, ..own(&device) }).await?;
    let has = |operation: &str| events.iter().any(|event| event.operation_id == operation);
    expect("excluded and included", (has(&hidden), has(&shown)), (false, true))
}

pub(super) async fn follows(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&[]).await?;
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = v1::StreamDebugLogsRequest { follow: true, heartbeat_interval, ..own(&device) };
    let mut feed = open(&device, request).await?;
    while !matches!(next(&mut feed).await?, Some(Kind::CaughtUp(_)) | None) {}
    let operation = device.sync(&["root", "a"]).await?.operation_id;
    let mut events = Vec::new();
    loop {
        match next(&mut feed).await? {
            Some(Kind::Event(event)) => events.push(event),
            // Nothing is said until the heartbeat, so that it comes after everything.
            Some(Kind::Heartbeat(_)) if !events.is_empty() => break,
            Some(_) => {}
            None => return Err("expected the feed to stay open, and it ended".to_owned()),
        }
    }
    expect("the end of Sync", ends(&events, &operation), vec!["OK".to_owned()])
}
