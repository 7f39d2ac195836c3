//! What the daemon does about what the server says.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use muster_proto::{printable, v1};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::plan::Return;
use super::{Daemon, LOOK, OUTCOME, Reach, Synced};
use crate::channel::{Happening, duration};
use crate::device_dir::DeviceDir;
use crate::render;

impl Daemon {
    /// Does what the server says; tells how to go on if the channel is over.
    pub(super) async fn heed(&mut self, happening: Happening) -> Option<Return> {
        match happening {
            Happening::Heartbeat(_) => self.plan.healthy(),
            Happening::Pacing(wait) => self.plan.paced(Some(wait), Instant::now()),
            Happening::SyncNow(asked) => {
                self.tell(&format!("the service asks for a sync: {}", asked.reason));
                self.say("httpsd", "ftc_channel-request sync-now");
                self.sync(asked.plan_id);
            }
            Happening::Debug(v1::ChannelDebug { level_mask: 0, .. }) => {
                self.tell("the service asks for debug messages no more");
            }
            Happening::Debug(debug) => {
                let time = duration(debug.duration).map(whole_seconds).unwrap_or_default();
                self.tell(&format!("the service asks for debug messages for {time}"));
                self.say("httpsd", "ftc_channel-request debug");
            }
            Happening::Removed(removed) => return Some(self.removed(&removed).await),
            Happening::Over(goodbye, error) => {
                self.channel = None;
                let why = goodbye.as_ref().map(|goodbye| format!(" ({})", goodbye.reason)).unwrap_or_default();
                self.tell(&format!("the channel is over{why}: {error}"));
                return Some(self.plan.over(goodbye.as_ref(), &error, &mut self.rng));
            }
        }
        None
    }

    /// An admin removed the box: it has no channel until it is registered anew.
    async fn removed(&mut self, removed: &v1::ChannelRemoved) -> Return {
        let forgotten = self.dir.remember(|memory| memory.registered = false);
        let why = if removed.why.is_empty() { String::new() } else { format!(": {}", removed.why) };
        let fix = match removed.mode() {
            v1::DeleteMode::Ban | v1::DeleteMode::Retire => "it may not return",
            _ => "\"execute fortitoken-cloud update\" registers it anew",
        };
        self.tell(&format!("the service removed this box{why}; {fix}"));
        if let Err(error) = forgotten {
            self.tell(&error.to_string());
        }
        if let Some(channel) = self.channel.take() {
            channel.leave("removed").await;
        }
        Return::After(Duration::ZERO)
    }

    /// Sends the list of VDOMs, beside the heartbeats. One that is under way sees what the box has, whoever asked for it.
    pub(super) fn sync(&mut self, plan_id: String) {
        if self.syncing.is_some() {
            self.plan.sync_at = Some(Instant::now() + LOOK);
            return;
        }
        let (dir, reach, rng) = (self.dir.clone(), Arc::clone(&self.reach), StdRng::from_rng(&mut self.rng));
        self.syncing = Some(tokio::spawn(async move {
            sync(&dir, &reach, plan_id, rng).await.unwrap_or_else(|error| (vec![format!("no sync: {error:#}")], None))
        }));
    }

    fn say(&mut self, component: &str, text: &str) {
        if let Some(channel) = &mut self.channel {
            channel.say(component, OUTCOME, "", text);
        }
    }

    /// Shows a message if the session shows those of the service.
    pub(super) fn tell(&self, text: &str) {
        let shown = self.switches.lock().unwrap_or_else(PoisonError::into_inner).shows("ftc", OUTCOME);
        if shown {
            // A screen that is gone has no one to tell.
            let _ = self.screen.print(&format!("{}\n", render::note(&printable(text))));
        }
    }
}

/// Sends the list of VDOMs as it is now.
async fn sync(dir: &DeviceDir, reach: &Reach, plan_id: String, mut rng: StdRng) -> anyhow::Result<Synced> {
    let device = dir.load()?;
    let cloud = reach(&device)?;
    let request = v1::SyncRequest { plan_id, ..device.sync_request() };
    match cloud.sync(&request, &mut rng, &mut io::sink()).await {
        Ok(answer) => {
            cloud.remember(&answer)?;
            let mut told = render::surprises(&answer);
            told.insert(0, "the list of VDOMs was sent".to_owned());
            Ok((told, duration(answer.next_sync_after)))
        }
        Err(error) => Ok((vec![format!("no sync: {error}")], error.retry_after())),
    }
}

/// A time in words, as in "30m": what was lost on the way is of no interest.
fn whole_seconds(time: Duration) -> String {
    let seconds = time.saturating_add(Duration::from_millis(500)).as_secs();
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
