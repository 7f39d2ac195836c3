//! What admins see of the channels.

use std::time::Duration;

use muster_proto::admin::Query;
use muster_proto::{SerialNumber, v1};

use super::table::Entry;
use super::{Inner, Presence};

impl Presence {
    /// The channel of a device, if it had one since the server started.
    #[must_use]
    pub fn of(&self, serial: SerialNumber) -> Option<v1::DevicePresence> {
        let inner = self.lock();
        inner.table.get(serial).map(|entry| view(&inner, serial, entry))
    }

    /// One page of devices by serial number, with one more if there is a next page; how many match in all; and how many are online.
    #[must_use]
    pub fn list(&self, query: &Query) -> (Vec<(SerialNumber, v1::DevicePresence)>, usize, usize) {
        let inner = self.lock();
        let size = query.page_size as usize + 1;
        let after = query.after.as_ref().map(|position| position.key.as_str());
        let (mut page, mut total) = (Vec::new(), 0);
        for (serial, entry) in inner.table.iter() {
            if !query
                .filter
                .iter()
                .all(|comparison| comparison.pattern.matches(&value(comparison.field, serial, entry)))
            {
                continue;
            }
            total += 1;
            if page.len() < size && after.is_none_or(|after| serial.as_str() > after) {
                page.push((serial, view(&inner, serial, entry)));
            }
        }
        (page, total, inner.table.online())
    }
}

/// What a filter compares.
fn value<L>(field: &str, serial: SerialNumber, entry: &Entry<L>) -> String {
    match field {
        "online" => entry.is_online().to_string(),
        "relay" => entry.origin.relay.as_ref().map(|relay| relay.name.to_string()).unwrap_or_default(),
        "address" => entry.origin.address.to_string(),
        _ => serial.to_string(),
    }
}

fn view<L>(inner: &Inner, serial: SerialNumber, entry: &Entry<L>) -> v1::DevicePresence {
    v1::DevicePresence {
        online: entry.is_online(),
        since_time: Some(entry.since.into()),
        connection_generation: entry.generation,
        last_heartbeat_time: Some(entry.heard_at.into()),
        clock_skew: entry.skew.map(signed),
        address: entry.origin.address.to_string(),
        relay: entry.origin.relay.as_ref().map(|relay| relay.name.to_string()).unwrap_or_default(),
        boot_id: entry.origin.boot_id.to_string(),
        debug_expire_time: inner.wishes.get(&serial).map(|wish| wish.until.into()),
    }
}

/// Microseconds, forward or back, as the protocol writes them.
#[must_use]
pub fn signed(micros: i64) -> prost_types::Duration {
    let length = Duration::from_micros(micros.unsigned_abs());
    let (seconds, nanos) =
        (i64::try_from(length.as_secs()).unwrap_or(i64::MAX), i32::try_from(length.subsec_nanos()).unwrap_or(0));
    if micros < 0 {
        prost_types::Duration { seconds: -seconds, nanos: -nanos }
    } else {
        prost_types::Duration { seconds, nanos }
    }
}
