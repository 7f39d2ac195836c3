//! The server as a whole: open everything, serve until told to stop, and stop within a bound.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::debug_log::Level;
use rand::RngExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::data_dir::{DataDir, DataDirError, DataFile};
use crate::feed::{DebugEvent, Feed};
use crate::identity::ca::{Authority, AuthorityError};
use crate::identity::handshake::HandshakeFailure;
use crate::identity::incoming::{HandshakeLimits, Incoming};
use crate::identity::renewal::keep_server_certificate;
use crate::identity::revocations::{Identity, Revocations};
use crate::identity::token::AdminToken;
use crate::identity::trust::{Trust, TrustError, TrustFiles};
use crate::operation::OperationId;
use crate::presence::{ChannelSettings, Presence};
use crate::rpc::{self, Health, Parts};
use crate::store::{Reading, StoreError, Writing, open_sqlite};
use crate::sweep::keep_sweeping;
use crate::writer::{Writer, WriterTask};

/// The name of the admin token that the first start makes.
pub(crate) const FIRST_ADMIN: &str = "first";
/// How often the certificate files are looked at.
const RELOAD: Duration = Duration::from_secs(1);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The SQLite file; `None` for the one in the data directory.
    pub database: Option<PathBuf>,
    /// The operator's own certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The operator's own device CAs.
    pub device_ca: Option<PathBuf>,
    /// No TLS.
    pub insecure_plaintext: bool,
    /// How long calls in flight may take to end.
    pub grace: Duration,
    /// How many bytes of past events the debug feed may hold.
    pub feed_memory: usize,
    /// How the channels of devices are kept.
    pub channels: ChannelSettings,
}

/// Why the server could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The built-in CA cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the data directory cannot be used.
    #[error("could not use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The descriptors for reflection are broken.
    #[error(transparent)]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The connections cannot be served.
    #[error("could not serve: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Everything that is opened, ready to serve.
pub struct Server {
    settings: Settings,
    /// Locked as long as the server lives.
    data: Arc<DataDir>,
    tls: Option<Tls>,
    clock: Arc<dyn Clock>,
    feed: Feed,
    parts: Parts,
    writing: JoinHandle<()>,
    healthy: watch::Receiver<bool>,
}

/// The certificates in use.
struct Tls {
    trust: Arc<Trust>,
    /// The names of the server in the certificate that we look after ourselves; `None` if the operator brought one.
    own_names: Option<Vec<String>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens everything; the first start makes what is not there. `address` is where the server will be reached.
    pub async fn open(settings: Settings, address: SocketAddr, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        let data = Arc::new(DataDir::open(&settings.data_dir)?);
        let tls =
            if settings.insecure_plaintext { None } else { Some(certificates(&settings, &data, address, &clock)?) };
        let path = match &settings.database {
            Some(path) => path.clone(),
            None => data.touch(DataFile::Database).map_err(unusable(&data, DataFile::Database))?,
        };
        let (mut store, reading) = open_sqlite(&path).await?;
        if !store.has_admin_token().await? {
            let token = AdminToken::first(&data, rand::rng().random());
            let token = token.map_err(unusable(&data, DataFile::AdminToken))?;
            store.replace_admin_token(FIRST_ADMIN, token.hash().0, clock.now()).await?;
        }
        let feed = Feed::new(settings.feed_memory, rand::rng().random(), Arc::clone(&clock));
        let (healthy, health) = watch::channel(true);
        let revocations = Revocations::new(store.banned().await?.into_iter().map(Identity::Device));
        let writing = WriterTask::new(Box::new(store), feed.clone(), Arc::clone(&clock), healthy, revocations.clone());
        let (writer, task) = writing.await?;
        let presence = Presence::new(settings.channels, Arc::clone(&clock), feed.clone());
        let writing = tokio::spawn(task.telling(presence.clone()).run());
        let parts = Parts {
            clock: Arc::clone(&clock),
            feed: feed.clone(),
            store: Arc::new(reading),
            writer,
            presence,
            revocations,
        };
        Ok(Self { settings, data, tls, clock, feed, parts, writing, healthy: health })
    }

