//! `DeviceService.SyncUsers`, parsed: how it begins, and the buckets of its digests.

use sha2::{Digest as _, Sha256};

use crate::device_users::{UserTarget, kind};
use crate::{Check, Invalid, Reason, UserKind, v1};

/// The most users that one sync may list.
pub const MAX_USERS: usize = 100_000;

/// The most buckets that a sync may have.
pub const MAX_BUCKETS: usize = 16_384;

/// Some kinds of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// All kinds.
    pub const ALL: Self = Self(0b1110);

    /// Whether this kind is one of them.
    #[must_use]
    pub const fn has(self, kind: UserKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether any kind is among both.
    #[must_use]
    pub const fn overlap(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These kinds, each by itself.
    pub fn each(self) -> impl Iterator<Item = UserKind> {
        [UserKind::Local, UserKind::Remote, UserKind::Administrator].into_iter().filter(move |kind| self.has(*kind))
    }

    /// The kinds of a mask; `None` if there are none, or others.
    #[must_use]
    pub fn from_mask(mask: i64) -> Option<Self> {
        let mask = u8::try_from(mask).ok()?;
        (mask != 0 && mask & !Self::ALL.0 == 0).then_some(Self(mask))
    }

    /// One bit for each kind: 2 to the power of its number.
    #[must_use]
    pub const fn mask(self) -> u8 {
        self.0
    }
}

impl FromIterator<UserKind> for Kinds {
    fn from_iter<I: IntoIterator<Item = UserKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |mask, kind| mask | 1 << kind as u8))
    }
}

/// How a sync of users begins, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSync {
    /// The auth client.
    pub target: UserTarget,
    /// Which kinds of users are listed.
    pub kinds: Kinds,
    /// The digest of what would be listed.
    pub digest: Option<[u8; 32]>,
    /// The same by bucket; empty if there are none, else a power of two.
    pub buckets: Vec<[u8; 32]>,
    /// What confirms removals that were held.
    pub confirm_token: Option<String>,
    /// Whether users that are as they were have outcomes too.
    pub list_unchanged: bool,
}

/// The bucket of a user among so many: the first four bytes of the SHA-256 of its username as a big-endian number, modulo their number.
#[must_use]
pub fn bucket_of(username: &str, buckets: usize) -> usize {
    let hash: [u8; 32] = Sha256::digest(username).into();
    let [first, second, third, fourth, ..] = hash;
    u32::from_be_bytes([first, second, third, fourth]) as usize % buckets.max(1)
}

impl TryFrom<&v1::SyncUsersBegin> for UserSync {
    type Error = Invalid;

    fn try_from(wire: &v1::SyncUsersBegin) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let target = UserTarget::parse(&mut check, wire.target.as_ref());
        let mut listed = Vec::new();
        for (index, wire) in wire.kinds.iter().enumerate() {
            let field = format!("kinds[{index}]");
            let Some(kind) = check.take(&field, Reason::FieldInvalid, kind(*wire)) else { continue };
            if let Some(target) = target {
                target.check_kind(&mut check, &field, kind);
            }
            listed.push(kind);
        }
        let kinds = if wire.kinds.is_empty() { Kinds::ALL } else { listed.into_iter().collect() };
        let digest = if wire.digest.is_empty() {
            None
        } else {
            let digest = wire.digest.as_slice().try_into().map_err(|_| "must be the XOR of SHA-256s: 32 bytes");
            check.take("digest", Reason::FieldInvalid, digest)
        };
        let (buckets, rest) = wire.bucket_digests.as_chunks::<32>();
        if !rest.is_empty() || !(buckets.is_empty() || buckets.len().is_power_of_two()) || buckets.len() > MAX_BUCKETS {
            let description = format_args!("must be 32 bytes for each of 1, 2, 4, ... or {MAX_BUCKETS} buckets");
            check.refuse("bucket_digests", Reason::FieldInvalid, description);
        }
        let confirm_token = (!wire.confirm_token.is_empty()).then(|| wire.confirm_token.clone());
        match target {
            Some(target) if check.is_clean() => {
                let (buckets, list_unchanged) = (buckets.to_vec(), wire.list_unchanged);
                Ok(Self { target, kinds, digest, buckets, confirm_token, list_unchanged })
            }
            _ => Err(check.invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_of_more_buckets_lies_in_the_same_bucket_of_fewer(name in "\\PC{1,20}", power in 1_u32..14) {
            let (many, few) = (1 << power, 1 << (power - 1));
            prop_assert!(bucket_of(&name, many) < many);
            prop_assert_eq!(bucket_of(&name, many) % few, bucket_of(&name, few));
        }
    }

    #[test]
    fn what_a_sync_begins_with_is_checked_as_a_whole() {
        let wire = v1::SyncUsersBegin {
            kinds: vec![1, 9],
            digest: vec![0; 31],
            bucket_digests: vec![0; 96],
            ..Default::default()
        };
        let invalid = UserSync::try_from(&wire).unwrap_err();
        let fields: Vec<_> = invalid.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["target", "kinds[1]", "digest", "bucket_digests"]);
        assert!(Kinds::ALL.has(UserKind::Administrator));
    }
}
