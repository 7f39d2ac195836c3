//! HTTP/2 for calls: a connection of hyper as a service, without the channel of tonic, whose queue and layers cost a process that is thousands of
//! boxes a sixth of its memory.

use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codegen::http::header::{HeaderValue, USER_AGENT};
use tonic::codegen::http::uri::{Authority, Scheme};
use tonic::codegen::http::{Request, Response, Uri};
use tonic::codegen::{BoxFuture, Service, StdError};

/// How often an idle connection is tried, and how long the other end may take to answer that.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How many bytes of one answer the server may send before they are read: a box keeps little that it has not asked for.
const WINDOW: u32 = 64 * 1024;

/// What the server sees as the program that calls.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("fortigate/", env!("CARGO_PKG_VERSION")));

/// A connection, for the clients of the services; its clones share it. It ends when the last of them and the last call are gone.
#[derive(Clone, Debug)]
pub struct Http2 {
    requests: SendRequest<Body>,
    authority: Authority,
}

impl Http2 {
    /// Begins to speak HTTP/2 with the server of this name. A task of its own works the connection until it is over.
    pub async fn open<L>(link: L, authority: Authority) -> Result<Self, hyper::Error>
    where
        L: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * 2)
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let (requests, connection) = builder.handshake(TokioIo::new(link)).await?;
        // Every call on it learns why it ended.
        tokio::spawn(connection);
        Ok(Self { requests, authority })
    }
}

impl Service<Request<Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, StdError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        // The call itself tells that the connection is over: of an error here the clients of the services keep no more than a text.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        (uri.scheme, uri.authority) = (Some(Scheme::HTTPS), Some(self.authority.clone()));
        request.headers_mut().insert(USER_AGENT, AGENT);
        let mut requests = self.requests.clone();
        Box::pin(async move {
            *request.uri_mut() = Uri::from_parts(uri)?;
            Ok(requests.send_request(request).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_no_ping_ends_the_call() {
        let (near, mut far) = duplex(1 << 14);
        // It reads everything, and says nothing.
        let reading = tokio::spawn(async move { tokio::io::copy(&mut far, &mut tokio::io::sink()).await.unwrap() });
        let mut http2 = Http2::open(near, "branch".parse().unwrap()).await.unwrap();
        let request = || Request::builder().uri("/service/Method").body(Body::empty()).unwrap();
        let began = tokio::time::Instant::now();
        assert!(http2.call(request()).await.is_err());
        assert!((KEEPALIVE * 2..KEEPALIVE * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
        // The next call says so itself.
        assert!(std::future::poll_fn(|cx| http2.poll_ready(cx)).await.is_ok());
        assert!(http2.call(request()).await.is_err());
        drop(http2);
        reading.await.unwrap();
    }
}
