//! `execute fortitoken-cloud sync`: the full list of the users of each auth client of the box, in a stream.

use std::io::{self, Write};

use muster_proto::{UserKind, VdomName, v1};
use rand::Rng;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::call::Client;
use crate::cli::Exit;
use crate::cloud::Cloud;
use crate::conf::users::{CloudUser, Kind};
use crate::device::Device;
use crate::failure::CallError;
use crate::render;
use crate::report::{Report, line, refused};
use crate::shell::effect::{Update, Users};
use crate::shell::roster::Roster;
use crate::users::{attributes, target};

/// How many users are sent in one message.
const CHUNK: usize = 1_000;

/// The users of one auth client, as they are sent.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) begin: v1::SyncUsersBegin,
    pub(crate) users: Vec<v1::UserAttributes>,
}

/// What became of them.
#[derive(Clone, Debug, Default)]
pub struct Synced {
    /// Each user that the service told of.
    pub outcomes: Vec<v1::UserOutcome>,
    /// The counts.
    pub summary: v1::SyncUsersSummary,
}

/// Sends one list, and hears what became of it.
pub(crate) async fn send(mut client: Client, request: Request<List>) -> Result<Response<Synced>, Status> {
    use v1::sync_users_request::Kind as Up;
    use v1::sync_users_response::Kind as Down;
    let (metadata, extensions, List { begin, users }) = request.into_parts();
    // There is room for everything, so that nothing waits for an answer that waits for it. On the heap, because a queue reserves room for dozens.
    let (up, stream) = mpsc::channel(users.len() / CHUNK + 3);
    let say = |kind| {
        up.try_send(Box::new(v1::SyncUsersRequest { kind: Some(kind) }))
            .map_err(|_| Status::internal("the list does not fit"))
    };
    say(Up::Begin(begin))?;
    let request = Request::from_parts(metadata, extensions, ReceiverStream::new(stream).map(|request| *request));
    let mut answers = client.sync_users(request).await?.into_inner();
    let mut synced = Synced::default();
    while let Some(answer) = answers.message().await? {
        match answer.kind {
            Some(Down::Opened(opened)) if opened.demand() == v1::SyncUsersDemand::InSync => {}
            Some(Down::Opened(_)) => {
                for users in users.chunks(CHUNK) {
                    say(Up::Chunk(v1::SyncUsersChunk { users: users.to_vec() }))?;
                }
                say(Up::End(v1::SyncUsersEnd {}))?;
            }
            Some(Down::Outcomes(outcomes)) => synced.outcomes.extend(outcomes.outcomes),
            Some(Down::Summary(summary)) => {
                synced.summary = summary;
                return Ok(Response::new(synced));
            }
            // How far it is, or what a newer server says.
            Some(Down::Progress(_)) | None => {}
        }
    }
    Err(Status::unavailable("the server ended the sync without a summary"))
}

/// The digest of a list: the XOR of the digest of each user.
fn digest(users: &[CloudUser]) -> Vec<u8> {
    let mut all = [0; 32];
    for user in users {
        let kind = match user.kind {
            Kind::Admin => UserKind::Administrator,
            Kind::Local => UserKind::Local,
            Kind::Remote => UserKind::Remote,
        };
        let one = muster_proto::user::digest(&user.username, &user.email, &user.mobile, kind, user.enabled);
        all.iter_mut().zip(one).for_each(|(all, one)| *all ^= one);
    }
    all.to_vec()
}

/// The kinds of users that a list of this VDOM has; none at all means all of them. Those of directories are left alone if one of them could not
/// be read: a list that lacks them would remove them.
fn kinds(which: Users, all_read: bool) -> Option<Vec<i32>> {
    let local = vec![v1::UserKind::Local.into(), v1::UserKind::Administrator.into()];
    match which {
        Users::All if all_read => Some(Vec::new()),
        Users::All | Users::Local => Some(local),
        Users::Remote if all_read => Some(vec![v1::UserKind::Remote.into()]),
        Users::Remote => None,
    }
}

