//! The summary of a report, for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use muster_proto::printable;

use super::report::{Report, ReportRow};

/// A time, with the unit that suits it.
#[must_use]
pub fn time(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let micros = micros as f64;
    match micros {
        ..1_000.0 => format!("{micros:.0} us"),
        ..1_000_000.0 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// The same of seconds.
#[must_use]
pub fn time_of(seconds: f64) -> String {
    time(u64::try_from(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_micros()).unwrap_or(u64::MAX))
}

/// Operations a second.
#[must_use]
pub fn rate(row: &ReportRow) -> f64 {
    let seconds = row.span.1 - row.span.0;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let done = row.done as f64;
    if seconds > 0.0 { done / seconds } else { 0.0 }
}

/// KiB of memory for each box.
#[must_use]
pub fn memory(report: &Report) -> Option<f64> {
    let memory = report.memory?;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let each = memory.bytes as f64 / 1024.0 / memory.boxes.max(1) as f64;
    Some(each)
}

/// The whole summary.
pub fn text(report: &Report) -> anyhow::Result<String> {
    let mut text = String::new();
    let Report { scenario, run, boxes, vdoms, users, seed, server, seconds, .. } = report;
    let parts = report.parts.join(" and ");
    writeln!(text)?;
    writeln!(
        text,
        "{}: run {run}, part {parts}, seed {seed}: {boxes} boxes of {vdoms} VDOMs and {users} users at {server}, {seconds:.1} s",
        printable(scenario)
    )?;
    writeln!(text)?;
    writeln!(
        text,
        "{:<14}{:>9}{:>9}{:>8}{:>9}{:>10}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "operation", "due", "done", "failed", "retried", "a second", "p50", "p90", "p99", "p99.9", "longest"
    )?;
    for (kind, row) in &report.rows {
        let times = row.histogram()?;
        let at = |quantile| time(times.value_at_quantile(quantile));
        writeln!(
            text,
            "{:<14}{:>9}{:>9}{:>8}{:>9}{:>10.1}{:>11}{:>11}{:>11}{:>11}{:>11}",
            kind.name(),
            row.due,
            row.done,
            row.failed,
            row.retries(),
            rate(row),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            time(times.max())
        )?;
    }
    writeln!(text)?;
    for (kind, row) in report.rows.iter().filter(|(_, row)| !row.retried.is_empty()) {
        let causes: Vec<_> = row.retried.iter().map(|(why, count)| format!("{count} x {}", printable(why))).collect();
        writeln!(text, "retried, {}: {}", kind.name(), causes.join(", "))?;
    }
    for storm in &report.storms {
        writeln!(
            text,
            "restart: the server was away for {:.2} s; {} of {} boxes were back in sync {:.2} s after it was back",
            storm.outage, storm.returned, storm.lost, storm.recovery
        )?;
        writeln!(
            text,
            "meanwhile: the longest stall of a healthy box was {}, of {} syncs; {} errors were not retried",
            time_of(storm.stall),
            storm.healthy,
            storm.unretried
        )?;
    }
    let slowest = report.rows.iter().filter_map(|(kind, row)| row.slowest.as_ref().map(|slowest| (kind, slowest)));
    if let Some((kind, (longest, serial))) = slowest.max_by_key(|(_, (longest, _))| *longest) {
        writeln!(text, "longest stall: {} ({serial}, {})", time(*longest), kind.name())?;
    }
    if let Some(each) = memory(report) {
        writeln!(text, "memory of the stand-in: {each:.1} KiB a box")?;
    }
    for note in &report.notes {
        writeln!(text, "note: {}", printable(note))?;
    }
    let checked = report.checked;
    writeln!(
        text,
        "compared: {} devices, {} VDOMs, {} users; {} operations in {} events of {} viewers, with {} events in {} gaps",
        checked.devices,
        checked.vdoms,
        checked.users,
        checked.operations,
        checked.events,
        checked.viewers,
        checked.missed,
        checked.gaps
    )?;
    for broken in &report.broken {
        writeln!(text, "BROKEN: {}", printable(broken))?;
    }
    let unlisted = report.broken_count.saturating_sub(report.broken.len() as u64);
    if unlisted > 0 {
        writeln!(text, "BROKEN: {unlisted} more")?;
    }
    let failed: u64 = report.rows.values().map(|row| row.failed).sum();
    match (report.broken_count, failed) {
        (0, 0) => writeln!(text, "Everything held.")?,
        (broken, failed) => writeln!(text, "{broken} things did not hold, and {failed} operations were given up.")?,
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::report::tests::report;

    #[test]
    fn the_summary_has_a_row_for_each_operation_and_says_what_held() {
        insta::assert_snapshot!(text(&report("1/2")).unwrap(), @r"
        storm: run 7, part 1/2, seed 1: 200 boxes of 3 VDOMs and 0 users at https://127.0.0.1:7443, 12.0 s

        operation           due     done  failed  retried  a second        p50        p90        p99      p99.9    longest
        register            200      199       1        3      19.9     1.0 ms     2.0 ms    40.0 ms    40.0 ms    40.0 ms
        back in sync        200      199       1        3      19.9     1.0 ms     2.0 ms    40.0 ms    40.0 ms    40.0 ms

        retried, register: 3 x connect failed
        retried, back in sync: 3 x connect failed
        restart: the server was away for 1.25 s; 200 of 200 boxes were back in sync 2.50 s after it was back
        meanwhile: the longest stall of a healthy box was 125.0 ms, of 80 syncs; 0 errors were not retried
        longest stall: 40.0 ms (FGVM01TM00000007, back in sync)
        memory of the stand-in: 39.1 KiB a box
        note: a <note> & more
        compared: 200 devices, 600 VDOMs, 0 users; 400 operations in 1600 events of 2 viewers, with 0 events in 0 gaps
        0 things did not hold, and 2 operations were given up.
        ");
    }

    #[test]
    fn what_did_not_hold_is_told_last() {
        let mut bad = report("1/2");
        bad.broken = vec!["duplicate id: a and b both have 1".to_owned()];
        bad.broken_count = 3;
        let text = text(&bad).unwrap();
        assert!(text.ends_with(
            "BROKEN: duplicate id: a and b both have 1\nBROKEN: 2 more\n3 things did not hold, and 2 operations were given up.\n"
        ), "{text}");
    }

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        assert_eq!([5, 1_500, 2_340_000].map(time), ["5 us", "1.5 ms", "2.34 s"]);
    }
}