    /// Where the debug feed is.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Where changes are handed in.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.parts.writer
    }

    /// Where the register is read.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Reading> {
        &self.parts.store
    }

    /// Serves until `stopping` is cancelled, then ends what is under way within the grace period; cancelling `killed` ends it at once.
    pub async fn serve(
        self,
        listener: TcpListener,
        stopping: CancellationToken,
        killed: CancellationToken,
    ) -> Result<(), ServeError> {
        let Self { settings, data, tls, clock, feed, parts, writing, healthy } = self;
        let mut health = Health::new().await;
        let (sweeper, store) = (parts.writer.clone(), Arc::clone(&parts.store));
        let presence = parts.presence.clone();
        let router = rpc::router(parts, &health)?;
        // Dropped, and so ended, with the server.
        let mut background = JoinSet::new();
        let incoming = match tls {
            None => Incoming::plain(listener),
            Some(Tls { trust, own_names }) => {
                background.spawn(Arc::clone(&trust).watch(RELOAD));
                if let Some(names) = own_names {
                    background.spawn(keep_server_certificate(Arc::clone(&data), names, Arc::clone(&clock)));
                }
                let (feed, clock) = (feed.clone(), Arc::clone(&clock));
                let tell = move |failure| refused(&feed, &*clock, &failure);
                Incoming::tls(listener, trust, HandshakeLimits::default(), tell)
            }
        };
        background.spawn(follow(health.clone(), healthy));
        background.spawn(keep_sweeping(sweeper, store, clock, stopping.clone()));
        background.spawn(presence.clone().watch());
        let serving = router.serve_with_incoming_shutdown(incoming, stopping.clone().cancelled_owned());
        let goodbye = async {
            stopping.cancelled().await;
            info!(grace = ?settings.grace, "stopping: calls in flight may end");
            health.end().await;
            presence.shut_down();
            // Viewers come back spread over a few seconds, not all at once.
            feed.shut_down(Duration::from_millis(rand::rng().random_range(1_000..3_000)));
            tokio::select! {
                () = tokio::time::sleep(settings.grace) => warn!(grace = ?settings.grace, "connections were still open after the grace period"),
                () = killed.cancelled() => warn!("stopping at once"),
            }
        };
        // A peer that never answers would otherwise hold the server for ever.
        let ended = tokio::select! {
            served = serving => Some(served),
            () = goodbye => None,
        };
        let served = if let Some(served) = ended {
            // The services are gone now, and with them every writer; what is queued is still written.
            tokio::select! {
                _ = writing => {}
                () = tokio::time::sleep(settings.grace) => warn!("the last changes could not be written within the grace period"),
                () = killed.cancelled() => warn!("stopping at once"),
            }
            served
        } else {
            // Connections that did not end still hold the services, and so the writer. Whoever waits for it was promised nothing.
            writing.abort();
            let _ = writing.await;
            Ok(())
        };
        // Joined, so that the data directory is free for the next server when this returns.
        background.shutdown().await;
        drop(data);
        info!("stopped");
        Ok(served?)
    }
}

/// What went wrong with a file, and which one it was.
fn unusable(data: &DataDir, file: DataFile) -> impl FnOnce(std::io::Error) -> ServeError {
    let path = data.path(file);
    |source| ServeError::File { path, source }
}

/// Makes the certificates that are not there, and reads those to use.
fn certificates(
    settings: &Settings,
    data: &DataDir,
    address: SocketAddr,
    clock: &Arc<dyn Clock>,
) -> Result<Tls, ServeError> {
    let authority = Authority::ensure(data, clock.now())?;
    let mut files = TrustFiles::of(data);
    let own_names = if let Some((certificate, key)) = &settings.tls {
        (files.certificate, files.key) = (certificate.clone(), key.clone());
        None
    } else {
        let host = hostname::get().ok().and_then(|name| name.into_string().ok());
        let listen = (!address.ip().is_unspecified()).then(|| address.ip().to_string());
        let names: Vec<String> = host.into_iter().chain(listen).collect();
        authority.ensure_server_certificate(&names, clock.now())?;
        Some(names)
    };
    match &settings.device_ca {
        Some(device_ca) => files.device_ca.clone_from(device_ca),
        None => authority.ensure_device_ca(clock.now())?,
    }
    Ok(Tls { trust: Trust::load(files, Arc::clone(clock))?, own_names })
}

/// Health follows the store.
async fn follow(health: Health, mut healthy: watch::Receiver<bool>) {
    while healthy.changed().await.is_ok() {
        let now = *healthy.borrow_and_update();
        health.report(now).await;
    }
}

/// A connection that was not accepted leaves a debug event, so that whoever looks for a device that cannot connect finds it.
fn refused(feed: &Feed, clock: &dyn Clock, failure: &HandshakeFailure) {
    info!(%failure, "connection refused");
    let now = clock.now();
    let operation = OperationId::new(now, rand::rng().random());
    let message = format!("connection refused: {failure}; {}", failure.cause.fix());
    let mut event = DebugEvent::new(now, operation, Level::Warning, "handshake", message);
    // Nobody has vouched for it, and the message says so: the device that is looked for is found all the same.
    event.serial = failure.claimed.device;
    event.reason = failure.cause.reason();
    event.terminal = Some(event.reason.map_or(tonic::Code::Unavailable, muster_proto::Reason::code));
    feed.record(event);
}

/// Where the server can be reached: the address it listens on, as a URL.
#[must_use]
pub fn url(address: SocketAddr, plaintext: bool) -> String {
    format!("{}://{address}", if plaintext { "http" } else { "https" })
}
