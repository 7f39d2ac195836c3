//! What a device reports of its HA cluster, and what comes of it.

use muster_proto::cluster::{HaReport, HaRole};
use muster_proto::{Reason, SerialNumber};

use super::auth_client::later;
use super::cluster::{Left, Standing, dissolve, found, in_use, join, leave, may_join, promote, record};
use super::contact::make_present;
use super::fence::{compare, refusal};
use super::merge::Moved;
use super::{Change, Cluster, ClusterId, Context, Outcome, Record, Refusal, State, Stop};

/// What the HA part of a report did, before the rest of it is worked through.
#[derive(Debug)]
pub(super) struct Contact {
    /// What became of the device.
    pub(super) outcome: Outcome,
    /// What changed about the device.
    pub(super) changes: Vec<Change>,
    pub(super) moved: Moved,
    /// What changed about its cluster.
    pub(super) records: Vec<Record>,
    membership: Outcome,
    reason: Option<Reason>,
    /// Whether the device said anything of its cluster.
    has_ha: bool,
}

/// Works the HA part of a report through. Makes sure that the device is there first.
pub(super) fn report(
    state: &mut State,
    serial: SerialNumber,
    ha: Option<&HaReport>,
    context: &mut Context<'_>,
) -> Result<Option<Contact>, Stop> {
    let Some(ha) = ha else { return Ok(None) };
    let mut changes = Vec::new();
    let outcome = make_present(state, serial, &mut changes, context)?;
    let mut contact = Contact {
        outcome,
        changes,
        moved: Moved::default(),
        records: Vec::new(),
        membership: Outcome::Unchanged,
        reason: None,
        has_ha: true,
    };
    match (state.device(serial)?.and_then(|device| device.cluster), ha.role) {
        (None, HaRole::Standalone) => {}
        (None, _) => enter(state, serial, ha, &mut contact, context)?,
        (Some(id), _) => stay(state, serial, id, ha, &mut contact, context)?,
    }
    Ok(Some(contact))
}

/// How the device stands now. `None` if it said nothing and is in no cluster.
pub(super) fn standing(
    state: &State,
    serial: SerialNumber,
    contact: Option<&Contact>,
) -> Result<Option<Standing>, Stop> {
    let cluster = match state.device(serial)?.and_then(|device| device.cluster) {
        Some(id) => state.cluster(id)?.map(|it| (id, it.name.clone(), it.role(serial), it.epoch)),
        None => None,
    };
    if cluster.is_none() && contact.is_none_or(|contact| !contact.has_ha) {
        return Ok(None);
    }
    let (outcome, reason) = contact.map_or((Outcome::Unchanged, None), |contact| (contact.membership, contact.reason));
    Ok(Some(Standing { cluster, outcome, reason }))
}

impl Default for Contact {
    fn default() -> Self {
        Self {
            outcome: Outcome::Unchanged,
            changes: Vec::new(),
            moved: Moved::default(),
            records: Vec::new(),
            membership: Outcome::Unchanged,
            reason: None,
            has_ha: false,
        }
    }
}

impl Contact {
    /// Whether anything is to be written.
    pub(super) fn is_noted(&self) -> bool {
        !self.changes.is_empty() || !self.records.is_empty()
    }

    /// Puts what a licence did before what the report of a cluster did.
    pub(super) fn after(self, before: Option<Self>) -> Self {
        let Some(mut before) = before else { return self };
        before.changes.extend(self.changes);
        before.records.extend(self.records);
        let outcome = if before.outcome == Outcome::Unchanged { self.outcome } else { before.outcome };
        Self { outcome, changes: before.changes, records: before.records, ..self }
    }

    fn joined(&mut self, id: ClusterId, name: &str, serial: SerialNumber, moved: Moved) {
        self.membership = Outcome::Updated;
        self.changes.push(Change::value("cluster", "", name));
        self.records.push(record(id, vec![Change::value("member", "", serial)]));
        self.moved.extend(moved);
    }

    fn left(&mut self, id: ClusterId, name: &str, left: Left) {
        self.membership = Outcome::Updated;
        self.changes.push(Change::value("cluster", name, ""));
        self.records.push(record(id, left.changes));
        self.moved.extend(left.moved);
    }

    /// The membership stays as it is; the rest of the report is done.
    fn not_done(&mut self, outcome: Outcome, reason: Reason) {
        (self.membership, self.reason) = (outcome, Some(reason));
    }
}

