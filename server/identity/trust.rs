//! The certificates in use, and whom they make us believe. Reloaded when their files change, without a restart.
//!
//! - A **device** is whoever chains to the device CA, by way of intermediates or not.
//! - A **relay** is whoever the operator CA itself has issued a relay certificate to, and who does not chain to the device CA.
//!   Intermediates do not count here: a CA that an operator cross-signs does not get to name relays.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use muster_proto::{Reason, Timestamp};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::caller::Caller;
use super::handshake::HandshakeCause;
use super::names::Names;
use super::tls;
use super::trust_files::{Contents, Fingerprint};
use crate::clock::Clock;

pub use super::trust_files::{TrustError, TrustFiles};

/// The certificates in use.
pub struct Trust {
    files: TrustFiles,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Snapshot>,
    epochs: watch::Sender<u64>,
}

/// The certificates of one moment.
pub(super) struct Snapshot {
    /// Grows with every reload.
    pub(super) epoch: u64,
    pub(super) config: Arc<ServerConfig>,
    device: Arc<dyn ClientCertVerifier>,
    operator: Arc<dyn ClientCertVerifier>,
    fingerprint: Fingerprint,
}

impl Trust {
    /// Reads the certificates for the first time.
    pub fn load(files: TrustFiles, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TrustError> {
        let contents = files.read()?;
        if !tls::is_valid_at(&files, &contents, clock.now())? {
            tracing::warn!(path = %files.certificate.display(), "the server certificate is not valid now: clients will refuse it");
        }
        let snapshot = Snapshot::new(&files, &contents, &clock)?;
        Ok(Arc::new(Self { files, clock, current: ArcSwap::from_pointee(snapshot), epochs: watch::Sender::new(0) }))
    }

    /// Looks at the files again and again, and uses what is new. A change counts once two looks in a row have found the same, so
    /// that a file is not taken while it is being written. Something broken changes nothing, and is said once.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut settled = Ok(self.current.load().fingerprint);
        let mut before = settled.clone();
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let trust = Arc::clone(&self);
            let Ok(read) = tokio::task::spawn_blocking(move || trust.files.read()).await else { continue };
            let look = read.as_ref().map(Contents::fingerprint).map_err(ToString::to_string);
            let is_news = look == before && look != settled;
            before.clone_from(&look);
            if !is_news {
                continue;
            }
            settled = look;
            match read.and_then(|contents| self.adopt(&contents)) {
                Ok(epoch) => tracing::info!(epoch, "certificates reloaded"),
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::warn!("could not reload certificates, so the former ones stay in use: {error:#}");
                }
            }
        }
    }

    /// Reads the files and uses what is in them, or says what is wrong and changes nothing.
    pub fn reload(&self) -> Result<u64, TrustError> {
        self.files.read().and_then(|contents| self.adopt(&contents))
    }

    /// Uses new certificates from now on, for calls on open connections too.
    fn adopt(&self, contents: &Contents) -> Result<u64, TrustError> {
        if !tls::is_valid_at(&self.files, contents, self.clock.now())? {
            return Err(TrustError::NotValidNow { path: self.files.certificate.clone() });
        }
        let mut snapshot = Snapshot::new(&self.files, contents, &self.clock)?;
        self.epochs.send_modify(|epoch| {
            *epoch += 1;
            snapshot.epoch = *epoch;
            self.current.store(Arc::new(snapshot));
        });
        Ok(*self.epochs.borrow())
    }

    pub(super) fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells of every reload.
    pub(super) fn epochs(&self) -> watch::Receiver<u64> {
        self.epochs.subscribe()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.current().epoch;
        f.debug_struct("Trust").field("files", &self.files).field("epoch", &epoch).finish_non_exhaustive()
    }
}

impl Snapshot {
    fn new(files: &TrustFiles, contents: &Contents, clock: &Arc<dyn Clock>) -> Result<Self, TrustError> {
        let device = tls::anchors(&files.device_ca, &contents.device_ca)?;
        let operator = tls::anchors(&files.operator_ca, &contents.operator_ca)?;
        Ok(Self {
            epoch: 0,
            config: tls::server_config(files, contents, &[&device, &operator], clock)?,
            device: tls::verifier(&[&device])?,
            operator: tls::verifier(&[&operator])?,
            fingerprint: contents.fingerprint(),
        })
    }

    /// Whom a certificate makes its bearer: verifies the chain, the leaf first, and takes the names at their word.
    pub(super) fn classify(
        &self,
        chain: &[CertificateDer<'_>],
        names: &Names,
        now: Timestamp,
    ) -> Result<Caller, Reason> {
        let (leaf, intermediates) = chain.split_first().ok_or(Reason::CredentialsMissing)?;
        let time = UnixTime::since_unix_epoch(now.since(Timestamp::from_micros(0)));
        let Err(not_device) = self.device.verify_client_cert(leaf, intermediates, time) else {
            return names.device.map(Caller::Device).ok_or(Reason::CertificateWithoutIdentity);
        };
        let Err(not_relay) = self.operator.verify_client_cert(leaf, &[], time) else {
            let relay = names.relay.clone().map(Arc::new);
            return relay.map(Caller::Relay).ok_or(Reason::CertificateWithoutIdentity);
        };
        let expired =
            [not_device, not_relay].iter().any(|error| HandshakeCause::of(error) == HandshakeCause::CertificateExpired);
        Err(if expired { Reason::CertificateExpired } else { Reason::CertificateNotTrusted })
    }
}
