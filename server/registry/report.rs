//! What a device reports of itself: registration, and the sync of its full VDOM list.

use std::collections::HashSet;

use muster_proto::device::{DeviceInfo, Registration, Sync};
use muster_proto::{MAX_VDOMS, Reason, SerialNumber, VdomName};

use super::contact::{make_present, may_call, new_client};
use super::delete::{moment, remove};
use super::foresee::{agrees, is_digest_of};
use super::ha::{self, Contact, standing};
use super::held::{HeldOn, Removals, Ruling, rule, withdraw};
use super::license;
use super::lobby::{LobbyState, came_in, may_add, note};
use super::{
    Answer, Change, Context, DeleteMode, Item, Name, Notice, Outcome, OwnerId, Planned, Record, Refusal, Settings,
    State, Stop, Subject, SyncStatus, Tombstone,
};

/// Puts the device into the register, or makes sure it is there; adds VDOMs and removes none.
pub(super) fn register(
    state: &mut State,
    registration: &Registration,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let list = &registration.vdoms;
    let licensed = license::present(state, registration, context)?;
    let contact = match ha::report(state, registration.serial, registration.ha.as_ref(), context)? {
        Some(contact) => Some(contact.after(licensed)),
        None => licensed,
    };
    if !contact.as_ref().is_some_and(Contact::is_noted)
        && let Some(device) = state.device(registration.serial)?
        && agrees(device, &registration.info, list)
    {
        let root = (!list.contains(&VdomName::ROOT)).then_some(&VdomName::ROOT);
        let items = root.into_iter().chain(list).map(|vdom| unchanged(*vdom)).collect();
        let standing = standing(state, registration.serial, contact.as_ref())?;
        let answer = Answer { standing, ..Answer::of(device, Outcome::Unchanged, items) };
        return settled(state, device.serial, answer, context);
    }
    let mut report = Report::begin(state, registration.serial, &registration.info, contact, context)?;
    if !list.contains(&VdomName::ROOT) {
        report.add(VdomName::ROOT, context)?;
    }
    for vdom in list {
        report.add(*vdom, context)?;
    }
    report.reclaim(list, context)?;
    report.end(context)
}

/// Makes the register hold exactly the VDOMs of the list.
pub(super) fn sync(state: &mut State, sync: &Sync, context: &mut Context<'_>) -> Result<Planned, Stop> {
    let device = state.device(sync.serial)?;
    let generation = device.map_or(0, |device| device.generation);
    if let Some(device) = device {
        may_call(device)?;
    }
    if let Some(base) = sync.base_generation
        && base != generation
    {
        let message = format!("{} is at generation {generation}, and the sync is based on {base}", sync.serial);
        return Err(Refusal::new(Reason::StaleGeneration, message).into());
    }
    let contact = ha::report(state, sync.serial, sync.ha.as_ref(), context)?;
    let noted = contact.as_ref().is_some_and(Contact::is_noted);
    let device = state.device(sync.serial)?;
    if !noted
        && let Some(device) = device
        && is_digest_of(device, sync.digest)
    {
        let standing = standing(state, sync.serial, contact.as_ref())?;
        let answer = Answer::of(device, Outcome::Unchanged, Vec::new());
        let answer = Answer { status: SyncStatus::InSync, standing, ..answer };
        return settled(state, device.serial, answer, context);
    }
    let Some(list) = &sync.full_list else {
        if noted {
            let mut planned =
                Report::begin(state, sync.serial, &DeviceInfo::default(), contact, context)?.end(context)?;
            planned.answer.status = SyncStatus::ListNeeded;
            return Ok(planned);
        }
        let standing = standing(state, sync.serial, contact.as_ref())?;
        let answer = match device {
            Some(device) => Answer::of(device, Outcome::Unchanged, Vec::new()),
            None => Answer::new(Outcome::Unchanged),
        };
        return Ok(Planned::unchanged(Answer { status: SyncStatus::ListNeeded, standing, ..answer }));
    };
    if !noted
        && let Some(device) = device
        && agrees(device, &sync.info, list)
    {
        let mut items: Vec<Item> = list.iter().map(|vdom| unchanged(*vdom)).collect();
        if !list.contains(&VdomName::ROOT) {
            items.push(root_stays());
        }
        let standing = standing(state, sync.serial, contact.as_ref())?;
        let answer = Answer { standing, ..Answer::of(device, Outcome::Unchanged, items) };
        return settled(state, device.serial, answer, context);
    }
    let mut report = Report::begin(state, sync.serial, &sync.info, contact, context)?;
    let removed = report.remove_all_but(list, sync.confirm_token.as_deref(), context)?;
    for vdom in list {
        report.add(*vdom, context)?;
    }
    if !list.contains(&VdomName::ROOT) {
        report.keep_root(context)?;
    }
    report.items.extend(removed);
    report.end(context)
}

