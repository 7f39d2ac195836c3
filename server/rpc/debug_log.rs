//! `DebugLogService`: the debug feed, for whoever is known.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use muster_proto::debug_log::FeedRequest;
use muster_proto::encoded::EncodedResponse;
use muster_proto::encoded::debug_log_service_server::DebugLogService;
use muster_proto::{Reason, v1};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method, refused};
use super::status::Failure;
use crate::feed::{Ending, Feed, Scope, Viewing};
use crate::identity::caller::Caller;
use crate::identity::peer::Peer;
use crate::registry::{Action, Options, Reach, WebAppId};
use crate::writer::Writer;

const STREAM: Method = method("DebugLogService/StreamDebugLogs");
const STATUS: Method = method("DebugLogService/GetFeedStatus");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct DebugLogs {
    pub(super) gate: Gate,
    pub(super) feed: Feed,
    pub(super) writer: Writer,
}

/// What a caller may see of the feed.
fn scope(caller: &Caller) -> Scope {
    match caller {
        Caller::Device(serial) => Scope::Device(*serial),
        // Every device, but not the events that are about none: those are for admins.
        Caller::Relay(relay) if relay.prefixes.is_empty() => Scope::Prefixes(vec![String::new()]),
        Caller::Relay(relay) => {
            Scope::Prefixes(relay.prefixes.iter().map(|prefix| prefix.as_str().to_owned()).collect())
        }
        Caller::WebApp(app) => Scope::WebApp(WebAppId(app.id)),
        Caller::Admin(admin) => match &admin.reach {
            Reach::Everything => Scope::All,
            Reach::Realms(realms) => Scope::Realms(Arc::clone(realms)),
        },
    }
}

#[tonic::async_trait]
impl DebugLogService for DebugLogs {
    type StreamDebugLogsStream = FeedStream;

    async fn stream_debug_logs(
        &self,
        request: Request<v1::StreamDebugLogsRequest>,
    ) -> Result<Response<FeedStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let mut call = self.gate.open(&STREAM, &request).await?;
        let viewing = self.watch(&mut call, request.get_ref(), peer).await;
        let (viewing, authorised) = viewing.map_err(|failure| call.trace.fail(&failure))?;
        Ok(Response::new(FeedStream { viewing: Some(viewing), call, authorised }))
    }

    async fn get_feed_status(
        &self,
        request: Request<v1::GetFeedStatusRequest>,
    ) -> Result<Response<v1::GetFeedStatusResponse>, Status> {
        let work = async |_: &mut Call, _| Ok(self.feed.status().into());
        self.gate.unary(&STATUS, request, work).await
    }
}

impl DebugLogs {
    async fn watch(
        &self,
        call: &mut Call,
        request: &v1::StreamDebugLogsRequest,
        peer: Option<Peer>,
    ) -> Result<(Viewing, AbortOnDropHandle<Reason>), Failure> {
        if let Caller::Device(serial) = call.caller
            && self.gate.is_banned(serial)
        {
            // The rules refuse it, and count the attempt; if they let it pass, the ban was lifted just now.
            call.submit(&self.writer, Action::Contact(serial), Options::default()).await?;
        }
        let request = FeedRequest::try_from(request)?;
        let scope = scope(&call.caller);
        scope.check(&request).map_err(|reason| {
            Failure::new(reason, format!("{} may not watch the serial number of the filter", call.operation().caller))
        })?;
        let ends = CancellationToken::new();
        let viewing = self.feed.watch(&request, &scope, ends.clone())?;
        let shut_out = self.gate.shut_out(&call.caller, peer);
        let authorised = AbortOnDropHandle::new(tokio::spawn(async move {
            let reason = shut_out.await;
            ends.cancel();
            reason
        }));
        Ok((viewing, authorised))
    }
}

/// The responses of one stream, and the status at its end.
#[derive(Debug)]
pub(super) struct FeedStream {
    /// `None` once the stream has ended.
    viewing: Option<Viewing>,
    call: Call,
    /// Ends with the reason for which the viewer may no longer watch.
    authorised: AbortOnDropHandle<Reason>,
}

impl Stream for FeedStream {
    type Item = Result<EncodedResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(viewing) = &mut this.viewing else { return Poll::Ready(None) };
        if let Some(response) = ready!(Pin::new(&mut *viewing).poll_next(cx)) {
            return Poll::Ready(Some(Ok(response)));
        }
        let result = match viewing.ended() {
            Some(Ending::Shutdown { retry_after }) => {
                Err(Failure::new(Reason::ShuttingDown, "the server is shutting down").retry_after(retry_after))
            }
            Some(Ending::AuthorisationEnded) => {
                let reason = ready!(Pin::new(&mut this.authorised).poll(cx)).ok();
                Err(refused(reason.unwrap_or(Reason::CertificateNotTrusted)))
            }
            Some(Ending::Complete | Ending::Limit | Ending::Until) | None => Ok(()),
        };
        this.viewing = None;
        match this.call.trace.end(result) {
            Ok(()) => Poll::Ready(None),
            Err(status) => Poll::Ready(Some(Err(status))),
        }
    }
}
