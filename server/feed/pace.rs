//! When a viewer with nothing to read looks again.

use std::mem;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a viewer lets events gather when they come faster than that: a wake-up for each would cost more than the event.
const PAUSE: Duration = Duration::from_millis(1);

/// When a viewer with nothing to read looks again.
#[derive(Debug)]
pub(super) struct Pace {
    heartbeat: Duration,
    /// Since when nothing was sent; `None` if something was since the last look.
    quiet_since: Option<Instant>,
    /// Whether anything was read since the last look.
    read: bool,
    /// When it last ran dry after reading something.
    dry: Option<Instant>,
    pause_until: Option<Instant>,
    // Made by the first look, because only then a runtime is sure to be there.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What to do when there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// Say that the stream is alive.
    Heartbeat,
    /// Look again at once.
    Look,
    /// Look again when the timer calls.
    Pause,
    /// Look again when something is recorded, or when the timer calls.
    Wait,
}

impl Pace {
    pub(super) fn new(heartbeat: Duration) -> Self {
        Self { heartbeat, quiet_since: None, read: false, dry: None, pause_until: None, timer: None }
    }

    /// Notes that something was sent.
    pub(super) fn sent(&mut self) {
        self.quiet_since = None;
    }

    /// Notes that something was read.
    pub(super) fn read(&mut self) {
        self.read = true;
    }

    /// What to do now that there is nothing to read; looks again after `at_most` in any case.
    pub(super) fn idle(&mut self, at_most: Option<Duration>, cx: &mut Context<'_>) -> Idle {
        let now = Instant::now();
        let heartbeat = *self.quiet_since.get_or_insert(now) + self.heartbeat;
        if heartbeat <= now {
            return Idle::Heartbeat;
        }
        if mem::take(&mut self.read) {
            let before = self.dry.replace(now);
            self.pause_until = before.filter(|before| now - *before < PAUSE).map(|_| now + PAUSE);
        }
        let pause = self.pause_until.filter(|until| *until > now);
        let asked = at_most.and_then(|time| now.checked_add(time));
        let next = [pause, asked].into_iter().flatten().fold(heartbeat, Instant::min);

        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
        // A timer that calls too early is left alone: that costs one look, and setting it anew costs more.
        if timer.is_elapsed() || timer.deadline() > next {
            timer.as_mut().reset(next);
        }
        if timer.as_mut().poll(cx).is_ready() {
            Idle::Look
        } else if pause.is_some() {
            Idle::Pause
        } else {
            Idle::Wait
        }
    }
}
