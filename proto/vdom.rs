//! VDOM names, and the digest over a device and its VDOMs.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The name of a virtual domain: 1 to 31 characters of A-Z, a-z, 0-9, '-', '_' and '.', case-sensitive (31 is the limit with
/// `long-vdom-name`; domain sheet, section 1.5), or the pseudo-VDOM of administrators.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VdomName {
    // Filled up with zeros, which are in no name: so names order as their texts do.
    bytes: [u8; VdomName::MAX_LENGTH],
    length: u8,
}

/// Text that is not the name of a VDOM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VdomNameError {
    /// No text at all.
    #[error("must not be empty: name a VDOM, as in \"root\"")]
    Empty,
    /// More than 31 characters.
    #[error("must have at most 31 characters")]
    TooLong,
    /// A character that FortiOS does not allow.
    #[error("must be made of A-Z, a-z, 0-9, '-', '_' and '.', or be \"#FOS_Administrator\"")]
    Character,
}

impl VdomName {
    /// How many characters a name has at most.
    pub const MAX_LENGTH: usize = 31;
    /// The VDOM that every device has and that cannot be removed.
    pub const ROOT: Self = Self::literal("root");
    /// The pseudo-VDOM of the administrators of a `FortiGate` (domain sheet, section 1.2).
    pub const ADMINISTRATORS: Self = Self::literal("#FOS_Administrator");

    /// Sorts before every name, and is none.
    pub const FIRST: Self = Self::literal("");
    /// What stands in the place of a VDOM for a Web app, which has none. No text from outside is read as it.
    pub const WEB_APP: Self = Self::literal("#WebApp");

    const fn literal(text: &str) -> Self {
        let mut bytes = [0; Self::MAX_LENGTH];
        let (head, _) = bytes.split_at_mut(text.len());
        head.copy_from_slice(text.as_bytes());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a literal of at most 31 characters: split_at_mut saw to it"
        )]
        let length = text.len() as u8;
        Self { bytes, length }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Always ASCII, by construction.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Whether this is a pseudo-VDOM, which no list of VDOMs contains and none removes.
    #[must_use]
    pub fn is_pseudo(&self) -> bool {
        *self == Self::ADMINISTRATORS || *self == Self::WEB_APP
    }
}

impl FromStr for VdomName {
    type Err = VdomNameError;

    fn from_str(text: &str) -> Result<Self, VdomNameError> {
        if text.is_empty() {
            return Err(VdomNameError::Empty);
        }
        if text == Self::ADMINISTRATORS.as_str() {
            return Ok(Self::ADMINISTRATORS);
        }
        if text.chars().nth(Self::MAX_LENGTH).is_some() {
            return Err(VdomNameError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(VdomNameError::Character);
        }
        Ok(Self::literal(text))
    }
}

impl fmt::Display for VdomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for VdomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The digest of a device: SHA-256 over model, hostname, firmware and the names of its active VDOMs, in ascending byte order and without
/// pseudo-VDOMs; each text followed by one zero byte (`SyncRequest.digest`). `vdoms` may come in any order; duplicates count once.
#[must_use]
pub fn digest(info: [&str; 3], vdoms: impl IntoIterator<Item = VdomName>) -> [u8; 32] {
    let mut names: Vec<VdomName> = vdoms.into_iter().filter(|name| !name.is_pseudo()).collect();
    names.sort_unstable();
    names.dedup();
    // In one piece: hashed piece by piece, it takes twice as long.
    let mut texts = Vec::with_capacity(256);
    for text in info.map(str::as_bytes).into_iter().chain(names.iter().map(VdomName::as_bytes)) {
        texts.extend_from_slice(text);
        texts.push(0);
    }
    Sha256::digest(texts).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_vdom_name_survives_the_round_trip(text in "[A-Za-z0-9._-]{1,31}") {
            let name: VdomName = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text);
        }

        #[test]
        fn names_order_as_their_bytes(a in "[A-Za-z0-9._-]{1,31}", b in "[A-Za-z0-9._-]{1,31}") {
            let (left, right): (VdomName, VdomName) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(left.cmp(&right), a.as_bytes().cmp(b.as_bytes()));
        }

        #[test]
        fn the_digest_does_not_depend_on_the_order(mut names in prop::collection::vec("[a-z]{1,8}", 0..6)) {
            let parse = |names: &[String]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<VdomName>>();
            let before = digest(["m", "h", "f"], parse(&names));
            names.reverse();
            prop_assert_eq!(digest(["m", "h", "f"], parse(&names)), before);
        }
    }

    #[test]
    fn a_name_is_refused_with_what_is_wrong() {
        for (text, error) in [
            ("", VdomNameError::Empty),
            (&"v".repeat(300), VdomNameError::TooLong),
            ("dmz\u{1b}[2J", VdomNameError::Character),
            ("a b", VdomNameError::Character),
            ("#other", VdomNameError::Character),
            ("'; DROP TABLE device; --", VdomNameError::Character),
        ] {
            assert_eq!(text.parse::<VdomName>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_pseudo_vdom_does_not_count_in_the_digest() {
        let root = digest(["", "", ""], [VdomName::ROOT]);
        assert_eq!(digest(["", "", ""], [VdomName::ADMINISTRATORS, VdomName::ROOT]), root);
    }
}
