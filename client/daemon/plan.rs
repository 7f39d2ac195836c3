//! When the daemon comes back after its channel is over, and when it syncs by itself. Pure: time and chance are passed in.

use std::time::Duration;

use muster_proto::v1;
use rand::{Rng, RngExt as _};
use tokio::time::Instant;
use tonic::Code;

use crate::backoff::Backoff;
use crate::channel::duration;
use crate::failure::CallError;

/// The longest wait for a server that is not there: within the time in which it says that a box is offline.
const CAP: Duration = Duration::from_secs(30);
/// How long a box waits that the server refuses: somebody has to do something first.
const REFUSED: Duration = Duration::from_mins(5);

/// When the daemon does something by itself.
#[derive(Debug)]
pub(super) struct Plan {
    backoff: Backoff,
    /// When to sync; `None` if the server has not said.
    pub(super) sync_at: Option<Instant>,
}

/// When a channel that is over is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// After this time.
    After(Duration),
    /// When the box has been registered anew.
    Never,
}

impl Default for Plan {
    fn default() -> Self {
        Self { backoff: Backoff::capped(CAP), sync_at: None }
    }
}

impl Plan {
    /// The server says when to sync at the earliest.
    pub(super) fn paced(&mut self, wait: Option<Duration>, now: Instant) {
        self.sync_at = wait.and_then(|wait| now.checked_add(wait));
    }

    /// A heartbeat was answered. A welcome alone proves little: a server that welcomes and breaks off is waited for longer and longer.
    pub(super) fn healthy(&mut self) {
        self.backoff.reset();
    }

    /// The channel is over, or could not be opened.
    pub(super) fn over(
        &mut self,
        goodbye: Option<&v1::ChannelGoodbye>,
        error: &CallError,
        rng: &mut impl Rng,
    ) -> Return {
        self.sync_at = None;
        match goodbye.map(|goodbye| duration(goodbye.reconnect_after)) {
            Some(None) => return Return::Never,
            // The server drew it at random already, so that a fleet does not return all at once.
            Some(Some(asked)) => return Return::After(self.backoff.next(Some(asked), rng)),
            None => {}
        }
        match error {
            CallError::Refused(refusal) if refusal.code == Code::Unimplemented => Return::Never,
            error if error.is_passing() => Return::After(self.backoff.next(error.retry_after(), rng)),
            _ => Return::After(REFUSED.mul_f64(rng.random_range(0.5..=1.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Refusal;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use tonic::Status;

    fn refused(status: &Status) -> CallError {
        CallError::Refused(Box::new(Refusal::from(status)))
    }

    fn goodbye(seconds: Option<i64>) -> v1::ChannelGoodbye {
        let reconnect_after = seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        v1::ChannelGoodbye { reason: "SHUTTING_DOWN".to_owned(), reconnect_after }
    }

    proptest! {
        #[test]
        fn a_lost_channel_is_opened_again_after_waits_that_grow_to_a_cap_each_by_chance(seed: u64) {
            let (mut plan, mut rng) = (Plan::default(), StdRng::seed_from_u64(seed));
            let lost = CallError::Lost("gone".to_owned());
            let waits: Vec<_> = (0..20).map(|_| plan.over(None, &lost, &mut rng)).collect();
            for (tries, wait) in waits.iter().enumerate() {
                let Return::After(wait) = *wait else { panic!("{wait:?}") };
                let full = Duration::from_millis(250 * 2_u64.pow(u32::try_from(tries).unwrap())).min(CAP);
                prop_assert!(full / 2 <= wait && wait <= full, "{tries}: {wait:?}");
            }
            // Only an answered heartbeat starts over.
            plan.healthy();
            prop_assert!(matches!(plan.over(None, &lost, &mut rng), Return::After(wait) if wait <= Duration::from_millis(250)));
        }

        #[test]
        fn a_goodbye_is_heeded_within_its_window(seed: u64, seconds in 0..3_600_i64) {
            let (mut plan, mut rng) = (Plan::default(), StdRng::seed_from_u64(seed));
            let back = plan.over(Some(&goodbye(Some(seconds))), &refused(&Status::unavailable("closing")), &mut rng);
            let asked = Duration::from_secs(u64::try_from(seconds).unwrap());
            prop_assert!(matches!(back, Return::After(wait) if asked <= wait && wait <= asked + asked / 5), "{back:?}");
        }
    }

    #[test]
    fn boxes_do_not_come_back_in_the_same_moment() {
        let back = |seed| Plan::default().over(None, &CallError::Lost(String::new()), &mut StdRng::seed_from_u64(seed));
        let waits: Vec<_> = (0..8).map(back).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }

    #[test]
    fn who_is_not_to_return_by_itself_does_not_and_who_is_refused_waits_for_minutes() {
        let (mut plan, mut rng) = (Plan::default(), StdRng::seed_from_u64(1));
        assert_eq!(plan.over(Some(&goodbye(None)), &refused(&Status::aborted("superseded")), &mut rng), Return::Never);
        assert_eq!(plan.over(None, &refused(&Status::unimplemented("no channels")), &mut rng), Return::Never);
        let back = plan.over(None, &refused(&Status::permission_denied("not you")), &mut rng);
        assert!(matches!(back, Return::After(wait) if REFUSED / 2 <= wait && wait <= REFUSED), "{back:?}");
    }

    #[test]
    fn the_last_pacing_counts_and_ends_with_the_channel() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.paced(Some(Duration::from_mins(1)), now);
        plan.paced(Some(Duration::from_secs(5)), now);
        assert_eq!(plan.sync_at, Some(now + Duration::from_secs(5)));
        let _ = plan.over(None, &CallError::Lost(String::new()), &mut StdRng::seed_from_u64(1));
        assert_eq!(plan.sync_at, None);
        plan.paced(None, now);
        assert_eq!(plan.sync_at, None);
    }
}
