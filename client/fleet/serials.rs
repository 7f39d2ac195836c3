//! Which boxes a process drives: the serial numbers of a run, and the share of one process in them.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use muster_proto::SerialNumber;

/// How many boxes one run may have: as many as six digits tell apart.
pub const MAX_BOXES: u32 = 1_000_000;

/// The model code and the family of every box of every run: virtual machines, which a laboratory has by the thousand.
const PREFIX: &str = "FGVM01TM";
const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// A number that keeps the boxes of two runs against one server apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run(u16);

/// The share of one process in a run, as in "2/4".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    number: u32,
    of: u32,
}

/// Text that is not the number of a run, or not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharingError {
    /// Not the number of a run.
    #[error("must be a number from 0 to 1295")]
    Run,
    /// Not a share.
    #[error("must be NUMBER/OF with 1 <= NUMBER <= OF, as in 2/4")]
    Part,
}

impl Run {
    const COUNT: u16 = 36 * 36;

    /// How the serial numbers of all boxes of this run begin, and no others.
    #[must_use]
    pub fn prefix(self) -> String {
        let digit = |number: u16| DIGITS.get(usize::from(number)).map_or('0', |digit| char::from(*digit));
        format!("{PREFIX}{}{}", digit(self.0 / 36), digit(self.0 % 36))
    }

    /// The serial number of a box; none beyond [`MAX_BOXES`].
    #[must_use]
    pub fn serial(self, index: u32) -> Option<SerialNumber> {
        (index < MAX_BOXES).then(|| format!("{}{index:06}", self.prefix()).parse().ok())?
    }
}

impl FromStr for Run {
    type Err = SharingError;

    fn from_str(text: &str) -> Result<Self, SharingError> {
        text.parse().ok().filter(|number| *number < Self::COUNT).map(Self).ok_or(SharingError::Run)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Part {
    /// A process that drives all boxes of its run.
    pub const ALL: Self = Self { number: 1, of: 1 };

    /// The boxes of this share: the shares of a run have no box in common, and every box is in one of them.
    #[must_use]
    pub fn range(self, boxes: u32) -> Range<u32> {
        let cut = |number: u32| u64::from(boxes) * u64::from(number) / u64::from(self.of.max(1));
        let cut = |number| u32::try_from(cut(number)).unwrap_or(boxes);
        cut(self.number - 1)..cut(self.number)
    }
}

impl FromStr for Part {
    type Err = SharingError;

    fn from_str(text: &str) -> Result<Self, SharingError> {
        let (number, of) = text.split_once('/').ok_or(SharingError::Part)?;
        match (number.parse(), of.parse()) {
            (Ok(number), Ok(of)) if 1 <= number && number <= of => Ok(Self { number, of }),
            _ => Err(SharingError::Part),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn the_shares_of_a_run_cover_every_box_once(boxes in 0..10_000_u32, of in 1..40_u32) {
            let shares: Vec<_> = (1..=of).map(|number| Part { number, of }.range(boxes)).collect();
            prop_assert_eq!(shares.iter().cloned().flatten().collect::<Vec<_>>(), (0..boxes).collect::<Vec<_>>());
            let (least, most) = (boxes / of, boxes.div_ceil(of));
            prop_assert!(shares.iter().all(|share| (least..=most).contains(&(share.end - share.start))));
        }

        #[test]
        fn two_runs_have_no_serial_number_in_common(one in 0..Run::COUNT, other in 0..Run::COUNT, index in 0..MAX_BOXES) {
            let serial = Run(one).serial(index).unwrap();
            prop_assert!(serial.as_str().starts_with(&Run(one).prefix()));
            prop_assert_eq!(serial.as_str().starts_with(&Run(other).prefix()), one == other);
        }

        #[test]
        fn a_share_survives_its_text(number in 1..1000_u32, more in 0..1000_u32) {
            let part = Part { number, of: number + more };
            prop_assert_eq!(part.to_string().parse(), Ok(part));
        }
    }

    #[test]
    fn every_box_of_a_run_has_a_serial_number_of_its_own() {
        let serials: HashSet<_> = (0..2_000).map(|index| Run(7).serial(index).unwrap()).collect();
        assert_eq!(serials.len(), 2_000);
        assert_eq!(Run(37).serial(12).unwrap().as_str(), "FGVM01TM11000012");
        assert_eq!(Run(0).serial(MAX_BOXES), None);
    }

    #[test]
    fn what_is_no_share_or_no_run_is_refused() {
        for text in ["", "1", "0/4", "5/4", "1/0", "a/b", "1/2/3", "-1/2"] {
            assert_eq!(text.parse::<Part>(), Err(SharingError::Part), "{text:?}");
        }
        for text in ["", "x", "1296", "-1"] {
            assert_eq!(text.parse::<Run>(), Err(SharingError::Run), "{text:?}");
        }
    }
}
