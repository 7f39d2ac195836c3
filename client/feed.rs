//! The debug feed of one box in a terminal.

use std::future;
use std::io::{self, Write};
use std::time::Duration;

use muster_proto::v1::debug_log_service_client::DebugLogServiceClient;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::{SerialNumber, v1};
use rand::Rng;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::backoff::Backoff;
use crate::components::Components;
use crate::connect::{Connection, Dialer};
use crate::failure::CallError;
use crate::render;

/// A feed that says nothing for so long is dead: the server sends a heartbeat every 25 seconds.
const SILENCE: Duration = Duration::from_mins(1);

type Stream = Streaming<v1::StreamDebugLogsResponse>;

/// What to show of the feed.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Which components, at which levels.
    pub components: Components,
    /// Start with the last so many events; else with the earliest, or with the next one if the view follows.
    pub tail: Option<u32>,
    /// Whether to go on with new events.
    pub follow: bool,
}

/// Where a feed is shown.
pub trait Show {
    /// The server has opened the feed: what happens from now on is seen.
    fn opened(&mut self) {}
    /// An event.
    fn event(&mut self, event: &v1::DebugEvent) -> io::Result<()>;
    /// A line about the feed itself.
    fn note(&mut self, line: &str) -> io::Result<()>;
    /// Nothing more is waiting.
    fn flush(&mut self) -> io::Result<()>;
}

/// A feed as lines of text.
#[derive(Debug)]
pub struct Lines<'a, W> {
    /// Whose feed it is.
    pub serial: SerialNumber,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// Where the lines go.
    pub out: &'a mut W,
}

impl<W: Write> Show for Lines<'_, W> {
    fn event(&mut self, event: &v1::DebugEvent) -> io::Result<()> {
        writeln!(self.out, "{}", render::event(event, &self.serial, self.timestamps))
    }

    fn note(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Why a view ended before it was complete.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The feed cannot be had.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The lines cannot be written.
    #[error("could not write the feed")]
    Output(#[from] io::Error),
}

/// How one stream ended.
enum End {
    /// All that was asked for has been sent.
    Complete,
    /// The server closes, and says when to come back.
    Closing(v1::FeedClosing),
    /// It broke off, or was refused.
    Failed(CallError),
}

/// One viewer, over however many connections.
struct Viewer<'a, W> {
    serial: &'a SerialNumber,
    view: &'a View,
    out: &'a mut W,
    /// The last cursor seen: where to start again.
    position: String,
    backoff: Backoff,
    /// Why the feed is interrupted, as last written.
    interruption: Option<String>,
}

/// Writes the feed of a box until it is complete; if the view follows, for ever, across reconnects. `limit` is how long the server may take to
/// answer.
pub async fn watch(
    dialer: &Dialer,
    serial: &SerialNumber,
    view: &View,
    limit: Duration,
    rng: &mut impl Rng,
    out: &mut impl Show,
) -> Result<(), FeedError> {
    let (position, backoff) = (String::new(), Backoff::default());
    let mut viewer = Viewer { serial, view, out, position, backoff, interruption: None };
    loop {
        let (cause, asked) = match viewer.stream(dialer, limit).await? {
            End::Complete => return Ok(()),
            End::Closing(closing) if view.follow => {
                let asked = closing.retry_after.and_then(|delay| Duration::try_from(delay).ok());
                (render::closing(&closing).to_owned(), asked)
            }
            End::Closing(closing) => return Err(CallError::Lost(render::closing(&closing).to_owned()).into()),
            End::Failed(error) if view.follow && viewer.was_open() && error.is_passing() => {
                (error.to_string(), error.retry_after())
            }
            End::Failed(error) => return Err(error.into()),
        };
        let wait = viewer.backoff.next(asked, rng);
        viewer.interrupted(cause, wait)?;
        tokio::time::sleep(wait).await;
    }
}

