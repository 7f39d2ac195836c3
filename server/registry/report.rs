//! What a device reports of itself: first contact, registration, and the sync of its full VDOM list.

use std::collections::{BTreeMap, HashSet};

use muster_proto::device::{DeviceInfo, Registration, Sync};
use muster_proto::{MAX_VDOMS, Reason, SerialNumber, VdomName};

use super::command::{agrees, is_digest_of};
use super::{
    Aggregate, Answer, AuthClient, AuthClientId, Change, Context, Device, DeviceId, Item, Kept, Outcome, Planned,
    RealmId, Refusal, SyncStatus,
};

/// Puts the device into the register, or makes sure it is there; adds VDOMs and removes none.
pub(super) fn register(
    held: &mut Option<Aggregate>,
    registration: &Registration,
    context: &mut Context<'_>,
) -> Planned {
    let list = &registration.vdoms;
    if let Some(device) = held.as_ref().map(|held| held.device.get())
        && agrees(device, &registration.info, list)
    {
        let root = (!list.contains(&VdomName::ROOT)).then_some(&VdomName::ROOT);
        let items = root.into_iter().chain(list).map(|vdom| unchanged(*vdom)).collect();
        return Planned { answer: Answer::of(device, Outcome::Unchanged, items), changes: Vec::new() };
    }
    let mut report = Report::begin(held, registration.serial, &registration.info, context);
    if !list.contains(&VdomName::ROOT) {
        report.add(VdomName::ROOT, context);
    }
    for vdom in list {
        report.add(*vdom, context);
    }
    report.end(context)
}

/// Makes the register hold exactly the VDOMs of the list.
pub(super) fn sync(held: &mut Option<Aggregate>, sync: &Sync, context: &mut Context<'_>) -> Result<Planned, Refusal> {
    let device = held.as_ref().map(|held| held.device.get());
    let generation = device.map_or(0, |device| device.generation);
    if let Some(base) = sync.base_generation
        && base != generation
    {
        let message = format!("{} is at generation {generation}, and the sync is based on {base}", sync.serial);
        return Err(Refusal::new(Reason::StaleGeneration, message));
    }
    if let Some(device) = device
        && is_digest_of(device, sync.digest)
    {
        return Ok(settled(device, SyncStatus::InSync, Vec::new()));
    }
    let Some(list) = &sync.full_list else {
        let mut answer = Answer {
            outcome: Outcome::Unchanged,
            reason: None,
            status: SyncStatus::ListNeeded,
            items: Vec::new(),
            generation,
            digest: [0; 32],
            auth_client: None,
        };
        if let Some(device) = device {
            answer.digest = device.digest;
        }
        return Ok(Planned { answer, changes: Vec::new() });
    };
    if let Some(device) = device
        && agrees(device, &sync.info, list)
    {
        let mut items: Vec<Item> = list.iter().map(|vdom| unchanged(*vdom)).collect();
        if !list.contains(&VdomName::ROOT) {
            items.push(root_stays());
        }
        return Ok(settled(device, SyncStatus::Completed, items));
    }
    let mut report = Report::begin(held, sync.serial, &sync.info, context);
    let removed = report.remove_all_but(list, context);
    for vdom in list {
        report.add(*vdom, context);
    }
    if !list.contains(&VdomName::ROOT) {
        report.keep_root(context);
    }
    report.items.extend(removed);
    Ok(report.end(context))
}

/// A sync that changed nothing.
fn settled(device: &Device, status: SyncStatus, items: Vec<Item>) -> Planned {
    let answer = Answer { status, ..Answer::of(device, Outcome::Unchanged, items) };
    Planned { answer, changes: Vec::new() }
}

fn unchanged(vdom: VdomName) -> Item {
    Item { vdom, outcome: Outcome::Unchanged, reason: None }
}

/// A list without "root" asks to remove what no device can be without (domain sheet, section 1.5).
fn root_stays() -> Item {
    Item { vdom: VdomName::ROOT, outcome: Outcome::Refused, reason: Some(Reason::RootVdomRequired) }
}

/// A report while it is worked through.
struct Report<'a> {
    aggregate: &'a mut Aggregate,
    outcome: Outcome,
    items: Vec<Item>,
    changes: Vec<Change>,
    /// How many VDOMs are active; pseudo-VDOMs do not count.
    active: usize,
    /// Whether "root" is one of them.
    root: bool,
}

impl<'a> Report<'a> {
    /// First contact, a return, or one more report of a known device.
    fn begin(
        held: &'a mut Option<Aggregate>,
        serial: SerialNumber,
        info: &DeviceInfo,
        context: &mut Context<'_>,
    ) -> Self {
        let mut changes = Vec::new();
        let outcome = match held {
            None => {
                changes.push(Change::state(None, "", "active"));
                Outcome::Created
            }
            Some(held) if held.device.get().deleted_at.is_some() => {
                held.device.change().deleted_at = None;
                changes.push(Change::state(None, "deleted", "active"));
                Outcome::Restored
            }
            Some(_) => Outcome::Unchanged,
        };
        let aggregate = held.get_or_insert_with(|| first_contact(serial, context));
        update_info(&mut aggregate.device, info, &mut changes);
        let active = aggregate.active_vdoms().filter(|vdom| !vdom.is_pseudo()).count();
        let root = aggregate.auth_clients.get(&VdomName::ROOT).is_some_and(|client| client.get().is_active());
        Self { aggregate, outcome, items: Vec::new(), changes, active, root }
    }

