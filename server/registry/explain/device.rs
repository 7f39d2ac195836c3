//! How a device stands, and what the first call of one that is not in the register would find.

use muster_proto::v1::ExplainVerdict as Verdict;
use muster_proto::{Reason, SerialNumber};

use super::super::admission::{Decision, decide};
use super::super::contact::may_call;
use super::super::lobby::rejected;
use super::super::{Context, Device, LobbyState, State, Stop};
use super::{Finding, on_off};

pub(super) fn device(state: &State, serial: SerialNumber, context: &Context<'_>) -> Result<Finding, Stop> {
    let Some(device) = state.device(serial)? else { return stranger(state, serial, context) };
    let sent_away = state.lobby(serial)?.is_some_and(|entry| entry.state == LobbyState::Rejected);
    let mut finding = match may_call(device) {
        Err(refusal) if refusal.reason == Reason::DeviceRetired && sent_away => Finding::of(&rejected(state, serial)?),
        Err(refusal) => Finding::of(&refusal),
        Ok(()) if !device.is_active() => {
            let message = format!("{serial} was removed, and nothing keeps it from coming back");
            Finding::new(Verdict::Absent, Some(Reason::Evicted), message)
        }
        Ok(()) if device.disputed => {
            let message = format!("{serial} is in the register, and boxes with other keys call in its name");
            Finding::new(Verdict::Held, Some(Reason::CloneSuspected), message)
        }
        Ok(()) => Finding::new(Verdict::Present, None, format!("{serial} is in the register and in use")),
    };
    finding.about = device_ids(device);
    finding.tombstone(device.deleted.as_deref());
    if !device.is_active() {
        finding.set("retention_days", state.settings().retention_days);
        finding.set("calls since it was removed", device.contacts);
    }
    if let Some(cluster) = device.cluster {
        finding.set("cluster", format_args!("clusters/{}", cluster.0));
    }
    for license in state.licenses_of(serial)? {
        let since = license.bound.map_or_else(String::new, |(_, since)| format!(", since {since}"));
        finding.set(format!("licenses/{}", license.number), format_args!("{}{since}", license.model));
        finding.about.push(license.id);
    }
    if let Some(entry) = state.lobby(serial)?.filter(|entry| entry.state == LobbyState::Waiting) {
        finding.about.push(entry.id.0);
        let vdoms: Vec<String> = entry.vdoms.iter().map(ToString::to_string).collect();
        finding.set("waiting in the lobby", vdoms.join(", "));
    }
    Ok(finding)
}

pub(super) fn device_ids(device: &Device) -> Vec<i64> {
    [Some(device.id.0), device.cluster.map(|cluster| cluster.0)].into_iter().flatten().collect()
}

/// A device that is not in the register: what its first call would find.
pub(super) fn stranger(state: &State, serial: SerialNumber, context: &Context<'_>) -> Result<Finding, Stop> {
    let entry = state.lobby(serial)?;
    let is_rejected = entry.is_some_and(|entry| entry.state == LobbyState::Rejected);
    let mut finding = match decide(state, serial, context.address)? {
        Decision::Admit(_) => {
            Finding::new(Verdict::NeverSeen, None, format!("{serial} never came in; its next call registers it"))
        }
        Decision::Reject => Finding::of(&rejected(state, serial)?),
        Decision::Lobby if is_rejected => Finding::of(&rejected(state, serial)?),
        Decision::Lobby if entry.is_some_and(|entry| entry.state == LobbyState::Waiting) => Finding::new(
            Verdict::Held,
            Some(Reason::PendingApproval),
            format!("{serial} waits for approval in the lobby"),
        ),
        Decision::Lobby => {
            let message = format!("{serial} never called; when it does, it waits for approval in the lobby");
            Finding::new(Verdict::NeverSeen, Some(Reason::PendingApproval), message)
        }
    };
    if let Some(entry) = entry {
        finding.about.push(entry.id.0);
        finding.set("calls turned away", entry.attempts);
        if let Some(at) = entry.decided_at {
            finding.set("lobby", format_args!("decided by {} at {at}", entry.decided_by));
        }
    }
    finding.set("auto_create_auth_clients", on_off(state.settings().auto_create_auth_clients));
    Ok(finding)
}