impl Cloud {
    /// Sends the users of every auth client of the box, and tells what became of them: the counts as FortiOS prints them, then each that failed,
    /// with its reason and fix.
    pub async fn sync_users(
        &self,
        device: &Device,
        roster: &Roster,
        (which, how): (Users, Update),
        rng: &mut impl Rng,
        (out, err): (&mut impl Write, &mut impl Write),
    ) -> io::Result<Exit> {
        if let Some(exit) = self.forced(out, err)? {
            return Ok(exit);
        }
        let mut report = Report::default();
        let mut planned = Vec::new();
        let vdoms = [VdomName::ADMINISTRATORS].into_iter().chain(device.vdoms());
        for vdom in vdoms {
            let Some(kinds) = kinds(which, roster.is_read(vdom)) else { continue };
            let (users, twice) = roster.of(vdom, &kinds);
            for user in &twice {
                report.add(vdom, user);
            }
            let begin = v1::SyncUsersBegin {
                target: Some(target(&device.serial, vdom)),
                kinds,
                digest: digest(&users),
                ..Default::default()
            };
            let list = List { begin, users: users.iter().map(attributes).collect() };
            match self.sync_list(list, how, rng, err).await {
                Ok(synced) => {
                    if how != Update::DryRun {
                        self.met()?;
                    }
                    planned.extend(synced.outcomes.iter().map(|user| line(vdom, user)));
                    report.add_all(vdom, &synced);
                }
                Err(CallError::Refused(refusal)) if !refusal.is_authorisation() && !refusal.is_passing() => {
                    for user in &users {
                        report.add(vdom, &refused(&user.username, &refusal));
                    }
                }
                Err(error) => return self.users_failed(&error, out, err),
            }
        }
        match how {
            Update::DryRun if planned.is_empty() => writeln!(out, "{}", render::DRY_RUN_SYNC_IDLE)?,
            Update::DryRun => {
                writeln!(out, "{}", render::DRY_RUN_SYNC)?;
                render::lines(out, planned)?;
            }
            _ => {
                writeln!(out, "{}\n{}", report.status(), render::SYNCHRONIZED)?;
                render::lines(out, report.items())?;
            }
        }
        if report.held() > 0 && how != Update::DryRun {
            writeln!(err, "fix: what is held is removed by: execute fortitoken-cloud sync all confirm")?;
        }
        Ok(if report.has_failures() || report.held() > 0 { Exit::Failed } else { Exit::Done })
    }

    /// Sends one list as it is meant.
    async fn sync_list(
        &self,
        mut list: List,
        how: Update,
        rng: &mut impl Rng,
        err: &mut impl Write,
    ) -> Result<Synced, CallError> {
        list.begin.validate_only = how == Update::DryRun;
        if list.users.is_empty() && !list.begin.validate_only {
            // A list makes its auth client on the way: without users there is none to be made, and none may have to go.
            list.begin.validate_only = true;
            let planned = self.call(&list, rng, err, send).await?;
            if planned.outcomes.is_empty() {
                return Ok(Synced::default());
            }
            list.begin.validate_only = false;
        }
        let synced = self.call(&list, rng, err, send).await?;
        match &synced.summary.held_removal {
            Some(held) if how == Update::Confirm => {
                list.begin.confirm_token.clone_from(&held.confirm_token);
                self.call(&list, rng, err, send).await
            }
            _ => Ok(synced),
        }
    }

    /// What FortiOS prints when the users cannot be sent, and then why.
    fn users_failed(&self, error: &CallError, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
        let exit = Exit::from(error);
        if exit != Exit::Failed {
            writeln!(out, "{}", render::CANNOT_FIND)?;
        }
        writeln!(out, "{}\n{}", render::CANNOT_RETRIEVE, render::COMMAND_FAIL)?;
        out.flush()?;
        writeln!(err, "{}", render::failure(&self.dialer.server, error))?;
        Ok(exit)
    }
}
