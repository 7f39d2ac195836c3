//! HTTP/2 for calls, with nothing between a client of a service and its connection.
//!
//! The channel of tonic queues requests twice on their way to the connection, and each queue reserves room for dozens of them. A process that
//! is thousands of boxes pays for that with a quarter of its memory.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codegen::http::header::{HeaderValue, USER_AGENT};
use tonic::codegen::http::uri::{Authority, Scheme};
use tonic::codegen::http::{Request, Response, Uri};
use tonic::codegen::{BoxFuture, Service};

/// How often an idle connection is tried, and how long the other end may take to answer that.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How many bytes of one answer the server may send before they are read: a box keeps little that it has not asked for.
const WINDOW: u32 = 64 * 1024;

/// What the server sees as the program that calls.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("fortigate/", env!("CARGO_PKG_VERSION")));

/// A connection, for the clients of the services; its clones share it. It ends when the last of them and the last call are gone.
#[derive(Clone, Debug)]
pub struct Http2 {
    requests: SendRequest<Bytes>,
    authority: Authority,
}

impl Http2 {
    /// Begins to speak HTTP/2 with the server of this name. A task of its own works the connection until it is over.
    pub async fn open<L>(link: L, authority: Authority) -> Result<Self, h2::Error>
    where
        L: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW * 2).enable_push(false);
        let (requests, mut connection) = builder.handshake(link).await?;
        let pings = connection.ping_pong();
        tokio::spawn(async move {
            tokio::select! {
                // Every call on it learns why it ended.
                _ = connection => {}
                () = silence(pings) => {}
            }
        });
        Ok(Self { requests, authority })
    }
}

/// Waits until the other end leaves a ping unanswered.
async fn silence(pings: Option<PingPong>) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(KEEPALIVE).await;
        if !matches!(timeout(KEEPALIVE, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

impl Service<Request<Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = h2::Error;
    type Future = BoxFuture<Self::Response, h2::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        // The call itself tells that the connection is over: of an error here the clients of the services keep no more than a text.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        (uri.scheme, uri.authority) = (Some(Scheme::HTTPS), Some(self.authority.clone()));
        head.headers.insert(USER_AGENT, AGENT);
        let mut requests = self.requests.clone();
        Box::pin(async move {
            head.uri = Uri::from_parts(uri).map_err(|_| Reason::INTERNAL_ERROR)?;
            let is_empty = body.is_end_stream();
            std::future::poll_fn(|cx| requests.poll_ready(cx)).await?;
            let (response, stream) = requests.send_request(Request::from_parts(head, ()), is_empty)?;
            drop(requests);
            if !is_empty {
                let mut sending = Box::pin(send(body, stream));
                // One message is sent before anybody waits; a stream of them goes on beside its answers.
                let is_sent = std::future::poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_ready())).await;
                if !is_sent {
                    tokio::spawn(sending);
                }
            }
            Ok(response.await?.map(|stream| Incoming { stream, is_over: false }))
        })
    }
}

/// Sends the body of a request as the server takes it. That it could not be sent is told by the answer.
async fn send(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        let next = std::future::poll_fn(|cx| match stream.poll_reset(cx) {
            // Nobody reads it any more.
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => {
                Pin::new(&mut body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map(Frame::into_data)))
            }
        });
        let mut data = match next.await {
            Some(Ok(Ok(data))) => data,
            // A request has no trailers.
            Some(Ok(Err(_))) => continue,
            Some(Err(_)) => return stream.send_reset(Reason::CANCEL),
            None => {
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
        };
        let is_last = body.is_end_stream();
        while !data.is_empty() {
            stream.reserve_capacity(data.len());
            let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
            let part = data.split_to(room.min(data.len()));
            let is_end = is_last && data.is_empty();
            if stream.send_data(part, is_end).is_err() || is_end {
                return;
            }
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct Incoming {
    stream: RecvStream,
    /// Whether only the trailers are left.
    is_over: bool,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.is_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // What was taken makes room for as much.
                    self.stream.flow_control().release_capacity(data.len())?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // The server has answered before it had read everything, and wants no more.
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.is_over = true,
            }
        }
        self.stream.poll_trailers(cx).map(|trailers| match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use tokio::io::duplex;

    /// A body in these parts.
    struct Parts(VecDeque<Bytes>);

    impl http_body::Body for Parts {
        type Data = Bytes;
        type Error = tonic::Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
            Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
        }
    }

    fn request(parts: &[usize]) -> Request<Body> {
        let parts = parts.iter().map(|size| Bytes::from(vec![7; *size])).collect();
        Request::builder().uri("/service/Method").body(Body::new(Parts(parts))).unwrap()
    }

    async fn call(http2: &mut Http2, request: Request<Body>) -> Result<Response<Incoming>, h2::Error> {
        std::future::poll_fn(|cx| http2.poll_ready(cx)).await?;
        http2.call(request).await
    }

    #[tokio::test]
    async fn a_body_far_larger_than_the_window_arrives_whole_and_in_order() {
        let (near, far) = duplex(1 << 14);
        let server = tokio::spawn(async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let working = tokio::spawn(async move { while connection.accept().await.is_some() {} });
            assert_eq!(request.uri(), "https://branch:7443/service/Method");
            assert!(request.headers()[USER_AGENT].to_str().unwrap().starts_with("fortigate/"));
            let (mut body, mut size) = (request.into_body(), 0);
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                size += data.len();
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            let mut answer = respond.send_response(Response::new(()), false).unwrap();
            answer.send_data(size.to_string().into(), false).unwrap();
            answer.send_trailers([(USER_AGENT, HeaderValue::from_static("end"))].into_iter().collect()).unwrap();
            working.await.unwrap();
        });
        let mut http2 = Http2::open(near, "branch:7443".parse().unwrap()).await.unwrap();
        let answer = call(&mut http2, request(&[300_000, 0, 1, 70_000])).await.unwrap();
        let (mut body, mut frames) = (answer.into_body(), Vec::new());
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            frames.push(frame.unwrap());
        }
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].data_ref().unwrap().as_ref(), b"370001");
        assert!(frames[1].is_trailers());
        // The connection ends with the last who has it.
        drop((http2, body));
        server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_no_ping_ends_the_call() {
        let (near, mut far) = duplex(1 << 14);
        // It reads everything, and says nothing.
        let reading = tokio::spawn(async move { tokio::io::copy(&mut far, &mut tokio::io::sink()).await.unwrap() });
        let mut http2 = Http2::open(near, "branch".parse().unwrap()).await.unwrap();
        let began = tokio::time::Instant::now();
        assert!(call(&mut http2, request(&[5])).await.is_err());
        assert!((KEEPALIVE * 2..KEEPALIVE * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
        // The next call says so itself.
        assert!(std::future::poll_fn(|cx| http2.poll_ready(cx)).await.is_ok());
        assert!(http2.call(request(&[5])).await.is_err());
        drop(http2);
        reading.await.unwrap();
    }
}
