//! How a box makes a call, and makes it again until it is done, cannot be done, or patience ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use muster_proto::v1::device_service_client::DeviceServiceClient;
use muster_proto::{VdomName, v1};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Request};

use super::{CALL, StandIn};
use crate::backoff::Backoff;
use crate::channel::{self, Channel};
use crate::connect::Connection;
use crate::failure::CallError;
use crate::fleet::invariants::Acknowledged;
use crate::fleet::limits;
use crate::fleet::metrics::{Kind, Operation};
use crate::fleet::shared::lock;

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
    /// Tries until it is done, or cannot be done, or patience ends.
    pub(super) async fn persist(&mut self, kind: Kind) -> Result<(), CallError> {
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
            let asked = error.retry_after().or_else(|| self.reconnect_after.take());
            let wait = backoff.next(asked, &mut self.rng);
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
        match kind {
            Kind::Users | Kind::AddUser => {
                if self.lost.is_some() {
                    // Users are no sign that box and register agree.
                    self.report(&connection).await?;
                }
                if kind == Kind::Users {
                    self.sync_users(&connection).await?;
                } else {
                    self.add_user(&connection).await?;
                }
            }
            Kind::Register => self.register(&connection).await?,
            _ => self.report(&connection).await?,
        }
        if self.keeps_channel && self.channel.is_none() {
            self.open_channel(&connection).await?;
        }
        Ok(())
    }

    async fn register(&mut self, connection: &Connection) -> Result<(), CallError> {
        let is_watched = self.is_watched();
        let mut client = DeviceServiceClient::new(connection.channel.clone());
        let answer = within(client.register(request(self.register_request()))).await?;
        let answer = answer.map_err(|status| CallError::of(connection, &status))?.into_inner();
        let v1::RegisterResponse { operation_id, vdoms, generation, digest, .. } = answer;
        self.acknowledge(Answer { operation: operation_id, vdoms, is_in_sync: false, generation, digest }, is_watched);
        Ok(())
    }

    /// Reports what is there: VDOMs, and the word on the HA pair.
    async fn report(&mut self, connection: &Connection) -> Result<(), CallError> {
        let is_watched = self.is_watched();
        let mut sync = self.device.sync_request();
        if let Some(ha) = &self.ha {
            // An equal digest would be the end of it.
            (sync.ha, sync.digest) = (Some(ha.clone()), Vec::new());
        }
        let mut client = DeviceServiceClient::new(connection.channel.clone());
        let answer = within(client.sync(request(sync))).await?;
        let mut answer = answer.map_err(|status| CallError::of(connection, &status))?.into_inner();
        self.standing = answer.cluster.take();
        let is_in_sync = answer.status() == v1::SyncStatus::InSync;
        let v1::SyncResponse { operation_id, vdoms, generation, digest, .. } = answer;
        self.acknowledge(Answer { operation: operation_id, vdoms, is_in_sync, generation, digest }, is_watched);
        Ok(())
    }

    /// Asked before each call: what began before the first viewer came may have ended before, too.
    pub(super) fn is_watched(&self) -> bool {
        self.shared.is_watched.load(Ordering::Acquire)
    }

    /// Opens the channel, and tells whether box and register agree.
    async fn open_channel(&mut self, connection: &Connection) -> Result<bool, CallError> {
        let (began, is_watched) = (Instant::now(), self.is_watched());
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
    pub(super) fn write_down(&self, id: String, is_watched: bool) {
        if is_watched {
            let acknowledged = Instant::now();
            lock(&self.shared.operations).push(Operation { id, serial: self.device.serial, acknowledged });
        }
    }

    fn register_request(&self) -> v1::RegisterRequest {
        v1::RegisterRequest {
            serial_number: self.device.serial.to_string(),
            info: Some((&self.device.info()).into()),
            vdoms: self.device.vdoms().iter().map(|name| v1::Vdom { name: name.to_string() }).collect(),
            ..Default::default()
        }
    }

    /// Writes down what the answer promises.
    fn acknowledge(&mut self, answer: Answer, is_watched: bool) {
        self.write_down(answer.operation.clone(), is_watched);
        let before = self.acknowledged.take();
        let mut users = before.as_ref().map(|before| before.users.clone()).unwrap_or_default();
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
                    users.remove(&name);
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
}

pub(super) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

pub(super) async fn within<F: Future>(call: F) -> Result<F::Output, CallError> {
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
