//! How far a caller reaches: everywhere, or into some realms only.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::RealmId;

/// Which realms a caller may see and touch. What is in no realm is beyond the reach of an admin of some realms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Everything: a global admin, and whoever is bounded by something else, as a device is by its serial number.
    #[default]
    Everything,
    /// What is in these realms.
    Realms(Arc<BTreeSet<RealmId>>),
}

impl Reach {
    /// Whether what is in this realm is within reach.
    #[must_use]
    pub fn covers(&self, realm: RealmId) -> bool {
        match self {
            Self::Everything => true,
            Self::Realms(realms) => realms.contains(&realm),
        }
    }

    /// The realms, unless everything is within reach.
    #[must_use]
    pub fn realms(&self) -> Option<Vec<i64>> {
        match self {
            Self::Everything => None,
            Self::Realms(realms) => Some(realms.iter().map(|realm| realm.0).collect()),
        }
    }
}

impl FromIterator<RealmId> for Reach {
    fn from_iter<I: IntoIterator<Item = RealmId>>(realms: I) -> Self {
        Self::Realms(Arc::new(realms.into_iter().collect()))
    }
}
