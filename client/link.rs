//! The byte stream under a connection, which remembers why TLS broke.
//!
//! In TLS 1.3 a server refuses a client certificate only after the client's side of the handshake is done. The alert then arrives in the
//! middle of HTTP/2, whose errors keep of it no more than a text.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;

/// What went wrong with TLS after the handshake, if anything did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault(Arc<OnceLock<rustls::Error>>);

impl Fault {
    pub(crate) fn get(&self) -> Option<&rustls::Error> {
        self.0.get()
    }

    fn note(&self, error: &io::Error) {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            // Only the first error is the cause.
            let _ = self.0.set(error.clone());
        }
    }
}

/// A TLS connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TlsStream<TcpStream>,
    fault: Fault,
    /// Dropped with the connection, which is what the other half waits for.
    _alive: oneshot::Sender<()>,
}

impl Link {
    pub(crate) fn new(stream: TlsStream<TcpStream>, fault: Fault) -> (Self, oneshot::Receiver<()>) {
        let (alive, over) = oneshot::channel();
        (Self { stream, fault, _alive: alive }, over)
    }

    /// Notes the failure of a write. The peer may have said why before it closed: what it sent is still there to be read.
    fn write_failed(&mut self, cx: &mut Context<'_>, error: &io::Error) {
        self.fault.note(error);
        let mut scrap = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Err(error)) => return self.fault.note(&error),
                Poll::Ready(Ok(())) | Poll::Pending => return,
            }
        }
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.write_failed(cx, error);
        }
        result
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &result {
            self.fault.note(error);
            if error.kind() == io::ErrorKind::UnexpectedEof {
                // What rustls says of it is for developers.
                return Poll::Ready(Err(io::Error::new(error.kind(), "the other end closed it")));
            }
        }
        result
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, result)
    }
}
