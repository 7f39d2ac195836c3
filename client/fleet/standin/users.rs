//! The users of a box: one list for each auth client, synced as a whole, or one user that is added.

use muster_proto::v1::device_service_client::DeviceServiceClient;
use muster_proto::{UserKind, VdomName, user, v1};
use tonic::Code;

use super::StandIn;
use super::attempt::{request, within};
use crate::connect::Connection;
use crate::failure::{CallError, Refusal};
use crate::fleet::metrics::Kind;
use crate::user_sync::{List, send};
use crate::users::target;

impl StandIn {
    /// Gives the box one more user, and tells on which VDOM: users are spread evenly.
    pub(in crate::fleet) fn grow(&mut self) -> Option<VdomName> {
        let vdoms = self.device.vdoms();
        let place = usize::try_from(self.next_user).ok()?.checked_rem(vdoms.len())?;
        let vdom = *vdoms.get(place)?;
        self.next_user += 1;
        self.users.entry(vdom).or_default().push(self.next_user);
        Some(vdom)
    }

    /// Syncs the users of every auth client that has any, one stream each.
    pub(super) async fn sync_all_users(&mut self) {
        for vdom in self.users.keys().copied().collect::<Vec<_>>() {
            self.about = vdom;
            self.operate(Kind::Users, tokio::time::Instant::now()).await;
        }
    }

    /// The user of this number, as the box has it.
    fn user(&self, number: u32) -> v1::UserAttributes {
        let serial = self.device.serial;
        let (username, email) = (format!("{serial}-u{number}"), format!("u{number}@{serial}.example"));
        v1::UserAttributes { username, email, ..Default::default() }
    }

    /// Sends the users of the auth client that it is about: their digest, and the list if the register has another one.
    pub(super) async fn sync_users(&mut self, connection: &Connection) -> Result<(), CallError> {
        let is_watched = self.is_watched();
        let vdom = self.about;
        let numbers = self.users.get(&vdom).map(Vec::as_slice).unwrap_or_default();
        let users: Vec<_> = numbers.iter().map(|number| self.user(*number)).collect();
        let mut digest = [0; 32];
        for listed in &users {
            let one = user::digest(&listed.username, &listed.email, "", UserKind::Local, true);
            digest.iter_mut().zip(one).for_each(|(all, one)| *all ^= one);
        }
        let begin = v1::SyncUsersBegin {
            target: Some(target(&self.device.serial, vdom)),
            digest: digest.to_vec(),
            ..Default::default()
        };
        let mut names: std::collections::BTreeSet<_> = users.iter().map(|user| user.username.clone()).collect();
        let client = DeviceServiceClient::new(connection.channel.clone());
        let synced = within(send(client, request(List { begin, users }))).await?;
        let synced = synced.map_err(|status| CallError::of(connection, &status))?.into_inner();
        self.write_down(synced.summary.operation_id, is_watched);
        let mut refused = None;
        for outcome in synced.outcomes {
            if outcome.outcome() == v1::Outcome::Refused {
                names.remove(&outcome.username);
                refused = Some(outcome);
            }
        }
        if let Some(acknowledged) = &mut self.acknowledged {
            acknowledged.users.insert(vdom, names);
        }
        match refused {
            // One stands for all: the rest has the same cause.
            Some(outcome) => Err(CallError::Refused(Box::new(Refusal {
                code: Code::FailedPrecondition,
                message: format!("user {}", outcome.username),
                reason: outcome.reason,
                violations: Vec::new(),
                fix: outcome.fix,
                retry_after: None,
            }))),
            None => Ok(()),
        }
    }

    /// Adds the newest user of the auth client that it is about.
    pub(super) async fn add_user(&mut self, connection: &Connection) -> Result<(), CallError> {
        let is_watched = self.is_watched();
        let vdom = self.about;
        let user = self.users.get(&vdom).and_then(|numbers| numbers.last()).map(|number| self.user(*number));
        let target = Some(target(&self.device.serial, vdom));
        let mut client = DeviceServiceClient::new(connection.channel.clone());
        let adding = v1::AddUserRequest { target, user, ..Default::default() };
        let answer = within(client.add_user(request(adding))).await?;
        let answer = answer.map_err(|status| CallError::of(connection, &status))?.into_inner();
        self.write_down(answer.operation_id, is_watched);
        if let (Some(acknowledged), Some(user)) = (&mut self.acknowledged, answer.user) {
            acknowledged.users.entry(vdom).or_default().insert(user.username);
        }
        Ok(())
    }
}
