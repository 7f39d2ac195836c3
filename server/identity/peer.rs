//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, future};

use arc_swap::ArcSwap;
use muster_proto::{Reason, Timestamp};
use rustls::pki_types::CertificateDer;

use super::caller::Caller;
use super::names::{self, Names, Validity};
use super::trust::Trust;
use crate::registry::Proof;

/// The other end of a connection; tonic puts one into the extensions of every request. Cheap to clone.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    remote: SocketAddr,
    certificate: Option<PeerCertificate>,
}

struct PeerCertificate {
    proof: Option<Arc<Proof>>,
    chain: Vec<CertificateDer<'static>>,
    names: Names,
    validity: Validity,
    trust: Arc<Trust>,
    verdict: ArcSwap<Verdict>,
}

/// Whom the certificate made its bearer under the trust of one epoch.
struct Verdict {
    epoch: u64,
    caller: Result<Caller, Reason>,
}

/// How long a call that is watched goes on at most before the clock is read again: the clock of the machine may be set.
const CLOCK_CHECK: Duration = Duration::from_mins(1);

impl Peer {
    /// One that has shown no certificate.
    #[must_use]
    pub fn anonymous(remote: SocketAddr) -> Self {
        Self(Arc::new(Inner { remote, certificate: None }))
    }

    /// One that has shown this chain, which the handshake has verified, leaf first.
    pub(super) fn with_chain(remote: SocketAddr, chain: &[CertificateDer<'_>], trust: Arc<Trust>) -> Self {
        let Some(leaf) = chain.first() else { return Self::anonymous(remote) };
        let always = Validity { not_before: Timestamp::from_micros(i64::MIN), end: Timestamp::from_micros(i64::MAX) };
        // What the parser of names cannot read names nobody.
        let (names, validity) = names::read(leaf).unwrap_or((Names::default(), always));
        let proof = names::proof(leaf, remote.ip()).map(Arc::new).ok();
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let verdict = ArcSwap::from_pointee(Verdict::of(&trust, &chain, &names, trust.now()));
        let certificate = PeerCertificate { proof, chain, names, validity, trust, verdict };
        Self(Arc::new(Inner { remote, certificate: Some(certificate) }))
    }

    /// The address of the peer.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.0.remote
    }

    /// What the certificate proves, whoever it names.
    #[must_use]
    pub fn proof(&self) -> Option<Arc<Proof>> {
        self.0.certificate.as_ref()?.proof.clone()
    }

    /// Who calls, by certificate; `None` if there is none. To be asked for every call: the answer changes when the certificate
    /// expires and when the CAs are changed. The error is `CertificateExpired`, `CertificateNotTrusted` or
    /// `CertificateWithoutIdentity`.
    pub fn caller(&self, now: Timestamp) -> Result<Option<Caller>, Reason> {
        let Some(certificate) = &self.0.certificate else { return Ok(None) };
        if !certificate.validity.contains(now) {
            return Err(Reason::CertificateExpired);
        }
        let verdict = certificate.verdict.load();
        if verdict.epoch == certificate.trust.current().epoch {
            return verdict.caller.clone().map(Some);
        }
        let verdict = Verdict::of(&certificate.trust, &certificate.chain, &certificate.names, now);
        let caller = verdict.caller.clone();
        certificate.verdict.store(Arc::new(verdict));
        caller.map(Some)
    }

    /// Waits until a new call of this peer would be refused, and says why: a long call has to end then. For ever if there is no
    /// certificate.
    pub async fn refused(&self) -> Reason {
        let Some(certificate) = &self.0.certificate else { return future::pending().await };
        let mut epochs = certificate.trust.epochs();
        loop {
            let now = certificate.trust.now();
            if let Err(reason) = self.caller(now) {
                return reason;
            }
            let left = certificate.validity.end.since(now).min(CLOCK_CHECK);
            // Either way the answer may have changed.
            _ = tokio::time::timeout(left, epochs.changed()).await;
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.certificate.as_ref().map(|certificate| &certificate.names);
        f.debug_struct("Peer").field("remote", &self.0.remote).field("names", &names).finish_non_exhaustive()
    }
}

impl Verdict {
    fn of(trust: &Trust, chain: &[CertificateDer<'_>], names: &Names, now: Timestamp) -> Self {
        let snapshot = trust.current();
        Self { epoch: snapshot.epoch, caller: snapshot.classify(chain, names, now) }
    }
}
