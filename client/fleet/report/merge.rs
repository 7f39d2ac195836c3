//! The reports of several processes become one.

use std::collections::BTreeMap;

use super::{Memory, Report, ReportRow};
use crate::fleet::metrics::Second;

impl Report {
    /// The report of several processes that shared a run.
    pub fn merge(mut self, other: &Self) -> anyhow::Result<Self> {
        let same = |report: &Self| (report.scenario.clone(), report.run.clone(), report.server.clone());
        anyhow::ensure!(same(&self) == same(other), "the reports are not of the same scenario, run and server");
        if let Some(part) = other.parts.iter().find(|part| self.parts.contains(part)) {
            anyhow::bail!("part {part} is there twice");
        }
        // Both clocks are that of the wall: the later report moves to the right.
        let began = self.began.min(other.began);
        let shift = |report: &Self| report.began - began;
        let (left, right) = (shift(&self), shift(other));
        self.seconds = (self.seconds + left).max(other.seconds + right);
        self.timeline = merge_timelines(&self.timeline, left, &other.timeline, right);
        for row in self.rows.values_mut() {
            row.span = (row.span.0 + left, row.span.1 + left);
        }
        for (kind, theirs) in &other.rows {
            let theirs = ReportRow { span: (theirs.span.0 + right, theirs.span.1 + right), ..theirs.clone() };
            let merged = match self.rows.remove(kind) {
                Some(ours) => ours.merge(theirs),
                None => theirs,
            };
            self.rows.insert(*kind, merged);
        }
        self.began = began;
        self.parts.extend(other.parts.iter().cloned());
        self.boxes += other.boxes;
        self.memory = match (self.memory, other.memory) {
            (Some(one), Some(two)) => Some(Memory { boxes: one.boxes + two.boxes, bytes: one.bytes + two.bytes }),
            (one, two) => one.or(two),
        };
        self.storms.extend(other.storms.iter().cloned());
        let (ours, theirs) = (&mut self.checked, other.checked);
        ours.devices += theirs.devices;
        ours.vdoms += theirs.vdoms;
        ours.users += theirs.users;
        ours.operations += theirs.operations;
        ours.viewers += theirs.viewers;
        ours.events += theirs.events;
        ours.gaps += theirs.gaps;
        ours.missed += theirs.missed;
        self.broken.extend(other.broken.iter().cloned());
        self.broken_count += other.broken_count;
        self.notes.extend(other.notes.iter().filter(|note| !self.notes.contains(note)).cloned().collect::<Vec<_>>());
        Ok(self)
    }
}

impl ReportRow {
    fn merge(mut self, other: Self) -> Self {
        self.due += other.due;
        self.done += other.done;
        self.failed += other.failed;
        for (why, count) in other.retried {
            *self.retried.entry(why).or_default() += count;
        }
        self.span = (self.span.0.min(other.span.0), self.span.1.max(other.span.1));
        self.slowest = self.slowest.max(other.slowest);
        let mut times: BTreeMap<u64, u64> = self.times_us.iter().copied().collect();
        for (time, count) in other.times_us {
            *times.entry(time).or_default() += count;
        }
        self.times_us = times.into_iter().collect();
        self
    }
}

fn merge_timelines(left: &[Second], left_shift: f64, right: &[Second], right_shift: f64) -> Vec<Second> {
    let mut merged: Vec<Second> = Vec::new();
    for (seconds, shift) in [(left, left_shift), (right, right_shift)] {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
        let shift = (shift.round() as usize).min(1_000_000);
        for (index, second) in seconds.iter().enumerate() {
            if merged.len() <= index + shift {
                merged.resize(index + shift + 1, Second::default());
            }
            if let Some(sum) = merged.get_mut(index + shift) {
                sum.done += second.done;
                sum.failed += second.failed;
                sum.longest_us = sum.longest_us.max(second.longest_us);
                sum.connected += second.connected;
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::metrics::Kind;
    use crate::fleet::report::tests::report;
    use proptest::prelude::*;

    #[test]
    fn two_parts_make_one_report() {
        let later = Report { began: 1_764_000_002.0, ..report("2/2") };
        let merged = report("1/2").merge(&later).unwrap();
        assert_eq!((merged.boxes, merged.seconds, merged.timeline.len()), (400, 14.0, 14));
        assert_eq!((merged.timeline[0].done, merged.timeline[2].done, merged.timeline[13].done), (20, 40, 20));
        let row = &merged.rows[&Kind::Register];
        assert_eq!((row.due, row.failed, row.retries(), row.span), (400, 2, 6, (0.5, 12.5)));
        assert_eq!(row.histogram().unwrap().len(), 398);
        assert!(report("1/2").merge(&report("1/2")).unwrap_err().to_string().contains("part 1/2 is there twice"));
        let other = Report { run: "8".to_owned(), ..report("2/2") };
        assert!(report("1/2").merge(&other).is_err());
    }

    proptest! {
        #[test]
        fn the_order_of_the_parts_does_not_matter(times in prop::collection::vec((1..1_000_000_u64, 1..50_u64), 0..20), began in 0..20_u32) {
            let mut other = report("2/2");
            other.began += f64::from(began);
            let times: BTreeMap<_, _> = times.into_iter().collect();
            other.rows.get_mut(&Kind::Return).unwrap().times_us = times.into_iter().collect();
            let (one, two) = (report("1/2").merge(&other).unwrap(), other.merge(&report("1/2")).unwrap());
            prop_assert_eq!(&one.rows, &two.rows);
            prop_assert_eq!(&one.timeline, &two.timeline);
            prop_assert_eq!((one.boxes, one.seconds, one.memory), (two.boxes, two.seconds, two.memory));
        }
    }
}