/// Whether the device decides which VDOMs there are: all but the secondaries of a cluster do.
pub(super) fn decides(state: &State, serial: SerialNumber) -> Result<bool, Stop> {
    Ok(match state.device(serial)?.and_then(|device| device.cluster) {
        Some(cluster) => state.cluster(cluster)?.is_none_or(|cluster| cluster.primary == serial),
        None => true,
    })
}

/// A report that agrees with the register. What the device asked to remove before, it has again.
fn settled(state: &mut State, serial: SerialNumber, answer: Answer, context: &Context<'_>) -> Result<Planned, Stop> {
    let mut planned = Planned::unchanged(answer);
    let Some(owner) = state.owner(serial)? else { return Ok(planned) };
    if !decides(state, serial)? {
        return Ok(planned);
    }
    withdraw(state, HeldOn::Vdoms(owner), &mut planned.records, context)?;
    Ok(planned)
}

fn unchanged(vdom: VdomName) -> Item {
    Item { vdom, outcome: Outcome::Unchanged, reason: None }
}

/// Whether so many removals of so many VDOMs are more than may go in one sync: both limits must be passed, so that a device with two VDOMs may lose
/// one, and one with a hundred may lose thirty.
fn is_guarded(settings: &Settings, removals: usize, present: usize) -> bool {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let (removals, present) = (count(removals), count(present));
    removals > settings.guard_vdoms
        && removals.saturating_mul(100) > present.saturating_mul(settings.guard_vdom_percent)
}

/// A list without "root" asks to remove what no device can be without (domain sheet, section 1.5).
fn root_stays() -> Item {
    Item { vdom: VdomName::ROOT, outcome: Outcome::Refused, reason: Some(Reason::RootVdomRequired) }
}

/// A report while it is worked through.
pub(super) struct Report<'a> {
    state: &'a mut State,
    serial: SerialNumber,
    owner: OwnerId,
    outcome: Outcome,
    items: Vec<Item>,
    pub(super) changes: Vec<Change>,
    /// What was noted of held removals.
    records: Vec<Record>,
    /// The removals of this report that are held.
    held: Option<Notice>,
    /// How many VDOMs are active; pseudo-VDOMs do not count.
    active: usize,
    /// Whether "root" is one of them.
    root: bool,
    /// Whether the device decides which VDOMs there are: all but the secondaries of a cluster do.
    decides: bool,
    /// What the HA part did.
    contact: Option<Contact>,
}

impl<'a> Report<'a> {
    /// First contact, a return, or one more report of a known device; after the HA part of the report, if it has one.
    pub(super) fn begin(
        state: &'a mut State,
        serial: SerialNumber,
        info: &DeviceInfo,
        mut contact: Option<Contact>,
        context: &mut Context<'_>,
    ) -> Result<Self, Stop> {
        let mut changes = contact.as_mut().map(|contact| std::mem::take(&mut contact.changes)).unwrap_or_default();
        let outcome = match &contact {
            Some(contact) => contact.outcome,
            None => make_present(state, serial, &mut changes, context)?,
        };
        update_info(state, serial, info, &mut changes);
        // It was made present just now.
        let owner = state.owner(serial)?.unwrap_or(OwnerId(0));
        let vdoms = state.active_vdoms(owner)?;
        let active = vdoms.iter().filter(|vdom| !vdom.is_pseudo()).count();
        let root = vdoms.contains(&VdomName::ROOT);
        let decides = decides(state, serial)?;
        let (items, records, held) = (Vec::new(), Vec::new(), None);
        Ok(Self { state, serial, owner, outcome, items, changes, records, held, active, root, decides, contact })
    }

