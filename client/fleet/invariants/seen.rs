//! What was acknowledged against what viewers of the debug feed saw.

use std::collections::HashMap;

use tokio::time::Instant;

use super::Broken;
use crate::fleet::metrics::Operation;

/// What one viewer of the debug feed saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often it saw the last event of each operation.
    pub terminal: HashMap<String, u32>,
    /// How many events it saw.
    pub events: u64,
    /// How many events were in the gaps that it was given.
    pub missed: u64,
    /// How many gaps it was given.
    pub gaps: u64,
    /// When it was last given a gap that cannot be counted, because the server restarted.
    pub uncounted: Option<Instant>,
}
/// Compares what a viewer saw with what was acknowledged while it watched: each operation ends in exactly one terminal event, or that event
/// is inside a gap.
#[must_use]
pub fn check_viewer(viewer: usize, seen: &Seen, operations: &[Operation]) -> Vec<Broken> {
    let mut broken = Vec::new();
    // What was acknowledged before an uncounted gap may be in it.
    let accounted = |operation: &&Operation| seen.uncounted.is_none_or(|gap| operation.acknowledged > gap);
    let missing = |operation: &&Operation| !seen.terminal.contains_key(&operation.id);
    let lost: Vec<_> = operations.iter().filter(accounted).filter(missing).collect();
    if let Some(first) = lost.first()
        && u64::try_from(lost.len()).is_ok_and(|lost| lost > seen.missed)
    {
        let example = (first.id.clone(), first.serial.to_string());
        broken.push(Broken::EventsLost { viewer, count: lost.len(), missed: seen.missed, example });
    }
    let twice = seen.terminal.iter().filter(|(_, count)| **count > 1);
    broken.extend(twice.map(|(operation, count)| Broken::EventTwice {
        viewer,
        operation: operation.clone(),
        count: *count,
    }));
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SERIAL: &str = "FGVM01TM00000001";

    fn texts(broken: &[Broken]) -> Vec<String> {
        broken.iter().map(ToString::to_string).collect()
    }

    fn operation(id: &str, acknowledged: Instant) -> Operation {
        Operation { id: id.to_owned(), serial: SERIAL.parse().unwrap(), acknowledged }
    }

    #[test]
    fn an_event_is_seen_or_in_a_gap() {
        let now = Instant::now();
        let operations = ["a", "b", "c"].map(|id| operation(id, now));
        let mut seen = Seen {
            terminal: [("a", 1), ("b", 1), ("c", 1)].map(|(id, count)| (id.to_owned(), count)).into(),
            ..Seen::default()
        };
        assert_eq!(check_viewer(0, &seen, &operations), []);
        seen.terminal.remove("b");
        seen.terminal.remove("c");
        let broken = texts(&check_viewer(4, &seen, &operations));
        assert!(
            broken[0].contains("viewer 4 missed the end of 2 operations and its gaps count 0 events; one is b"),
            "{broken:?}"
        );
        seen.missed = 1;
        assert_eq!(check_viewer(0, &seen, &operations).len(), 1);
        seen.missed = 2;
        assert_eq!(check_viewer(0, &seen, &operations), []);
        seen.terminal.insert("a".to_owned(), 2);
        assert_eq!(texts(&check_viewer(0, &seen, &operations)), ["an event twice: viewer 0 saw 2 ends of operation a"]);
    }

    #[test]
    fn a_restart_excuses_only_what_was_acknowledged_before_it() {
        let restart = Instant::now();
        let later = restart + Duration::from_secs(1);
        let seen = Seen { uncounted: Some(restart), ..Seen::default() };
        assert_eq!(check_viewer(0, &seen, &[operation("before", restart)]), []);
        assert_eq!(check_viewer(0, &seen, &[operation("after", later)]).len(), 1);
    }
}
