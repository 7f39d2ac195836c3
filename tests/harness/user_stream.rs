//! One sync of users, message by message.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_proto::v1::sync_users_request::Kind as Up;
use muster_proto::v1::sync_users_response::Kind as Down;
use muster_proto::v1::{self, SyncUsersDemand};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::requests::user_item;
use crate::{Caller, within};

/// How many users one chunk has.
const CHUNK: usize = 1_000;

/// An open stream of `SyncUsers`.
#[derive(Debug)]
pub struct UserStream {
    /// What the stream began with.
    pub opened: v1::SyncUsersOpened,
    up: mpsc::Sender<v1::SyncUsersRequest>,
    down: Streaming<v1::SyncUsersResponse>,
}

/// What became of a sync of users.
#[derive(Debug)]
pub struct UsersSynced {
    /// The outcomes by name, as in "alice refused `USER_EMAIL_MISSING`", in the order of the names.
    pub outcomes: Vec<String>,
    /// What is said besides the reason, by name.
    pub details: BTreeMap<String, String>,
    /// The summary.
    pub summary: v1::SyncUsersSummary,
}

impl UsersSynced {
    /// The counts in the order create, modify, delete (success, failure of each), held, unchanged.
    #[must_use]
    pub fn counts(&self) -> [i64; 8] {
        let v1::SyncUsersSummary { create, modify, delete, held, unchanged, .. } = &self.summary;
        let both = |count: &Option<v1::SyncUsersCount>| count.map(|count| [count.success, count.failure]).unwrap();
        let all: Vec<i64> = [create, modify, delete].into_iter().flat_map(both).chain([*held, *unchanged]).collect();
        all.try_into().unwrap()
    }
}

impl UserStream {
    /// Begins a sync, which may be refused.
    pub async fn try_open(caller: &Caller, begin: v1::SyncUsersBegin) -> Result<Self, Status> {
        Self::try_open_until(caller, begin, None).await
    }

    /// Begins a sync that is given so much time as a whole, and may be refused.
    pub async fn try_open_until(
        caller: &Caller,
        begin: v1::SyncUsersBegin,
        deadline: Option<Duration>,
    ) -> Result<Self, Status> {
        let (up, requests) = mpsc::channel(4);
        up.send(v1::SyncUsersRequest { kind: Some(Up::Begin(begin)) }).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(requests));
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        let mut down = within(caller.devices().sync_users(request)).await?.into_inner();
        match within(down.message()).await?.and_then(|response| response.kind) {
            Some(Down::Opened(opened)) => Ok(Self { opened, up, down }),
            other => panic!("a sync opens first, not with {other:?}"),
        }
    }

    /// Begins a sync, which must begin.
    pub async fn open(caller: &Caller, begin: v1::SyncUsersBegin) -> Self {
        Self::try_open(caller, begin).await.unwrap()
    }

    /// What the server wants.
    #[must_use]
    pub fn demand(&self) -> SyncUsersDemand {
        self.opened.demand()
    }

    /// Sends one message.
    pub async fn send(&self, kind: Up) {
        within(self.up.send(v1::SyncUsersRequest { kind: Some(kind) })).await.unwrap();
    }

    /// Sends users in chunks.
    pub async fn list(&self, users: &[v1::UserAttributes]) {
        for users in users.chunks(CHUNK) {
            self.send(Up::Chunk(v1::SyncUsersChunk { users: users.to_vec() })).await;
        }
    }

    /// Says that the list is complete, and waits for what became of it.
    pub async fn end(self) -> Result<UsersSynced, Status> {
        self.send(Up::End(v1::SyncUsersEnd {})).await;
        self.finish().await
    }

    /// Sends a whole list to a server that may end the stream meanwhile, and waits for what became of it.
    pub async fn try_whole(self, users: &[v1::UserAttributes]) -> Result<UsersSynced, Status> {
        let chunks = users.chunks(CHUNK).map(|users| Up::Chunk(v1::SyncUsersChunk { users: users.to_vec() }));
        for kind in chunks.chain([Up::End(v1::SyncUsersEnd {})]) {
            if within(self.up.send(v1::SyncUsersRequest { kind: Some(kind) })).await.is_err() {
                break;
            }
        }
        self.finish().await
    }

    /// Sends nothing and keeps its side open, until the server ends the stream in a failure.
    pub async fn stalled(mut self) -> Status {
        loop {
            match self.down.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a stream without an end is not complete"),
                Err(status) => return status,
            }
        }
    }

    /// Sends no more, and waits for what became of it.
    pub async fn finish(self) -> Result<UsersSynced, Status> {
        let Self { up, mut down, .. } = self;
        drop(up);
        let (mut outcomes, mut details, mut summary) = (Vec::new(), BTreeMap::new(), None);
        while let Some(response) = within(down.message()).await? {
            assert!(summary.is_none(), "the summary is the last message");
            match response.kind.unwrap() {
                Down::Outcomes(part) => {
                    for item in part.outcomes {
                        outcomes.push(user_item(&item));
                        if !item.detail.is_empty() {
                            details.insert(item.username, item.detail);
                        }
                    }
                }
                Down::Summary(found) => summary = Some(found),
                Down::Progress(_) => {}
                Down::Opened(_) => panic!("a sync opens once"),
            }
        }
        outcomes.sort();
        let summary = summary.expect("a sync that ends well has a summary");
        assert_eq!(summary.status, "complete");
        Ok(UsersSynced { outcomes, details, summary })
    }
}

impl Caller {
    /// Syncs a list of users.
    pub async fn sync_users(
        &self,
        begin: v1::SyncUsersBegin,
        users: &[v1::UserAttributes],
    ) -> Result<UsersSynced, Status> {
        let stream = UserStream::try_open(self, begin).await?;
        if stream.demand() == SyncUsersDemand::InSync {
            return stream.finish().await;
        }
        stream.list(users).await;
        stream.end().await
    }
}
