//! The console: lines go into the session, and what the session wants done is done here.

use std::fs;
use std::future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use muster_proto::printable;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use time::OffsetDateTime;

use crate::cli::Exit;
use crate::daemon::{self, Daemon};
use crate::device_dir::{DeviceDir, DirError};
use crate::render;
use crate::shell::daemons;
use crate::shell::editor::Typed;
use crate::shell::effect::{Effect, Moment, Step};
use crate::shell::perform::{Reach, perform};
use crate::shell::screen::Screen;
use crate::shell::session::Session;
use crate::shell::source::Source;
use crate::shell::watch::{Switches, Watch};

/// A session with all that it needs of the world.
pub struct Console<'a> {
    dir: &'a DeviceDir,
    reach: Reach<'a>,
    clock: fn() -> OffsetDateTime,
    screen: Screen,
    rng: StdRng,
    session: Session,
    switches: Switches,
    watch: Option<Watch>,
    /// Keeps the channel of the box, in a session that stays.
    daemon: Option<daemon::Running>,
    /// How often debug messages had been asked for when the feed was opened.
    asked: u64,
    /// What the last dry run said would be done.
    plan: Option<String>,
    /// How the worst command ended.
    exit: Exit,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<'a> Console<'a> {
    /// A console at the first prompt of a box.
    pub fn new(
        dir: &'a DeviceDir,
        reach: Reach<'a>,
        clock: fn() -> OffsetDateTime,
        screen: Screen,
        rng: &mut impl rand::Rng,
    ) -> Self {
        Self {
            dir,
            reach,
            clock,
            screen,
            rng: StdRng::from_rng(rng),
            session: Session::default(),
            switches: Arc::default(),
            watch: None,
            daemon: None,
            asked: 0,
            plan: None,
            exit: Exit::Done,
        }
    }

    /// Keeps the channel of the box in the background, while the session lasts.
    #[must_use]
    pub fn with_channel(mut self, reach: daemon::Reach) -> Self {
        let (screen, switches) = (self.screen.clone(), Arc::clone(&self.switches));
        self.daemon = Some(Daemon::start(self.dir.clone(), reach, screen, switches, &mut self.rng));
        self
    }

    /// Runs lines until there are no more, or one of them ends the session. With `stay` the end of the lines is not the end: what comes of the
    /// debug switches is shown until their time is over.
    pub async fn run(mut self, source: Source, stay: bool) -> anyhow::Result<Exit> {
        let exit = self.session(source, stay).await;
        if let Some(daemon) = self.daemon {
            daemon.end().await;
        }
        exit
    }

    async fn session(&mut self, mut source: Source, stay: bool) -> anyhow::Result<Exit> {
        loop {
            let device = self.dir.load()?;
            source.ask(&self.session.prompt(&device), || self.session.guide(&device), &self.screen)?;
            let typed = loop {
                tokio::select! {
                    biased;
                    typed = source.answer(&self.screen) => break typed?,
                    () = debugs_end(&self.session, self.clock) => self.expire()?,
                }
            };
            match typed {
                Typed::Line(line) => {
                    if self.line(&line).await? {
                        return Ok(self.exit);
                    }
                }
                Typed::Interrupted => self.session.interrupt(),
                Typed::Closed => break,
            }
        }
        if let Some(text) = self.session.finish() {
            self.screen.print(&text)?;
            self.ends(Exit::Usage);
        }
        while stay && self.session.debug.is_printing() {
            debugs_end(&self.session, self.clock).await;
            self.expire()?;
        }
        Ok(self.exit)
    }

    /// Runs one line, and says whether it ended the session.
    async fn line(&mut self, line: &str) -> anyhow::Result<bool> {
        let moment = Moment { now: (self.clock)(), salt: self.rng.random() };
        let session = &mut self.session;
        let step = self.dir.edit(|device| Ok::<_, DirError>(session.step(line, device, &moment)))?;
        self.follow(step).await
    }

    /// Shows what a step said, and does what it wants done.
    async fn follow(&mut self, step: Step) -> anyhow::Result<bool> {
        let filter = step.filter.clone();
        let mut held = Vec::new();
        if filter.is_some() {
            held.extend_from_slice(step.output.as_bytes());
        } else {
            self.screen.print(&step.output)?;
        }
        if step.refused.is_some() {
            self.ends(Exit::Failed);
        }
        self.switch().await?;
        let mut steps = vec![step];
        while let Some(step) = steps.pop() {
            for effect in step.effects {
                match effect {
                    Effect::Close => return Ok(true),
                    Effect::Restore(path) => steps.extend(self.restore(&path)?),
                    effect => {
                        let exit = tokio::select! {
                            exit = perform(&effect, self.dir, self.reach, &self.session, (&mut self.plan, &mut self.rng), &self.screen, filter.is_some().then_some(&mut held)) => exit?,
                            interrupted = tokio::signal::ctrl_c() => {
                                interrupted?;
                                self.screen.print("^C\n")?;
                                Exit::Failed
                            }
                        };
                        self.said(&effect, exit);
                        self.ends(exit);
                    }
                }
            }
        }
        if let Some(filter) = filter {
            self.screen.print(&filter.apply(&String::from_utf8_lossy(&held)))?;
        }
        Ok(false)
    }

    /// Opens or closes the feed, as the switches of the session say.
    async fn switch(&mut self) -> anyhow::Result<()> {
        *self.switches.lock().unwrap_or_else(PoisonError::into_inner) = self.session.debug.clone();
        let asked_again = self.asked != self.session.debug.asked();
        self.asked = self.session.debug.asked();
        if !self.session.debug.is_printing() || (asked_again && self.watch.as_ref().is_some_and(Watch::is_over)) {
            self.watch = None;
        }
        if self.session.debug.is_printing() && self.watch.is_none() {
            let device = self.dir.load()?;
            let cloud = (self.reach)(&device)?;
            let rng = StdRng::from_rng(&mut self.rng);
            let shown = (self.screen.clone(), Arc::clone(&self.switches));
            let opening = Watch::open(cloud.dialer, device.serial, cloud.timeout, shown, rng);
            self.watch = tokio::select! {
                watch = opening => Some(watch),
                interrupted = tokio::signal::ctrl_c() => { interrupted?; None }
            };
        }
        Ok(())
    }

    fn expire(&mut self) -> anyhow::Result<()> {
        if self.session.debug.expire((self.clock)()) {
            *self.switches.lock().unwrap_or_else(PoisonError::into_inner) = self.session.debug.clone();
            self.watch = None;
            self.screen.print(&format!("{}\n", render::note("debug is off again: its duration is over")))?;
        }
        Ok(())
    }

    /// `execute restore config`: reads the file, and takes it in.
    fn restore(&mut self, path: &str) -> anyhow::Result<Option<Step>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let text = format!("{}\nfix: could not read {}: {error}\n", render::COMMAND_FAIL, printable(path));
                self.screen.print(&text)?;
                self.ends(Exit::Failed);
                return Ok(None);
            }
        };
        let session = &mut self.session;
        let step = self.dir.edit(|device| Ok::<_, DirError>(session.restore(&text, device)))?;
        self.screen.print(&step.output)?;
        if step.refused.is_some() {
            self.ends(Exit::Failed);
        }
        Ok(Some(step))
    }

    /// Has the daemon say what was done, for a server that asked for debug lines.
    fn said(&self, effect: &Effect, exit: Exit) {
        if let Some(daemon) = &self.daemon {
            for line in daemons::lines(effect, exit) {
                daemon.say(line);
            }
        }
    }

    fn ends(&mut self, exit: Exit) {
        self.exit = self.exit.max(exit);
    }
}

/// Waits until the debugs of a session end by themselves; for ever if they do not.
async fn debugs_end(session: &Session, clock: fn() -> OffsetDateTime) {
    match session.debug.ends() {
        Some(ends) => tokio::time::sleep(Duration::try_from(ends - clock()).unwrap_or_default()).await,
        None => future::pending().await,
    }
}
