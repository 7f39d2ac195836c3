//! How an auth client stands, and what keeps one from coming that is not there.

use muster_proto::v1::ExplainVerdict as Verdict;
use muster_proto::{MAX_VDOMS, Reason, SerialNumber, VdomName};

use super::super::contact::may_call;
use super::super::held::{HeldOn, HeldState};
use super::super::lobby::{may_add, rejected};
use super::super::{AuthClient, Context, DeleteMode, LobbyState, OwnerId, Reach, Refusal, State, Stop};
use super::device::{device, device_ids, stranger};
use super::{Finding, Place, named, on_off};

/// How an auth client stands, and what is known of it.
pub(super) fn client<'s>(
    state: &'s State,
    place: &Place,
    context: &Context<'_>,
) -> Result<(Finding, Option<&'s AuthClient>), Stop> {
    let Place { owner, serial, vdom } = *place;
    let owner = match (owner, serial) {
        (Some(owner), _) => Some(owner),
        (None, Some(serial)) => state.owner(serial)?,
        (None, None) => None,
    };
    let found = match owner {
        Some(owner) => state.client(owner, vdom)?,
        None => None,
    };
    let may_see = match found {
        Some(found) => context.may_touch(found.realm),
        None => *context.reach == Reach::Everything,
    };
    if !may_see {
        return Err(Refusal::new(Reason::AuthClientUnknown, "there never was such an auth client").into());
    }
    let mut finding = match found {
        Some(found) if found.is_active() => present(state, found)?,
        Some(found) => gone(state, found, serial, context)?,
        None => never(state, serial, owner, vdom, context)?,
    };
    if let Some(found) = found {
        finding.about.push(found.id.0);
        finding.tombstone(found.deleted.as_deref());
        if !found.is_active() {
            finding.set("retention_days", state.settings().retention_days);
        }
    }
    if let Some(serial) = serial
        && let Some(device) = state.device(serial)?
    {
        finding.about.extend(device_ids(device));
    }
    finding.about.extend(owner.map(|owner| owner.0).filter(|owner| *owner > 0));
    finding.about.sort_unstable();
    finding.about.dedup();
    Ok((finding, found))
}

fn present(state: &State, client: &AuthClient) -> Result<Finding, Stop> {
    let vdom = client.vdom;
    let held = state.held_on(HeldOn::Vdoms(client.owner))?;
    let Some(held) = held.filter(|held| held.names.iter().any(|name| **name == *vdom.as_str())) else {
        return Ok(Finding::new(Verdict::Present, None, format!("{} is in use", named(vdom))));
    };
    let (reason, how) = match held.state {
        HeldState::Rejected => (Reason::RemovalRejected, "an admin rejected"),
        _ => (Reason::RemovalHeld, "the removal guard holds"),
    };
    let message = format!("the VDOM {vdom} is in use; its device asks to remove it, which {how}");
    let mut finding = Finding::new(Verdict::Held, Some(reason), message);
    let settings = state.settings();
    finding.set("guard_vdoms", settings.guard_vdoms);
    finding.set("guard_vdom_percent", settings.guard_vdom_percent);
    finding
        .set(format!("heldRemovals/{}", held.id.0), format_args!("{} VDOMs, asked by {}", held.names.len(), held.by));
    finding.about.push(held.id.0);
    Ok(finding)
}

/// An auth client that was removed: what keeps it from returning, if anything does.
fn gone(
    state: &State,
    client: &AuthClient,
    serial: Option<SerialNumber>,
    context: &Context<'_>,
) -> Result<Finding, Stop> {
    let vdom = client.vdom;
    if client.owner.0 < 0 {
        let message = format!("the VDOM {vdom} became one with that of a cluster, and its users went there");
        return Ok(Finding::new(Verdict::Absent, Some(Reason::MovedToCluster), message));
    }
    if let Some(finding) = kept_out(state, serial, context)? {
        return Ok(finding);
    }
    let mode = client.deleted.as_deref().map(|tombstone| tombstone.mode);
    Ok(match mode {
        Some(DeleteMode::Ban) => {
            Finding::of(&Refusal::new(Reason::AuthClientBanned, format!("{} was removed and banned", named(vdom))))
        }
        Some(DeleteMode::Retire) => {
            Finding::of(&Refusal::new(Reason::AuthClientRetired, format!("{} is out of service", named(vdom))))
        }
        Some(DeleteMode::Evict) | None => too_many(state, client.owner, vdom)?.unwrap_or_else(|| {
            let message = format!("{} was removed, and nothing keeps it from coming back", named(vdom));
            Finding::new(Verdict::Absent, Some(Reason::Evicted), message)
        }),
    })
}