    /// Makes sure that a VDOM is there.
    fn add(&mut self, vdom: VdomName, context: &mut Context<'_>) {
        let known = self.aggregate.auth_clients.get_mut(&vdom);
        if known.as_ref().is_some_and(|client| client.get().is_active()) {
            self.items.push(unchanged(vdom));
            return;
        }
        if !vdom.is_pseudo() {
            // A place is kept for "root", whatever stands before it in the list.
            let kept = usize::from(vdom != VdomName::ROOT && !self.root);
            if self.active + kept >= MAX_VDOMS {
                self.items.push(Item { vdom, outcome: Outcome::Refused, reason: Some(Reason::VdomLimit) });
                return;
            }
            self.active += 1;
            self.root |= vdom == VdomName::ROOT;
        }
        let item = if let Some(client) = known {
            let client = client.change();
            client.deleted_at = None;
            client.changed(context.now);
            self.changes.push(Change::state(Some(vdom), "deleted", "active"));
            Item { vdom, outcome: Outcome::Restored, reason: Some(Reason::ReturnedAfterRemoval) }
        } else {
            let client = AuthClient {
                id: AuthClientId(context.id()),
                device: self.aggregate.device.get().id,
                vdom,
                realm: RealmId::DEFAULT,
                created_at: context.now,
                updated_at: context.now,
                deleted_at: None,
            };
            self.aggregate.auth_clients.insert(vdom, Kept::new(client));
            self.changes.push(Change::state(Some(vdom), "", "active"));
            Item { vdom, outcome: Outcome::Created, reason: None }
        };
        self.items.push(item);
    }

    /// "root" was not listed: it stays, or comes back if it was not there.
    fn keep_root(&mut self, context: &mut Context<'_>) {
        self.add(VdomName::ROOT, context);
        if let Some(item) = self.items.last_mut() {
            if item.outcome == Outcome::Unchanged {
                item.outcome = Outcome::Refused;
            }
            item.reason = Some(Reason::RootVdomRequired);
        }
    }

    /// Removes the active VDOMs that are not listed, by name. "root" and pseudo-VDOMs are in no list's power.
    fn remove_all_but(&mut self, list: &[VdomName], context: &Context<'_>) -> Vec<Item> {
        let listed: HashSet<VdomName> = list.iter().copied().collect();
        let mut removed = Vec::new();
        for (vdom, client) in &mut self.aggregate.auth_clients {
            if !client.get().is_active() || *vdom == VdomName::ROOT || vdom.is_pseudo() || listed.contains(vdom) {
                continue;
            }
            remove(client, context);
            self.active -= 1;
            self.changes.push(Change::state(Some(*vdom), "active", "deleted"));
            removed.push(Item { vdom: *vdom, outcome: Outcome::Removed, reason: None });
        }
        removed
    }

    fn end(mut self, context: &Context<'_>) -> Planned {
        if !self.changes.is_empty() {
            self.aggregate.seal(context.now);
            if self.outcome == Outcome::Unchanged {
                self.outcome = Outcome::Updated;
            }
        }
        let answer = Answer::of(self.aggregate.device.get(), self.outcome, self.items);
        Planned { answer, changes: self.changes }
    }
}

/// Marks an auth client as deleted.
pub(super) fn remove(client: &mut Kept<AuthClient>, context: &Context<'_>) {
    let client = client.change();
    client.deleted_at = Some(context.now);
    client.changed(context.now);
}

fn first_contact(serial: SerialNumber, context: &mut Context<'_>) -> Aggregate {
    let device = Device {
        id: DeviceId(context.id()),
        serial,
        info: DeviceInfo::default(),
        generation: 0,
        digest: [0; 32],
        created_at: context.now,
        updated_at: context.now,
        deleted_at: None,
        last_seen_at: context.now,
    };
    Aggregate { device: Kept::new(device), auth_clients: BTreeMap::new() }
}

/// Takes over what the device says of itself; an empty text says nothing.
fn update_info(device: &mut Kept<Device>, info: &DeviceInfo, changes: &mut Vec<Change>) {
    let before = device.get().info.clone();
    let fields = [
        ("model", &before.model, &info.model),
        ("hostname", &before.hostname, &info.hostname),
        ("firmware", &before.firmware, &info.firmware),
    ];
    for (field, before, after) in fields {
        if after.is_empty() || before == after {
            continue;
        }
        let held = &mut device.change().info;
        let slot = match field {
            "model" => &mut held.model,
            "hostname" => &mut held.hostname,
            _ => &mut held.firmware,
        };
        *slot = after.clone();
        changes.push(Change { vdom: None, field, before: before.to_string().into(), after: after.to_string().into() });
    }
}
