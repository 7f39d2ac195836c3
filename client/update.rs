//! What `execute fortitoken-cloud update` does: one idempotent sync, repeated while that may help.

use std::time::Duration;

use muster_proto::v1;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use rand::Rng;
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::connect::Dialer;
use crate::failure::CallError;

const TRIES: u32 = 5;

/// Sends the VDOM list of a box. What may pass is tried again, up to `limit` over all; `note` hears of it, with the wait.
///
/// A first connection that fails is reported at once: the user may have mistyped the address. Once the server has answered, even its
/// restart is waited for.
pub async fn update(
    dialer: &Dialer,
    request: &v1::SyncRequest,
    limit: Duration,
    rng: &mut impl Rng,
    mut note: impl FnMut(&CallError, Duration),
) -> Result<v1::SyncResponse, CallError> {
    let deadline = Instant::now() + limit;
    let mut backoff = Backoff::default();
    let mut reached = false;
    for tries_left in (0..TRIES).rev() {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match timeout(left, sync(dialer, request, left)).await {
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

async fn sync(dialer: &Dialer, request: &v1::SyncRequest, left: Duration) -> Result<v1::SyncResponse, CallError> {
    let connection = dialer.connect(left).await?;
    let mut request = tonic::Request::new(request.clone());
    request.set_timeout(left);
    match DeviceServiceClient::new(connection.channel.clone()).sync(request).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(CallError::of(&connection, &status)),
    }
}
