//! The report of a run: what was measured, what held and what did not. The reports of several processes merge into one: `merge`.

mod merge;

use std::collections::BTreeMap;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::metrics::{Kind, Second, Snapshot};

/// The version of the JSON.
pub const VERSION: u32 = 2;

/// A run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The version of this format.
    pub version: u32,
    /// The scenario.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// The server.
    pub server: String,
    /// The number of the run.
    pub run: String,
    /// The shares that this report is about.
    pub parts: Vec<String>,
    /// How many boxes these shares have.
    pub boxes: u64,
    /// How many VDOMs each had at first.
    pub vdoms: u32,
    /// How many users each had at first.
    pub users: u32,
    /// The seed of chance.
    pub seed: u64,
    /// When it began: Unix time in seconds.
    pub began: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What was measured, by kind.
    pub rows: BTreeMap<Kind, ReportRow>,
    /// What happened in each second.
    pub timeline: Vec<Second>,
    /// How long each step took.
    pub steps: Vec<StepTime>,
    /// What a box took of the memory of the stand-in.
    pub memory: Option<Memory>,
    /// The restarts of the server.
    pub storms: Vec<StormReport>,
    /// What was compared.
    pub checked: Checked,
    /// What did not hold; a long list is cut.
    pub broken: Vec<String>,
    /// How many things did not hold.
    pub broken_count: u64,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// What was measured of one kind of operation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRow {
    /// How many were due.
    pub due: u64,
    /// How many ended well.
    pub done: u64,
    /// How many were given up.
    pub failed: u64,
    /// How often one was tried again, by why.
    pub retried: BTreeMap<String, u64>,
    /// The first was due, and the last ended: seconds from the beginning.
    pub span: (f64, f64),
    /// The box that waited longest, and how long: microseconds.
    pub slowest: Option<(u64, String)>,
    /// How often each time was taken: microseconds and count.
    pub times_us: Vec<(u64, u64)>,
}

/// How long a step took.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StepTime {
    /// The step.
    pub step: String,
    /// When it began: seconds from the beginning.
    pub began: f64,
    /// When it ended.
    pub ended: f64,
}

/// Memory.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// How many boxes were connected.
    pub boxes: u64,
    /// How much more the process had in memory than before it made them, certificates included: bytes.
    pub bytes: u64,
}

/// A restart of the server.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StormReport {
    /// How many boxes lost their connections.
    pub lost: u64,
    /// How many came back.
    pub returned: u64,
    /// From the first loss until somebody had a connection again: seconds.
    pub outage: f64,
    /// From then until the last box was in sync: seconds.
    pub recovery: f64,
    /// How many syncs were made meanwhile by healthy boxes: in sync when it was due, and no connection lost.
    pub healthy: u64,
    /// The longest stall of a healthy box: from when such a sync was due until it was done: seconds.
    pub stall: f64,
    /// How many errors were not retried.
    pub unretried: u64,
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// How many boxes were compared with the register, over all checks.
    pub devices: u64,
    /// How many VDOMs.
    pub vdoms: u64,
    /// How many users.
    pub users: u64,
    /// How many operations were looked for in the debug feed.
    pub operations: u64,
    /// How many viewers looked.
    pub viewers: u64,
    /// How many events they saw.
    pub events: u64,
    /// How many gaps they were given.
    pub gaps: u64,
    /// How many events were in those.
    pub missed: u64,
}

impl Report {
    /// Whether everything held that must hold, and nothing was given up.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.broken_count == 0 && self.rows.values().all(|row| row.failed == 0)
    }

    /// Takes over what was measured.
    pub fn measured(&mut self, snapshot: &Snapshot) {
        self.version = VERSION;
        self.timeline.clone_from(&snapshot.seconds);
        self.notes.extend(snapshot.notes.iter().cloned());
        self.rows = snapshot
            .rows
            .iter()
            .map(|(kind, row)| {
                let times = row.times.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
                let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                let row = ReportRow {
                    due: row.due,
                    done: row.done,
                    failed: row.failed,
                    retried: row.retried.clone(),
                    span: (row.span.0.min(row.span.1).as_secs_f64(), row.span.1.as_secs_f64()),
                    slowest: row.slowest.as_ref().map(|(time, serial)| (micros(*time), serial.clone())),
                    times_us: times.collect(),
                };
                (*kind, row)
            })
            .collect();
    }

    /// Reads what `--json` wrote.
    pub fn from_json(text: &str) -> anyhow::Result<Self> {
        let report: Self = serde_json::from_str(text).context("not the report of a fleet")?;
        anyhow::ensure!(
            report.version == VERSION,
            "a report of version {}, and this is version {VERSION}",
            report.version
        );
        Ok(report)
    }
}

impl ReportRow {
    /// The times as a histogram.
    pub fn histogram(&self) -> anyhow::Result<Histogram<u64>> {
        let mut histogram = Histogram::new(3).context("no histogram")?;
        for (time, count) in &self.times_us {
            histogram.record_n(*time, *count).context("a time that no histogram takes")?;
        }
        Ok(histogram)
    }

    /// How often something was tried again.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retried.values().sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn report(part: &str) -> Report {
        let row = ReportRow {
            due: 200,
            done: 199,
            failed: 1,
            retried: [("connect failed".to_owned(), 3)].into(),
            span: (0.5, 10.5),
            slowest: Some((40_000, "FGVM01TM00000007".to_owned())),
            times_us: vec![(1_000, 100), (2_000, 90), (40_000, 9)],
        };
        let second = Second { done: 20, failed: 1, longest_us: 40_000, connected: 200 };
        Report {
            version: VERSION,
            scenario: "storm".to_owned(),
            about: "The server restarts.".to_owned(),
            server: "https://127.0.0.1:7443".to_owned(),
            run: "7".to_owned(),
            parts: vec![part.to_owned()],
            boxes: 200,
            vdoms: 3,
            users: 0,
            seed: 1,
            began: 1_764_000_000.0,
            seconds: 12.0,
            rows: [(Kind::Register, row.clone()), (Kind::Return, row)].into(),
            timeline: vec![second; 12],
            steps: vec![StepTime { step: "connect".to_owned(), began: 0.0, ended: 10.5 }],
            memory: Some(Memory { boxes: 200, bytes: 200 * 40_000 }),
            storms: vec![StormReport {
                lost: 200,
                returned: 200,
                outage: 1.25,
                recovery: 2.5,
                healthy: 80,
                stall: 0.125,
                unretried: 0,
            }],
            checked: Checked {
                devices: 200,
                vdoms: 600,
                operations: 400,
                viewers: 2,
                events: 1_600,
                ..Checked::default()
            },
            broken: Vec::new(),
            broken_count: 0,
            notes: vec!["a <note> & more".to_owned()],
        }
    }

    #[test]
    fn a_report_survives_its_json() {
        let before = report("1/2");
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(Report::from_json(&text).unwrap(), before);
        assert!(Report::from_json("{}").is_err());
    }
}
