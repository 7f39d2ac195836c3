//! Cursors: opaque positions in the debug feed.

use std::fmt;
use std::str::FromStr;

/// A position in the debug feed. On the wire it is opaque: one letter that names the format, the epoch and the position in hexadecimal,
/// and a check digit pair that tells a mistyped cursor from an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Which life of the feed: drawn anew at every start of an embedded feed.
    pub epoch: u64,
    /// How many events of that life came up to this position.
    pub position: u64,
}

/// Text that is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor of this service: pass one back exactly as the feed sent it")]
pub struct CursorError;

impl Cursor {
    fn check(self) -> u8 {
        let mixed = (self.epoch ^ self.position.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.to_be_bytes()[0]
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:016x}{:016x}{:02x}", self.epoch, self.position, self.check())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let digits = text.strip_prefix('c').ok_or(CursorError)?;
        if digits.len() != 34 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(CursorError);
        }
        let number = |range: std::ops::Range<usize>| {
            digits.get(range).and_then(|part| u64::from_str_radix(part, 16).ok()).ok_or(CursorError)
        };
        let cursor = Self { epoch: number(0..16)?, position: number(16..32)? };
        if u64::from(cursor.check()) == number(32..34)? { Ok(cursor) } else { Err(CursorError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_survives_the_round_trip(epoch: u64, position: u64) {
            let cursor = Cursor { epoch, position };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_other_text_is_refused(text in "\\PC{0,40}") {
            prop_assume!(!text.starts_with('c'));
            prop_assert_eq!(text.parse::<Cursor>(), Err(CursorError));
        }
    }

    #[test]
    fn a_mistyped_cursor_is_refused() {
        let text = Cursor { epoch: 7, position: 9 }.to_string();
        assert_eq!(text.replacen('7', "8", 1).parse::<Cursor>(), Err(CursorError));
        assert_eq!("c".parse::<Cursor>(), Err(CursorError));
    }
}
