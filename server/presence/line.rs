//! One channel, as those see it who have something to say to its device.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use muster_proto::channel::Features;
use muster_proto::v1::channel_response::Kind;
use muster_proto::{SerialNumber, v1};

use crate::registry::Refusal;

/// One channel. What is to be said waits here until the stream of the channel is ready for it; of each kind the latest is kept, so that
/// no device can make the server hold much.
#[derive(Debug)]
pub struct Line {
    /// The device.
    pub serial: SerialNumber,
    /// Which of its channels this is.
    pub generation: u64,
    /// What the device can do.
    pub features: Features,
    mailbox: Mutex<Mailbox>,
}

#[derive(Debug, Default)]
struct Mailbox {
    /// Most channels have none most of the time.
    mail: Option<Box<Mail>>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Mail {
    removed: Option<v1::ChannelRemoved>,
    debug: Option<v1::ChannelDebug>,
    sync_now: Option<v1::ChannelSyncNow>,
    pacing: Option<v1::ChannelPacing>,
    end: Option<End>,
}

/// Why the server ends a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// What the device is told.
    pub refusal: Refusal,
    /// When it may come back by itself, if it should.
    pub reconnect_after: Option<Duration>,
}

/// What the stream of a channel is to do.
#[derive(Debug)]
pub enum Saying {
    /// Tell the device.
    Say(Kind),
    /// Say goodbye and end.
    End(End),
}

impl Line {
    pub(super) fn new(serial: SerialNumber, generation: u64, features: Features) -> Self {
        Self { serial, generation, features, mailbox: Mutex::default() }
    }

    /// Says something to the device as soon as it can be said.
    pub(super) fn say(&self, kind: Kind) {
        self.post(|mail| match kind {
            Kind::Removed(removed) => mail.removed = Some(removed),
            Kind::Debug(debug) => mail.debug = Some(debug),
            Kind::SyncNow(sync_now) => mail.sync_now = Some(sync_now),
            Kind::Pacing(pacing) => mail.pacing = Some(pacing),
            // Said by the stream of the channel itself.
            Kind::Welcome(_) | Kind::Heartbeat(_) | Kind::Goodbye(_) => {}
        });
    }

    /// Ends the channel, once what was said before is said. The first reason counts.
    pub(super) fn end(&self, end: End) {
        self.post(|mail| {
            mail.end.get_or_insert(end);
        });
    }

    fn post(&self, write: impl FnOnce(&mut Mail)) {
        let waker = {
            let mut mailbox = self.lock();
            write(mailbox.mail.get_or_insert_default());
            mailbox.waker.take()
        };
        // Outside of the lock: a waker may do anything.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What is to be said next.
    pub fn poll_saying(&self, cx: &Context<'_>) -> Poll<Saying> {
        let mut mailbox = self.lock();
        if let Some(mail) = &mut mailbox.mail {
            let kind = mail
                .removed
                .take()
                .map(Kind::Removed)
                .or_else(|| mail.debug.take().map(Kind::Debug))
                .or_else(|| mail.sync_now.take().map(Kind::SyncNow))
                .or_else(|| mail.pacing.take().map(Kind::Pacing));
            if let Some(kind) = kind {
                return Poll::Ready(Saying::Say(kind));
            }
            if let Some(end) = mail.end.take() {
                return Poll::Ready(Saying::End(end));
            }
            mailbox.mail = None;
        }
        match &mut mailbox.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
