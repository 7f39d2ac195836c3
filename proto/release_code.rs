//! Release codes: what a device is handed over with, from one realm to another.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::{Check, Reason, v1};

/// The characters of a code: none is easily taken for another. There are 32, so that five bits of randomness choose one.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// How many characters a code has: 100 bits.
const LENGTH: usize = 20;
/// How many of them are written together.
const GROUP: usize = 5;
/// How long a code is good if nobody says otherwise.
const VALIDITY: Duration = Duration::from_hours(7 * 24);
/// The longest that a code can be good.
const MAX_VALIDITY: Duration = Duration::from_hours(30 * 24);

/// What permits whoever has it to move a device into a realm of its own. A secret: it does not show when it is debugged.
#[derive(Clone, PartialEq, Eq)]
pub struct ReleaseCode([u8; LENGTH]);

/// Text that is no release code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the 20 characters of a release code, as in 7K2QX-MMW9R-A4HTB-ZP3VC")]
pub struct ReleaseCodeError;

impl ReleaseCode {
    /// A code of these random bytes.
    #[must_use]
    pub fn new(random: [u8; LENGTH]) -> Self {
        Self(random.map(|byte| ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or_default()))
    }

    /// The code as people pass it on.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut text = String::with_capacity(LENGTH + LENGTH / GROUP);
        for (index, character) in self.0.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*character));
        }
        text
    }

    /// What the register knows it by: SHA-256 over its characters without hyphens.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl FromStr for ReleaseCode {
    type Err = ReleaseCodeError;

    /// Small letters are as good as capital ones, and hyphens and spaces may be anywhere.
    fn from_str(text: &str) -> Result<Self, ReleaseCodeError> {
        let characters = text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')).map(|byte| byte.to_ascii_uppercase());
        // One more than there may be is enough to tell that there are too many.
        let characters: Vec<u8> = characters.take(LENGTH + 1).collect();
        if characters.iter().any(|character| !ALPHABET.contains(character)) {
            return Err(ReleaseCodeError);
        }
        characters.try_into().map(Self).map_err(|_| ReleaseCodeError)
    }
}

impl fmt::Debug for ReleaseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReleaseCode(..)")
    }
}

/// How long the code that `CreateReleaseCode` asks for is to be good.
pub fn validity(check: &mut Check, wire: &v1::CreateReleaseCodeRequest) -> Option<Duration> {
    let Some(validity) = &wire.validity else { return Some(VALIDITY) };
    let parsed = Duration::try_from(*validity)
        .ok()
        .filter(|validity| (Duration::from_mins(1)..=MAX_VALIDITY).contains(validity))
        .ok_or("must be 1 minute to 30 days");
    check.take("validity", Reason::FieldInvalid, parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_code_is_read_as_it_was_written(random in any::<[u8; LENGTH]>()) {
            let code = ReleaseCode::new(random);
            let text = code.expose();
            prop_assert_eq!(text.len(), 23);
            prop_assert_eq!(text.parse(), Ok(code.clone()));
            prop_assert_eq!(text.replace('-', " ").to_lowercase().parse::<ReleaseCode>().unwrap().hash(), code.hash());
        }
    }

    #[test]
    fn what_is_no_code_is_refused_and_a_code_does_not_show() {
        for wrong in ["", "22222", "222222222222222222222", "2222222222222222222O", "2222222222222222222é"] {
            assert_eq!(wrong.parse::<ReleaseCode>(), Err(ReleaseCodeError), "{wrong}");
        }
        assert_eq!(format!("{:?}", ReleaseCode::new([7; LENGTH])), "ReleaseCode(..)");
    }

    #[test]
    fn a_code_is_good_for_a_week_unless_the_admin_says_otherwise() {
        let of = |seconds| {
            let validity = Some(prost_types::Duration { seconds, nanos: 0 });
            super::validity(&mut Check::default(), &v1::CreateReleaseCodeRequest { validity, ..Default::default() })
        };
        let unset = super::validity(&mut Check::default(), &v1::CreateReleaseCodeRequest::default());
        assert_eq!(unset, Some(Duration::from_hours(168)));
        assert_eq!([of(59), of(60), of(2_592_001), of(-1)], [None, Some(Duration::from_mins(1)), None, None]);
    }
}
