//! What a viewer may see.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_proto::debug_log::{FeedRequest, Filter};
use muster_proto::{Pattern, Reason, SerialNumber};

use super::event::DebugEvent;
use crate::registry::{RealmId, WebAppId};

/// What a viewer may see. Events about no device and no realm in particular are for `All` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: an admin.
    All,
    /// One serial number: a device.
    Device(SerialNumber),
    /// Serial numbers that begin so: a relay. An empty prefix means every device.
    Prefixes(Vec<String>),
    /// What is about one Web app: that Web app.
    WebApp(WebAppId),
    /// What is in some realms: an admin of these.
    Realms(Arc<BTreeSet<RealmId>>),
}

impl Scope {
    /// Refuses a request that asks for a serial number outside: what else it asks for is narrowed without a word.
    pub fn check(&self, request: &FeedRequest) -> Result<(), Reason> {
        if let Self::WebApp(_) = self
            && request.include.iter().any(|filter| filter.serial.is_some())
        {
            return Err(Reason::IdentityMismatch);
        }
        let Some(allowed) = self.patterns() else { return Ok(()) };
        let mut asked = request.include.iter().filter_map(|filter| filter.serial.as_ref());
        if asked.all(|asked| allowed.iter().any(|allowed| intersect(asked, allowed).is_some())) {
            Ok(())
        } else {
            Err(Reason::IdentityMismatch)
        }
    }

    /// Whether an event may be seen.
    pub(super) fn sees(&self, event: &DebugEvent) -> bool {
        match self {
            Self::All => true,
            Self::Device(serial) => event.serial == Some(*serial),
            Self::Prefixes(prefixes) => event
                .serial
                .is_some_and(|serial| prefixes.iter().any(|prefix| serial.as_str().starts_with(prefix.as_str()))),
            Self::WebApp(app) => event.web_app == Some(*app),
            Self::Realms(realms) => event.realm_id.is_some_and(|realm| realms.contains(&realm)),
        }
    }

    /// The filters that show what `include` shows, as far as it may be seen.
    pub(super) fn narrow(&self, include: &[Filter]) -> Vec<Filter> {
        let Some(allowed) = self.patterns() else { return include.to_vec() };
        let everything = [Filter::default()];
        let include = if include.is_empty() { &everything } else { include };
        let mut narrowed = Vec::new();
        for filter in include {
            for allowed in &allowed {
                let serial = match &filter.serial {
                    None => Some(allowed.clone()),
                    Some(asked) => intersect(asked, allowed),
                };
                if serial.is_some() {
                    narrowed.push(Filter { serial, ..filter.clone() });
                }
            }
        }
        if narrowed.is_empty() {
            // No filter would mean everything; a mask without a level shows nothing.
            narrowed.push(Filter { level_mask: Some(0), ..Filter::default() });
        }
        narrowed
    }

    fn patterns(&self) -> Option<Vec<Pattern>> {
        match self {
            // Ids are no property that a filter could name: the selection asks the scope as well.
            Self::All | Self::WebApp(_) | Self::Realms(_) => None,
            Self::Device(serial) => Some(vec![Pattern::Exact(serial.to_string())]),
            Self::Prefixes(prefixes) => Some(prefixes.iter().cloned().map(Pattern::Prefix).collect()),
        }
    }
}

/// The pattern that matches what both match, if there is any such text.
fn intersect(one: &Pattern, other: &Pattern) -> Option<Pattern> {
    match (one, other) {
        (Pattern::Exact(text), pattern) | (pattern, Pattern::Exact(text)) => {
            pattern.matches(text).then(|| Pattern::Exact(text.clone()))
        }
        (Pattern::Prefix(one), Pattern::Prefix(other)) => {
            let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
            long.starts_with(short.as_str()).then(|| Pattern::Prefix(long.clone()))
        }
    }
}
