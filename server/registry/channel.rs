//! What concerns the channel of a device: its hello, and what admins ask of it. The channel itself is no part of the register.

use muster_proto::channel::{DebugWish, Hello};
use muster_proto::device::Registration;
use muster_proto::{SerialNumber, Text};

use super::contact::may_call;
use super::delete::{known, unknown};
use super::foresee::is_digest_of;
use super::report::register;
use super::{Answer, Change, Context, Device, Name, Outcome, Planned, Reach, State, Stop, SyncStatus};

/// A device opens its channel. A device that is not known yet is registered, as by any other call; no VDOM but "root" is added.
pub(super) fn hello(state: &mut State, hello: &Hello, context: &mut Context<'_>) -> Result<Planned, Stop> {
    if let Some(device) = state.device(hello.serial)? {
        may_call(device)?;
        // The digest covers what a device says of itself, so there is nothing to take over either.
        if is_digest_of(device, hello.digest) {
            let answer = Answer { status: SyncStatus::InSync, ..Answer::of(device, Outcome::Unchanged, Vec::new()) };
            return Ok(Planned::unchanged(answer));
        }
    }
    let registration =
        Registration { serial: hello.serial, info: hello.info.clone(), vdoms: Vec::new(), ha: None, license: None };
    let mut planned = register(state, &registration, context)?;
    let agrees = state.device(hello.serial)?.is_some_and(|device| is_digest_of(device, hello.digest));
    planned.answer.status = if agrees { SyncStatus::InSync } else { SyncStatus::ListNeeded };
    Ok(planned)
}

/// An admin has a device told to sync. Nothing of the register changes; the wish is noted.
pub(super) fn request_sync(
    state: &mut State,
    serial: SerialNumber,
    why: &Text,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let device = present(state, serial, context)?;
    let why = if why.is_empty() { "requested" } else { why.as_str() };
    Ok(noted(device, Change::value("sync_now", "", why)))
}

/// An admin asks a device for debug lines. Nothing of the register changes; the wish is noted.
pub(super) fn set_debug(
    state: &mut State,
    serial: SerialNumber,
    wish: &DebugWish,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let device = present(state, serial, context)?;
    let DebugWish { components, level_mask, duration } = wish;
    let after = if *level_mask == 0 {
        "off".to_owned()
    } else {
        let components = if components.is_empty() { "every component".to_owned() } else { components.join(", ") };
        format!("{components}, level mask {level_mask}, for {} s", duration.as_secs())
    };
    Ok(noted(device, Change::value("debug", "", after)))
}

/// A device that was registered, that may call, and that the admin may see.
fn present<'a>(state: &'a State, serial: SerialNumber, context: &Context<'_>) -> Result<&'a Device, Stop> {
    let device = known(state, serial)?;
    if *context.reach != Reach::Everything
        && !state.clients(device.owner())?.any(|client| context.may_touch(client.realm))
    {
        return Err(unknown(serial).into());
    }
    may_call(device)?;
    Ok(device)
}

fn noted(device: &Device, change: Change) -> Planned {
    let answer = Answer::of(device, Outcome::Updated, Vec::new());
    Planned::about(answer, device.id.0, Name::Device(device.serial), vec![change])
}
