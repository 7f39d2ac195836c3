//! Answers reports that change nothing, without the writer: most of what a fleet sends. The rules are the same; they are asked of what
//! was committed last, so such a report waits for no commit and no long sync of users.

use std::sync::Arc;

use super::batch::RealmNames;
use super::seen::Sightings;
use super::{Operation, notes};
use crate::clock::Clock;
use crate::feed::Feed;
use crate::registry::{Action, Answer, Command, Options, plan};
use crate::store::Recalling;

/// What it takes to answer at a glance.
#[derive(Debug)]
pub(super) struct Glance {
    pub(super) recalling: Arc<dyn Recalling>,
    pub(super) seen: Sightings,
    pub(super) feed: Feed,
    pub(super) clock: Arc<dyn Clock>,
}

impl Glance {
    /// The answer to a report, if all that it takes is remembered and it changes nothing. Its debug events are left then.
    pub(super) fn answer(&self, operation: &Operation, command: &Command) -> Option<Answer> {
        let serial = match &command.action {
            Action::Register(registration) => registration.serial,
            Action::Sync(sync) => sync.serial,
            Action::Hello(hello) => hello.serial,
            _ => return None,
        };
        if command.options != Options::default() {
            return None;
        }
        let mut state = self.recalling.recall(serial)?;
        let device = state.devices.get(&serial)?.id;
        let now = self.clock.now();
        // An id that is taken is of something new, which is not for here.
        let mut next_id = 0;
        let mut context = operation.context(&mut next_id, now);
        // What is refused, or needs more, is the writer's.
        let planned = plan(&mut state, command, &mut context).ok()?;
        let changes_nothing = planned.records.is_empty() && planned.refused.is_none();
        // Realms have names, which only the writer looks up.
        if !changes_nothing || !planned.realms.is_empty() || planned.answer.after.realm().is_some() {
            return None;
        }
        self.seen.note([(device, false)], now);
        let (mut events, result) = (Vec::with_capacity(1), Ok(planned));
        notes::events(&mut events, operation, command, &result, &RealmNames::new(), now);
        self.feed.record_all(events);
        result.ok().map(|planned| planned.answer)
    }
}
