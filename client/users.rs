//! What the box says to the service of a user that came, changed or went.

use std::io::{self, Write};

use muster_proto::{SerialNumber, VdomName, printable, v1};
use rand::Rng;
use tonic::Code;

use crate::call::Client;
use crate::cli::Exit;
use crate::cloud::Cloud;
use crate::conf::users::{CloudUser, Kind};
use crate::device::Device;
use crate::failure::CallError;
use crate::render;
use crate::report::{Report, line, refused};
use crate::shell::effect::UserChange;

/// The auth client that a VDOM is.
#[must_use]
pub fn target(serial: &SerialNumber, vdom: VdomName) -> v1::AuthClientTarget {
    let product = v1::FortiProductTarget { serial_number: serial.to_string(), vdom: vdom.to_string(), epoch: None };
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
            if self.is_forced() {
                failed(out)?;
                return Ok(self.forced(out, err)?.unwrap_or(Exit::Failed));
            }
            let done = match change {
                UserChange::Added(user) => self.add(device, user, rng, err).await,
                UserChange::Changed(user) => self.change(device, user, rng, err).await,
                UserChange::Removed(user) => self.delete(device, &user.username, user.vdom, rng, err).await,
            };
            match done {
                Ok(outcome) => {
                    self.met()?;
                    let mut report = Report::default();
                    report.add(user.vdom, &outcome);
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

    /// `execute fortitoken-cloud new`: makes sure that the service has the user, and says where its code would go: it sends none itself.
    pub async fn new_code(
        &self,
        device: &Device,
        user: &CloudUser,
        rng: &mut impl Rng,
        (out, err): (&mut impl Write, &mut impl Write),
    ) -> io::Result<Exit> {
        let exit = self.users(device, &[UserChange::Changed(user.clone())], rng, (out, err)).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
        let (username, vdom, email) = (printable(&user.username), user.vdom, printable(&user.email));
        writeln!(out, "{username} ({vdom}): registered with {email}\n{}", render::COMMAND_FAIL)?;
        out.flush()?;
        writeln!(
            err,
            "fix: this service keeps users and sends no activation codes: let whoever hands out the tokens send one to {email}"
        )?;
        Ok(Exit::Failed)
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

fn is_unknown(error: &CallError) -> bool {
    matches!(error, CallError::Refused(refusal) if refusal.code == Code::NotFound)
}
