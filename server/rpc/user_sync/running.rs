//! Which auth clients are being synced: one sync of each at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_proto::{Reason, SerialNumber, VdomName};

use crate::operation::OperationId;
use crate::registry::{OwnerId, Refusal};
use crate::rpc::status::Failure;

/// Which auth clients are being synced, and by which operation.
#[derive(Clone, Debug, Default)]
pub(in crate::rpc) struct Running(Arc<Mutex<HashMap<Place, OperationId>>>);

/// An auth client; one that is not known yet is known by its serial number.
pub(super) type Place = (Result<OwnerId, SerialNumber>, VdomName);

/// One sync that runs, until it is dropped.
#[derive(Debug)]
pub(super) struct Run {
    running: Running,
    place: Place,
}

impl Running {
    /// Begins a sync, unless one of the same auth client runs.
    pub(super) fn begin(&self, place: Place, operation: OperationId) -> Result<Run, Failure> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = running.get(&place) {
            let message = format!("operation {other} syncs the users of this auth client");
            let refusal = Refusal::new(Reason::SyncInProgress, message);
            return Err(Failure::from(refusal.with("running_operation_id", other)).retry_after(Duration::from_secs(2)));
        }
        running.insert(place, operation);
        Ok(Run { running: self.clone(), place })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_runs_once_for_each_auth_client_until_it_is_dropped() {
        let running = Running::default();
        let operation = |number| OperationId::new(muster_proto::Timestamp::from_micros(number), 0);
        let place = |owner| (Ok(OwnerId(owner)), VdomName::ROOT);
        let first = running.begin(place(1), operation(1)).unwrap();
        let refused = running.begin(place(1), operation(2)).unwrap_err().refusal;
        assert_eq!(refused.details, [("running_operation_id", operation(1).to_string())]);
        running.begin(place(2), operation(3)).unwrap();
        drop(first);
        running.begin(place(1), operation(4)).unwrap();
    }
}
