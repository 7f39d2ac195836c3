//! One box of a fleet: a task that keeps a connection, does what it is asked, and comes back when the connection is lost.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::ProgressBar;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use muster_proto::{Reason, VdomName, v1};
use rand::rngs::StdRng;
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Request, Status};

use super::invariants::Acknowledged;
use super::limits;
use super::metrics::{Kind, Operation};
use super::shared::{Shared, lock};
use crate::backoff::Backoff;
use crate::channel::{self, Channel, Happening};
use crate::connect::{Connection, Dialer, Over};
use crate::device::Device;
use crate::failure::CallError;

/// How long one try of a call may take.
const CALL: Duration = Duration::from_secs(30);

/// An operation that is due; dropped when it has ended, well or not.
#[derive(Debug)]
pub struct Ticket {
    /// When it was due.
    pub due: Instant,
    /// Moves when it has ended.
    pub progress: ProgressBar,
    /// Whoever waits for the step waits for the last of these to be dropped.
    pub pending: mpsc::Sender<()>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.progress.inc(1);
    }
}

/// What a box can be asked.
#[derive(Debug)]
pub enum Ask {
    /// Come up: connect and register.
    Connect(Ticket),
    /// Report what is there.
    Sync(Ticket),
    /// Get so many VDOMs, and report them.
    AddVdoms(u32, Ticket),
    /// Lose so many VDOMs, and report what is left.
    RemoveVdoms(u32, Ticket),
    /// Close the connection, and come back.
    Reconnect(Ticket),
    /// Report with a word on the HA pair, and tell how the box stands in it.
    Ha(v1::HaReport, Kind, Ticket, oneshot::Sender<v1::ClusterStanding>),
    /// Come under the serial number of another box.
    Intrude(Ticket),
    /// Report, and tell the id of that operation.
    Mark(oneshot::Sender<String>),
    /// Tell what was acknowledged.
    Recall(oneshot::Sender<Acknowledged>),
}

/// A box.
pub struct StandIn {
    /// Which box of the run it is.
    pub index: u32,
    /// What it knows of itself.
    pub device: Device,
    /// How it reaches the server.
    pub dialer: Dialer,
    /// From which address.
    pub source: Option<IpAddr>,
    /// Chance, for its waits.
    pub rng: StdRng,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// How many users it has.
    pub users: u32,
    /// What it says of its HA pair with the next report.
    pub ha: Option<v1::HaReport>,
    /// How it stands in its pair, as last answered.
    pub standing: Option<v1::ClusterStanding>,
    /// Its connection, while it has one.
    pub line: Option<(Connection, Over)>,
    /// Its channel, while it has one.
    pub channel: Option<Channel>,
    /// Whether it is to have a channel. Not with a server that knows none, and not any more if the server ended it for good.
    pub keeps_channel: bool,
    /// Tells one start of the box from another.
    pub boot_id: String,
    /// When to sync at the earliest, if nobody asks.
    pub pacing: Option<Instant>,
    /// How long the server asked to wait before the next connection.
    pub reconnect_after: Option<Duration>,
    /// Since when it has none, if it was lost.
    pub lost: Option<Instant>,
    /// What the server acknowledged last.
    pub acknowledged: Option<Acknowledged>,
    /// The number in the name of the next VDOM.
    pub next_vdom: u32,
    /// The number in the name of the user that is being added.
    pub adding: u32,
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn").field("serial", &self.device.serial).finish_non_exhaustive()
    }
}

/// What the server acknowledged with one answer.
struct Answer {
    operation: String,
    vdoms: Vec<v1::VdomOutcome>,
    /// The list of the box is what the register holds.
    is_in_sync: bool,
    generation: i64,
    digest: Vec<u8>,
}

