//! One viewer of the feed: a stream that opens, catches up, follows and closes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use muster_proto::debug_log::FeedRequest;
use muster_proto::encoded::EncodedResponse;
use muster_proto::v1::{ClosingReason, GapReason};
use muster_proto::{Cursor, Invalid, SerialNumber, Timestamp};
use tokio::task::coop;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Shared;
use super::control::{self, Gap};
use super::event::Entry;
use super::filter::Selection;
use super::opening::Opening;
use super::pace::{Idle, Pace};
use super::ring::{Closing, Seat};
use super::scope::Scope;
use super::survey::{Survey, Surveyed};

/// How many events are taken from the ring at a time. A viewer that stalls keeps so many from being freed.
const BATCH: usize = 64;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that was asked for has been sent.
    Complete,
    /// The limit was reached.
    Limit,
    /// The time `until` was reached.
    Until,
    /// The server is shutting down.
    Shutdown {
        /// When to come back.
        retry_after: Duration,
    },
    /// The viewer may no longer watch.
    AuthorisationEnded,
}

/// A stream of responses. Whoever drops it has left. After its end [`Viewing::ended`] tells why.
#[derive(Debug)]
pub struct Viewing {
    shared: Arc<Shared>,
    seat: Seat<SerialNumber>,
    selection: Selection,
    /// What is to be found out before anything is sent.
    survey: Option<Survey>,
    follow: bool,
    until: Option<Timestamp>,
    remaining: Option<u64>,
    /// Skips what is earlier, until the first event that is not.
    since: Option<Timestamp>,
    /// The position of the latest event when the stream was opened.
    target: u64,
    /// Every event up to this position has been dealt with.
    position: u64,
    /// Events that are lost to this viewer, to be told next.
    gap: Option<Gap>,
    /// Events behind the position.
    batch: VecDeque<Arc<Entry>>,
    caught_up: bool,
    closing: Option<Closing>,
    pace: Pace,
    authorisation: CancellationToken,
    authorisation_end: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: Option<Ending>,
}

impl Viewing {
    pub(super) fn open(
        shared: Arc<Shared>,
        request: &FeedRequest,
        scope: &Scope,
        authorisation: CancellationToken,
    ) -> Result<Self, Invalid> {
        let selection = Selection::new(request, scope);
        let extent = shared.ring.extent();
        let opening = Opening::new(&shared, &extent, request)?;
        Ok(Self {
            seat: shared.ring.join(selection.only_serial()),
            shared,
            selection,
            follow: request.follow,
            until: request.until,
            remaining: request.limit.map(Into::into),
            since: opening.since,
            target: extent.latest,
            position: opening.position,
            gap: opening.gap,
            survey: Some(Survey::new(request, scope, opening, extent.latest)),
            batch: VecDeque::new(),
            caught_up: false,
            closing: None,
            pace: Pace::new(request.heartbeat),
            authorisation_end: Box::pin(authorisation.clone().cancelled_owned()),
            authorisation,
            ended: None,
        })
    }

    /// Why the stream ended; `None` while it has not.
    #[must_use]
    pub fn ended(&self) -> Option<Ending> {
        self.ended
    }

