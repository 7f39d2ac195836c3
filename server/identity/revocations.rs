//! Identities that may no longer call, told at once to whoever serves a long call of theirs.
//!
//! A call that begins is checked by whoever lets it in; a call that is open has to be told. The writer announces banned devices after their
//! commit; tokens and Web apps are announced the same way. All of it is in memory: nothing is read from the database on the way of a call.

use std::collections::{HashMap, HashSet};
use std::future::{Future, pending};
use std::sync::Arc;

use muster_proto::{SerialNumber, Timestamp};
use tokio::sync::watch;

use super::token::TokenHash;
use crate::registry::{SecretHash, WebApp};

/// Who can be shut out while its certificate, or its secret, is as good as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A device; it is shut out by a ban.
    Device(SerialNumber),
    /// The holder of an admin token; it is shut out when the token is revoked.
    AdminToken(TokenHash),
    /// A Web app, by its id; it is shut out when it is deleted. Which of its secrets are good is told aside, see [`Secrets`].
    WebApp(i64),
}

/// The secrets of a Web app that are good now, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secrets {
    current: SecretHash,
    previous: Option<(SecretHash, Timestamp)>,
}

impl From<&WebApp> for Secrets {
    fn from(app: &WebApp) -> Self {
        Self { current: app.secret, previous: app.previous }
    }
}

impl Secrets {
    /// When this secret is no longer good: `None` for the current one, and long ago for one that is none of these.
    fn end_of(&self, secret: &SecretHash) -> Option<Timestamp> {
        if self.current == *secret {
            return None;
        }
        let previous = self.previous.filter(|(hash, _)| hash == secret);
        Some(previous.map_or(Timestamp::from_micros(0), |(_, until)| until))
    }
}

/// Everybody who is shut out, as far as that must be known without a look into the database. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Revocations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    shut_out: watch::Sender<HashSet<Identity>>,
    /// Of the Web apps that changed since the start, by id: what an open call showed may have been replaced.
    secrets: watch::Sender<HashMap<i64, Secrets>>,
}

impl Revocations {
    /// Shut out from the start.
    pub fn new(revoked: impl IntoIterator<Item = Identity>) -> Self {
        Self(Arc::new(Shared {
            shut_out: watch::Sender::new(revoked.into_iter().collect()),
            secrets: watch::Sender::default(),
        }))
    }

    /// Whether this identity is shut out.
    #[must_use]
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        self.0.shut_out.borrow().contains(identity)
    }

    /// Shuts identities out (`true`) or lets them in again (`false`), in their order. Open calls are told at once.
    pub fn settle(&self, changes: impl IntoIterator<Item = (Identity, bool)>) {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return;
        }
        self.0.shut_out.send_if_modified(|revoked| {
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

    /// Notes which secrets of these Web apps, by id, are good from now on. Open calls are told at once.
    pub fn replace_secrets(&self, apps: Vec<(i64, Secrets)>) {
        if !apps.is_empty() {
            self.0.secrets.send_modify(|secrets| secrets.extend(apps));
        }
    }

    /// Waits until a secret that a Web app showed is no longer good. `end` is when that was to be as the call began; `until` waits for a time.
    pub async fn secret_ended<W: Future<Output = ()>>(
        &self,
        id: i64,
        secret: SecretHash,
        end: Option<Timestamp>,
        until: impl Fn(Timestamp) -> W,
    ) {
        let mut told = self.0.secrets.subscribe();
        loop {
            let end = told.borrow_and_update().get(&id).map_or(end, |secrets| secrets.end_of(&secret));
            let ended = async {
                match end {
                    Some(end) => until(end).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = ended => return,
                // The sender lives as long as this does.
                _ = told.changed() => {}
            }
        }
    }

    /// Waits until this identity is shut out; for ever if it never is.
    pub async fn revoked(&self, identity: Identity) {
        // The sender lives as long as this does.
        let _ = self.0.shut_out.subscribe().wait_for(|revoked| revoked.contains(&identity)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::future::ready;

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

    #[tokio::test]
    async fn a_call_goes_on_as_long_as_the_secret_that_it_showed_is_good() {
        let (first, second) = (SecretHash([1; 32]), SecretHash([2; 32]));
        let at = Timestamp::from_micros;
        // The clock stands at 5.
        let until = |end: Timestamp| async move { if end <= at(5) { ready(()).await } else { pending().await } };
        let revocations = Revocations::new([]);
        let mut waiting = Box::pin(revocations.secret_ended(7, first, None, until));
        assert!(waiting.as_mut().now_or_never().is_none());
        let told = |id, current, previous| revocations.replace_secrets(vec![(id, Secrets { current, previous })]);
        told(8, second, None);
        told(7, second, Some((first, at(9))));
        assert!(waiting.as_mut().now_or_never().is_none(), "the old secret has a grace");
        told(7, second, Some((first, at(5))));
        assert!(waiting.as_mut().now_or_never().is_some(), "the grace is over");
        told(7, SecretHash([3; 32]), Some((second, at(9))));
        assert!(revocations.secret_ended(7, first, None, until).now_or_never().is_some(), "it was replaced twice");
        assert!(revocations.secret_ended(9, first, Some(at(4)), until).now_or_never().is_some());
    }
}
