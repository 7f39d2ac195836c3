//! The users of an auth client as a whole: `SyncUsers`.

use std::time::Duration;

use muster_proto::v1::sync_users_request::Kind as Up;
use muster_proto::v1::sync_users_response::Kind as Down;
use muster_proto::{UserKind, user, v1};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::Found;
use super::subject::{Caller, Subject, expect, refused};
use super::users::{named, target};

/// How long to wait before it is tried whether a stream that broke off is noticed.
const AGAIN: Duration = Duration::from_millis(50);

/// A sync that is open.
struct List {
    up: mpsc::Sender<v1::SyncUsersRequest>,
    down: Streaming<v1::SyncUsersResponse>,
    opened: v1::SyncUsersOpened,
}

/// A sync that has ended.
struct Ended {
    outcomes: Vec<v1::UserOutcome>,
    summary: v1::SyncUsersSummary,
}

fn begin(device: &Caller) -> v1::SyncUsersBegin {
    v1::SyncUsersBegin { target: Some(target(device)), ..Default::default() }
}

fn users<S: AsRef<str>>(names: &[S]) -> Vec<v1::UserAttributes> {
    let email = |name: &S| format!("{}@example.com", name.as_ref());
    let one =
        |name: &S| v1::UserAttributes { username: name.as_ref().to_owned(), email: email(name), ..Default::default() };
    names.iter().map(one).collect()
}

fn digest<S: AsRef<str>>(names: &[S]) -> Vec<u8> {
    let mut all = vec![0; 32];
    for listed in users(names) {
        let one = user::digest(&listed.username, &listed.email, "", UserKind::Local, true);
        all.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
    }
    all
}

async fn open(device: &Caller, begin: v1::SyncUsersBegin) -> Result<List, Status> {
    let (up, requests) = mpsc::channel(8);
    let _ = up.try_send(v1::SyncUsersRequest { kind: Some(Up::Begin(begin)) });
    let mut down = device.client.clone().sync_users(ReceiverStream::new(requests)).await?.into_inner();
    match down.message().await?.and_then(|message| message.kind) {
        Some(Down::Opened(opened)) => Ok(List { up, down, opened }),
        other => Err(Status::internal(format!("the first message: expected opened, got {other:?}"))),
    }
}

impl List {
    async fn say(&self, kind: Up) -> Found {
        let said = self.up.send(v1::SyncUsersRequest { kind: Some(kind) }).await;
        said.map_err(|_| "the stream is closed".to_owned())
    }

    async fn send(self, users: Vec<v1::UserAttributes>) -> Result<Ended, String> {
        self.say(Up::Chunk(v1::SyncUsersChunk { users })).await?;
        self.say(Up::End(v1::SyncUsersEnd {})).await?;
        self.end().await
    }

    async fn end(mut self) -> Result<Ended, String> {
        let mut outcomes = Vec::new();
        loop {
            let message = self.down.message().await.map_err(|status| format!("the stream: {}", told(&status)))?;
            match message.ok_or("expected a summary, and the stream ended")?.kind {
                Some(Down::Outcomes(some)) => outcomes.extend(some.outcomes),
                Some(Down::Summary(summary)) => return Ok(Ended { outcomes, summary }),
                _ => {}
            }
        }
    }
}

impl Ended {
    /// Names and outcomes in the order of the names, as in "alice created".
    fn items(&self) -> Vec<String> {
        let text = |item: &v1::UserOutcome| {
            let outcome = item.outcome().as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
            format!("{} {outcome}", item.username)
        };
        let mut items: Vec<_> = self.outcomes.iter().map(text).collect();
        items.sort();
        items
    }
}

fn told(status: &Status) -> String {
    format!("{:?} ({})", status.code(), status.message())
}

async fn sync<S: AsRef<str>>(device: &Caller, names: &[S]) -> Result<Ended, String> {
    let list = open(device, begin(device)).await.map_err(|status| format!("SyncUsers: {}", told(&status)))?;
    list.send(users(names)).await
}

/// The register holds exactly these users.
async fn holds<S: AsRef<str>>(device: &Caller, names: &[S]) -> Found {
    let same = v1::SyncUsersBegin { digest: digest(names), ..begin(device) };
    let list = open(device, same).await.map_err(|status| format!("SyncUsers by digest: {}", told(&status)))?;
    expect("the register holds these users", list.opened.demand(), v1::SyncUsersDemand::InSync)?;
    let ended = list.end().await?;
    expect("how many it says it holds", ended.summary.users, i64::try_from(names.len()).unwrap_or(-1))
}

