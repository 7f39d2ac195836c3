//! The names of realms.

use std::fmt;
use std::str::FromStr;

use crate::text::acts_on_a_terminal;

/// The name of a realm: 1 to 64 printable characters without "/" and without blanks around them. A realm that is made for one auth client is named
/// `SERIAL-VDOM` (domain sheet, section 1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealmName(Box<str>);

/// Text that is not the name of a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 printable characters, without \"/\", without blanks around it, and not only digits")]
pub struct RealmNameError;

impl RealmName {
    /// How many characters a name has at most.
    pub const MAX_LENGTH: usize = 64;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RealmName {
    type Err = RealmNameError;

    fn from_str(text: &str) -> Result<Self, RealmNameError> {
        let good = !text.is_empty()
            && text.chars().nth(Self::MAX_LENGTH).is_none()
            && text.trim() == text
            && !text.chars().any(|character| character == '/' || acts_on_a_terminal(character))
            // "realms/7" is the realm with the id 7.
            && !text.bytes().all(|byte| byte.is_ascii_digit());
        if good { Ok(Self(text.into())) } else { Err(RealmNameError) }
    }
}

impl fmt::Display for RealmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_name_is_kept_to_the_letter_or_refused() {
        for good in ["default", "FG101FTK19002788-root", "Zürich 3"] {
            assert_eq!(good.parse::<RealmName>().unwrap().as_str(), good);
        }
        for wrong in ["", " a", "a/b", "12", "a\u{1b}", &"x".repeat(65)] {
            assert_eq!(wrong.parse::<RealmName>(), Err(RealmNameError), "{wrong}");
        }
    }
}
