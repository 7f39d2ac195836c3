//! The debug feed: deliveries to one and to a hundred viewers, the cost of recording, and the time from recording to receiving.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use muster_proto::debug_log::Level;
use muster_proto::v1;
use muster_proto::v1::debug_log_service_client::DebugLogServiceClient;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_server::clock::{Clock as _, SystemClock};
use muster_server::feed::{DebugEvent, Feed, ValueChange};
use muster_server::operation::OperationId;
use tokio::task::JoinSet;

use crate::load::quantile;
use crate::servers::Servers;
use crate::table::Table;

/// How many deliveries one measurement makes in all.
const DELIVERIES: u64 = 200_000;
/// How many events a second the paced measurement records.
const RATE: u64 = 20_000;

/// An event as a registration leaves it.
fn event(message: impl Into<std::borrow::Cow<'static, str>>) -> DebugEvent {
    let now = SystemClock.now();
    let mut event = DebugEvent::new(now, OperationId::new(now, 7), Level::Outcome, "vdom", message);
    event.serial = "FG101FTK00000000".parse().ok();
    event.vdom = "dmz".parse().ok();
    event.changes = vec![ValueChange { field: "state", before: String::new(), after: "active".to_owned() }];
    event.caller = Some(Arc::from("relay:bench"));
    event
}

/// Measures all of it.
pub(crate) async fn measure(servers: &Servers, table: &mut Table) -> anyhow::Result<()> {
    let recording = async |time: Duration| Ok(recording(time));
    table.alone("feed: recording with no viewer, CPU", "us", "<= 1", recording).await?;

    // What the streams below read.
    for viewers in [1, 100] {
        let events = DELIVERIES / viewers;
        servers.feed.record_all((0..events.min(50_000)).map(|_| event("created")));
        let deliver = |address: SocketAddr| move |_| deliveries(servers, address, viewers);
        let name = if viewers == 1 { "feed: deliveries to 1 viewer" } else { "feed: deliveries to 100 viewers" };
        table.pair(name, "/s", ">= 0.5", deliver(servers.muster), deliver(servers.echo)).await?;
    }

    let latency = async |time: Duration| latency(servers, time).await;
    table.alone("feed: record to receive at 20,000 events/s, p99", "us", "<= 5,000", latency).await
}

/// Microseconds for one event. One thread does nothing else meanwhile, so that time is CPU time.
fn recording(time: Duration) -> f64 {
    let feed = Feed::new(16 << 20, 7, Arc::new(SystemClock));
    let began = Instant::now();
    let (mut taken, mut count) = (Duration::ZERO, 0_u32);
    while began.elapsed() < time {
        let events: Vec<_> = (0..1_000).map(|_| event("created")).collect();
        let recording_began = Instant::now();
        for event in events {
            feed.record(event);
        }
        taken += recording_began.elapsed();
        count += 1_000;
    }
    taken.as_secs_f64() * 1e6 / f64::from(count)
}

/// Deliveries a second, to all viewers together.
async fn deliveries(servers: &Servers, address: SocketAddr, viewers: u64) -> anyhow::Result<f64> {
    let limit = (DELIVERIES / viewers).min(50_000);
    let channels = servers.connections(address, 4).await?;
    let mut streams = JoinSet::new();
    let began = Instant::now();
    for (_, channel) in (0..viewers).zip(channels.iter().cycle()) {
        let mut client = DebugLogServiceClient::new(channel.clone());
        streams.spawn(async move {
            let request = v1::StreamDebugLogsRequest { earliest: true, limit, ..Default::default() };
            let mut stream = client.stream_debug_logs(request).await?.into_inner();
            let mut received = 0_u64;
            while let Some(response) = stream.message().await? {
                received += u64::from(matches!(response.kind, Some(Kind::Event(_))));
            }
            anyhow::ensure!(received == limit, "a viewer got {received} of {limit} events");
            Ok(())
        });
    }
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of events")]
    let delivered = (limit * viewers) as f64;
    Ok(delivered / began.elapsed().as_secs_f64())
}

/// The time from recording to receiving that 99 of 100 events do not exceed, in microseconds.
async fn latency(servers: &Servers, time: Duration) -> anyhow::Result<f64> {
    let mut client = DebugLogServiceClient::new(servers.connect(servers.muster).await?);
    let include = vec![v1::DebugFilter { component: "pace".to_owned(), ..Default::default() }];
    let request = v1::StreamDebugLogsRequest { follow: true, include, ..Default::default() };
    let mut stream = client.stream_debug_logs(request).await?.into_inner();
    stream.message().await?.context("the stream ended before it opened")?;
    let began = Instant::now();
    let feed = servers.feed.clone();
    let recorder = tokio::task::spawn_blocking(move || {
        let mut recorded = 0_u64;
        while began.elapsed() < time {
            let due = began.elapsed().as_micros() * u128::from(RATE) / 1_000_000;
            while u128::from(recorded) < due {
                let mut event = event(began.elapsed().as_nanos().to_string());
                event.component = "pace".into();
                feed.record(event);
                recorded += 1;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        recorded
    });
    let mut times = Vec::new();
    while began.elapsed() < time {
        let Ok(Some(response)) = stream.message().await else { break };
        match response.kind {
            Some(Kind::Event(event)) => {
                let at: u64 = event.message.parse().context("an event of another recorder")?;
                let now = u64::try_from(began.elapsed().as_nanos())?;
                #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
                times.push(now.saturating_sub(at) as f64 / 1e3);
            }
            Some(Kind::Gap(gap)) => anyhow::bail!("the viewer could not keep up: {gap:?}"),
            _ => {}
        }
    }
    drop(stream);
    recorder.await?;
    Ok(quantile(times, 0.99))
}