impl<W: Show> Viewer<'_, W> {
    fn request(&self) -> v1::StreamDebugLogsRequest {
        v1::StreamDebugLogsRequest {
            tail: if self.was_open() { None } else { self.view.tail },
            cursor: self.position.clone(),
            follow: self.view.follow,
            include: self.view.components.filters(self.serial),
            ..Default::default()
        }
    }

    fn was_open(&self) -> bool {
        !self.position.is_empty()
    }

    /// Says that the feed is interrupted; once for each cause.
    fn interrupted(&mut self, cause: String, wait: Duration) -> io::Result<()> {
        if self.interruption.as_ref() != Some(&cause) {
            let text = format!("interrupted: {cause}; reconnecting in {}", render::wait(wait));
            self.out.note(&render::note(&text))?;
            self.out.flush()?;
            self.interruption = Some(cause);
        }
        Ok(())
    }

    async fn stream(&mut self, dialer: &Dialer, limit: Duration) -> io::Result<End> {
        let connection = match dialer.connect(limit).await {
            Ok(connection) => connection,
            Err(error) => return Ok(End::Failed(error.into())),
        };
        let mut client = DebugLogServiceClient::new(connection.channel.clone());
        let opening = client.stream_debug_logs(self.request());
        match timeout(limit, opening).await {
            Ok(Ok(answer)) => self.read(&connection, answer.into_inner()).await,
            Ok(Err(status)) => Ok(End::Failed(CallError::of(&connection, &status))),
            Err(_) => Ok(End::Failed(CallError::NoAnswer(limit))),
        }
    }

    async fn read(&mut self, connection: &Connection, mut stream: Stream) -> io::Result<End> {
        let (mut caught_up, mut goodbye) = (false, None);
        loop {
            let Some(message) = self.next(&mut stream).await? else {
                return self.end(End::Failed(CallError::NoAnswer(SILENCE)));
            };
            match (message, goodbye.take()) {
                (Ok(Some(message)), _) => match message.kind {
                    Some(Kind::CaughtUp(at)) => {
                        caught_up = true;
                        self.moved(at.cursor);
                    }
                    Some(Kind::Closing(closing)) => {
                        self.moved(closing.resume_cursor.clone());
                        goodbye = Some(closing);
                    }
                    // A kind that a newer server knows is skipped.
                    kind => kind.map_or(Ok(()), |kind| self.show(kind))?,
                },
                (_, Some(closing)) if render::is_final(&closing) => return self.end(End::Complete),
                (Err(status), Some(closing)) if closing.reason() == v1::ClosingReason::AuthorisationEnded => {
                    return self.end(End::Failed(CallError::of(connection, &status)));
                }
                (_, Some(closing)) => return self.end(End::Closing(closing)),
                (Ok(None), None) if caught_up && !self.view.follow => return self.end(End::Complete),
                (Ok(None), None) => {
                    return self.end(End::Failed(CallError::Lost("the server ended the feed".to_owned())));
                }
                (Err(status), None) => return self.end(End::Failed(CallError::of(connection, &status))),
            }
        }
    }

    /// The next message, or nothing if none comes for too long. Lines are flushed when no message is waiting, not one by one.
    async fn next(
        &mut self,
        stream: &mut Stream,
    ) -> io::Result<Option<Result<Option<v1::StreamDebugLogsResponse>, Status>>> {
        tokio::select! {
            biased;
            message = stream.message() => return Ok(Some(message)),
            () = future::ready(()) => {}
        }
        self.out.flush()?;
        Ok(timeout(SILENCE, stream.message()).await.ok())
    }

    fn end(&mut self, end: End) -> io::Result<End> {
        self.out.flush()?;
        Ok(end)
    }

    fn moved(&mut self, cursor: String) {
        self.backoff.reset();
        if !cursor.is_empty() {
            self.position = cursor;
        }
    }

    fn show(&mut self, kind: Kind) -> io::Result<()> {
        match kind {
            Kind::Opened(opened) => self.opened(opened),
            Kind::Event(event) => {
                self.out.event(&event)?;
                self.moved(event.cursor);
                Ok(())
            }
            Kind::Gap(gap) => {
                self.out.note(&render::gap(&gap))?;
                self.moved(gap.to_cursor);
                Ok(())
            }
            Kind::Heartbeat(v1::FeedHeartbeat { cursor, .. }) | Kind::CaughtUp(v1::FeedCaughtUp { cursor }) => {
                self.moved(cursor);
                Ok(())
            }
            Kind::Closing(closing) => {
                self.moved(closing.resume_cursor);
                Ok(())
            }
        }
    }

    fn opened(&mut self, opened: v1::FeedOpened) -> io::Result<()> {
        self.out.opened();
        if self.interruption.take().is_some() {
            self.out.note(&render::note("connected again"))?;
        } else if !opened.warning.is_empty() {
            self.out.note(&render::note(&format!("warning: {}", opened.warning)))?;
        }
        // Not a sign of health yet: a server that opens and closes at once is still waited for longer and longer.
        if !opened.cursor.is_empty() {
            self.position = opened.cursor;
        }
        Ok(())
    }
}