    /// Makes sure that a VDOM is there.
    pub(super) fn add(&mut self, vdom: VdomName, context: &mut Context<'_>) -> Result<Outcome, Stop> {
        let known = self.state.client(self.owner, vdom)?.map(|client| client.deleted.as_deref().map(|it| it.mode));
        let held = match known {
            Some(None) => {
                self.items.push(unchanged(vdom));
                return Ok(Outcome::Unchanged);
            }
            Some(Some(DeleteMode::Ban)) => Some((Outcome::Refused, Reason::AuthClientBanned)),
            Some(Some(DeleteMode::Retire)) => Some((Outcome::Held, Reason::AuthClientRetired)),
            Some(Some(DeleteMode::Evict)) | None => None,
        };
        let held = held.or((!self.decides).then_some((Outcome::Held, Reason::PrimaryDecides)));
        if let Some((outcome, reason)) = held {
            self.items.push(Item { vdom, outcome, reason: Some(reason) });
            return Ok(outcome);
        }
        // A device that just came brings what it has, and none is without "root".
        if known.is_none() && self.outcome != Outcome::Created && vdom != VdomName::ROOT {
            if !may_add(self.state, self.serial, vdom)? {
                return self.wait(vdom, context);
            }
            self.records.extend(came_in(self.state, self.serial, Some(vdom), context)?);
        }
        if !vdom.is_pseudo() {
            // A place is kept for "root", whatever stands before it in the list.
            let kept = usize::from(vdom != VdomName::ROOT && !self.root);
            if self.active + kept >= MAX_VDOMS {
                self.items.push(Item { vdom, outcome: Outcome::Refused, reason: Some(Reason::VdomLimit) });
                return Ok(Outcome::Refused);
            }
            self.active += 1;
            self.root |= vdom == VdomName::ROOT;
        }
        let subject = Subject::Vdom(vdom);
        let item = if known.is_some() {
            if let Some(client) = self.state.auth_clients.change(&(self.owner, vdom)) {
                client.deleted = None;
                client.changed(context.now);
            }
            self.changes.push(Change::state(subject, "deleted", "active"));
            Item { vdom, outcome: Outcome::Restored, reason: Some(Reason::ReturnedAfterRemoval) }
        } else {
            new_client(self.state, self.serial, self.owner, vdom, context)?;
            self.changes.push(Change::state(subject, "", "active"));
            Item { vdom, outcome: Outcome::Created, reason: None }
        };
        self.items.push(item);
        Ok(item.outcome)
    }

    /// A new VDOM waits in the lobby, or was sent away.
    fn wait(&mut self, vdom: VdomName, context: &mut Context<'_>) -> Result<Outcome, Stop> {
        let entry = self.state.lobby(self.serial)?;
        let rejected = entry.is_some_and(|it| it.state == LobbyState::Rejected && it.vdoms.contains(&vdom));
        let (outcome, reason) = if rejected {
            (Outcome::Refused, Reason::AdmissionRejected)
        } else {
            let info = self.state.device(self.serial)?.map(|device| device.info.clone()).unwrap_or_default();
            self.records.extend(note(self.state, self.serial, &info, &[vdom], context)?);
            (Outcome::Held, Reason::PendingApproval)
        };
        self.items.push(Item { vdom, outcome, reason: Some(reason) });
        Ok(outcome)
    }

    /// "root" was not listed: it stays, or comes back if it was not there.
    fn keep_root(&mut self, context: &mut Context<'_>) -> Result<(), Stop> {
        self.add(VdomName::ROOT, context)?;
        if let Some(item) = self.items.last_mut() {
            if item.outcome == Outcome::Unchanged {
                item.outcome = Outcome::Refused;
            }
            if matches!(item.reason, None | Some(Reason::ReturnedAfterRemoval)) {
                item.reason = Some(Reason::RootVdomRequired);
            }
        }
        Ok(())
    }

