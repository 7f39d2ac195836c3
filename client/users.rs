//! What the box says to the service of its users, one call for each, and how what came of it is shown.

use std::io::{self, Write};

use muster_proto::{SerialNumber, VdomName, printable, v1};
use rand::Rng;
use tonic::Code;

use crate::call::Client;
use crate::cli::Exit;
use crate::cloud::Cloud;
use crate::conf::users::{CloudUser, Kind};
use crate::device::Device;
use crate::failure::{CallError, Refusal};
use crate::render;
use crate::shell::session::UserChange;

/// What became of users, in the words of the task that FortiOS prints (domain sheet, section 3.4).
#[derive(Clone, Debug, Default)]
pub struct Report {
    create: (u64, u64),
    modify: (u64, u64),
    delete: (u64, u64),
    /// A line for each that failed, or has a reason.
    items: Vec<String>,
}

/// Which count of a report a user belongs to if its outcome does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It should be there.
    Create,
    /// It should be as the box has it.
    Modify,
    /// It should be gone.
    Delete,
}

impl Report {
    /// Counts what became of a user.
    pub fn add(&mut self, vdom: VdomName, action: Action, user: &v1::UserOutcome) {
        let outcome = v1::Outcome::try_from(user.outcome);
        let (count, failed) = match (outcome, action) {
            (Ok(v1::Outcome::Created | v1::Outcome::Restored), _) => (Some(&mut self.create), false),
            (Ok(v1::Outcome::Updated), _) => (Some(&mut self.modify), false),
            (Ok(v1::Outcome::Removed), _) => (Some(&mut self.delete), false),
            (Ok(v1::Outcome::Unchanged), _) => (None, false),
            (_, Action::Create) => (Some(&mut self.create), true),
            (_, Action::Modify) => (Some(&mut self.modify), true),
            (_, Action::Delete) => (Some(&mut self.delete), true),
        };
        if let Some((success, failure)) = count {
            *(if failed { failure } else { success }) += 1;
        }
        if failed || !user.reason.is_empty() {
            self.items.push(line(vdom, user));
        }
    }

    /// Whether anything failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.create.1 + self.modify.1 + self.delete.1 > 0
    }

    /// A line for each user that failed, or has a reason.
    #[must_use]
    pub fn items(&self) -> &[String] {
        &self.items
    }

    /// The status line of `execute fortitoken-cloud sync`.
    #[must_use]
    pub fn status(&self) -> String {
        let count = |(success, failure)| format!("{{\"success\": {success}, \"failure\": {failure}}}");
        format!(
            "Sync status: {{\"status\": \"complete\", \"msg\": {{\"delete\": {}, \"modify\": {}, \"create\": {}}}}}",
            count(self.delete),
            count(self.modify),
            count(self.create)
        )
    }
}

/// A user with what became of it.
fn line(vdom: VdomName, user: &v1::UserOutcome) -> String {
    let mut line = format!("{} ({vdom}): {}", printable(&user.username), render::outcome(user.outcome));
    if !user.reason.is_empty() {
        line = format!("{line} ({})", printable(&user.reason));
    }
    if !user.detail.is_empty() {
        line = format!("{line}: {}", printable(&user.detail));
    }
    if !user.fix.is_empty() {
        line = format!("{line}: {}", printable(&user.fix));
    }
    line
}

/// The auth client that a VDOM is.
#[must_use]
pub fn target(serial: &SerialNumber, vdom: VdomName) -> v1::AuthClientTarget {
    let product = v1::FortiProductTarget { serial_number: serial.to_string(), vdom: vdom.to_string() };
    v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::FortiProduct(product)) }
}

/// What the box says of a user.
#[must_use]
pub fn attributes(user: &CloudUser) -> v1::UserAttributes {
    let kind = match user.kind {
        Kind::Admin => v1::UserKind::Administrator,
        Kind::Local => v1::UserKind::Local,
        Kind::Remote => v1::UserKind::Remote,
    };
    v1::UserAttributes {
        username: user.username.clone(),
        email: user.email.clone(),
        mobile_number: user.mobile.clone(),
        kind: kind.into(),
        active: Some(user.enabled),
    }
}

impl Cloud {
    /// Sends what became of users on the box. What goes well is not told, as on FortiOS.
    pub async fn users(
        &self,
        device: &Device,
        changes: &[UserChange],
        rng: &mut impl Rng,
        (out, err): (&mut impl Write, &mut impl Write),
    ) -> io::Result<Exit> {
        if let Some(exit) = self.forced(out, err)? {
            return Ok(exit);
        }
        let mut worst = Exit::Done;
        for change in changes {
            let (user, verb) = match change {
                UserChange::Added(user) => (user, "create"),
                UserChange::Changed(user) => (user, "update"),
                UserChange::Removed(user) => (user, "delete"),
            };
            let failed = |out: &mut dyn Write| {
                writeln!(out, "Failed to {verb} FortiToken Cloud user {}.", printable(&user.username))
            };
            let done = match change {
                UserChange::Added(user) => self.add(device, user, rng, err).await,
                UserChange::Changed(user) => self.change(device, user, rng, err).await,
                UserChange::Removed(user) => self.delete(device, &user.username, user.vdom, rng, err).await,
            };
            match done {
                Ok(outcome) => {
                    let mut report = Report::default();
                    report.add(user.vdom, Action::Create, &outcome);
                    if report.has_failures() {
                        failed(out)?;
                        worst = worst.max(Exit::Failed);
                    }
                    render::lines(out, report.items())?;
                }
                Err(CallError::Refused(refusal)) if !refusal.is_authorisation() && !refusal.is_passing() => {
                    failed(out)?;
                    writeln!(out, "{}", line(user.vdom, &refused(&user.username, &refusal)))?;
                    worst = worst.max(Exit::Failed);
                }
                Err(error) => {
                    failed(out)?;
                    worst = worst.max(self.failed(&error, out, err)?);
                    if worst == Exit::Unreachable {
                        // The others would fail alike; a sync sends them all.
                        return Ok(worst);
                    }
                }
            }
        }
        Ok(worst)
    }

