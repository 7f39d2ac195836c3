//! One batch: load what its commands touch, plan each in order, apply the union of the changes.

use std::collections::HashMap;
use std::sync::Arc;

use muster_proto::{Reason, Timestamp};

use super::Submission;
use crate::identity::revocations::{Identity, Secrets};
use crate::identity::token::TokenHash;
use crate::operation::OperationId;
use crate::registry::{Command, Device, DeviceId, Name, Needs, Planned, RealmId, Refusal, State, Stop, plan};
use crate::store::{AuditRow, StoreError, Writing};

/// How often one command may ask for more: a rule that never has enough is a defect, and must not hold the writer.
pub(super) const MAX_LOADS: usize = 10_000;

/// What became of a batch that the database took.
pub(super) struct Applied {
    /// For each command, in order.
    pub(super) results: Vec<Result<Planned, Refusal>>,
    /// The next free id.
    pub(super) next_id: i64,
    /// Whether the store was written to.
    pub(super) wrote: bool,
    /// The devices that called, and whether they were refused because they are deleted.
    pub(super) seen: Vec<(DeviceId, bool)>,
    /// Those whose right to call may have changed, and whether they are shut out now.
    pub(super) standing: Vec<(Identity, bool)>,
    /// The Web apps that were written, by id, and the secrets that are good now.
    pub(super) secrets: Vec<(i64, Secrets)>,
    /// The devices that were written and are deleted now, and by which operation.
    pub(super) removed: Vec<(OperationId, Device)>,
    /// The names of the realms that the debug events are about.
    pub(super) realms: RealmNames,
}

/// The devices that a batch left deleted, each with the last operation that did something to it.
fn removed(batch: &[Submission], results: &[Result<Planned, Refusal>], state: &State) -> Vec<(OperationId, Device)> {
    let deleted = state.devices.changed().filter(|device| !device.is_active());
    deleted
        .filter_map(|device| {
            let name = Name::Device(device.serial);
            let did = |result: &Result<Planned, Refusal>| {
                result.as_ref().is_ok_and(|planned| planned.records.iter().any(|record| record.name == name))
            };
            let index = results.iter().rposition(did)?;
            Some((batch.get(index)?.operation.id, device.clone()))
        })
        .collect()
}

/// The names of realms, for the debug feed.
pub(super) type RealmNames = HashMap<RealmId, Arc<str>>;

/// Works a batch through. Nothing of it is kept if this fails.
pub(super) async fn run(
    store: &mut dyn Writing,
    batch: &[Submission],
    mut next_id: i64,
    now: Timestamp,
) -> Result<Applied, StoreError> {
    let mut state = State::default();
    foresee(store, batch, &mut state).await?;
    let mut results = Vec::with_capacity(batch.len());
    let mut seen = Vec::new();
    for Submission { operation, command, .. } in batch {
        let mut context = operation.context(&mut next_id, now);
        let mut loads = 0;
        let result = loop {
            match plan(&mut state, command, &mut context) {
                Ok(planned) => break Ok(planned),
                Err(Stop::Refused(refusal)) => break Err(refusal),
                Err(Stop::Missing(_)) if loads == MAX_LOADS => {
                    break Err(Refusal::new(Reason::Internal, "the rules ask for ever more"));
                }
                Err(Stop::Missing(needs)) => {
                    loads += 1;
                    store.load(&needs, &mut state).await?;
                }
            }
        };
        if command.action.is_from_device()
            && !command.options.validate_only
            && let Some(device) = command.action.serial().and_then(|serial| state.devices.get(&serial))
        {
            match &result {
                // A box whose key is held is not the device.
                Ok(planned) if planned.refused.is_some() => {}
                Ok(_) => seen.push((device.id, false)),
                Err(_) if !device.is_active() => seen.push((device.id, true)),
                Err(_) => {}
            }
        }
        if let Some(id) = turned_away(&state, command, &result) {
            seen.push((id, true));
        }
        results.push(result);
    }
    let mut audit = Vec::new();
    for (Submission { operation, command, .. }, result) in batch.iter().zip(&results) {
        let Ok(planned) = result else { continue };
        if command.options.validate_only && !planned.is_guess() {
            continue;
        }
        audit.extend(planned.records.iter().map(|record| AuditRow {
            at: now,
            operation: operation.id,
            caller: &operation.caller,
            method: operation.method,
            about: record.about,
            name: &record.name,
            generation: record.generation,
            changes: super::notes::audit(&record.changes),
        }));
    }
    // When a box of a disputed serial number last called is no change that anybody made.
    let wrote = !audit.is_empty() || state.device_keys.changed().next().is_some();
    if wrote {
        store.apply(&state, &audit, next_id).await?;
    } else {
        store.abandon().await?;
    }
    let standing = if wrote { standing(&state) } else { Vec::new() };
    let secrets = if wrote { state.web_apps.changed().map(|app| (app.id.0, app.into())).collect() } else { Vec::new() };
    let removed = if wrote { removed(batch, &results, &state) } else { Vec::new() };
    let realms = realm_names(store, &mut state, &results).await?;
    Ok(Applied { results, next_id, wrote, seen, standing, secrets, removed, realms })
}

