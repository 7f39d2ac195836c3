//! The messages of the caller, one by one.

use muster_proto::{Reason, v1};
use tokio::time::{Instant, timeout_at};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Status};

use super::Up;
use super::session::Ended;
use crate::rpc::status::Failure;

/// A message that does not belong where it stands.
pub(super) fn out_of_order(message: &str) -> Ended {
    Ended::Failed(Failure::new(Reason::SyncOutOfOrder, message))
}

/// The next message of a stream, if it comes in time.
pub(super) async fn next<S: Stream<Item = Result<v1::SyncUsersRequest, Status>> + Unpin>(
    inbound: &mut S,
    until: Instant,
) -> Result<Up, Ended> {
    let failed = |reason, message| Err(Ended::Failed(Failure::new(reason, message)));
    match timeout_at(until, inbound.next()).await {
        Err(_) => failed(Reason::SyncStalled, "the next part of the list did not come in time"),
        Ok(Some(Ok(message))) => message.kind.ok_or_else(|| out_of_order("a message of no kind")),
        // The caller ended its side.
        Ok(None) => Err(out_of_order("the stream ended without end")),
        Ok(Some(Err(status))) => match status.code() {
            Code::Cancelled | Code::Unknown | Code::Unavailable => Err(Ended::Gone),
            Code::OutOfRange | Code::ResourceExhausted => {
                failed(Reason::MessageTooLarge, "a chunk has more bytes than the server reads")
            }
            _ => failed(Reason::MessageMalformed, "a message cannot be read"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::user_sync::IDLE;

    fn reason(ended: Ended) -> Option<Reason> {
        match ended {
            Ended::Gone => None,
            Ended::Failed(failure) => Some(failure.refusal.reason),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_says_nothing_is_not_waited_for() {
        let began = Instant::now();
        let mut silent = tokio_stream::pending();
        let ended = next(&mut silent, began + IDLE).await.unwrap_err();
        assert_eq!(reason(ended), Some(Reason::SyncStalled));
        assert_eq!(began.elapsed(), IDLE);
    }

    #[tokio::test]
    async fn what_ends_a_stream_is_told_apart() {
        let until = Instant::now() + IDLE;
        for (message, expected) in [
            (None, Some(Reason::SyncOutOfOrder)),
            (Some(Ok(v1::SyncUsersRequest::default())), Some(Reason::SyncOutOfOrder)),
            (Some(Err(Status::cancelled(""))), None),
            (Some(Err(Status::out_of_range(""))), Some(Reason::MessageTooLarge)),
            (Some(Err(Status::internal(""))), Some(Reason::MessageMalformed)),
        ] {
            let mut stream = tokio_stream::iter(message);
            assert_eq!(reason(next(&mut stream, until).await.unwrap_err()), expected);
        }
    }
}