    /// Withdraws what is held if the device says that it has any of it after all.
    fn reclaim(&mut self, list: &[VdomName], context: &Context<'_>) -> Result<(), Stop> {
        let on = HeldOn::Vdoms(self.owner);
        let Some(held) = self.state.held_on(on)? else { return Ok(()) };
        if list.iter().any(|vdom| held.names.iter().any(|name| **name == *vdom.as_str())) {
            withdraw(self.state, on, &mut self.records, context)?;
        }
        Ok(())
    }

    /// Removes the active VDOMs that are not listed, by name, unless the guard holds them. "root" and pseudo-VDOMs are in no list's power.
    fn remove_all_but(
        &mut self,
        list: &[VdomName],
        token: Option<&str>,
        context: &mut Context<'_>,
    ) -> Result<Vec<Item>, Stop> {
        let listed: HashSet<VdomName> = list.iter().copied().collect();
        let mut missing = self.state.active_vdoms(self.owner)?;
        missing.retain(|vdom| *vdom != VdomName::ROOT && !vdom.is_pseudo() && !listed.contains(vdom));
        if !self.decides {
            let reason = Some(Reason::PrimaryDecides);
            return Ok(missing.into_iter().map(|vdom| Item { vdom, outcome: Outcome::Held, reason }).collect());
        }
        let removals = Removals {
            on: HeldOn::Vdoms(self.owner),
            serial: Some(self.serial),
            names: missing.iter().map(|vdom| vdom.as_str().into()).collect(),
            beyond: is_guarded(self.state.settings(), missing.len(), self.active),
            token,
        };
        if let Ruling::Stay(outcome, reason, notice) = rule(self.state, removals, &mut self.records, context)? {
            self.held = Some(notice);
            return Ok(missing.into_iter().map(|vdom| Item { vdom, outcome, reason: Some(reason) }).collect());
        }
        let at = moment(self.state, self.owner, context)?;
        let tombstone = Tombstone { at, ..Tombstone::evicted(context) };
        let mut removed = Vec::new();
        for vdom in missing {
            remove(self.state, self.owner, vdom, &tombstone, context)?;
            self.active -= 1;
            self.changes.push(Change::state(Subject::Vdom(vdom), "active", "deleted"));
            removed.push(Item { vdom, outcome: Outcome::Removed, reason: None });
        }
        Ok(removed)
    }

    pub(super) fn end(mut self, context: &Context<'_>) -> Result<Planned, Stop> {
        if matches!(self.outcome, Outcome::Created | Outcome::Restored) {
            self.records.extend(came_in(self.state, self.serial, None, context)?);
        }
        if !self.changes.is_empty() {
            self.state.seal(self.serial, context.now)?;
            if self.outcome == Outcome::Unchanged {
                self.outcome = Outcome::Updated;
            }
        }
        let Some(device) = self.state.device(self.serial)? else {
            return Ok(Planned::unchanged(Answer::new(self.outcome)));
        };
        let (mut answer, id) = (Answer::of(device, self.outcome, self.items), device.id.0);
        answer.held = self.held;
        answer.standing = standing(self.state, self.serial, self.contact.as_ref())?;
        let Contact { moved, records, .. } = self.contact.unwrap_or_default();
        answer.users = moved.users;
        self.changes.extend(moved.changes);
        let mut planned = Planned::about(answer, id, Name::Device(self.serial), self.changes);
        planned.records.extend(records);
        planned.records.extend(self.records);
        Ok(planned)
    }
}

/// Takes over what the device says of itself; an empty text says nothing.
fn update_info(state: &mut State, serial: SerialNumber, info: &DeviceInfo, changes: &mut Vec<Change>) {
    let Some(before) = state.devices.get(&serial).map(|device| device.info.clone()) else { return };
    let fields = [
        ("model", &before.model, &info.model),
        ("hostname", &before.hostname, &info.hostname),
        ("firmware", &before.firmware, &info.firmware),
    ];
    for (field, before, after) in fields {
        if after.is_empty() || before == after {
            continue;
        }
        let Some(device) = state.devices.change(&serial) else { return };
        let slot = match field {
            "model" => &mut device.info.model,
            "hostname" => &mut device.info.hostname,
            _ => &mut device.info.firmware,
        };
        *slot = after.clone();
        changes.push(Change::value(field, before, after));
    }
}
