//! The client: so many connections, so many calls in flight on each, for so long.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::transport::Channel;

/// Calls for a while, and tells how many calls a second ended well. Any failure ends the measurement: a refused call is no throughput.
pub(crate) async fn throughput<F, R>(
    channels: &[Channel],
    in_flight: usize,
    time: Duration,
    call: impl Fn(Channel) -> F + Clone + Send + 'static,
) -> anyhow::Result<f64>
where
    F: Future<Output = Result<R, tonic::Status>> + Send,
{
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut workers: JoinSet<Result<(), tonic::Status>> = JoinSet::new();
    for channel in channels {
        for _ in 0..in_flight {
            let (channel, call, done) = (channel.clone(), call.clone(), Arc::clone(&done));
            workers.spawn(async move {
                while began.elapsed() < time {
                    call(channel.clone()).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    let calls = done.load(Ordering::Relaxed) as f64;
    Ok(calls / began.elapsed().as_secs_f64())
}

/// One call after the other, and the median time of one, in microseconds.
pub(crate) async fn latency<F, R>(time: Duration, mut call: impl FnMut() -> F) -> anyhow::Result<f64>
where
    F: Future<Output = Result<R, tonic::Status>>,
{
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < time {
        let call_began = Instant::now();
        call().await?;
        times.push(call_began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(quantile(times, 0.5))
}

/// The value that so large a part of the values does not exceed.
pub(crate) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = (values.len() as f64 * part) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
