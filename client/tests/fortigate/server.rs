//! A server that answers as the test says.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::users::Register;
use muster_proto::v1::debug_log_service_server::{DebugLogService, DebugLogServiceServer};
use muster_proto::v1::device_service_server::{DeviceService, DeviceServiceServer};
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{
    AddUserRequest, AddUserResponse, ChannelRequest, ChannelResponse, DeleteRequest, DeleteResponse,
    DeviceServiceDeleteUserRequest, DeviceServiceDeleteUserResponse, GetFeedStatusRequest, GetFeedStatusResponse,
    RegisterRequest, RegisterResponse, StreamDebugLogsRequest, StreamDebugLogsResponse, SyncRequest, SyncResponse,
    SyncUsersRequest, SyncUsersResponse, UpdateUserRequest, UpdateUserResponse,
};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

/// What one viewer gets, and how its stream ends.
pub(crate) struct Script {
    pub(crate) messages: Vec<Kind>,
    pub(crate) end: End,
}

pub(crate) enum End {
    /// The stream ends with OK.
    Ok,
    /// The stream ends with this status.
    Status(Status),
    /// The stream stays open.
    Open,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Result<SyncResponse, Status>>,
    scripts: VecDeque<Script>,
    syncs: Vec<SyncRequest>,
    views: Vec<StreamDebugLogsRequest>,
    /// The streams that stay open.
    open: Vec<mpsc::UnboundedSender<Kind>>,
    /// Second handles of the connections, to break them with.
    connections: Vec<std::net::TcpStream>,
}

/// A server on a port of its own; it ends with the test.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// The users that it was told of.
    pub(crate) users: Register,
}

impl Server {
    pub(crate) async fn start(tls: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server =
            Self { address: listener.local_addr().unwrap(), state: Arc::default(), users: Register::default() };
        server.serve(listener, tls);
        server
    }

    /// Serves one connection after another.
    fn serve(&self, listener: TcpListener, tls: Arc<ServerConfig>) {
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().unwrap();
                server.state.lock().unwrap().connections.push(stream.try_clone().unwrap());
                let stream = TcpStream::from_std(stream).unwrap();
                let acceptor = TlsAcceptor::from(Arc::clone(&tls));
                let service = server.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let (connections, incoming) = mpsc::channel(1);
                    connections.send(Ok::<_, std::io::Error>(stream)).await.unwrap();
                    drop(connections);
                    tonic::transport::Server::builder()
                        .add_service(DeviceServiceServer::new(service.clone()))
                        .add_service(DebugLogServiceServer::new(service))
                        .serve_with_incoming(ReceiverStream::new(incoming))
                        .await
                        .unwrap();
                });
            }
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next answer to a sync.
    pub(crate) fn answers(&self, answer: Result<SyncResponse, Status>) {
        self.state.lock().unwrap().answers.push_back(answer);
    }

    /// What the next viewer gets.
    pub(crate) fn plays(&self, messages: Vec<Kind>, end: End) {
        self.state.lock().unwrap().scripts.push_back(Script { messages, end });
    }

    /// Sends a message on every stream that stays open.
    pub(crate) fn says(&self, message: &Kind) {
        self.state.lock().unwrap().open.retain(|stream| stream.send(message.clone()).is_ok());
    }

    /// Breaks every connection, as a crash would.
    pub(crate) fn crash(&self) {
        for connection in self.state.lock().unwrap().connections.drain(..) {
            // Some have ended by themselves before.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Waits for a sync.
    pub(crate) async fn is_asked(&self) {
        let mut again = tokio::time::interval(Duration::from_millis(20));
        while self.syncs().is_empty() {
            again.tick().await;
        }
    }

    pub(crate) fn syncs(&self) -> Vec<SyncRequest> {
        self.state.lock().unwrap().syncs.clone()
    }

    pub(crate) fn views(&self) -> Vec<StreamDebugLogsRequest> {
        self.state.lock().unwrap().views.clone()
    }
}

#[tonic::async_trait]
impl DeviceService for Server {
    async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        Err(Status::unimplemented("not part of this test"))
    }

    async fn sync(&self, request: Request<SyncRequest>) -> Result<Response<SyncResponse>, Status> {
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.syncs.push(request.into_inner());
            state.answers.pop_front()
        };
        match answer {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        Err(Status::unimplemented("not part of this test"))
    }

    async fn add_user(&self, request: Request<AddUserRequest>) -> Result<Response<AddUserResponse>, Status> {
        self.users.add(request.into_inner()).map(Response::new)
    }

    async fn update_user(&self, request: Request<UpdateUserRequest>) -> Result<Response<UpdateUserResponse>, Status> {
        self.users.update(request.into_inner()).map(Response::new)
    }

    async fn delete_user(
        &self,
        request: Request<DeviceServiceDeleteUserRequest>,
    ) -> Result<Response<DeviceServiceDeleteUserResponse>, Status> {
        self.users.delete(request.into_inner()).map(Response::new)
    }

    type SyncUsersStream = Pin<Box<dyn Stream<Item = Result<SyncUsersResponse, Status>> + Send>>;

    async fn sync_users(
        &self,
        request: Request<Streaming<SyncUsersRequest>>,
    ) -> Result<Response<Self::SyncUsersStream>, Status> {
        let (answers, stream) = mpsc::channel(8);
        let (users, up) = (self.users.clone(), request.into_inner());
        tokio::spawn(async move {
            if let Err(status) = users.sync(up, &answers).await {
                answers.send(Err(status)).await.unwrap();
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type ChannelStream = Pin<Box<dyn Stream<Item = Result<ChannelResponse, Status>> + Send>>;

    async fn channel(&self, _: Request<Streaming<ChannelRequest>>) -> Result<Response<Self::ChannelStream>, Status> {
        Err(Status::unimplemented("not part of this test"))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<StreamDebugLogsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl DebugLogService for Server {
    type StreamDebugLogsStream = Messages;

    async fn stream_debug_logs(&self, request: Request<StreamDebugLogsRequest>) -> Result<Response<Messages>, Status> {
        let script = {
            let mut state = self.state.lock().unwrap();
            state.views.push(request.into_inner());
            state.scripts.pop_front()
        };
        let Some(script) = script else { return Err(Status::invalid_argument("no script is left")) };
        let messages = script.messages.into_iter().map(|kind| Ok(StreamDebugLogsResponse { kind: Some(kind) }));
        let messages = tokio_stream::iter(messages);
        Ok(Response::new(match script.end {
            End::Ok => Box::pin(messages),
            End::Status(status) => Box::pin(messages.chain(tokio_stream::once(Err(status)))),
            End::Open => {
                let (stream, later) = mpsc::unbounded_channel();
                self.state.lock().unwrap().open.push(stream);
                let later =
                    UnboundedReceiverStream::new(later).map(|kind| Ok(StreamDebugLogsResponse { kind: Some(kind) }));
                Box::pin(messages.chain(later))
            }
        }))
    }

    async fn get_feed_status(
        &self,
        _: Request<GetFeedStatusRequest>,
    ) -> Result<Response<GetFeedStatusResponse>, Status> {
        Err(Status::unimplemented("not part of this test"))
    }
}
