//! Clusters: how they come, who is in them, who speaks for them, and what becomes of their auth clients when they go.

use muster_proto::{Reason, SerialNumber, Text};

use super::auth_client::later;
use super::merge::{Moved, hand_over, may_merge, merge};
use super::{
    After, Answer, Change, Cluster, ClusterId, Context, MemberRole, Name, Outcome, OwnerId, Planned, Record, Refusal,
    State, Stop,
};

/// How a device stands in its cluster after its report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The cluster, its name, the device's role, and the epoch; `None` if the device is in no cluster.
    pub cluster: Option<(ClusterId, Text, MemberRole, i64)>,
    /// What became of the membership.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<Reason>,
}

/// A cluster that is in use, or the refusal that goes with it.
pub(super) fn in_use(state: &State, id: ClusterId) -> Result<&Cluster, Stop> {
    let cluster = known(state, id)?;
    if cluster.is_active() {
        return Ok(cluster);
    }
    Err(Refusal::new(Reason::ClusterDeleted, format!("the cluster {} is deleted", cluster.name)).into())
}

fn known(state: &State, id: ClusterId) -> Result<&Cluster, Stop> {
    let unknown = || Refusal::new(Reason::ClusterUnknown, format!("there never was a cluster {}", id.0));
    Ok(state.cluster(id)?.ok_or_else(unknown)?)
}

/// Makes a cluster of one device, which takes over its auth clients.
pub(super) fn found(
    state: &mut State,
    name: &Text,
    primary: SerialNumber,
    (epoch, listed): (i64, Vec<SerialNumber>),
    context: &mut Context<'_>,
) -> Result<(ClusterId, Moved), Stop> {
    // Looked up before anything changes.
    let owner = state.owner(primary)?.unwrap_or(OwnerId(0));
    state.active_vdoms(owner)?;
    let id = ClusterId(context.id());
    let named = if name.is_empty() { primary.as_str().parse().unwrap_or_default() } else { name.clone() };
    state.clusters.put(
        id,
        Cluster {
            id,
            name: named,
            epoch,
            primary,
            members: vec![primary],
            listed,
            created_at: context.now,
            updated_at: context.now,
            deleted_at: None,
        },
    );
    state.whole.clusters.insert(id);
    state.whole.owners.insert(OwnerId(id.0));
    let moved = hand_over(state, owner, OwnerId(id.0), Reason::MovedToCluster, context)?;
    if let Some(device) = state.devices.change(&primary) {
        device.cluster = Some(id);
    }
    Ok((id, moved))
}

/// Makes a device that is in no cluster a member; its auth clients come along.
pub(super) fn join(
    state: &mut State,
    id: ClusterId,
    serial: SerialNumber,
    context: &Context<'_>,
) -> Result<Moved, Stop> {
    let name = in_use(state, id)?.name.clone();
    let owner = state.owner(serial)?.unwrap_or(OwnerId(0));
    let moved = merge(state, owner, OwnerId(id.0), &name, context)?;
    if let Some(cluster) = state.clusters.change(&id) {
        cluster.members.push(serial);
        cluster.members.sort_unstable();
        cluster.listed.retain(|listed| *listed != serial);
        cluster.updated_at = later(cluster.updated_at, context.now);
    }
    if let Some(device) = state.devices.change(&serial) {
        device.cluster = Some(id);
    }
    Ok(moved)
}

/// Makes another member the primary.
pub(super) fn promote(
    state: &mut State,
    id: ClusterId,
    serial: SerialNumber,
    context: &Context<'_>,
) -> Result<Vec<Change>, Stop> {
    let cluster = in_use(state, id)?;
    let (before, epoch) = (cluster.primary, cluster.epoch);
    if let Some(cluster) = state.clusters.change(&id) {
        cluster.primary = serial;
        cluster.epoch += 1;
        cluster.updated_at = later(cluster.updated_at, context.now);
    }
    Ok(vec![Change::value("primary", before, serial), Change::value("epoch", epoch, epoch + 1)])
}

/// What a member's leaving did.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) moved: Moved,
    /// What changed about the cluster.
    pub(super) changes: Vec<Change>,
}

