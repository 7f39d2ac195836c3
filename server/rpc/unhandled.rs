//! Calls that fail before any service sees them: an unknown method, bytes that are no message, a message that is too large, or
//! that comes too late. They too get a reason, a log line and a terminal debug event.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use muster_proto::{Reason, printable};
use rand::RngExt as _;
use tokio::time::timeout_at;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::deadline::Deadline;
use super::log;
use super::status::{Failure, OPERATION_HEADER};
use crate::clock::Clock;
use crate::feed::Feed;
use crate::operation::OperationId;
use crate::registry::Reach;
use crate::writer::{Operation, terminal};

/// Wraps the services.
#[derive(Clone, Debug)]
pub struct UnhandledLayer {
    pub(super) feed: Feed,
    pub(super) clock: Arc<dyn Clock>,
}

impl<S> Layer<S> for UnhandledLayer {
    type Service = Unhandled<S>;

    fn layer(&self, inner: S) -> Unhandled<S> {
        Unhandled { inner, shared: self.clone() }
    }
}

/// The services, wrapped.
#[derive(Clone, Debug)]
pub struct Unhandled<S> {
    inner: S,
    shared: UnhandledLayer,
}

impl<S, B> Service<Request<B>> for Unhandled<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let deadline = Deadline::of(request.headers());
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        // Health and reflection answer for themselves.
        let uri = (!request.uri().path().starts_with("/grpc.")).then(|| request.uri().clone());
        let response = self.inner.call(request);
        let shared = self.shared.clone();
        Box::pin(async move {
            let response = match deadline.zip(uri.as_ref()) {
                None => response.await?,
                // Its service ends a call earlier than that; this one waits for its message yet.
                Some((deadline, uri)) => match timeout_at(deadline.unseen(), response).await {
                    Ok(response) => response?,
                    Err(_) => return Ok(shared.explain(&Status::deadline_exceeded("the deadline passed"), uri.path())),
                },
            };
            // A status in the headers is a call that failed at once; with an operation, its service has dealt with it.
            let headers = response.headers();
            let Some(uri) = uri.filter(|_| headers.contains_key("grpc-status")) else { return Ok(response) };
            match Status::from_header_map(headers) {
                Some(status) if status.code() != Code::Ok && !headers.contains_key(OPERATION_HEADER) => {
                    Ok(shared.explain(&status, uri.path()))
                }
                _ => Ok(response),
            }
        })
    }
}

impl UnhandledLayer {
    fn explain(&self, status: &Status, path: &str) -> Response<Body> {
        let reason = match status.code() {
            Code::Unimplemented if status.message().is_empty() => Reason::MethodUnknown,
            Code::OutOfRange | Code::ResourceExhausted => Reason::MessageTooLarge,
            Code::Cancelled | Code::DeadlineExceeded => Reason::DeadlinePassed,
            _ => Reason::MessageMalformed,
        };
        let message = match status.message() {
            "" => printable(path),
            detail => printable(&format!("{path}: {detail}")),
        };
        let failure = Failure::new(reason, message);
        let at = self.clock.now();
        let id = OperationId::new(at, rand::rng().random());
        let operation = Operation {
            id,
            at,
            method: "unhandled",
            caller: Arc::from(""),
            reach: Reach::Everything,
            address: None,
            web_app: None,
            proof: None,
        };
        log::operation(&operation, None, reason.code(), reason.as_str(), std::time::Duration::ZERO);
        self.feed.record(terminal(&operation, None, reason.code(), at).refused(&failure.refusal));
        failure.status(id).into_http()
    }
}
