//! Identities that may no longer call, told at once to whoever serves a long call of theirs.
//!
//! A call that begins is checked by whoever lets it in; a call that is open has to be told. The writer announces banned devices after their
//! commit; tokens and Web apps are announced the same way. All of it is in memory: nothing is read from the database on the way of a call.

use std::collections::HashSet;
use std::sync::Arc;

use muster_proto::SerialNumber;
use tokio::sync::watch;

use super::token::TokenHash;

/// Who can be shut out while its certificate, or its secret, is as good as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A device; it is shut out by a ban.
    Device(SerialNumber),
    /// The holder of an admin token; it is shut out when the token is revoked.
    AdminToken(TokenHash),
    /// A Web app, by its id; it is shut out when it is deleted, or its secret is replaced.
    WebApp(i64),
}

/// Everybody who is shut out, as far as that must be known without a look into the database. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Revocations(Arc<watch::Sender<HashSet<Identity>>>);

impl Revocations {
    /// Shut out from the start.
    pub fn new(revoked: impl IntoIterator<Item = Identity>) -> Self {
        Self(Arc::new(watch::Sender::new(revoked.into_iter().collect())))
    }

    /// Whether this identity is shut out.
    #[must_use]
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        self.0.borrow().contains(identity)
    }

    /// Shuts identities out (`true`) or lets them in again (`false`), in their order. Open calls are told at once.
    pub fn settle(&self, changes: impl IntoIterator<Item = (Identity, bool)>) {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return;
        }
        self.0.send_if_modified(|revoked| {
            let mut told = false;
            for (identity, out) in changes {
                // Nobody waits for being let in again.
                if out {
                    told |= revoked.insert(identity);
                } else {
                    revoked.remove(&identity);
                }
            }
            told
        });
    }

    /// Waits until this identity is shut out; for ever if it never is.
    pub async fn revoked(&self, identity: Identity) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(|revoked| revoked.contains(&identity)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn whoever_waits_is_told_of_its_own_identity_alone() {
        let device: SerialNumber = "FG101FTK19002788".parse().unwrap();
        let (device, app) = (Identity::Device(device), Identity::WebApp(7));
        let revocations = Revocations::new([]);
        let mut waiting = Box::pin(revocations.revoked(device));
        assert!(waiting.as_mut().now_or_never().is_none());
        revocations.settle([(app, true)]);
        assert!(revocations.is_revoked(&app) && !revocations.is_revoked(&device));
        assert!(waiting.as_mut().now_or_never().is_none());
        revocations.settle([(device, true), (app, false)]);
        waiting.await;
        assert!(!revocations.is_revoked(&app));
        revocations.revoked(device).await;
    }
}
