//! The restart of the server under the whole fleet.

use std::collections::HashSet;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::{Runner, progress};
use crate::fleet::report::StormReport;
use crate::fleet::scenario::Step;

impl<W: Write> Runner<'_, W> {
    /// Lets the server restart, and waits until every box that had a connection is back in sync.
    pub(super) async fn restart(&mut self) -> anyhow::Result<String> {
        let expected = self.shared.metrics.connected();
        let mut returns = self.shared.storm_begins();
        if let Some(command) = &self.restart_command {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let ended = shell.status().await.context("could not run the restart command")?;
            anyhow::ensure!(ended.success(), "the restart command failed: {ended}");
        } else {
            writeln!(self.out, "Restart the server now; the fleet waits for that.")?;
            self.out.flush()?;
        }
        let progress = progress(&Step::Restart {}, expected);
        let (mut returned, mut last) = (HashSet::new(), Instant::now());
        // Nobody has to hurry before the first box is lost; then patience counts from one return to the next.
        while returned.len() < usize::try_from(expected)? {
            let patience = if returned.is_empty() && self.restart_command.is_none() {
                Duration::from_hours(1)
            } else {
                self.shared.patience + Duration::from_secs(5)
            };
            match timeout(patience, returns.recv()).await {
                Ok(Some(index)) if returned.insert(index) => {
                    last = Instant::now();
                    progress.inc(1);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        progress.finish_and_clear();
        let ended = self.shared.storm_ends();
        let outage = ended
            .context("the server did not go, or did not come back: no box lost its connection and found another")?;
        let came_back = u64::try_from(returned.len())?;
        let storm = StormReport {
            lost: expected.into(),
            returned: came_back,
            outage: outage.found.saturating_duration_since(outage.lost).as_secs_f64(),
            recovery: last.saturating_duration_since(outage.found).as_secs_f64(),
        };
        if came_back < u64::from(expected) {
            self.broken(format!("{} boxes did not come back after the restart", u64::from(expected) - came_back));
        }
        let told = format!(
            "{came_back} of {expected} boxes came back {:.2} s after the server did, which was away for {:.2} s, all of it",
            storm.recovery, storm.outage
        );
        self.report.storms.push(storm);
        Ok(told)
    }
}