/// Takes a member out. The cluster keeps everything, unless it was the last one: then everything goes along.
pub(super) fn leave(
    state: &mut State,
    id: ClusterId,
    serial: SerialNumber,
    context: &Context<'_>,
) -> Result<Left, Stop> {
    let cluster = in_use(state, id)?;
    let others: Vec<SerialNumber> = cluster.members.iter().copied().filter(|member| *member != serial).collect();
    let Some(next) = others.first().copied() else { return dissolve(state, id, serial, context) };
    let mut left = Left::default();
    left.changes.push(Change::value("member", serial, ""));
    if cluster.primary == serial {
        left.changes.extend(promote(state, id, next, context)?);
    }
    if let Some(cluster) = state.clusters.change(&id) {
        cluster.members = others;
        cluster.updated_at = later(cluster.updated_at, context.now);
    }
    if let Some(device) = state.devices.change(&serial) {
        device.cluster = None;
    }
    Ok(left)
}

/// Ends a cluster: its auth clients go to one device, and the other members start afresh.
pub(super) fn dissolve(
    state: &mut State,
    id: ClusterId,
    heir: SerialNumber,
    context: &Context<'_>,
) -> Result<Left, Stop> {
    let cluster = in_use(state, id)?;
    let (members, name) = (cluster.members.clone(), cluster.name.clone());
    for member in &members {
        if let Some(device) = state.devices.change(member) {
            device.cluster = None;
        }
    }
    let to = state.owner(heir)?.unwrap_or(OwnerId(0));
    let moved = hand_over(state, OwnerId(id.0), to, Reason::MovedToDevice, context)?;
    if let Some(cluster) = state.clusters.change(&id) {
        cluster.members.clear();
        cluster.listed.clear();
        cluster.primary = heir;
        cluster.deleted_at = Some(context.now);
        cluster.updated_at = later(cluster.updated_at, context.now);
    }
    for member in members.into_iter().filter(|member| *member != heir) {
        state.seal(member, context.now)?;
    }
    Ok(Left { moved, changes: vec![Change::value("state", "active", "deleted"), Change::value("name", name, "")] })
}

/// What is noted about a cluster.
pub(super) fn record(id: ClusterId, changes: Vec<Change>) -> Record {
    Record { about: id.0, name: Name::Resource(format!("clusters/{}", id.0).into()), generation: 0, changes }
}

/// The record of a device whose membership changed.
fn membership(state: &State, serial: SerialNumber, before: &str, after: &str) -> Result<Option<Record>, Stop> {
    Ok(state.device(serial)?.map(|device| Record {
        about: device.id.0,
        name: Name::Device(serial),
        generation: device.generation,
        changes: vec![Change::value("cluster", before, after)],
    }))
}

/// The answer to an admin's command about a cluster.
fn answer(
    state: &State,
    id: ClusterId,
    outcome: Outcome,
    moved: Moved,
    mut changes: Vec<Change>,
) -> Result<Planned, Stop> {
    let after = After::Cluster(known(state, id)?.clone());
    changes.extend(moved.changes);
    let answer = Answer { items: moved.items, users: moved.users, after, ..Answer::new(outcome) };
    let name = Name::Resource(format!("clusters/{}", id.0).into());
    Ok(Planned::about(answer, id.0, name, changes))
}

fn member_to_be(state: &State, serial: SerialNumber) -> Result<(), Stop> {
    let unknown = || Refusal::new(Reason::DeviceUnknown, format!("no device {serial} was ever registered"));
    let device = state.device(serial)?.ok_or_else(unknown)?;
    super::contact::may_call(device)?;
    if !device.is_active() {
        return Err(Refusal::new(Reason::DeviceDeleted, format!("{serial} is deleted")).into());
    }
    if let Some(other) = device.cluster {
        let message = format!("{serial} is a member of clusters/{}", other.0);
        return Err(Refusal::new(Reason::ClusterOther, message).into());
    }
    Ok(())
}

/// An admin makes a cluster.
pub(super) fn create(
    state: &mut State,
    name: &Text,
    primary: SerialNumber,
    others: &[SerialNumber],
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    if let Some(id) = state.device(primary)?.and_then(|device| device.cluster) {
        let cluster = known(state, id)?;
        let same = cluster.primary == primary && others.iter().all(|other| cluster.members.contains(other));
        if same && cluster.members.len() == others.len() + 1 && (name.is_empty() || *name == cluster.name) {
            return answer(state, id, Outcome::Unchanged, Moved::default(), Vec::new());
        }
    }
    for serial in std::iter::once(&primary).chain(others) {
        member_to_be(state, *serial)?;
    }
    let (id, mut moved) = found(state, name, primary, (1, Vec::new()), context)?;
    let named = known(state, id)?.name.clone();
    let mut changes = vec![Change::value("name", "", &named), Change::value("primary", "", primary)];
    for other in others {
        moved.extend(join(state, id, *other, context)?);
        changes.push(Change::value("member", "", other));
    }
    state.seal(primary, context.now)?;
    let mut planned = answer(state, id, Outcome::Created, moved, changes)?;
    for serial in std::iter::once(&primary).chain(others) {
        planned.records.extend(membership(state, *serial, "", named.as_str())?);
    }
    Ok(planned)
}

