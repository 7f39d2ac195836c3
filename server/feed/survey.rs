//! The look back over what is held before a stream opens: where its tail begins, and what its filters name that nothing has.

use std::sync::Arc;

use muster_proto::debug_log::{FeedRequest, Filter, Start};
use muster_proto::printable;

use super::event::Entry;
use super::filter::{Criterion, Lowered, Selection};
use super::opening::Opening;
use super::ring::Ring;
use super::scope::Scope;

/// How many events are looked at in one step.
const BATCH: usize = 64;

/// A look back, step by step.
#[derive(Debug)]
pub(super) struct Survey {
    scope: Scope,
    /// What the filters name that no event had so far, and the words to say it.
    unseen: Vec<(Criterion, String)>,
    /// How many more events the tail wants.
    tail: u32,
    /// The position before the first event to show; of a tail, the first one so far.
    start: u64,
    /// Everything behind this position has been looked at.
    seen_from: u64,
    /// What the viewer should know in any case.
    warning: Option<String>,
    batch: Vec<Arc<Entry>>,
}

/// What a look back found.
#[derive(Debug)]
pub(super) struct Surveyed {
    /// The position before the first event to show.
    pub(super) start: u64,
    /// What the viewer should know; empty if nothing.
    pub(super) warning: String,
}

impl Survey {
    /// A look back from the position of the latest event, for a stream that starts so.
    pub(super) fn new(request: &FeedRequest, scope: &Scope, opening: Opening, latest: u64) -> Self {
        let lists = [("include", &request.include), ("exclude", &request.exclude)];
        let unseen = lists.into_iter().flat_map(|(list, filters)| {
            filters.iter().enumerate().flat_map(move |(index, filter)| {
                // A device asks for itself: that nothing is held of it is no misspelling.
                let known = |filter: &Filter| filter.serial.is_some() && matches!(scope, Scope::Device(_));
                named(filter).into_iter().filter(move |(.., filter)| !known(filter)).map(
                    move |(property, value, filter)| {
                        let words = printable(&format!("{list}[{index}].{property} \"{value}\""));
                        (Criterion::new(filter), words)
                    },
                )
            })
        });
        Self {
            scope: scope.clone(),
            unseen: unseen.collect(),
            tail: if let Start::Tail(count) = request.start { count } else { 0 },
            start: opening.position,
            seen_from: latest,
            warning: opening.warning,
            batch: Vec::new(),
        }
    }

    /// Looks at some more events; tells what was found once that is known.
    pub(super) fn step(&mut self, ring: &Ring<Arc<Entry>>, selection: &Selection) -> Option<Surveyed> {
        if self.tail > 0 || !self.unseen.is_empty() {
            let first = ring.read_back(self.seen_from, BATCH, &mut self.batch);
            if first < self.seen_from {
                self.look(selection);
                self.seen_from = first;
                return None;
            }
        }
        let unseen: Vec<String> = self.unseen.drain(..).map(|(_, words)| words).collect();
        let unseen = (!unseen.is_empty())
            .then(|| format!("no event that is held has {}: check the spelling", unseen.join(", ")));
        let warnings: Vec<String> = [unseen, self.warning.take()].into_iter().flatten().collect();
        Some(Surveyed { start: self.start, warning: warnings.join("; ") })
    }

    /// Looks at the events of the batch, latest first.
    fn look(&mut self, selection: &Selection) {
        let mut position = self.seen_from;
        for entry in self.batch.drain(..).rev() {
            position -= 1;
            let event = entry.event();
            if self.tail > 0 {
                // A tail that is not filled begins with the earliest event.
                self.start = position;
                self.tail -= u32::from(selection.selects(event));
            }
            if !self.unseen.is_empty() && self.scope.sees(event) {
                let message = Lowered::new(event);
                self.unseen.retain(|(criterion, _)| !criterion.matches(event, &message));
            }
        }
    }
}

/// The properties by which a filter names things that exist, each with its value and as a filter of its own.
fn named(filter: &Filter) -> Vec<(&'static str, String, Filter)> {
    let Filter { serial, vdom, realm, component, operation, level_mask: _, text: _ } = filter.clone();
    let none = Filter::default;
    [
        serial.map(|value| ("serial_number", value.to_string(), Filter { serial: Some(value), ..none() })),
        vdom.map(|value| ("vdom", value.to_string(), Filter { vdom: Some(value), ..none() })),
        realm.map(|value| ("realm", value.to_string(), Filter { realm: Some(value), ..none() })),
        component.map(|value| ("component", value.clone(), Filter { component: Some(value), ..none() })),
        operation.map(|value| ("operation_id", value.clone(), Filter { operation: Some(value), ..none() })),
    ]
    .into_iter()
    .flatten()
    .collect()
}
