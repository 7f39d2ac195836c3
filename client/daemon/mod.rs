//! The daemon of a box that keeps its channel to the service open, in the background of a console or alone (`fortigate channel`).
//!
//! One box has one channel, however many consoles: the daemon that holds the lock of the box keeps it, and another one takes over when that
//! one ends. It keeps none for a box that is not registered: a box that an admin removed does not come back unasked.

mod heed;
mod plan;

use std::fs::File;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::channel::{self, Channel, duration};
use crate::cloud::Cloud;
use crate::device::Device;
use crate::device_dir::DeviceDir;
use crate::failure::CallError;
use crate::shell::screen::Screen;
use crate::shell::watch::Switches;
use plan::{Plan, Return};

/// Knows how to reach the service as a box; asked anew for each connection, because a command may have changed where it is.
pub type Reach = Arc<dyn Fn(&Device) -> anyhow::Result<Cloud> + Send + Sync>;

/// How often the daemon looks whether it is its turn, and whether the box still wants a channel.
const LOOK: Duration = Duration::from_millis(500);
/// How many lines may wait to be sent.
const LINES: usize = 64;
/// How long the end of a channel may take before a console goes without it.
const FAREWELL: Duration = Duration::from_secs(1);
/// The level of debug messages about the channel: outcomes.
const OUTCOME: u32 = 4;