/// An auth client that never was: what its first report would find.
fn never(
    state: &State,
    serial: Option<SerialNumber>,
    owner: Option<OwnerId>,
    vdom: VdomName,
    context: &Context<'_>,
) -> Result<Finding, Stop> {
    if let Some(finding) = kept_out(state, serial, context)? {
        return Ok(finding);
    }
    let Some(owner) = owner else {
        let mut finding = match serial {
            Some(serial) => stranger(state, serial, context)?,
            None => Finding::new(Verdict::NeverSeen, None, ""),
        };
        finding.message = format!("no device that has the VDOM {vdom} ever came in; {}", finding.message);
        return Ok(finding);
    };
    if let Some(finding) = too_many(state, owner, vdom)? {
        return Ok(finding);
    }
    if let Some(serial) = serial
        && vdom != VdomName::ROOT
        && state.device(serial)?.is_some()
        && !may_add(state, serial, vdom)?
    {
        if state.lobby(serial)?.is_some_and(|entry| entry.state == LobbyState::Rejected && entry.vdoms.contains(&vdom))
        {
            return Ok(Finding::of(&rejected(state, serial)?));
        }
        let waits =
            state.lobby(serial)?.is_some_and(|entry| entry.state == LobbyState::Waiting && entry.vdoms.contains(&vdom));
        let (verdict, message) = if waits {
            (Verdict::Held, format!("the VDOM {vdom} waits for approval in the lobby"))
        } else {
            (
                Verdict::NeverSeen,
                format!("{serial} never reported the VDOM {vdom}; when it does, it waits for approval in the lobby"),
            )
        };
        let mut finding = Finding::new(verdict, Some(Reason::PendingApproval), message);
        finding.set("auto_create_auth_clients", on_off(false));
        return Ok(finding);
    }
    let message = format!("the VDOM {vdom} was never reported; the next sync that lists it makes it an auth client");
    Ok(Finding::new(Verdict::NeverSeen, None, message))
}

/// Why the device cannot report anything, if it cannot.
fn kept_out(state: &State, serial: Option<SerialNumber>, context: &Context<'_>) -> Result<Option<Finding>, Stop> {
    let Some(serial) = serial else { return Ok(None) };
    let Some(found) = state.device(serial)? else {
        let finding = stranger(state, serial, context)?;
        return Ok((finding.verdict != Verdict::NeverSeen).then_some(finding));
    };
    // A box with another key is held, and the device itself is not.
    if may_call(found).is_err() { device(state, serial, context).map(Some) } else { Ok(None) }
}

/// Whether the owner has as many VDOMs as any may have.
fn too_many(state: &State, owner: OwnerId, vdom: VdomName) -> Result<Option<Finding>, Stop> {
    if vdom.is_pseudo() {
        return Ok(None);
    }
    let active = state.active_vdoms(owner)?;
    let count = active.iter().filter(|vdom| !vdom.is_pseudo()).count();
    let kept = usize::from(vdom != VdomName::ROOT && !active.contains(&VdomName::ROOT));
    if count + kept < MAX_VDOMS {
        return Ok(None);
    }
    let message = format!("the device has {count} VDOMs, and no place for {vdom}");
    let mut finding = Finding::of(&Refusal::new(Reason::VdomLimit, message));
    finding.set("VDOMs", format_args!("{count} of {MAX_VDOMS}"));
    Ok(Some(finding))
}
