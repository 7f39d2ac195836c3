//! Syncs of users: new ones, unchanged ones by digest, and a few that changed among many by buckets.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use muster_proto::UserKind;
use muster_proto::user::digest;
use muster_proto::user_sync::bucket_of;
use muster_proto::v1;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use muster_proto::v1::sync_users_request::Kind as Up;
use muster_proto::v1::sync_users_response::Kind as Down;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::servers::Servers;
use crate::table::Table;

/// How many users a sync of new ones has.
const NEW: u64 = 10_000;
/// How many users there are where a few of them change, and how many do.
const MANY: (u64, u64) = (100_000, 1_000);
/// How many buckets the digests of many users have.
const BUCKETS: usize = 16_384;
/// How many users one chunk has.
const CHUNK: usize = 1_000;
/// How many VDOMs with users a device has.
const VDOMS: u64 = 10;
/// The VDOM whose users do not change, of a device of its own.
const UNCHANGED: u64 = 9_000_000;
/// The VDOM of whose users a few change, of a device of its own.
const CHANGED: u64 = 9_000_010;

/// What the echo makes of the stream: as many outcomes as it got users.
pub(crate) fn echo(
    mut requests: Streaming<v1::SyncUsersRequest>,
) -> Pin<Box<dyn Stream<Item = Result<v1::SyncUsersResponse, Status>> + Send>> {
    let (answers, receiver) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        let mut outcomes = Vec::new();
        let answer = |kind| Ok(v1::SyncUsersResponse { kind: Some(kind) });
        while let Some(request) = requests.message().await? {
            match request.kind {
                Some(Up::Begin(begin)) => {
                    let equal = !begin.digest.is_empty() && begin.bucket_digests.is_empty();
                    let demand = if equal { v1::SyncUsersDemand::InSync } else { v1::SyncUsersDemand::SendAll };
                    let opened = v1::SyncUsersOpened { demand: demand.into(), ..Default::default() };
                    let _ = answers.send(answer(Down::Opened(opened))).await;
                    if equal {
                        break;
                    }
                }
                Some(Up::Chunk(chunk)) => outcomes.push(v1::SyncUsersOutcomes {
                    outcomes: chunk
                        .users
                        .into_iter()
                        .map(|user| v1::UserOutcome {
                            username: user.username,
                            outcome: v1::Outcome::Created.into(),
                            ..Default::default()
                        })
                        .collect(),
                }),
                Some(Up::End(_)) | None => break,
            }
        }
        for part in outcomes {
            let _ = answers.send(answer(Down::Outcomes(part))).await;
        }
        let _ = answers.send(answer(Down::Summary(v1::SyncUsersSummary::default()))).await;
        Ok::<(), Status>(())
    });
    Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

fn user(number: u64, domain: &str) -> v1::UserAttributes {
    let username = format!("user{number:06}");
    let email = format!("{username}@{domain}");
    v1::UserAttributes { username, email, ..Default::default() }
}

fn of_user(user: &v1::UserAttributes) -> [u8; 32] {
    digest(&user.username, &user.email, "", UserKind::Local, true)
}

fn toggle(into: &mut [u8], one: [u8; 32]) {
    into.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
}

fn begin(vdom: u64) -> v1::SyncUsersBegin {
    let (serial_number, vdom) = (format!("FG101FTK{:08}", vdom / VDOMS), format!("v{}", vdom % VDOMS));
    let product = v1::FortiProductTarget { serial_number, vdom, epoch: None };
    let target = v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::FortiProduct(product)) };
    v1::SyncUsersBegin { target: Some(target), ..Default::default() }
}

/// One sync, as a device does it: begin, wait for what is wanted, send that, and read every outcome. Tells how many users were sent.
async fn sync(channel: Channel, begin: v1::SyncUsersBegin, users: &[v1::UserAttributes]) -> anyhow::Result<u64> {
    let (up, requests) = tokio::sync::mpsc::channel(4);
    let tell = async |kind| up.send(v1::SyncUsersRequest { kind: Some(kind) }).await.context("the stream was closed");
    tell(Up::Begin(begin)).await?;
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut down = DeviceServiceClient::new(channel).sync_users(requests).await?.into_inner();
    let first = down.message().await?.and_then(|response| response.kind);
    let Some(Down::Opened(opened)) = first else { anyhow::bail!("the sync did not open") };
    let mut sent = 0;
    if opened.demand() != v1::SyncUsersDemand::InSync {
        let wanted: Vec<v1::UserAttributes> = if opened.buckets.is_empty() {
            Vec::new()
        } else {
            let is_wanted = |user: &&v1::UserAttributes| {
                u32::try_from(bucket_of(&user.username, BUCKETS))
                    .is_ok_and(|it| opened.buckets.binary_search(&it).is_ok())
            };
            users.iter().filter(is_wanted).cloned().collect()
        };
        let users = if opened.buckets.is_empty() { users } else { wanted.as_slice() };
        sent = users.len() as u64;
        for users in users.chunks(CHUNK) {
            tell(Up::Chunk(v1::SyncUsersChunk { users: users.to_vec() })).await?;
        }
        tell(Up::End(v1::SyncUsersEnd {})).await?;
    }
    let mut ended = false;
    while let Some(response) = down.next().await {
        ended |= matches!(response?.kind, Some(Down::Summary(_)));
    }
    anyhow::ensure!(ended, "the sync has no summary");
    Ok(sent)
}

