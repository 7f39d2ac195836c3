//! The way to the server: name, TCP, TLS, HTTP/2, each failing with its own error.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::http2::Http2;
use crate::link::{Fault, Link};
use crate::server_url::ServerUrl;
use crate::tls::TlsProblem;

/// Knows how to reach the server.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// Where the server is.
    pub server: ServerUrl,
    /// Who calls, and whom it trusts.
    pub tls: Arc<ClientConfig>,
    /// How long name, TCP and TLS may take together.
    pub connect_timeout: Duration,
}

/// Why the server was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name has no address: {0}")]
    Resolve(#[source] io::Error),
    /// No address took the connection; each is listed with why.
    #[error("{}", list(.0))]
    Tcp(Vec<(SocketAddr, io::Error)>),
    /// The two ends could not agree on TLS.
    #[error("{0}")]
    Tls(TlsProblem),
    /// The connection cannot be used for calls.
    #[error("the connection cannot be used: {0}")]
    Http2(#[source] hyper::Error),
}

fn list(attempts: &[(SocketAddr, io::Error)]) -> String {
    let attempts = attempts.iter().map(|(address, error)| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{address} refused the connection"),
        io::ErrorKind::TimedOut => format!("{address} did not answer in time"),
        _ => format!("{address}: {error}"),
    });
    attempts.collect::<Vec<_>>().join(", ")
}

impl ConnectError {
    /// Which part of the way it was.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "DNS",
            Self::Tcp(_) => "connect",
            Self::Tls(_) => "TLS",
            Self::Http2(_) => "HTTP/2",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        let refused = |(_, error): &(_, io::Error)| error.kind() == io::ErrorKind::ConnectionRefused;
        match self {
            Self::Resolve(_) => "check the name of the server (--server), and the name service of this machine",
            Self::Tcp(attempts) if attempts.iter().all(refused) => {
                "start muster-server, or check host and port (--server): nothing listens there"
            }
            Self::Tcp(_) => "check host and port (--server), and the routes and firewalls on the way",
            Self::Tls(problem) => problem.fix(),
            Self::Http2(_) => "check host and port: they belong to something else than muster-server",
        }
    }

    /// Whether trying again later may help without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Resolve(_) | Self::Tcp(_) => true,
            Self::Tls(problem) => problem.is_passing(),
            Self::Http2(_) => false,
        }
    }
}

/// An open connection. It is never opened again behind the caller's back: whoever needs another dials again, and learns why that failed.
#[derive(Clone, Debug)]
pub struct Connection {
    /// For the clients of the services.
    pub channel: Http2,
    fault: Fault,
}

/// Tells when a connection is over, whoever ended it.
#[derive(Debug)]
pub struct Over(oneshot::Receiver<()>);

impl Over {
    /// Waits until the connection is over.
    pub async fn wait(&mut self) {
        // Nothing is ever sent: the other half goes with the connection.
        let _ = (&mut self.0).await;
    }
}

impl Connection {
    /// What went wrong with TLS since the connection was opened.
    #[must_use]
    pub fn tls_problem(&self) -> Option<TlsProblem> {
        self.fault.get().map(Into::into)
    }
}

impl Dialer {
    /// Opens a connection, within the time for that or `limit`, whichever is shorter.
    pub async fn connect(&self, limit: Duration) -> Result<Connection, ConnectError> {
        Ok(self.connect_from(None, limit).await?.0)
    }

    /// Opens a connection from this address of the machine, and tells when it is over.
    pub async fn connect_from(
        &self,
        source: Option<IpAddr>,
        limit: Duration,
    ) -> Result<(Connection, Over), ConnectError> {
        let deadline = Instant::now() + self.connect_timeout.min(limit);
        let tcp = self.tcp(source, deadline).await?;
        let name = ServerName::try_from(self.server.host().to_owned())
            .map_err(|error| ConnectError::Tls(TlsProblem::ServerName(error.to_string())))?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp);
        let stream = match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(ConnectError::Tls((&error).into())),
            Err(_) => return Err(ConnectError::Tls(TlsProblem::TimedOut)),
        };
        let fault = Fault::default();
        let (link, over) = Link::new(stream, fault.clone());
        let authority = self
            .server
            .authority()
            .parse()
            .map_err(|_| ConnectError::Tls(TlsProblem::ServerName("it is no authority of a URL".to_owned())))?;
        let channel = Http2::open(link, authority).await.map_err(ConnectError::Http2)?;
        Ok((Connection { channel, fault }, Over(over)))
    }

    /// Tries every address of the name in turn; an address that does not answer leaves time for the others.
    async fn tcp(&self, source: Option<IpAddr>, deadline: Instant) -> Result<TcpStream, ConnectError> {
        let lookup = tokio::net::lookup_host((self.server.host(), self.server.port()));
        let addresses: Vec<SocketAddr> = match timeout_at(deadline, lookup).await {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => return Err(ConnectError::Resolve(error)),
            Err(_) => return Err(ConnectError::Resolve(timed_out("the name service did not answer in time"))),
        };
        if addresses.is_empty() {
            return Err(ConnectError::Resolve(io::Error::new(
                io::ErrorKind::NotFound,
                "the name is known without any",
            )));
        }
        let mut attempts = Vec::new();
        for (tried, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match timeout_at(Instant::now() + share, open(source, *address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(|error| ConnectError::Tcp(vec![(*address, error)]))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => attempts.push((*address, error)),
                Err(_) => attempts.push((*address, timed_out("no answer"))),
            }
        }
        Err(ConnectError::Tcp(attempts))
    }
}

async fn open(source: Option<IpAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    match (source, address) {
        (Some(source @ IpAddr::V4(_)), SocketAddr::V4(_)) => {
            let socket = TcpSocket::new_v4()?;
            // Set before the bind, so that ports in TIME_WAIT do not count against the next connection.
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(address).await
        }
        _ => TcpStream::connect(address).await,
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