/// The cluster that the device says it is in, if its primary lists the device.
fn invited(state: &State, serial: SerialNumber, members: &[SerialNumber]) -> Result<Option<ClusterId>, Stop> {
    for member in members {
        let Some(id) = state.device(*member)?.and_then(|device| device.cluster) else { continue };
        if state.cluster(id)?.is_some_and(|cluster| cluster.is_active() && cluster.listed.contains(&serial)) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// A device that is in no cluster says that it is in one.
fn enter(
    state: &mut State,
    serial: SerialNumber,
    ha: &HaReport,
    contact: &mut Contact,
    context: &mut Context<'_>,
) -> Result<(), Stop> {
    let Some(id) = invited(state, serial, &ha.members)? else {
        if ha.role == HaRole::Primary {
            let epoch = ha.epoch.unwrap_or(1);
            let (id, moved) = found(state, &ha.group, serial, (epoch, ha.members.clone()), context)?;
            let cluster = in_use(state, id)?;
            let mut changes = vec![Change::value("name", "", &cluster.name), Change::value("primary", "", serial)];
            changes.push(listed_change(&[], &cluster.listed));
            contact.changes.push(Change::value("cluster", "", &cluster.name));
            contact.records.push(record(id, changes));
            contact.moved.extend(moved);
            contact.membership = Outcome::Created;
        } else {
            contact.not_done(Outcome::Held, Reason::ClusterNotConfirmed);
        }
        return Ok(());
    };
    let cluster = in_use(state, id)?;
    fence(cluster, serial, ha)?;
    let name = cluster.name.clone();
    match may_join(state, id, serial) {
        Err(Stop::Refused(refusal)) => {
            contact.not_done(Outcome::Refused, refusal.reason);
            return Ok(());
        }
        other => other?,
    }
    let moved = join(state, id, serial, context)?;
    contact.joined(id, name.as_str(), serial, moved);
    if ha.role == HaRole::Primary {
        let changes = promote(state, id, serial, context)?;
        contact.records.push(record(id, changes));
    }
    Ok(())
}

/// A member reports.
fn stay(
    state: &mut State,
    serial: SerialNumber,
    id: ClusterId,
    ha: &HaReport,
    contact: &mut Contact,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let cluster = in_use(state, id)?;
    let (name, is_primary) = (cluster.name.clone(), cluster.primary == serial);
    match ha.role {
        // A secondary may go whatever it knows: it takes nothing along.
        HaRole::Standalone if !is_primary => {
            let left = leave(state, id, serial, context)?;
            contact.left(id, name.as_str(), left);
        }
        HaRole::Standalone => {
            fence(cluster, serial, ha)?;
            let left = dissolve(state, id, serial, context)?;
            contact.left(id, name.as_str(), left);
        }
        HaRole::Primary if !is_primary => {
            fence(cluster, serial, ha)?;
            let changes = promote(state, id, serial, context)?;
            contact.changes.push(Change::value("role", "secondary", "primary"));
            contact.records.push(record(id, changes));
            contact.membership = Outcome::Updated;
        }
        HaRole::Primary => {
            fence(cluster, serial, ha)?;
            list(state, id, &ha.members, contact, context)?;
        }
        HaRole::Secondary => {
            fence(cluster, serial, ha)?;
            let elsewhere = !ha.members.iter().any(|member| cluster.members.contains(member));
            if elsewhere && invited(state, serial, &ha.members)?.is_some() {
                contact.not_done(Outcome::Refused, Reason::ClusterOther);
            }
        }
    }
    Ok(())
}

/// The primary says whom it sees. Who it does not see stays: it may only be down.
fn list(
    state: &mut State,
    id: ClusterId,
    members: &[SerialNumber],
    contact: &mut Contact,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let cluster = in_use(state, id)?;
    let listed: Vec<_> = members.iter().copied().filter(|member| !cluster.members.contains(member)).collect();
    if listed == cluster.listed {
        return Ok(());
    }
    contact.records.push(record(id, vec![listed_change(&cluster.listed, &listed)]));
    if let Some(cluster) = state.clusters.change(&id) {
        cluster.listed = listed;
        cluster.updated_at = later(cluster.updated_at, context.now);
    }
    contact.membership = Outcome::Updated;
    Ok(())
}

fn listed_change(before: &[SerialNumber], after: &[SerialNumber]) -> Change {
    let text = |serials: &[SerialNumber]| serials.iter().map(SerialNumber::as_str).collect::<Vec<_>>().join(" ");
    Change::value("listed", text(before), text(after))
}

/// Refuses a report of a primary that was replaced, and one that knows an epoch that never was.
fn fence(cluster: &Cluster, serial: SerialNumber, ha: &HaReport) -> Result<(), Refusal> {
    let current = cluster.epoch;
    let takes_over = ha.role == HaRole::Primary && cluster.primary != serial;
    match ha.epoch {
        Some(epoch) if takes_over && epoch == current + 1 => return Ok(()),
        Some(epoch) => compare(cluster, epoch)?,
        None => {}
    }
    if takes_over {
        let message = format!("{} is the primary of epoch {current}", cluster.primary);
        return Err(refusal(cluster, Reason::StaleEpoch, message));
    }
    Ok(())
}
