//! Operation ids: what ties an answer, its audit row and its debug events together.

use std::fmt;

use muster_proto::Timestamp;

/// The id of the work of one call: 32 hexadecimal digits that sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(u128);

impl OperationId {
    /// The id of a call that came at this time; `random` makes it unique.
    #[must_use]
    pub fn new(time: Timestamp, random: u64) -> Self {
        Self(u128::from(time.micros().cast_unsigned()) << 64 | u128::from(random))
    }

    /// The id that the database keeps as these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The id as the database keeps it: 16 bytes that sort as the id does.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_operation_sorts_behind_an_earlier_one() {
        let earlier = OperationId::new(Timestamp::from_micros(1), u64::MAX);
        let later = OperationId::new(Timestamp::from_micros(2), 0);
        assert!(earlier.to_string() < later.to_string());
        assert_eq!(later.to_string().len(), 32);
    }
}