/// An admin gives a cluster another name.
pub(super) fn rename(
    state: &mut State,
    id: ClusterId,
    name: &Text,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let cluster = in_use(state, id)?;
    may_change(cluster, etag)?;
    if cluster.name == *name {
        return answer(state, id, Outcome::Unchanged, Moved::default(), Vec::new());
    }
    let changes = vec![Change::value("name", &cluster.name, name)];
    if let Some(cluster) = state.clusters.change(&id) {
        cluster.name = name.clone();
        cluster.updated_at = later(cluster.updated_at, context.now);
    }
    answer(state, id, Outcome::Updated, Moved::default(), changes)
}

fn may_change(cluster: &Cluster, etag: Option<&str>) -> Result<(), Refusal> {
    if etag.is_some_and(|etag| etag != cluster.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the cluster changed since its etag was read"));
    }
    Ok(())
}

/// An admin dissolves a cluster.
pub(super) fn delete(
    state: &mut State,
    id: ClusterId,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let cluster = known(state, id)?;
    if !cluster.is_active() {
        return answer(state, id, Outcome::Unchanged, Moved::default(), Vec::new());
    }
    may_change(cluster, etag)?;
    let (primary, members, name) = (cluster.primary, cluster.members.clone(), cluster.name.clone());
    let left = dissolve(state, id, primary, context)?;
    state.seal(primary, context.now)?;
    let mut planned = answer(state, id, Outcome::Removed, left.moved, left.changes)?;
    for member in members {
        planned.records.extend(membership(state, member, name.as_str(), "")?);
    }
    Ok(planned)
}

/// An admin makes a device a member.
pub(super) fn add_member(
    state: &mut State,
    id: ClusterId,
    serial: SerialNumber,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let cluster = in_use(state, id)?;
    if cluster.members.contains(&serial) {
        return answer(state, id, Outcome::Unchanged, Moved::default(), Vec::new());
    }
    let name = cluster.name.clone();
    member_to_be(state, serial)?;
    let moved = join(state, id, serial, context)?;
    state.seal(serial, context.now)?;
    let changes = vec![Change::value("member", "", serial)];
    let mut planned = answer(state, id, Outcome::Updated, moved, changes)?;
    planned.records.extend(membership(state, serial, "", name.as_str())?);
    Ok(planned)
}

/// An admin takes a member out.
pub(super) fn remove_member(
    state: &mut State,
    id: ClusterId,
    serial: SerialNumber,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let cluster = known(state, id)?;
    let (name, is_member) = (cluster.name.clone(), cluster.members.contains(&serial));
    if state.device(serial)?.is_none() {
        return Err(Refusal::new(Reason::DeviceUnknown, format!("no device {serial} was ever registered")).into());
    }
    if !is_member {
        return answer(state, id, Outcome::Unchanged, Moved::default(), Vec::new());
    }
    let left = leave(state, id, serial, context)?;
    state.seal(serial, context.now)?;
    let outcome = if known(state, id)?.is_active() { Outcome::Updated } else { Outcome::Removed };
    let mut planned = answer(state, id, outcome, left.moved, left.changes)?;
    planned.records.extend(membership(state, serial, name.as_str(), "")?);
    Ok(planned)
}

/// An admin makes another member the primary.
pub(super) fn set_primary(
    state: &mut State,
    id: ClusterId,
    serial: SerialNumber,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let cluster = in_use(state, id)?;
    if !cluster.members.contains(&serial) {
        let message = format!("{serial} is no member of the cluster {}", cluster.name);
        return Err(Refusal::new(Reason::NotAMember, message).into());
    }
    if cluster.primary == serial {
        return answer(state, id, Outcome::Unchanged, Moved::default(), Vec::new());
    }
    let changes = promote(state, id, serial, context)?;
    answer(state, id, Outcome::Updated, Moved::default(), changes)
}

/// Whether a device may join a cluster, as far as its auth clients go.
pub(super) fn may_join(state: &State, id: ClusterId, serial: SerialNumber) -> Result<(), Stop> {
    let owner = state.owner(serial)?.unwrap_or(OwnerId(0));
    may_merge(state, owner, OwnerId(id.0))
}
