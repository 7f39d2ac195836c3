//! One call to the service, repeated while that may help.

use std::time::Duration;

use muster_proto::v1::device_service_client::DeviceServiceClient;
use rand::Rng;
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};

use crate::backoff::Backoff;
use crate::connect::Dialer;
use crate::failure::CallError;
use crate::http2::Http2;

const TRIES: u32 = 5;

/// The client of the service that devices call.
pub type Client = DeviceServiceClient<Http2>;

/// Makes a call. Each is idempotent, so that what may pass is tried again, up to `limit` over all; `note` hears of it, with the wait.
///
/// A first connection that fails is reported at once: the user may have mistyped the address. Once the server has answered, even its
/// restart is waited for.
pub async fn call<M: Clone, T>(
    dialer: &Dialer,
    request: &M,
    limit: Duration,
    rng: &mut impl Rng,
    mut note: impl FnMut(&CallError, Duration),
    mut method: impl AsyncFnMut(Client, Request<M>) -> Result<Response<T>, Status>,
) -> Result<T, CallError> {
    let deadline = Instant::now() + limit;
    let mut backoff = Backoff::default();
    let mut reached = false;
    for tries_left in (0..TRIES).rev() {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match timeout(left, once(dialer, request, left, &mut method)).await {
            Ok(Ok(answer)) => return Ok(answer),
            // Both ends keep the deadline; it does not matter whose clock is first.
            Ok(Err(CallError::Lost(_))) if Instant::now() >= deadline => return Err(CallError::NoAnswer(limit)),
            Ok(Err(error)) => error,
            Err(_) => return Err(CallError::NoAnswer(limit)),
        };
        reached |= !matches!(error, CallError::Connect(_));
        let wait = backoff.next(error.retry_after(), rng);
        let in_time = Instant::now().checked_add(wait).is_some_and(|end| end < deadline);
        if !(reached && error.is_passing() && in_time && tries_left > 0) {
            return Err(error);
        }
        note(&error, wait);
        tokio::time::sleep(wait).await;
    }
    Err(CallError::NoAnswer(limit))
}

async fn once<M: Clone, T>(
    dialer: &Dialer,
    request: &M,
    left: Duration,
    method: &mut impl AsyncFnMut(Client, Request<M>) -> Result<Response<T>, Status>,
) -> Result<T, CallError> {
    let connection = dialer.connect(left).await?;
    let mut request = Request::new(request.clone());
    request.set_timeout(left);
    match method(DeviceServiceClient::new(connection.channel.clone()), request).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(CallError::of(&connection, &status)),
    }
}
