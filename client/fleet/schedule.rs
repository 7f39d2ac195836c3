//! Open-loop arrivals: when each operation is due, whatever became of the ones before it.
//!
//! A closed loop asks the next question when the last one is answered, and so it asks less just when the server is slow. Here the clock alone
//! decides, and a latency counts from the moment when the operation was due.

use std::time::Duration;

/// So many operations at an even rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    rate: f64,
    count: u32,
}

impl Schedule {
    /// This many operations at so many a second; a rate that is not positive means all at once.
    #[must_use]
    pub fn new(rate: f64, count: u32) -> Self {
        Self { rate, count }
    }

    /// As many operations at so many a second as are due within a time.
    #[must_use]
    pub fn lasting(rate: f64, time: Duration) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
        let count = (rate * time.as_secs_f64()).round() as u32;
        Self { rate, count }
    }

    /// How many operations there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// When an operation is due, from the beginning.
    #[must_use]
    pub fn due(&self, index: u32) -> Duration {
        let seconds = if self.rate > 0.0 { f64::from(index) / self.rate } else { 0.0 };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn operations_are_due_in_order_and_at_the_rate(rate in 0.1..100_000.0, count in 1..5_000_u32) {
            let schedule = Schedule::new(rate, count);
            let due: Vec<_> = (0..count).map(|index| schedule.due(index)).collect();
            prop_assert!(due.is_sorted());
            prop_assert_eq!(due[0], Duration::ZERO);
            let last = f64::from(count - 1) / rate;
            prop_assert!((due[due.len() - 1].as_secs_f64() - last).abs() < 1e-6);
        }

        #[test]
        fn what_is_due_within_a_time_is_due_before_its_end(rate in 1.0..1_000.0, seconds in 1..100_u64) {
            let time = Duration::from_secs(seconds);
            let schedule = Schedule::lasting(rate, time);
            prop_assert!(schedule.count() > 0);
            prop_assert!(schedule.due(schedule.count() - 1) < time);
            prop_assert!(schedule.due(schedule.count() + 1) >= time);
        }
    }

    #[test]
    fn without_a_rate_everything_is_due_at_once() {
        assert_eq!(Schedule::new(0.0, 5).due(4), Duration::ZERO);
    }
}
