//! What the box says to the service, and what is shown of the answer: first what FortiOS prints, then why, and what to do.

use std::io::{self, Write};
use std::time::Duration;

use muster_proto::{printable, v1};
use rand::Rng;
use tonic::{Code, Request, Response, Status};

use crate::call::{self, Client};
use crate::cli::Exit;
use crate::connect::Dialer;
use crate::device::Device;
use crate::device_dir::DeviceDir;
use crate::failure::CallError;
use crate::render;
use crate::shell::effect::Update;

/// The service, as one box reaches it.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// The way there.
    pub dialer: Dialer,
    /// How long a call may take with all its retries.
    pub timeout: Duration,
    /// The HTTP status that the service is said to answer with (`diagnose fortitoken-cloud set-http`); 0 if what it says counts.
    pub forced_http: u16,
    /// The box, which remembers what the service said of it.
    pub dir: DeviceDir,
}

impl Cloud {
    /// Sends the list of VDOMs. `plan` is what the last dry run said would be done.
    pub async fn update(
        &self,
        device: &Device,
        how: Update,
        plan: &mut Option<String>,
        rng: &mut impl Rng,
        (out, err): (&mut impl Write, &mut impl Write),
    ) -> io::Result<Exit> {
        if let Some(exit) = self.forced(out, err)? {
            return Ok(exit);
        }
        let mut request = device.sync_request();
        request.validate_only = how == Update::DryRun;
        if how == Update::Confirm {
            request.plan_id = plan.take().unwrap_or_default();
        }
        let mut answer = self.sync(&request, rng, err).await;
        if how == Update::Confirm
            && let Ok(v1::SyncResponse { held: Some(held), .. }) = &answer
        {
            // The plan is done by now; what was held of it is what is confirmed.
            (request.plan_id, request.confirm_token) = (String::new(), held.confirm_token.clone());
            answer = self.sync(&request, rng, err).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.failed(&error, out, err),
        };
        if !render::was_taken(&answer) {
            writeln!(out, "{}", render::COMMAND_FAIL)?;
            let status = answer.status().as_str_name();
            writeln!(err, "error: the server did not take the list: it answered {status}")?;
            return Ok(Exit::Failed);
        }
        if how != Update::DryRun {
            self.remember(&answer)?;
        }
        match how {
            Update::DryRun => {
                let items = render::plan(&device.serial, &answer);
                writeln!(out, "{}", if items.is_empty() { render::DRY_RUN_IDLE } else { render::DRY_RUN })?;
                render::lines(out, items)?;
                *plan = Some(answer.plan_id.clone()).filter(|plan| !plan.is_empty());
            }
            Update::Changed => render::lines(out, render::surprises(&answer))?,
            Update::Now | Update::Confirm => {
                writeln!(out, "{}", render::UPDATED)?;
                render::lines(out, render::items(&device.serial, &answer))?;
            }
        }
        if answer.held.is_some() {
            writeln!(err, "fix: what is held is removed by: execute fortitoken-cloud update confirm")?;
        }
        Ok(if render::has_failures(&answer) { Exit::Failed } else { Exit::Done })
    }

    /// Says how the service is, and whether what it knows of the box is what the box is.
    pub async fn show_service(
        &self,
        device: &Device,
        rng: &mut impl Rng,
        (out, err): (&mut impl Write, &mut impl Write),
    ) -> io::Result<Exit> {
        if let Some(exit) = self.forced(out, err)? {
            return Ok(exit);
        }
        let request = v1::SyncRequest { validate_only: true, ..device.sync_request() };
        let answer = match self.sync(&request, rng, err).await {
            Ok(answer) => answer,
            Err(error) => return self.failed(&error, out, err),
        };
        let plan = render::plan(&device.serial, &answer);
        writeln!(out, "FortiToken Cloud service status: available")?;
        writeln!(out, "Server: {}", self.dialer.server.authority())?;
        writeln!(out, "Serial-Number: {}", device.serial)?;
        let state = if plan.is_empty() { "all" } else { "not all" };
        writeln!(out, "VDOMs: {}, {state} as the service has them", device.vdoms().len())?;
        render::lines(out, plan)?;
        Ok(Exit::Done)
    }