    /// Sends users, and tells what became of them: the counts as FortiOS prints them, then each that failed, with its reason and fix.
    pub async fn sync_users(
        &self,
        device: &Device,
        users: &[CloudUser],
        rng: &mut impl Rng,
        (out, err): (&mut impl Write, &mut impl Write),
    ) -> io::Result<Exit> {
        if let Some(exit) = self.forced(out, err)? {
            return Ok(exit);
        }
        let mut report = Report::default();
        for user in users {
            match self.add(device, user, rng, err).await {
                Ok(outcome) => report.add(user.vdom, Action::Create, &outcome),
                Err(CallError::Refused(refusal)) if !refusal.is_authorisation() && !refusal.is_passing() => {
                    report.add(user.vdom, Action::Create, &refused(&user.username, &refusal));
                }
                Err(error) => {
                    let exit = Exit::from(&error);
                    if exit != Exit::Failed {
                        writeln!(out, "{}", render::CANNOT_FIND)?;
                    }
                    writeln!(out, "{}\n{}", render::CANNOT_RETRIEVE, render::COMMAND_FAIL)?;
                    out.flush()?;
                    writeln!(err, "{}", render::failure(&self.dialer.server, &error))?;
                    return Ok(exit);
                }
            }
        }
        writeln!(out, "{}\n{}", report.status(), render::SYNCHRONIZED)?;
        render::lines(out, report.items())?;
        Ok(if report.has_failures() { Exit::Failed } else { Exit::Done })
    }

    /// `diagnose fortitoken-cloud delete`: takes a user off its auth client, whatever the box has.
    pub async fn delete_user(
        &self,
        device: &Device,
        (username, vdom): (&str, VdomName),
        rng: &mut impl Rng,
        (out, err): (&mut impl Write, &mut impl Write),
    ) -> io::Result<Exit> {
        if let Some(exit) = self.forced(out, err)? {
            return Ok(exit);
        }
        match self.delete(device, username, vdom, rng, err).await {
            Ok(outcome) => {
                writeln!(out, "{}", line(vdom, &outcome))?;
                Ok(Exit::Done)
            }
            Err(error) => self.failed(&error, out, err),
        }
    }

    /// Puts a user on its auth client, or makes it as the box has it.
    pub async fn add(
        &self,
        device: &Device,
        user: &CloudUser,
        rng: &mut impl Rng,
        err: &mut impl Write,
    ) -> Result<v1::UserOutcome, CallError> {
        let request = v1::AddUserRequest {
            target: Some(target(&device.serial, user.vdom)),
            user: Some(attributes(user)),
            ..Default::default()
        };
        let answer = self.call(&request, rng, err, async |mut client: Client, request| client.add_user(request).await);
        Ok(answer.await?.user.unwrap_or_default())
    }

    async fn change(
        &self,
        device: &Device,
        user: &CloudUser,
        rng: &mut impl Rng,
        err: &mut impl Write,
    ) -> Result<v1::UserOutcome, CallError> {
        let attributes = attributes(user);
        let request = v1::UpdateUserRequest {
            target: Some(target(&device.serial, user.vdom)),
            username: attributes.username,
            email: Some(attributes.email),
            mobile_number: Some(attributes.mobile_number),
            kind: Some(attributes.kind),
            active: attributes.active,
            ..Default::default()
        };
        let method = async |mut client: Client, request| client.update_user(request).await;
        match self.call(&request, rng, err, method).await {
            Ok(answer) => Ok(answer.user.unwrap_or_default()),
            // It could not be put there when it was made.
            Err(error) if is_unknown(&error) => self.add(device, user, rng, err).await,
            Err(error) => Err(error),
        }
    }

    /// Takes a user off its auth client; one that is not there is gone already.
    pub async fn delete(
        &self,
        device: &Device,
        username: &str,
        vdom: VdomName,
        rng: &mut impl Rng,
        err: &mut impl Write,
    ) -> Result<v1::UserOutcome, CallError> {
        let request = v1::DeviceServiceDeleteUserRequest {
            target: Some(target(&device.serial, vdom)),
            username: username.to_owned(),
            ..Default::default()
        };
        let method = async |mut client: Client, request| client.delete_user(request).await;
        match self.call(&request, rng, err, method).await {
            Ok(answer) => Ok(answer.user.unwrap_or_default()),
            Err(error) if is_unknown(&error) => Ok(v1::UserOutcome {
                username: username.to_owned(),
                outcome: v1::Outcome::Unchanged.into(),
                ..Default::default()
            }),
            Err(error) => Err(error),
        }
    }
}

/// A user that the service does not take.
fn refused(username: &str, refusal: &Refusal) -> v1::UserOutcome {
    let fields = refusal.violations.iter().map(|(field, description)| format!("{field} {description}"));
    let detail = fields.collect::<Vec<_>>().join(", ");
    v1::UserOutcome {
        username: username.to_owned(),
        outcome: v1::Outcome::Refused.into(),
        reason: refusal.reason.clone(),
        fix: refusal.fix.clone(),
        detail: if refusal.reason.is_empty() && detail.is_empty() { refusal.message.clone() } else { detail },
    }
}

fn is_unknown(error: &CallError) -> bool {
    matches!(error, CallError::Refused(refusal) if refusal.code == Code::NotFound)
}