/// The entry of the lobby of a device that was turned away. An id alone tells what it is of, so it is counted like a device that calls.
fn turned_away(state: &State, command: &Command, result: &Result<Planned, Refusal>) -> Option<DeviceId> {
    let reason = match result {
        Ok(planned) => planned.refused.as_ref()?.reason,
        Err(refusal) => refusal.reason,
    };
    let waits = matches!(reason, Reason::PendingApproval | Reason::AdmissionRejected | Reason::DeviceRetired);
    if !waits || command.options.validate_only || !command.action.is_from_device() {
        return None;
    }
    let entry = state.lobby.get(&command.action.serial()?)?;
    Some(DeviceId(entry.id.0))
}

/// Who may call, by the rows that changed and not by the commands: no rule can forget to tell.
fn standing(state: &State) -> Vec<(Identity, bool)> {
    let devices = state.devices.changed().map(|device| (Identity::Device(device.serial), device.is_banned()));
    let tokens = state.admin_tokens.changed();
    let tokens = tokens.map(|token| (Identity::AdminToken(TokenHash(token.hash.0)), token.revoked_at.is_some()));
    let apps = state.web_apps.changed().map(|app| (Identity::WebApp(app.id.0), !app.is_active()));
    devices.chain(tokens).chain(apps).collect()
}

/// The names of the realms that answers are about. The writing connection remembers most of them.
async fn realm_names(
    store: &mut dyn Writing,
    state: &mut State,
    results: &[Result<Planned, Refusal>],
) -> Result<RealmNames, StoreError> {
    let mut needs = Needs::default();
    for planned in results.iter().flatten() {
        needs.realms.extend(planned.realms.iter().map(|(_, realm)| *realm));
        needs.realms.extend(planned.answer.after.realm());
    }
    let ids: Vec<RealmId> = needs.realms.iter().copied().collect();
    needs.realms.retain(|realm| !state.realms.knows(realm));
    if !needs.is_empty() {
        store.load(&needs, state).await?;
    }
    Ok(ids.into_iter().filter_map(|id| Some((id, state.realms.get(&id)?.name.as_str().into()))).collect())
}

/// Loads what the commands will certainly look up: a trip to the database for each kind of thing, and not for each command.
async fn foresee(store: &mut dyn Writing, batch: &[Submission], state: &mut State) -> Result<(), StoreError> {
    let mut needs = Needs::default();
    for submission in batch {
        submission.command.action.foresee(&mut needs);
    }
    store.load(&needs, state).await?;
    let mut needs = Needs::default();
    for Submission { command, .. } in batch {
        if let Some(device) = command.action.serial().and_then(|serial| state.devices.get(&serial)) {
            command.action.foresee_of(device, &mut needs);
        }
    }
    if !needs.is_empty() {
        store.load(&needs, state).await?;
    }
    let mut needs = Needs::default();
    for submission in batch {
        submission.command.action.foresee_user(state, &mut needs);
    }
    if !needs.is_empty() {
        store.load(&needs, state).await?;
    }
    Ok(())
}
