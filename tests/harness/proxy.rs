//! A TCP proxy that cuts what is quiet, as many on the way to a service do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// A proxy that cuts a connection once nothing has come from one of its sides for so long.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy in front of a server.
    pub async fn start(server: SocketAddr, patience: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cuts);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    if forward(client, server, patience).await.is_err() {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, cuts, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// How many connections it has cut.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// A connection that was quiet for too long.
struct Quiet;

async fn forward(client: TcpStream, server: TcpStream, patience: Duration) -> Result<(), Quiet> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            match timeout(patience, from_client.read(&mut buffer)).await {
                Err(_) => return Err(Quiet),
                Ok(Ok(0) | Err(_)) => return Ok(()),
                Ok(Ok(read)) => drop(to_server.write_all(&buffer[..read]).await),
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            match timeout(patience, from_server.read(&mut buffer)).await {
                Err(_) => return Err(Quiet),
                Ok(Ok(0) | Err(_)) => return Ok(()),
                Ok(Ok(read)) => drop(to_client.write_all(&buffer[..read]).await),
            }
        }
    };
    // Whichever side ends first ends both.
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}