impl StandIn {
    /// Lives until nobody can ask it anything any more.
    pub async fn live(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    // On the heap, and only while it lasts: what waits is small.
                    Some(ask) => Box::pin(self.serve(ask)).await,
                    None => return self.leave("shutdown").await,
                },
                happening = happening(&mut self.channel) => Box::pin(self.heed(happening)).await,
                () = over(&mut self.line) => Box::pin(self.come_back()).await,
            }
        }
    }

    async fn serve(&mut self, ask: Ask) {
        match ask {
            Ask::Connect(ticket) => {
                self.operate(Kind::Register, ticket.due).await;
                for number in 1..=self.users {
                    self.adding = number;
                    self.operate(Kind::Users, Instant::now()).await;
                }
            }
            Ask::Sync(ticket) => self.operate(Kind::Sync, ticket.due).await,
            Ask::AddVdoms(count, ticket) => {
                for _ in 0..count {
                    self.add_vdom();
                }
                self.operate(Kind::Change, ticket.due).await;
            }
            Ask::RemoveVdoms(count, ticket) => {
                for _ in 0..count {
                    self.remove_vdom();
                }
                self.operate(Kind::Change, ticket.due).await;
            }
            Ask::Reconnect(ticket) => {
                self.leave("reboot").await;
                self.operate(Kind::Reconnect, ticket.due).await;
            }
            Ask::Ha(report, kind, ticket, standing) => {
                self.ha = Some(report);
                self.operate(kind, ticket.due).await;
                self.ha = None;
                // Whoever asked has gone if nobody hears it.
                if let Some(found) = self.standing.take() {
                    let _ = standing.send(found);
                }
            }
            Ask::Intrude(ticket) => self.intrude(ticket.due).await,
            Ask::Mark(marked) => {
                if self.persist(Kind::Sync).await.is_ok()
                    && let Some(acknowledged) = &self.acknowledged
                {
                    let _ = marked.send(acknowledged.operation.clone());
                }
            }
            Ask::Recall(recalled) => {
                if let Some(acknowledged) = self.acknowledged.clone() {
                    let _ = recalled.send(acknowledged);
                }
            }
        }
    }

    /// A clone wants in. To be held is what it is there for.
    async fn intrude(&mut self, due: Instant) {
        let metrics = &self.shared.metrics;
        metrics.due(Kind::Clone, due);
        match self.persist(Kind::Clone).await {
            Ok(()) => {
                lock(&self.shared.contested).insert(self.device.serial);
                self.shared.metrics.note("the server let two boxes in under one serial number");
                self.shared.metrics.done(Kind::Clone, due, &self.device.serial);
            }
            Err(CallError::Refused(refusal)) if refusal.reason == Reason::CloneSuspected.as_str() => {
                self.shared.metrics.done(Kind::Clone, due, &self.device.serial);
            }
            Err(error) => self.shared.metrics.failed(Kind::Clone, &self.device.serial, &error.to_string()),
        }
    }

    async fn heed(&mut self, happening: Happening) {
        match happening {
            Happening::SyncNow(_) => self.operate(Kind::Asked, Instant::now()).await,
            // It was told; what it had been promised before holds no more.
            Happening::Removed(_) => self.acknowledged = None,
            Happening::Pacing(wait) => self.pacing = Instant::now().checked_add(wait),
            Happening::Heartbeat(_) | Happening::Debug(_) => {}
            Happening::Over(Some(goodbye), error) if goodbye.reconnect_after.is_none() => {
                self.shared.metrics.note(format!("a channel was ended for good: {error}"));
                (self.channel, self.keeps_channel) = (None, false);
            }
            Happening::Over(goodbye, _) => {
                self.reconnect_after =
                    goodbye.and_then(|goodbye| goodbye.reconnect_after).and_then(|wait| wait.try_into().ok());
                self.come_back().await;
            }
        }
    }

    /// A box may have fewer VDOMs than a scenario would like: then it stays as it is.
    fn add_vdom(&mut self) {
        self.next_vdom += 1;
        if let Ok(name) = format!("v{}", self.next_vdom).parse() {
            let _ = self.device.add_vdom(name);
        }
    }

    fn remove_vdom(&mut self) {
        if let Some(last) = self.device.vdoms().last().copied() {
            let _ = self.device.delete_vdom(last);
        }
    }

    /// Does one operation that is due, for as long as it takes.
    async fn operate(&mut self, kind: Kind, due: Instant) {
        let metrics = &self.shared.metrics;
        metrics.due(kind, due);
        match self.persist(kind).await {
            Ok(()) => self.shared.metrics.done(kind, due, &self.device.serial),
            Err(error) => self.shared.metrics.failed(kind, &self.device.serial, &error.to_string()),
        }
        if let Some(channel) = &mut self.channel {
            channel.say("ftc", 8, "", &format!("{} ended after {:?}", kind.name(), due.elapsed()));
        }
    }

    async fn come_back(&mut self) {
        self.lose();
        // Thousands lost their connections in the same moment: they do not come back in the same moment.
        sleep(Backoff::default().next(self.reconnect_after.take(), &mut self.rng)).await;
        if let Err(error) = self.persist(Kind::Return).await {
            self.shared.metrics.failed(Kind::Return, &self.device.serial, &error.to_string());
        }
    }

    /// Tries until it is done, or cannot be done, or patience ends.
    async fn persist(&mut self, kind: Kind) -> Result<(), CallError> {
        let end = Instant::now() + self.shared.patience;
        let mut backoff = Backoff::default();
        loop {
            let error = match self.attempt(kind).await {
                Ok(()) => {
                    self.found();
                    return Ok(());
                }
                Err(error) => error,
            };
            if let CallError::Connect(error) = &error
                && let Some(limit) = limits::met(error)
            {
                self.shared.metrics.note(limit);
            }
            if matches!(error, CallError::Connect(_) | CallError::Lost(_) | CallError::NoAnswer(_)) {
                self.lose();
            }
            let wait = backoff.next(error.retry_after(), &mut self.rng);
            if !is_passing(&error) || Instant::now() + wait > end {
                if let Some(acknowledged) = &mut self.acknowledged {
                    acknowledged.in_doubt = true;
                }
                return Err(error);
            }
            self.shared.metrics.retried(kind, &why(&error));
            sleep(wait).await;
        }
    }

    async fn attempt(&mut self, kind: Kind) -> Result<(), CallError> {
        let connection = self.connection().await?;
        if kind != Kind::Register && self.keeps_channel && self.channel.is_none() {
            let is_in_sync = self.open_channel(&connection).await?;
            if is_in_sync && matches!(kind, Kind::Return | Kind::Reconnect) {
                return Ok(());
            }
            if let (Kind::Return, Some(pacing)) = (kind, self.pacing) {
                sleep_until(pacing).await;
            }
        }
        let mut client = DeviceServiceClient::new(connection.channel.clone());
        let of = |status: &Status| CallError::of(&connection, status);
        let is_watched = self.shared.is_watched.load(Ordering::Acquire);
        if kind == Kind::Users {
            let answer = within(client.add_user(request(self.add_user_request()))).await?;
            let answer = answer.map_err(|status| of(&status))?.into_inner();
            self.write_down(answer.operation_id, is_watched);
            if let (Some(acknowledged), Some(user)) = (&mut self.acknowledged, answer.user) {
                acknowledged.users.insert(user.username);
            }
            return Ok(());
        }
        let answer = if kind == Kind::Register {
            let answer =
                within(client.register(request(self.register_request()))).await?.map_err(|status| of(&status))?;
            let v1::RegisterResponse { operation_id, vdoms, generation, digest, .. } = answer.into_inner();
            Answer { operation: operation_id, vdoms, is_in_sync: false, generation, digest }
        } else {
            let mut sync = self.device.sync_request();
            if let Some(ha) = &self.ha {
                // An equal digest would be the end of it.
                (sync.ha, sync.digest) = (Some(ha.clone()), Vec::new());
            }
            let answer = within(client.sync(request(sync))).await?.map_err(|status| of(&status))?;
            let mut answer = answer.into_inner();
            self.standing = answer.cluster.take();
            let is_in_sync = answer.status() == v1::SyncStatus::InSync;
            let v1::SyncResponse { operation_id, vdoms, generation, digest, .. } = answer;
            Answer { operation: operation_id, vdoms, is_in_sync, generation, digest }
        };
        self.acknowledge(answer, is_watched);
        if self.keeps_channel && self.channel.is_none() {
            self.open_channel(&connection).await?;
        }
        Ok(())
    }

    /// Opens the channel, and tells whether box and register agree.
    async fn open_channel(&mut self, connection: &Connection) -> Result<bool, CallError> {
        let (began, is_watched) = (Instant::now(), self.shared.is_watched.load(Ordering::Acquire));
        let hello = channel::hello(&self.device, &self.boot_id, OffsetDateTime::now_utc());
        let (channel, welcome) = match Channel::open(connection, hello, CALL).await {
            Err(CallError::Refused(refusal)) if refusal.code == Code::Unimplemented => {
                self.shared.metrics.note("the server knows no channel");
                self.keeps_channel = false;
                return Ok(false);
            }
            opened => opened?,
        };
        self.shared.metrics.due(Kind::Channel, began);
        self.shared.metrics.done(Kind::Channel, began, &self.device.serial);
        self.channel = Some(channel);
        let wait = welcome.next_sync_after.and_then(|wait| Duration::try_from(wait).ok());
        self.pacing = wait.and_then(|wait| Instant::now().checked_add(wait));
        let v1::ChannelWelcome { operation_id, in_sync, generation, digest, .. } = welcome;
        if in_sync {
            let answer = Answer { operation: operation_id, vdoms: Vec::new(), is_in_sync: true, generation, digest };
            self.acknowledge(answer, is_watched);
        } else {
            self.write_down(operation_id, is_watched);
        }
        Ok(in_sync)
    }

    /// Writes down an operation that was acknowledged while it was watched.
    fn write_down(&self, id: String, is_watched: bool) {
        if is_watched {
            let acknowledged = Instant::now();
            lock(&self.shared.operations).push(Operation { id, serial: self.device.serial, acknowledged });
        }
    }

    fn add_user_request(&self) -> v1::AddUserRequest {
        let serial_number = self.device.serial.to_string();
        let username = format!("{serial_number}-u{}", self.adding);
        let email = format!("u{}@{serial_number}.example", self.adding);
        let product = v1::FortiProductTarget { serial_number, vdom: String::new() };
        let target = v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::FortiProduct(product)) };
        let user = v1::UserAttributes { username, email, ..Default::default() };
        v1::AddUserRequest { target: Some(target), user: Some(user), ..Default::default() }
    }

    fn register_request(&self) -> v1::RegisterRequest {
        v1::RegisterRequest {
            serial_number: self.device.serial.to_string(),
            info: Some((&self.device.info()).into()),
            vdoms: self.device.vdoms().iter().map(|name| v1::Vdom { name: name.to_string() }).collect(),
            ..Default::default()
        }
    }

    /// Writes down what the answer promises. Whether it was watched is asked before the call: what began before may have ended before, too.
    fn acknowledge(&mut self, answer: Answer, is_watched: bool) {
        self.write_down(answer.operation.clone(), is_watched);
        let before = self.acknowledged.take();
        let users = before.as_ref().map(|before| before.users.clone()).unwrap_or_default();
        let mut vdoms = if answer.is_in_sync {
            self.device.vdoms().iter().copied().collect()
        } else {
            before.map(|before| before.vdoms).unwrap_or_default()
        };
        for item in &answer.vdoms {
            let Ok(name) = item.vdom.parse::<VdomName>() else { continue };
            match item.outcome() {
                v1::Outcome::Removed => {
                    vdoms.remove(&name);
                }
                v1::Outcome::Refused | v1::Outcome::Unspecified => {}
                _ => {
                    vdoms.insert(name);
                }
            }
        }
        self.acknowledged = Some(Acknowledged {
            serial: self.device.serial,
            vdoms,
            generation: answer.generation,
            digest: answer.digest,
            operation: answer.operation,
            users,
            in_doubt: false,
        });
    }

    /// The connection, made if there is none.
    async fn connection(&mut self) -> Result<Connection, CallError> {
        if let Some((connection, _)) = &self.line {
            return Ok(connection.clone());
        }
        let began = Instant::now();
        let line = Box::pin(self.dialer.connect_from(self.source, CALL)).await?;
        let now = Instant::now();
        self.shared.metrics.due(Kind::Handshake, began);
        self.shared.metrics.done(Kind::Handshake, began, &self.device.serial);
        self.shared.metrics.connection(true);
        self.shared.in_storm(|storm| {
            if storm.first_loss.is_some() {
                storm.first_return.get_or_insert(now);
            }
        });
        Ok(self.line.insert(line).0.clone())
    }

    /// Says goodbye, and closes the connection.
    async fn leave(&mut self, reason: &str) {
        if let Some(channel) = self.channel.take() {
            channel.leave(reason).await;
        }
        self.hang_up();
    }

    /// Closes the connection.
    fn hang_up(&mut self) {
        self.channel = None;
        if self.line.take().is_some() {
            self.shared.metrics.connection(false);
        }
    }

    /// The connection was lost.
    fn lose(&mut self) {
        if self.line.is_some() {
            let now = Instant::now();
            self.hang_up();
            self.lost.get_or_insert(now);
            self.shared.in_storm(|storm| {
                storm.first_loss.get_or_insert(now);
            });
        }
    }

    /// The box is in sync, again if it had lost its connection.
    fn found(&mut self) {
        if let Some(lost) = self.lost.take() {
            self.shared.metrics.due(Kind::Return, lost);
            self.shared.metrics.done(Kind::Return, lost, &self.device.serial);
            // Nobody counts any more once the step is over.
            self.shared.in_storm(|storm| {
                let _ = storm.returned.send(self.index);
            });
        }
    }
}

