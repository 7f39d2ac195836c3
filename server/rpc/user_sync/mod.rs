//! `DeviceService.SyncUsers`: the stream of one sync of users. A task of its own works it: once the list is complete, the result is noted in the
//! debug feed even if the caller has gone.

mod demand;
mod inbound;
mod running;
mod session;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::v1::sync_users_request::Kind as Up;
use muster_proto::v1::sync_users_response::Kind as Down;
use muster_proto::{Reason, v1};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

pub(super) use self::running::Running;
use self::session::{Ended, Session};
use super::call::Call;
use crate::store::Reading;
use crate::writer::Writer;

/// How long the caller may take for its next message, or to take one.
const IDLE: Duration = Duration::from_secs(30);
/// How long a list may take as a whole.
const WHOLE: Duration = Duration::from_mins(10);
/// How many messages wait for the caller.
const WAITING: usize = 16;

/// What syncs of users need.
#[derive(Clone, Debug)]
pub(super) struct UserSyncs {
    pub(super) writer: Writer,
    pub(super) store: Arc<dyn Reading>,
    pub(super) running: Running,
}

/// What the caller is told.
pub(super) type Answers = ReceiverStream<Result<v1::SyncUsersResponse, Status>>;

/// Ends with the reason for which the caller may no longer call.
type ShutOut = Pin<Box<dyn Future<Output = Reason> + Send>>;

impl UserSyncs {
    /// Begins to work a stream. `shut_out` ends with the reason for which the caller may no longer call.
    pub(super) fn start<S>(self, mut call: Call, inbound: S, shut_out: ShutOut, deadline: Option<Instant>) -> Answers
    where
        S: Stream<Item = Result<v1::SyncUsersRequest, Status>> + Send + Unpin + 'static,
    {
        let (answers, receiver) = mpsc::channel(WAITING);
        let longest = Instant::now() + WHOLE;
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        tokio::spawn(async move {
            let mut session = Session { syncs: self, inbound, answers, shut_out, until, received: 0 };
            let result = session.work(&mut call).await;
            match result {
                // The caller has gone: that is how the call ends when it is dropped.
                Err(Ended::Gone) => {}
                Err(Ended::Failed(failure)) => {
                    let status = call.trace.fail(&failure);
                    let _ = timeout(IDLE, session.answers.send(Err(status))).await;
                }
                Ok(()) => {
                    let _ = call.trace.end(Ok(()));
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}
