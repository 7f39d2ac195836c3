//! Accepted connections, as a stream for tonic.
//!
//! Handshakes run in tasks of their own, so that a peer which connects and says nothing holds up nobody. It holds its place for the
//! handshake timeout at most, and not for long once places are scarce.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{fmt, mem};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout_at};
use tokio_stream::Stream;

use super::connection::Connection;
use super::handshake::HandshakeFailure;
use super::peer::Peer;
use super::tls;
use super::trust::Trust;

/// How long and how many handshakes may be.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeLimits {
    /// How long one may take; and then, how long the peer may take to begin with HTTP/2.
    pub timeout: Duration,
    /// How long one may take while more than half of the places are taken.
    pub timeout_when_crowded: Duration,
    /// How many may be under way; later connections wait in the queue of the system.
    pub places: usize,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), timeout_when_crowded: Duration::from_secs(3), places: 1024 }
    }
}

/// The connections that come in at a listener, for `Server::serve_with_incoming`. Dropping it closes the listener and ends the
/// handshakes that are under way. It never ends by itself, and its items are never errors.
pub struct Incoming {
    listener: TcpListener,
    /// Set while the system has no room for another connection.
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether the last attempt to accept a connection has failed.
    is_failing: bool,
    door: Option<Arc<Door>>,
    handshakes: JoinSet<Option<Connection>>,
}

/// What every handshake needs.
struct Door {
    trust: Arc<Trust>,
    limits: HandshakeLimits,
    places: Arc<Semaphore>,
    on_failure: Box<dyn Fn(HandshakeFailure) + Send + Sync>,
}

/// How long to wait when the system is out of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

impl Incoming {
    /// Connections with TLS. Each handshake that fails is told to `on_failure`, which must not block.
    pub fn tls(
        listener: TcpListener,
        trust: Arc<Trust>,
        limits: HandshakeLimits,
        on_failure: impl Fn(HandshakeFailure) + Send + Sync + 'static,
    ) -> Self {
        let places = Arc::new(Semaphore::new(limits.places.clamp(1, Semaphore::MAX_PERMITS)));
        let door = Door { trust, limits, places, on_failure: Box::new(on_failure) };
        Self { listener, pause: None, is_failing: false, door: Some(Arc::new(door)), handshakes: JoinSet::new() }
    }

    /// Connections without TLS, whose peers have no certificate.
    #[must_use]
    pub fn plain(listener: TcpListener) -> Self {
        Self { listener, pause: None, is_failing: false, door: None, handshakes: JoinSet::new() }
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(TcpStream, SocketAddr)> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(self.listener.poll_accept(cx)) {
                Ok((stream, remote)) => {
                    self.is_failing = false;
                    // A small answer must not wait for the acknowledgement of the one before it.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%remote, %error, "could not set TCP_NODELAY");
                    }
                    return Poll::Ready((stream, remote));
                }
                // The peer was gone before it was accepted.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    if !mem::replace(&mut self.is_failing, true) {
                        tracing::warn!(%error, "could not accept a connection; trying until it works");
                    }
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.handshakes.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(connection)))) => return Poll::Ready(Some(Ok(connection))),
                Poll::Ready(Some(Ok(None))) => continue,
                Poll::Ready(Some(Err(error))) => {
                    tracing::error!(%error, "a handshake ended in a panic");
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            let Some(door) = &this.door else {
                let (stream, remote) = ready!(this.poll_accept(cx));
                return Poll::Ready(Some(Ok(Connection::plain(
                    stream,
                    Peer::anonymous(remote),
                    HandshakeLimits::default().timeout,
                ))));
            };
            // At least one handshake is under way then, and wakes this task when it ends.
            let Ok(place) = Arc::clone(&door.places).try_acquire_owned() else { return Poll::Pending };
            let door = Arc::clone(door);
            let (stream, remote) = ready!(this.poll_accept(cx));
            this.handshakes.spawn(async move { door.admit(stream, remote, place).await });
        }
    }
}

impl Door {
    async fn admit(&self, stream: TcpStream, remote: SocketAddr, _place: OwnedSemaphorePermit) -> Option<Connection> {
        match self.handshake(stream, remote).await {
            Ok(connection) => Some(connection),
            Err(failure) => {
                tracing::debug!(%failure, "handshake failed");
                (self.on_failure)(failure);
                None
            }
        }
    }

    async fn handshake(&self, stream: TcpStream, remote: SocketAddr) -> Result<Connection, HandshakeFailure> {
        let config = Arc::clone(&self.trust.current().config);
        let handshake = pin!(tls::accept(config, stream));
        let stream = match self.in_time(handshake).await {
            Some(Ok(stream)) => stream,
            Some(Err((error, claimed))) => return Err(HandshakeFailure::of(remote, &error, claimed)),
            None => return Err(HandshakeFailure::timed_out(remote)),
        };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Peer::with_chain(remote, chain, Arc::clone(&self.trust));
        Ok(Connection::tls(stream, peer, self.limits.timeout))
    }

    /// Waits for a handshake for as long as it may take, which depends on how many others are under way.
    async fn in_time<F: Future + Unpin>(&self, mut handshake: F) -> Option<F::Output> {
        let end = Instant::now() + self.limits.timeout;
        loop {
            let look = (Instant::now() + self.limits.timeout_when_crowded).min(end);
            if let Ok(output) = timeout_at(look, &mut handshake).await {
                return Some(output);
            }
            if look == end || self.is_crowded() {
                return None;
            }
        }
    }

    fn is_crowded(&self) -> bool {
        self.places.available_permits() * 2 < self.limits.places
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("listener", &self.listener)
            .field("handshakes", &self.handshakes.len())
            .finish_non_exhaustive()
    }
}
