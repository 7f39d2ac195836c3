//! Admin tokens: secrets that only their hash is kept of.

use std::fmt;
use std::io;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use muster_proto::Reason;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;

use crate::data_dir::{DataDir, DataFile};

/// The secret that an admin shows with each call. Its text is "muster\_" and 52 characters of a-z and 2-7: nothing that is mistaken
/// for something else when it is read out, and all of it selected by a double click.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; AdminToken::LENGTH]);

/// Text that is not an admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an admin token: \"muster_\" and 52 characters of a-z and 2-7")]
pub struct AdminTokenError;

/// The hash that a token is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

const HEAD: &str = "muster_";

impl AdminToken {
    /// How many random bytes a token is.
    pub const LENGTH: usize = 32;

    /// The token made of these bytes, which nobody must be able to guess.
    #[must_use]
    pub const fn new(random: [u8; Self::LENGTH]) -> Self {
        Self(random)
    }

    /// The token as text: whoever sees it may do what the admin may.
    #[must_use]
    pub fn expose(&self) -> String {
        HEAD.to_owned() + &BASE32_NOPAD.encode(&self.0).to_ascii_lowercase()
    }

    /// The hash that the token is kept and looked up by. It needs no salt and no slow function, because a token is random.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0).into())
    }

    /// The first token, which stands in the data directory: the one that is there, or a new one of these bytes. To be called while no
    /// token is in the database, so that a start that was killed between file and database is made good by the next one.
    pub fn first(data: &DataDir, random: [u8; Self::LENGTH]) -> io::Result<Self> {
        if let Some(text) = data.read(DataFile::AdminToken)? {
            return text.trim_end().parse().map_err(|error| {
                let path = data.path(DataFile::AdminToken);
                io::Error::new(io::ErrorKind::InvalidData, format!("{} {error}", path.display()))
            });
        }
        let token = Self::new(random);
        data.write(DataFile::AdminToken, &format!("{}\n", token.expose()))?;
        Ok(token)
    }
}

impl FromStr for AdminToken {
    type Err = AdminTokenError;

    fn from_str(text: &str) -> Result<Self, AdminTokenError> {
        let digits = text.strip_prefix(HEAD).ok_or(AdminTokenError)?;
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(AdminTokenError);
        }
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| AdminTokenError)?;
        bytes.try_into().map(Self).map_err(|_| AdminTokenError)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// The token in the metadata of a call ("authorization: Bearer TOKEN"); `None` if the call has no such metadata.
pub fn bearer_token(metadata: &MetadataMap) -> Result<Option<AdminToken>, Reason> {
    let mut values = metadata.get_all("authorization").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Reason::TokenInvalid);
    }
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| token.trim_matches(' ').parse().ok())
        .map(Some)
        .ok_or(Reason::TokenInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use tonic::metadata::MetadataValue;

    fn metadata(values: &[&[u8]]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append("authorization", MetadataValue::try_from(*value).unwrap());
        }
        metadata
    }

    proptest! {
        #[test]
        fn a_token_survives_the_round_trip(bytes in any::<[u8; 32]>()) {
            let token = AdminToken::new(bytes);
            let text = token.expose();
            prop_assert_eq!(text.len(), 59);
            prop_assert_eq!(text.parse::<AdminToken>(), Ok(token.clone()));
            let found = bearer_token(&metadata(&[format!("bEARER  {text}").as_bytes()]));
            prop_assert_eq!(found, Ok(Some(token)));
        }

        #[test]
        fn a_token_has_one_text_only(bytes in any::<[u8; 32]>(), at in 0..59_usize, to in "[ -~]") {
            let token = AdminToken::new(bytes);
            let mut text = token.expose();
            text.replace_range(at..=at, &to);
            prop_assume!(text != token.expose());
            prop_assert_ne!(text.parse(), Ok(token));
        }

        #[test]
        fn any_other_text_is_refused(text in "(muster_)?\\PC{0,60}") {
            prop_assume!(text.len() != 59);
            prop_assert_eq!(text.parse::<AdminToken>(), Err(AdminTokenError));
        }
    }

    #[test]
    fn metadata_without_exactly_one_bearer_token_is_refused() {
        let token = AdminToken::new([7; 32]).expose();
        let bearer = format!("Bearer {token}");
        let bearer = bearer.as_bytes();
        assert_eq!(bearer_token(&metadata(&[])), Ok(None));
        for values in [
            &[bearer, bearer][..],
            &[b"Basic YWRtaW46YWRtaW4="],
            &[token.as_bytes()],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b""],
            &[b"Bearer muster_\xc3\xa9"],
            &[b"Bearer ' OR 1=1 --"],
        ] {
            assert_eq!(bearer_token(&metadata(values)), Err(Reason::TokenInvalid), "{values:?}");
        }
    }

    #[test]
    fn a_token_does_not_show_when_it_is_debugged() {
        let token = AdminToken::new([7; 32]);
        assert_eq!(format!("{token:?}"), "AdminToken(..)");
    }

    #[test]
    fn the_first_token_is_written_once_and_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(temp.path()).unwrap();
        let first = AdminToken::first(&data, [1; 32]).unwrap();
        assert_eq!(AdminToken::first(&data, [2; 32]).unwrap(), first);
        assert_eq!(data.read(DataFile::AdminToken).unwrap().unwrap(), first.expose() + "\n");
        let mode = fs::metadata(data.path(DataFile::AdminToken)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        data.write(DataFile::AdminToken, "muster_nonsense\n").unwrap();
        let error = AdminToken::first(&data, [3; 32]).unwrap_err();
        assert!(error.to_string().contains("admin-token is not an admin token"), "{error}");
    }
}
