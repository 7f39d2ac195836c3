//! Moments in time.

use std::fmt;
use std::time::Duration;

/// A moment, in microseconds since the Unix epoch (UTC). Microseconds because that is what both databases keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The range that `google.protobuf.Timestamp` allows: the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

impl Timestamp {
    /// The moment that is this many microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This moment and some time more; stays at the end of time rather than overflowing.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it was not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A timestamp outside the years 1 to 9999, or with nanoseconds outside a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time in the years 1 to 9999, with 0 to 999,999,999 nanoseconds")]
pub struct TimestampError;

impl TryFrom<&prost_types::Timestamp> for Timestamp {
    type Error = TimestampError;

    fn try_from(wire: &prost_types::Timestamp) -> Result<Self, TimestampError> {
        if !SECONDS.contains(&wire.seconds) || !(0..1_000_000_000).contains(&wire.nanos) {
            return Err(TimestampError);
        }
        Ok(Self(wire.seconds * 1_000_000 + i64::from(wire.nanos) / 1_000))
    }
}

impl From<Timestamp> for prost_types::Timestamp {
    fn from(time: Timestamp) -> Self {
        let nanos = time.0.rem_euclid(1_000_000) * 1_000;
        Self { seconds: time.0.div_euclid(1_000_000), nanos: i32::try_from(nanos).unwrap_or(0) }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the microsecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        prost_types::Timestamp::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_timestamp_survives_the_wire(micros in -62_135_596_800_000_000_i64..=253_402_300_799_999_999) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(Timestamp::try_from(&prost_types::Timestamp::from(time)), Ok(time));
        }
    }

    #[test]
    fn a_time_outside_the_calendar_is_refused() {
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(Timestamp::try_from(&prost_types::Timestamp { seconds, nanos }), Err(TimestampError));
        }
    }

    #[test]
    fn a_timestamp_reads_as_utc() {
        assert_eq!(Timestamp::from_micros(1_500_000).to_string(), "1970-01-01T00:00:01.500Z");
    }
}
