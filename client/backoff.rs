//! How long to wait before the next try.

use std::time::Duration;

use rand::{Rng, RngExt as _};

const FIRST: Duration = Duration::from_millis(250);
const CAP: Duration = Duration::from_secs(5);

/// Waits that double up to a cap, each shortened by chance, so that many devices do not come back at once.
#[derive(Debug)]
pub struct Backoff {
    tries: u32,
    cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::capped(CAP)
    }
}

impl Backoff {
    /// Waits that double up to this one.
    #[must_use]
    pub fn capped(cap: Duration) -> Self {
        Self { tries: 0, cap }
    }

    /// The next wait. What the server asked for is waited in full, and up to a fifth more.
    pub fn next(&mut self, asked: Option<Duration>, rng: &mut impl Rng) -> Duration {
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.tries)).min(self.cap);
        self.tries = self.tries.saturating_add(1);
        match asked {
            Some(asked) => asked.saturating_add((asked / 5).mul_f64(rng.random_range(0.0..=1.0))),
            None => wait.mul_f64(rng.random_range(0.5..=1.0)),
        }
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    proptest! {
        #[test]
        fn a_wait_grows_to_the_cap_and_starts_over(seed: u64) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::default();
            for tries in 0..40 {
                let full = FIRST.saturating_mul(2_u32.saturating_pow(tries)).min(CAP);
                let wait = backoff.next(None, &mut rng);
                prop_assert!(full / 2 <= wait && wait <= full, "{wait:?}");
            }
            backoff.reset();
            prop_assert!(backoff.next(None, &mut rng) <= FIRST);
        }

        #[test]
        fn what_the_server_asks_for_is_never_cut_short(seed: u64, seconds in 0..3_000_000_u64) {
            let asked = Duration::from_secs(seconds);
            let wait = Backoff::default().next(Some(asked), &mut StdRng::seed_from_u64(seed));
            prop_assert!(asked <= wait && wait <= asked + asked / 5);
        }
    }
}