/// Waits for what happens on a channel; for ever if there is none.
async fn happening(channel: &mut Option<Channel>) -> Happening {
    match channel {
        Some(channel) => channel.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of a connection; for ever if there is none.
async fn over(line: &mut Option<(Connection, Over)>) {
    match line {
        Some((_, over)) => over.wait().await,
        None => std::future::pending().await,
    }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

async fn within<F: Future>(call: F) -> Result<F::Output, CallError> {
    timeout(CALL, call).await.map_err(|_| CallError::NoAnswer(CALL))
}

/// Whether the same call may succeed later: see the contract of `DeviceService`.
fn is_passing(error: &CallError) -> bool {
    match error {
        CallError::NoAnswer(_) => true,
        CallError::Refused(refusal) => {
            matches!(refusal.code, Code::Aborted | Code::DeadlineExceeded | Code::Cancelled) || error.is_passing()
        }
        error => error.is_passing(),
    }
}

/// Why a try failed, in a word.
fn why(error: &CallError) -> String {
    match error {
        CallError::Connect(error) => format!("{} failed", error.stage()),
        CallError::Lost(_) => "connection lost".to_owned(),
        CallError::NoAnswer(_) => "no answer".to_owned(),
        CallError::Refused(refusal) if refusal.reason.is_empty() => format!("{:?}", refusal.code),
        CallError::Refused(refusal) => refusal.reason.clone(),
    }
}
