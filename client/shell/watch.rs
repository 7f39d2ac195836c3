//! The debug messages of the service in a session: the feed of the own box, of which the session shows what its switches say.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_proto::{SerialNumber, v1};
use rand::rngs::StdRng;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::components::Components;
use crate::connect::Dialer;
use crate::feed::{self, FeedError, Show, View};
use crate::render;
use crate::shell::debug::Debug;
use crate::shell::screen::Screen;

/// The switches of a session, as the feed sees them.
pub type Switches = Arc<Mutex<Debug>>;

/// The feed of a box in a session. It ends when this goes.
#[derive(Debug)]
pub struct Watch(JoinHandle<()>);

struct Shown {
    screen: Screen,
    switches: Switches,
    serial: SerialNumber,
    opened: Option<oneshot::Sender<()>>,
}

impl Watch {
    /// Opens the feed; done when what happens from now on will be shown, or when it cannot be.
    pub async fn open(
        dialer: Dialer,
        serial: SerialNumber,
        limit: Duration,
        (screen, switches): (Screen, Switches),
        mut rng: StdRng,
    ) -> Self {
        let (opened, is_open) = oneshot::channel();
        let mut shown = Shown { screen: screen.clone(), switches, serial, opened: Some(opened) };
        let view = View { components: Components::default(), tail: None, follow: true };
        let task = tokio::spawn(async move {
            match feed::watch(&dialer, &serial, &view, limit, &mut rng, &mut shown).await {
                Err(FeedError::Call(error)) => {
                    let text = render::failure(&dialer.server, &error);
                    let _ = screen.print(&format!("{}\n{text}\n", render::note("debug messages cannot be had")));
                }
                // A screen that is gone has no one to tell.
                Ok(()) | Err(FeedError::Output(_)) => {}
            }
        });
        // It is dropped, and so answers, when the feed fails.
        let _ = is_open.await;
        Self(task)
    }
}

impl Watch {
    /// Whether the feed has ended: it could not be had, or will not come back.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Show for Shown {
    fn opened(&mut self) {
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(());
        }
    }

    fn event(&mut self, event: &v1::DebugEvent) -> io::Result<()> {
        let (shown, timestamps) = {
            let switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
            (switches.shows(&event.component, event.level), switches.has_timestamps())
        };
        if !shown {
            return Ok(());
        }
        self.screen.print(&format!("{}\n", render::event(event, &self.serial, timestamps)))
    }

    fn note(&mut self, line: &str) -> io::Result<()> {
        self.screen.print(&format!("{line}\n"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