    /// Starting again from here gives all that comes.
    fn reached(&self) -> Cursor {
        self.gap.map_or(self.shared.cursor(self.position), |gap| gap.from)
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<EncodedResponse> {
        while let Some(survey) = &mut self.survey {
            ready!(coop::poll_proceed(cx)).made_progress();
            if let Some(Surveyed { start, warning }) = survey.step(&self.shared.ring, &self.selection) {
                self.survey = None;
                self.position = start;
                let (include, exclude) = (self.selection.include(), self.selection.exclude());
                return Poll::Ready(control::opened(include, exclude, warning, self.reached()));
            }
        }
        loop {
            if self.authorisation.is_cancelled() {
                return Poll::Ready(self.end(Ending::AuthorisationEnded));
            }
            if self.remaining == Some(0) {
                return Poll::Ready(self.end(Ending::Limit));
            }
            if let Some(gap) = self.gap.take() {
                self.shared.gaps.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(control::gap(&gap));
            }
            if let Some(response) = self.next_of_batch() {
                return Poll::Ready(response);
            }
            // Reading on without end would keep other tasks waiting.
            ready!(coop::poll_proceed(cx)).made_progress();
            if self.read() {
                continue;
            }
            if !self.caught_up && self.position >= self.target {
                self.caught_up = true;
                return Poll::Ready(control::caught_up(self.reached()));
            }
            if let Some(ending) = self.ending() {
                return Poll::Ready(self.end(ending));
            }
            let at_most = self.until.map(|until| until.since(self.shared.clock.now()) + Duration::from_millis(1));
            let waiting = match self.pace.idle(at_most, cx) {
                Idle::Heartbeat => {
                    return Poll::Ready(control::heartbeat(self.reached(), self.shared.clock.now()));
                }
                Idle::Look => false,
                Idle::Pause => true,
                Idle::Wait => self.shared.ring.wait(&self.seat, self.position, cx.waker()),
            };
            if waiting && self.authorisation_end.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// The response to the next event of the batch that has one.
    fn next_of_batch(&mut self) -> Option<EncodedResponse> {
        while let Some(entry) = self.batch.pop_front() {
            let event = entry.event();
            if self.until.is_some_and(|until| event.time > until) {
                return Some(self.end(Ending::Until));
            }
            self.position += 1;
            if self.since.is_some_and(|since| event.time < since) {
                continue;
            }
            self.since = None;
            if self.selection.selects(event) {
                self.remaining = self.remaining.map(|remaining| remaining - 1);
                return Some(entry.encoded(self.shared.cursor(self.position)));
            }
        }
        None
    }

    /// Takes events from the ring, or finds that some are lost; false if there is nothing for now.
    fn read(&mut self) -> bool {
        let limit = if self.follow { u64::MAX } else { self.target.saturating_sub(self.position) };
        let limit = usize::try_from(limit).map_or(BATCH, |limit| limit.min(BATCH));
        if limit == 0 {
            return false;
        }
        let read = self.shared.ring.read(&self.seat, self.position, limit, &mut self.batch);
        self.position = read.first;
        self.closing = read.closing;
        if read.first > read.after {
            let (from, to) = (self.shared.cursor(read.after), self.shared.cursor(read.first));
            self.gap = Some(Gap { from, to, reason: GapReason::SlowViewer });
        }
        let anything = self.gap.is_some() || !self.batch.is_empty();
        if anything {
            self.pace.read();
        }
        anything
    }

    /// Why the stream ends now that there is nothing to read, if it does.
    fn ending(&self) -> Option<Ending> {
        if self.caught_up && !self.follow {
            return Some(Ending::Complete);
        }
        if let Some(closing) = self.closing {
            return Some(Ending::Shutdown { retry_after: closing.retry_after });
        }
        self.until.filter(|until| self.shared.clock.now() > *until).map(|_| Ending::Until)
    }

    fn end(&mut self, ending: Ending) -> EncodedResponse {
        self.ended = Some(ending);
        let (reason, retry_after) = match ending {
            Ending::Complete => (ClosingReason::Complete, None),
            Ending::Limit => (ClosingReason::Limit, None),
            Ending::Until => (ClosingReason::Until, None),
            Ending::Shutdown { retry_after } => (ClosingReason::Shutdown, Some(retry_after)),
            Ending::AuthorisationEnded => (ClosingReason::AuthorisationEnded, None),
        };
        control::closing(reason, self.reached(), retry_after)
    }
}

impl Stream for Viewing {
    type Item = EncodedResponse;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EncodedResponse>> {
        let this = self.get_mut();
        if this.ended.is_some() {
            return Poll::Ready(None);
        }
        let response = ready!(this.poll_response(cx));
        this.pace.sent();
        Poll::Ready(Some(response))
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.shared.ring.leave(&self.seat);
    }
}
