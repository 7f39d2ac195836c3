//! One batch: load what its commands touch, plan each in order, apply the union of the changes.

use std::collections::{BTreeMap, HashMap};

use muster_proto::{SerialNumber, Timestamp};

use super::Submission;
use crate::registry::{Aggregate, Context, DeviceId, Kept, Planned, Refusal, plan};
use crate::store::{AuditRow, Changes, StoreError, Writing};

/// What became of a batch that the database took.
pub(super) struct Applied {
    /// For each command, in order.
    pub(super) results: Vec<Result<Planned, Refusal>>,
    /// The next free id.
    pub(super) next_id: i64,
    /// Whether the store was written to.
    pub(super) wrote: bool,
    /// The devices that called.
    pub(super) seen: Vec<DeviceId>,
}

/// Works a batch through. Nothing of it is kept if this fails.
pub(super) async fn run(
    store: &mut dyn Writing,
    batch: &[Submission],
    mut next_id: i64,
    now: Timestamp,
) -> Result<Applied, StoreError> {
    let mut held = load(store, batch).await?;
    let mut results = Vec::with_capacity(batch.len());
    let mut audit = Vec::new();
    let mut seen = Vec::new();
    for Submission { operation, command, .. } in batch {
        let serial = command.serial();
        let aggregate = held.entry(serial).or_default();
        let planned = plan(aggregate, command, &mut Context { now, next_id: &mut next_id });
        if let Ok(planned) = &planned
            && !command.validate_only()
        {
            if !planned.changes.is_empty() {
                audit.push(AuditRow {
                    at: now,
                    operation: operation.id,
                    caller: &operation.caller,
                    method: operation.method,
                    serial,
                    changes: super::notes::audit(&planned.changes),
                });
            }
            if command.is_from_device()
                && let Some(aggregate) = aggregate
            {
                seen.push(aggregate.device.get().id);
            }
        }
        results.push(planned);
    }
    let aggregates = || held.values().flatten();
    let changes = Changes {
        devices: aggregates().filter_map(|held| held.device.dirty()).collect(),
        auth_clients: aggregates().flat_map(|held| held.auth_clients.values()).filter_map(Kept::dirty).collect(),
        audit,
        next_id,
    };
    let wrote = !changes.audit.is_empty();
    if wrote {
        store.apply(&changes).await?;
    } else {
        store.abandon().await?;
    }
    Ok(Applied { results, next_id, wrote, seen })
}

type Held = HashMap<SerialNumber, Option<Aggregate>>;

async fn load(store: &mut dyn Writing, batch: &[Submission]) -> Result<Held, StoreError> {
    // In one global order, so that servers that share a database cannot deadlock.
    let mut serials: Vec<SerialNumber> = batch.iter().map(|submission| submission.command.serial()).collect();
    serials.sort_unstable();
    serials.dedup();
    let mut held: Held = HashMap::with_capacity(serials.len());
    let mut serial_of = HashMap::new();
    for device in store.load_devices(&serials).await? {
        serial_of.insert(device.id, device.serial);
        held.insert(device.serial, Some(Aggregate { device: Kept::loaded(device), auth_clients: BTreeMap::new() }));
    }
    let mut wanted: Vec<DeviceId> = batch
        .iter()
        .filter_map(|Submission { command, .. }| {
            let device = held.get(&command.serial())?.as_ref()?.device.get();
            command.needs_vdoms(device).then_some(device.id)
        })
        .collect();
    if wanted.is_empty() {
        return Ok(held);
    }
    wanted.sort_unstable();
    wanted.dedup();
    for client in store.load_auth_clients(&wanted).await? {
        let aggregate = serial_of.get(&client.device).and_then(|serial| held.get_mut(serial)?.as_mut());
        if let Some(aggregate) = aggregate {
            aggregate.auth_clients.insert(client.vdom, Kept::loaded(client));
        }
    }
    Ok(held)
}