/// A line that a daemon of the box wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The daemon.
    pub component: &'static str,
    /// The level, as the debug feed has them.
    pub level: u32,
    /// The VDOM that it is about; empty for the box as a whole.
    pub vdom: String,
    /// What it says.
    pub text: String,
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Running {
    lines: mpsc::Sender<Line>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The daemon.
pub struct Daemon {
    dir: DeviceDir,
    reach: Reach,
    screen: Screen,
    switches: Switches,
    lines: mpsc::Receiver<Line>,
    rng: StdRng,
    /// Drawn at each start, so that a restart can be told from a lost connection.
    boot_id: String,
    plan: Plan,
    channel: Option<Channel>,
    syncing: Option<JoinHandle<Synced>>,
}

/// How a sync ended: what is to be told, and when to sync next.
type Synced = (Vec<String>, Option<Duration>);

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Running {
    /// Says what a daemon of the box has to say, if the server asked for that. What finds no room is lost.
    pub fn say(&self, line: Line) {
        let _ = self.lines.try_send(line);
    }

    /// Ends the daemon and its channel, which another console may take over.
    pub async fn end(mut self) {
        let _ = self.stop.send(());
        if timeout(FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Daemon {
    /// Starts a daemon in the background. What it has to tell goes to the screen, as far as the switches show the messages of the service.
    pub fn start(
        dir: DeviceDir,
        reach: Reach,
        screen: Screen,
        switches: Switches,
        rng: &mut impl rand::Rng,
    ) -> Running {
        let (lines, said) = mpsc::channel(LINES);
        let (stop, stopped) = oneshot::channel();
        let mut rng = StdRng::from_rng(rng);
        let boot_id = format!("{:016x}", rng.random::<u64>());
        let (plan, channel, syncing) = (Plan::default(), None, None);
        let daemon = Self { dir, reach, screen, switches, lines: said, rng, boot_id, plan, channel, syncing };
        Running { lines, stop, task: tokio::spawn(daemon.live(stopped)) }
    }

    async fn live(mut self, stopped: oneshot::Receiver<()>) {
        tokio::select! {
            // Whoever started it may be gone without a word.
            _ = stopped => {}
            () = self.keep() => {}
        }
        if let Some(channel) = self.channel.take() {
            channel.hang_up().await;
        }
    }

    /// Keeps the channel, for ever.
    async fn keep(&mut self) {
        let _turn = self.turn().await;
        loop {
            self.until_wanted().await;
            let back = match self.open().await {
                Ok(()) => self.serve().await,
                Err(error) => self.failed(&error),
            };
            match back {
                Return::After(wait) => sleep(wait).await,
                Return::Never => self.until_registered_anew().await,
            }
        }
    }

    /// Waits until no other console of the box keeps the channel.
    async fn turn(&mut self) -> File {
        let mut waits = false;
        loop {
            let wait = match self.dir.hold_channel() {
                Ok(Some(turn)) => return turn,
                Ok(None) => {
                    if !waits {
                        self.tell("another console of this box keeps the channel, this one takes over when it ends");
                        waits = true;
                    }
                    LOOK
                }
                Err(error) => match self.failed(&CallError::Lost(error.to_string())) {
                    Return::After(wait) => wait,
                    Return::Never => LOOK,
                },
            };
            sleep(wait).await;
        }
    }

    /// Tells that there is no channel and why, and when to try again.
    fn failed(&mut self, error: &CallError) -> Return {
        self.tell(&format!("no channel: {error}"));
        self.plan.over(None, error, &mut self.rng)
    }

    /// Whether the box is registered, and uses the service. A box that cannot be read has no channel.
    fn is_wanted(&self) -> bool {
        let registered = self.dir.memory().is_ok_and(|memory| memory.registered);
        registered && self.dir.load().is_ok_and(|device| device.conf.uses_cloud())
    }

    async fn until_wanted(&self) {
        while !self.is_wanted() {
            sleep(LOOK).await;
        }
    }

    /// The service does not want the box back by itself: waits until it takes something from the box again.
    async fn until_registered_anew(&self) {
        let before = self.dir.memory().map(|memory| memory.contact).unwrap_or_default();
        while self.dir.memory().is_ok_and(|memory| memory.contact == before) {
            sleep(LOOK).await;
        }
    }

    async fn open(&mut self) -> Result<(), CallError> {
        let lost = |error: &dyn std::fmt::Display| CallError::Lost(error.to_string());
        let device = self.dir.load().map_err(|error| lost(&error))?;
        let cloud = (self.reach)(&device).map_err(|error| lost(&error))?;
        let connection = cloud.dialer.connect(cloud.timeout).await?;
        let hello = channel::hello(&device, &self.boot_id, OffsetDateTime::now_utc());
        let (channel, welcome) = Channel::open(&connection, hello, cloud.timeout).await?;
        self.channel = Some(channel);
        self.plan.paced(duration(welcome.next_sync_after), Instant::now());
        let state = if welcome.in_sync { "in sync" } else { "not in sync" };
        self.tell(&format!("channel {} is open: the box is {state}", welcome.connection_generation));
        Ok(())
    }

    /// Does what the channel is for until it is over.
    async fn serve(&mut self) -> Return {
        loop {
            let Some(channel) = &mut self.channel else { return Return::After(LOOK) };
            tokio::select! {
                happening = channel.next() => {
                    if let Some(back) = self.heed(happening).await {
                        return back;
                    }
                }
                line = self.lines.recv() => match line {
                    Some(line) => channel.say(line.component, line.level, &line.vdom, &line.text),
                    // Whoever has something to say holds the other half of `stopped`, too.
                    None => future::pending().await,
                },
                synced = done(&mut self.syncing) => {
                    self.syncing = None;
                    let (told, next) = synced;
                    self.plan.paced(next, Instant::now());
                    for line in &told {
                        self.tell(line);
                    }
                }
                () = due(self.plan.sync_at) => {
                    self.plan.sync_at = None;
                    self.sync(String::new());
                }
                () = sleep(LOOK) => if !self.is_wanted() {
                    if let Some(channel) = self.channel.take() {
                        channel.leave("fortitoken-cloud disable").await;
                    }
                    return Return::After(Duration::ZERO);
                },
            }
        }
    }
}

/// Waits for a sync that is under way; for ever if there is none.
async fn done(syncing: &mut Option<JoinHandle<Synced>>) -> Synced {
    match syncing {
        Some(task) => task.await.unwrap_or_else(|error| (vec![format!("no sync: {error}")], None)),
        None => future::pending().await,
    }
}

/// Waits for a time; for ever if there is none.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}