pub(super) async fn is_a_full_list(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let first = sync(&device, &["alice", "bob"]).await?;
    expect("the first list", first.items(), vec!["alice created".to_owned(), "bob created".to_owned()])?;
    let second = sync(&device, &["bob", "carol"]).await?;
    expect("the second list", second.items(), vec!["alice removed".to_owned(), "carol created".to_owned()])?;
    expect("its users", (second.summary.unchanged, second.summary.users), (1, 2))?;
    expect("its digest", second.summary.users_digest, digest(&["bob", "carol"]))?;
    holds(&device, &["bob", "carol"]).await
}

pub(super) async fn knows_the_digest(subject: &Subject) -> Found {
    let device = subject.device().await?;
    sync(&device, &["alice", "bob"]).await?;
    // Nothing is sent behind begin: the summary has to come by itself.
    holds(&device, &["alice", "bob"]).await?;
    let other = v1::SyncUsersBegin { digest: digest(&["alice"]), ..begin(&device) };
    let list = open(&device, other).await.map_err(|status| format!("another digest: {}", told(&status)))?;
    expect("another digest", list.opened.demand(), v1::SyncUsersDemand::SendAll)?;
    let ended = list.send(users(&["alice"])).await?;
    expect("the list behind it", ended.items(), vec!["bob removed".to_owned()])
}

pub(super) async fn refuses_by_name(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let mut listed = users(&["alice", "bob"]);
    listed.extend(named(&device, "carol", "").user);
    let list = open(&device, begin(&device)).await.map_err(|status| format!("SyncUsers: {}", told(&status)))?;
    let ended = list.send(listed).await?;
    let expected = ["alice created", "bob created", "carol refused"].map(str::to_owned).to_vec();
    expect("the list", ended.items(), expected)?;
    let refused = ended.outcomes.iter().find(|item| item.username == "carol");
    expect("the reason", refused.map(|item| item.reason.as_str()), Some("USER_EMAIL_MISSING"))?;
    expect("a fix", refused.is_some_and(|item| !item.fix.is_empty()), true)?;
    holds(&device, &["alice", "bob"]).await
}

pub(super) async fn one_at_a_time(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let first = open(&device, begin(&device)).await.map_err(|status| format!("the first: {}", told(&status)))?;
    let second = open(&device, begin(&device)).await;
    let refusal = refused("a second sync meanwhile", second, Code::Aborted, "SYNC_IN_PROGRESS")?;
    expect("RetryInfo", refusal.retry_after.is_some(), true)?;
    let ended = first.send(users(&["alice"])).await?;
    expect("the first, which goes on", ended.items(), vec!["alice created".to_owned()])?;
    holds(&device, &["alice"]).await
}

pub(super) async fn breaks_off_without_a_trace(subject: &Subject) -> Found {
    let device = subject.device().await?;
    sync(&device, &["alice"]).await?;
    let list = open(&device, begin(&device)).await.map_err(|status| format!("SyncUsers: {}", told(&status)))?;
    list.say(Up::Chunk(v1::SyncUsersChunk { users: users(&["bob"]) })).await?;
    // Gone before end.
    drop(list);
    loop {
        let same = v1::SyncUsersBegin { digest: digest(&["alice"]), ..begin(&device) };
        match open(&device, same).await {
            Ok(list) => return expect("the users", list.opened.demand(), v1::SyncUsersDemand::InSync),
            // The server has not noticed yet; for how long it may not, the limit of a check says.
            Err(status) if status.code() == Code::Aborted => sleep(AGAIN).await,
            Err(status) => return Err(format!("SyncUsers by digest: {}", told(&status))),
        }
    }
}

pub(super) async fn removals_are_held(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let names: Vec<_> = (0..31).map(|number| format!("user{number:02}")).collect();
    sync(&device, &names).await?;
    let held = sync(&device, &["user00"]).await?;
    expect("a list that would remove 30 of 31", (held.summary.held, held.summary.users), (30, 31))?;
    expect("each is told", held.items().iter().filter(|item| item.ends_with(" held")).count(), 30)?;
    // By the digest in the answer: to report them all would withdraw what is held.
    expect("the digest while they are held", held.summary.users_digest.clone(), digest(&names))?;
    let token = held.summary.held_removal.map(|held| held.confirm_token).ok_or("expected HeldNotice, got none")?;
    let confirmed = v1::SyncUsersBegin { confirm_token: token, ..begin(&device) };
    let list = open(&device, confirmed).await.map_err(|status| format!("the confirmation: {}", told(&status)))?;
    let ended = list.send(users(&["user00"])).await?;
    expect("what the confirmation removes", ended.summary.delete.map(|delete| delete.success), Some(30))?;
    holds(&device, &["user00"]).await
}
