//! The fence around a cluster: a member that is not its primary, or was it in an epoch before, changes nothing of it.
//!
//! Reports are fenced where they are worked out ([`super::ha`]), because they may take over. Everything else that a member can write is
//! fenced here.

use muster_proto::device_users::UserTarget;
use muster_proto::{Reason, SerialNumber};

use super::report::decides;
use super::{Action, Cluster, Refusal, State, Stop};

/// A refusal of something that a member asked, with what it needs to know.
pub(super) fn refusal(cluster: &Cluster, reason: Reason, message: String) -> Refusal {
    Refusal::new(reason, message).with("epoch", cluster.epoch).with("primary", cluster.primary)
}

/// Refuses an epoch that is not the current one.
pub(super) fn compare(cluster: &Cluster, epoch: i64) -> Result<(), Refusal> {
    let current = cluster.epoch;
    let message = || format!("the cluster is at epoch {current}, and the call is of epoch {epoch}");
    match epoch.cmp(&current) {
        std::cmp::Ordering::Less => Err(refusal(cluster, Reason::StaleEpoch, message())),
        std::cmp::Ordering::Greater => Err(refusal(cluster, Reason::EpochAhead, message())),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// Refuses what a replaced primary, or a secondary, may not do: anything with an old epoch, and changes of single users without being the
/// primary. What a secondary's deletions and lists come to is for their own rules.
pub(super) fn check(state: &State, action: &Action) -> Result<(), Stop> {
    match action {
        Action::Delete(deletion) => given(state, deletion.serial, deletion.epoch),
        Action::BeginUserSync(target) | Action::UsersInSync(target, _) => of_target(state, *target),
        Action::AddUser(_) | Action::UpdateUser(_) | Action::DeleteUser(_) => {
            let Some((target, _)) = action.user() else { return Ok(()) };
            of_target(state, target.into())?;
            primary_only(state, target.serial)
        }
        _ => Ok(()),
    }
}

/// Refuses a target with an epoch that is not the current one of its cluster. A Web app is in none.
pub(super) fn of_target(state: &State, target: UserTarget) -> Result<(), Stop> {
    target.forti_product().map_or(Ok(()), |target| given(state, target.serial, target.epoch))
}

/// Compares the epoch that was given, if one was. Who is not there, or may not call, is told that first, by whoever works the call out.
fn given(state: &State, serial: SerialNumber, epoch: Option<i64>) -> Result<(), Stop> {
    let Some(epoch) = epoch else { return Ok(()) };
    let Some(device) = state.device(serial)?.filter(|device| device.is_active()) else { return Ok(()) };
    let cluster = match device.cluster {
        Some(id) => state.cluster(id)?,
        None => None,
    };
    let Some(cluster) = cluster else {
        let message = format!("{serial} is in no cluster, and the call is of epoch {epoch} of one");
        return Err(Refusal::new(Reason::NotAMember, message).into());
    };
    Ok(compare(cluster, epoch)?)
}

fn primary_only(state: &State, serial: SerialNumber) -> Result<(), Stop> {
    if decides(state, serial)? {
        return Ok(());
    }
    let message = format!("{serial} is a secondary of its cluster");
    let cluster = match state.device(serial)?.and_then(|device| device.cluster) {
        Some(id) => state.cluster(id)?,
        None => None,
    };
    Err(match cluster {
        Some(cluster) => refusal(cluster, Reason::PrimaryDecides, message),
        None => Refusal::new(Reason::PrimaryDecides, message),
    }
    .into())
}