#[expect(clippy::cast_precision_loss, reason = "a count of users")]
fn per_second(users: u64, took: Duration) -> f64 {
    users as f64 / took.as_secs_f64()
}

/// Measures all of it.
pub(crate) async fn measure(servers: &Servers, table: &mut Table) -> anyhow::Result<()> {
    let (muster, echo) = (servers.connect(servers.muster).await?, servers.connect(servers.echo).await?);
    let (next_vdom, next_user) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let new = |channel: Channel| {
        let (next_vdom, next_user) = (Arc::clone(&next_vdom), Arc::clone(&next_user));
        move |time| {
            let (channel, next_vdom, next_user) = (channel.clone(), Arc::clone(&next_vdom), Arc::clone(&next_user));
            async move {
                let (mut spent, mut done) = (Duration::ZERO, 0);
                while spent < time {
                    let (vdom, first) =
                        (next_vdom.fetch_add(1, Ordering::Relaxed), next_user.fetch_add(NEW, Ordering::Relaxed));
                    let users: Vec<_> = (first..first + NEW).map(|number| user(number, "example.com")).collect();
                    let began = Instant::now();
                    done += sync(channel.clone(), begin(vdom), &users).await?;
                    spent += began.elapsed();
                }
                Ok(per_second(done, spent))
            }
        }
    };
    table
        .pair(
            "users: 10,000 new ones in a sync",
            "users/s",
            ">= 100,000 users/s",
            new(muster.clone()),
            new(echo.clone()),
        )
        .await?;

    let list: Arc<Vec<_>> = Arc::new((0..NEW).map(|number| user(number, "example.com")).collect());
    let unchanged = v1::SyncUsersBegin {
        digest: list.iter().fold(vec![0; 32], |mut all, user| {
            toggle(&mut all, of_user(user));
            all
        }),
        ..begin(UNCHANGED)
    };
    sync(muster.clone(), begin(UNCHANGED), &list).await?;
    let in_sync = |channel: Channel| {
        let unchanged = unchanged.clone();
        move |time| {
            let (channel, unchanged) = (channel.clone(), unchanged.clone());
            async move {
                let (began, mut times) = (Instant::now(), Vec::new());
                while began.elapsed() < time {
                    let call_began = Instant::now();
                    sync(channel.clone(), unchanged.clone(), &[]).await?;
                    times.push(call_began.elapsed().as_secs_f64() * 1e6);
                }
                Ok(crate::load::quantile(times, 0.5))
            }
        }
    };
    table
        .pair(
            "users: 10,000 unchanged ones by digest, p50",
            "us",
            "one round trip",
            in_sync(muster.clone()),
            in_sync(echo),
        )
        .await?;

    let turn = Arc::new(AtomicU64::new(0));
    let all: Vec<_> = (0..MANY.0).map(|number| user(number, "example.com")).collect();
    sync(muster.clone(), begin(CHANGED), &all).await?;
    let all = Arc::new(all);
    table
        .alone("users: 1,000 changed among 100,000, by buckets", "ms", "grows with the changes", |_| {
            let (channel, turn, all) = (muster.clone(), Arc::clone(&turn), Arc::clone(&all));
            async move {
                let domain = format!("example{}.com", turn.fetch_add(1, Ordering::Relaxed));
                let mut users = all.to_vec();
                for number in 0..MANY.1 {
                    let place = usize::try_from(number * (MANY.0 / MANY.1))?;
                    if let Some(slot) = users.get_mut(place) {
                        *slot = user(number * (MANY.0 / MANY.1), &domain);
                    }
                }
                let (mut whole, mut buckets) = (vec![0; 32], vec![0; 32 * BUCKETS]);
                for user in &users {
                    toggle(&mut whole, of_user(user));
                    let bucket = bucket_of(&user.username, BUCKETS);
                    toggle(buckets.get_mut(bucket * 32..(bucket + 1) * 32).unwrap_or(&mut []), of_user(user));
                }
                let begin = v1::SyncUsersBegin { digest: whole, bucket_digests: buckets, ..begin(CHANGED) };
                let start = Instant::now();
                sync(channel, begin, &users).await?;
                Ok(start.elapsed().as_secs_f64() * 1e3)
            }
        })
        .await
}
