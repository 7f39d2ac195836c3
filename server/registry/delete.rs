//! Deleting: one VDOM, or a device with all its VDOMs; by the device itself, or by an admin.

use muster_proto::device::{Deletion, Target};
use muster_proto::{Reason, SerialNumber, VdomName};

use super::report::remove;
use super::{Aggregate, Answer, Change, Context, Item, Outcome, Planned, Refusal};

/// A device, or its relay, deletes a VDOM or the device.
pub(super) fn by_device(
    held: Option<&mut Aggregate>,
    deletion: &Deletion,
    context: &Context<'_>,
) -> Result<Planned, Refusal> {
    let held = held.ok_or_else(|| unknown(Some(deletion.serial)))?;
    match deletion.target {
        Target::WholeDevice => Ok(whole(held, context)),
        Target::Vdom(VdomName::ROOT) if held.device.get().deleted_at.is_none() => {
            Err(Refusal::new(Reason::RootVdomRequired, "the VDOM \"root\" cannot be removed while its device is there"))
        }
        Target::Vdom(vdom) => one(held, vdom, context).ok_or_else(|| {
            let message = format!("{} never had a VDOM {:?}", deletion.serial, vdom.as_str());
            Refusal::new(Reason::VdomUnknown, message)
        }),
    }
}

/// An admin deletes an auth client, "root" too: it returns when its device next reports it.
pub(super) fn auth_client(
    held: Option<&mut Aggregate>,
    vdom: VdomName,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Refusal> {
    let unknown = || Refusal::new(Reason::AuthClientUnknown, "there never was such an auth client");
    let held = held.ok_or_else(unknown)?;
    let client = held.auth_clients.get(&vdom).ok_or_else(unknown)?.get();
    if etag.is_some_and(|etag| etag != client.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the auth client changed since its etag was read"));
    }
    let mut planned = one(held, vdom, context).ok_or_else(unknown)?;
    // The admin asked about the auth client, not about its device.
    if let Some(item) = planned.answer.items.first() {
        (planned.answer.outcome, planned.answer.reason) = (item.outcome, item.reason);
    }
    planned.answer.auth_client = held.auth_clients.get(&vdom).map(|client| client.get().clone());
    Ok(planned)
}

/// An admin deletes a device with all its auth clients.
pub(super) fn device(
    held: Option<&mut Aggregate>,
    generation: Option<i64>,
    context: &Context<'_>,
) -> Result<Planned, Refusal> {
    let held = held.ok_or_else(|| unknown(None))?;
    let current = held.device.get().generation;
    if let Some(expected) = generation
        && expected != current
    {
        let message = format!("the device is at generation {current}, and the deletion expects {expected}");
        return Err(Refusal::new(Reason::StaleGeneration, message));
    }
    Ok(whole(held, context))
}

fn unknown(serial: Option<SerialNumber>) -> Refusal {
    let message = match serial {
        Some(serial) => format!("no device {serial} was ever registered"),
        None => "no such device was ever registered".to_owned(),
    };
    Refusal::new(Reason::DeviceUnknown, message)
}

/// Removes one VDOM; `None` if the device never had it.
fn one(held: &mut Aggregate, vdom: VdomName, context: &Context<'_>) -> Option<Planned> {
    let client = held.auth_clients.get_mut(&vdom)?;
    if !client.get().is_active() {
        let item = Item { vdom, outcome: Outcome::Unchanged, reason: Some(Reason::AlreadyDeleted) };
        let answer = Answer::of(held.device.get(), Outcome::Unchanged, vec![item]);
        return Some(Planned { answer, changes: Vec::new() });
    }
    remove(client, context);
    held.seal(context.now);
    let item = Item { vdom, outcome: Outcome::Removed, reason: None };
    let answer = Answer::of(held.device.get(), Outcome::Unchanged, vec![item]);
    Some(Planned { answer, changes: vec![Change::state(Some(vdom), "active", "deleted")] })
}

/// Removes the device with everything that hangs on it.
fn whole(held: &mut Aggregate, context: &Context<'_>) -> Planned {
    if held.device.get().deleted_at.is_some() {
        let answer = Answer {
            reason: Some(Reason::AlreadyDeleted),
            ..Answer::of(held.device.get(), Outcome::Unchanged, Vec::new())
        };
        return Planned { answer, changes: Vec::new() };
    }
    held.device.change().deleted_at = Some(context.now);
    let mut changes = vec![Change::state(None, "active", "deleted")];
    let mut items = Vec::new();
    for (vdom, client) in &mut held.auth_clients {
        if client.get().is_active() {
            remove(client, context);
            changes.push(Change::state(Some(*vdom), "active", "deleted"));
            items.push(Item { vdom: *vdom, outcome: Outcome::Removed, reason: None });
        }
    }
    held.seal(context.now);
    Planned { answer: Answer::of(held.device.get(), Outcome::Removed, items), changes }
}