    /// Says whether the server is reached, and if not, where on the way it fails.
    pub async fn show_server(&self, (out, err): (&mut impl Write, &mut impl Write)) -> io::Result<Exit> {
        writeln!(out, "Server: {}", self.dialer.server.authority())?;
        match self.dialer.connect(self.timeout).await {
            Ok(_) => {
                writeln!(out, "Status: reachable (DNS, connect, TLS)")?;
                Ok(Exit::Done)
            }
            Err(error) => {
                writeln!(out, "Status: not reachable")?;
                self.failed(&error.into(), out, err)
            }
        }
    }

    /// Has the box remember that the service took something from it, and how it stands in its cluster.
    pub(crate) fn remember(&self, answer: &v1::SyncResponse) -> io::Result<()> {
        let remembered = self.dir.remember(|memory| {
            memory.met();
            memory.stands(answer.cluster.as_ref());
        });
        remembered.map_err(io::Error::other)
    }

    /// Has the box remember that the service took a user from it.
    pub(crate) fn met(&self) -> io::Result<()> {
        self.dir.remember(crate::memory::Memory::met).map_err(io::Error::other)
    }

    pub(crate) async fn sync(
        &self,
        request: &v1::SyncRequest,
        rng: &mut impl Rng,
        err: &mut impl Write,
    ) -> Result<v1::SyncResponse, CallError> {
        self.call(request, rng, err, async |mut client: Client, request| client.sync(request).await).await
    }

    /// Makes a call; a try that failed and is repeated is told.
    pub(crate) async fn call<M: Clone, T>(
        &self,
        request: &M,
        rng: &mut impl Rng,
        err: &mut impl Write,
        method: impl AsyncFnMut(Client, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, CallError> {
        call::call(&self.dialer, request, self.timeout, rng, self.note(err), method).await
    }

    /// Tells of a try that failed, while the next one is waited for.
    fn note(&self, err: &mut impl Write) -> impl FnMut(&CallError, Duration) {
        let authority = self.dialer.server.authority();
        move |error: &CallError, wait| {
            let cause = printable(&error.to_string());
            let _ = writeln!(err, "{authority}: {cause}; trying again in {}", render::wait(wait));
        }
    }

    /// Whether the service is not asked, because `set-http` says what it answers.
    pub(crate) fn is_forced(&self) -> bool {
        self.forced_http != 0 && !(200..300).contains(&self.forced_http)
    }

    /// What `set-http` says the service answers.
    pub(crate) fn forced(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<Option<Exit>> {
        if !self.is_forced() {
            return Ok(None);
        }
        let status = self.forced_http;
        if status >= 500 {
            writeln!(out, "{}", render::CANNOT_FIND)?;
        } else {
            writeln!(out, "FortiToken Cloud error ({status})")?;
        }
        writeln!(out, "{}", render::COMMAND_FAIL)?;
        out.flush()?;
        writeln!(
            err,
            "fix: this status is forced and the service was not asked: diagnose fortitoken-cloud set-http 0"
        )?;
        Ok(Some(if status >= 500 { Exit::Unreachable } else { Exit::Failed }))
    }

    pub(crate) fn failed(&self, error: &CallError, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
        let exit = Exit::from(error);
        if exit != Exit::Failed {
            writeln!(out, "{}", render::CANNOT_FIND)?;
        }
        writeln!(out, "{}", render::COMMAND_FAIL)?;
        // First what FortiOS says, then why.
        out.flush()?;
        writeln!(err, "{}", render::failure(&self.dialer.server, error))?;
        Ok(exit)
    }
}

impl From<&CallError> for Exit {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Connect(_) | CallError::Lost(_) | CallError::NoAnswer(_) => Self::Unreachable,
            CallError::Refused(refusal) if refusal.is_authorisation() => Self::NotAuthorised,
            CallError::Refused(refusal) => match refusal.code {
                Code::Unavailable | Code::DeadlineExceeded => Self::Unreachable,
                _ => Self::Failed,
            },
        }
    }
}
