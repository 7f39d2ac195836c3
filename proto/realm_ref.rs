//! How requests name a realm.

use std::fmt;
use std::str::FromStr;

use crate::{Invalid, RealmName, Reason};

/// A realm, by id or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RealmRef {
    /// `realms/ID`.
    Id(i64),
    /// `realms/NAME`.
    Name(RealmName),
}

/// Text that names no realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"realms/ID\" or \"realms/NAME\", as in realms/default")]
pub struct RealmRefError;

impl RealmRef {
    /// Reads a field of a request.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        text.parse().map_err(|error: RealmRefError| Invalid::field(field, Reason::NameMalformed, error))
    }
}

impl FromStr for RealmRef {
    type Err = RealmRefError;

    fn from_str(text: &str) -> Result<Self, RealmRefError> {
        let name = text.strip_prefix("realms/").ok_or(RealmRefError)?;
        // No name of a realm is all digits.
        if let Ok(id) = name.parse::<i64>() {
            return Ok(Self::Id(id));
        }
        name.parse().map(Self::Name).map_err(|_| RealmRefError)
    }
}

impl fmt::Display for RealmRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "realms/{id}"),
            Self::Name(name) => write!(f, "realms/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_named_by_id_or_by_name() {
        assert_eq!("realms/7".parse(), Ok(RealmRef::Id(7)));
        assert_eq!("realms/default".parse(), Ok(RealmRef::Name("default".parse().unwrap())));
        for wrong in ["", "default", "realms/", "realms/a/b", "authClients/7"] {
            assert_eq!(wrong.parse::<RealmRef>(), Err(RealmRefError), "{wrong}");
        }
    }
}
