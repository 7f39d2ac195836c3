//! Users as the wire names them: usernames and their keys, e-mail addresses, mobile numbers, kinds.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::text::{acts_on_a_terminal, printable};

/// The name of a user on an auth client: 1 to 80 printable characters without blanks around them (domain sheet, section 4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(Box<str>);

/// What makes a user the same person within a realm: the username, in lower case if the register folds letter case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey(Box<str>);

/// An e-mail address of at most 80 characters (domain sheet, section 4). Only its shape is checked: a mail tells whether it exists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Email(Box<str>);

/// A mobile number in the form of E.164: "+" and 7 to 15 digits, as in `+14080123456` (domain sheet, section 3.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MobileNumber(Box<str>);

/// Text that is not what a field of a user allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserFieldError {
    /// No username.
    #[error("must not be empty")]
    Empty,
    /// More than 80 characters.
    #[error("must have at most 80 characters")]
    TooLong,
    /// A control character, or a blank at an end.
    #[error("must be printable text, without control characters and without blanks around it")]
    NotPrintable,
    /// Not of the shape NAME@DOMAIN.
    #[error("must be an e-mail address, as in alice@example.com")]
    Email,
    /// Not of the shape +14080123456.
    #[error("must be a number in the form of E.164: \"+\" and 7 to 15 digits, as in +14080123456")]
    MobileNumber,
}

/// How many characters a username or an e-mail address has at most.
const MAX_LENGTH: usize = 80;

impl Username {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What makes this user the same person: `fold` says whether letter case does not count.
    #[must_use]
    pub fn key(&self, fold: bool) -> UserKey {
        UserKey(if fold { self.0.to_lowercase().into() } else { self.0.clone() })
    }
}

impl UserKey {
    /// A key as the database holds it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Email {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MobileNumber {
    /// The number.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(text: &str) -> Result<&str, UserFieldError> {
    if text.is_empty() {
        return Err(UserFieldError::Empty);
    }
    if text.chars().nth(MAX_LENGTH).is_some() {
        return Err(UserFieldError::TooLong);
    }
    if text.trim() != text || text.chars().any(acts_on_a_terminal) {
        return Err(UserFieldError::NotPrintable);
    }
    Ok(text)
}

impl FromStr for Username {
    type Err = UserFieldError;

    fn from_str(text: &str) -> Result<Self, UserFieldError> {
        checked(text).map(|text| Self(text.into()))
    }
}

impl FromStr for Email {
    type Err = UserFieldError;

    fn from_str(text: &str) -> Result<Self, UserFieldError> {
        let text = checked(text)?;
        match text.rsplit_once('@') {
            Some((name, domain))
                if !name.is_empty()
                    && !domain.is_empty()
                    && !domain.starts_with('.')
                    && !domain.ends_with('.')
                    && !text.contains(char::is_whitespace) =>
            {
                Ok(Self(text.into()))
            }
            _ => Err(UserFieldError::Email),
        }
    }
}

impl FromStr for MobileNumber {
    type Err = UserFieldError;

    fn from_str(text: &str) -> Result<Self, UserFieldError> {
        let digits = text.strip_prefix('+').ok_or(UserFieldError::MobileNumber)?;
        let good = (7..=15).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && !digits.starts_with('0');
        if good { Ok(Self(text.into())) } else { Err(UserFieldError::MobileNumber) }
    }
}

macro_rules! shown {
    ($($name:ident),+) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        })+
    };
}
shown!(Username, UserKey, Email, MobileNumber);

/// Where a user of a `FortiGate` comes from (domain sheet, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum UserKind {
    /// `config user local`.
    Local = 1,
    /// A directory such as LDAP.
    Remote = 2,
    /// `config system admin`.
    Administrator = 3,
}

impl UserKind {
    /// The kind as the commands of FortiOS name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Administrator => "admin",
        }
    }

    /// The kind that a database holds.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Local),
            2 => Some(Self::Remote),
            3 => Some(Self::Administrator),
            _ => None,
        }
    }
}

/// The digest of one user: SHA-256 over username, e-mail address, mobile number (empty if there is none), the kind as [`UserKind::as_str`] has it,
/// and "1" for an active user or "0" for one that is not; each text followed by one zero byte (`SyncUsersRequest`).
#[must_use]
pub fn digest(username: &str, email: &str, mobile: &str, kind: UserKind, active: bool) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for text in [username, email, mobile, kind.as_str(), if active { "1" } else { "0" }] {
        hasher.update(text);
        hasher.update([0]);
    }
    hasher.finalize().into()
}

/// An e-mail address as those see it who may not see it whole: `a***@example.com`.
#[must_use]
pub fn masked_email(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((name, domain)) => {
            format!("{}***@{}", name.chars().next().map(String::from).unwrap_or_default(), printable(domain))
        }
        None => "***".to_owned(),
    }
}

/// A mobile number as those see it who may not see it whole: `+14***56`.
#[must_use]
pub fn masked_mobile(number: &str) -> String {
    match (number.get(..3), number.len().checked_sub(2).and_then(|end| number.get(end..))) {
        (Some(head), Some(tail)) if number.len() > 6 => format!("{head}***{tail}"),
        (None | Some(_), _) if number.is_empty() => String::new(),
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_username_survives_the_round_trip(text in "[A-Za-z0-9._@ü-]{1,80}") {
            let name: Username = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text);
        }

        #[test]
        fn folded_keys_are_equal_exactly_when_only_letter_case_differs(text in "[A-Za-z]{1,20}") {
            let (plain, upper): (Username, Username) = (text.parse().unwrap(), text.to_uppercase().parse().unwrap());
            prop_assert_eq!(plain.key(true), upper.key(true));
            prop_assert_eq!(plain.key(false) == upper.key(false), text == text.to_uppercase());
        }

        #[test]
        fn no_mask_shows_what_it_hides(name in "[b-y]{3,20}", digits in "[1-9]{12}") {
            let (email, mobile) = (format!("{name}@example.com"), format!("+{digits}"));
            prop_assert!(!masked_email(&email).contains(&name));
            prop_assert!(!masked_mobile(&mobile).contains(&digits[2..10]));
        }
    }

    #[test]
    fn each_field_is_refused_with_what_is_wrong() {
        assert_eq!("".parse::<Username>(), Err(UserFieldError::Empty));
        assert_eq!(" alice".parse::<Username>(), Err(UserFieldError::NotPrintable));
        assert_eq!("a\u{1b}[2J".parse::<Username>(), Err(UserFieldError::NotPrintable));
        assert_eq!("a".repeat(81).parse::<Username>(), Err(UserFieldError::TooLong));
        for wrong in ["alice", "@example.com", "alice@", "a b@example.com", "a@.com"] {
            assert_eq!(wrong.parse::<Email>(), Err(UserFieldError::Email), "{wrong}");
        }
        for wrong in ["", "14080123456", "+", "+1408x123456", "+0123456789", "+1234567890123456"] {
            assert_eq!(wrong.parse::<MobileNumber>(), Err(UserFieldError::MobileNumber), "{wrong}");
        }
        assert!("+14080123456".parse::<MobileNumber>().is_ok());
    }
}
