//! Plan ids: a dry run that can be held to its word.
//!
//! A plan id is the hash of what a command would do: the rows that it would change as they were found and as it would leave them, what it would
//! note, and what it would answer. Nothing is kept: the command that names a plan is planned again, and is done only if the hash is still the
//! same. What it only read is in there by what came of it: if something else comes of it now, another row, another change or another answer does.
//!
//! What differs each time is made the same: a plan is worked out with ids of its own, and the time and the caller are written as words. What
//! others do meanwhile and the command does not depend on is left out: when devices called, and how many users and auth clients a realm has.

use std::fmt::{Debug, Write as _};

use data_encoding::HEXLOWER;
use muster_proto::Timestamp;
use sha2::{Digest as _, Sha256};

use super::clone::DeviceKey;
use super::table::Table;
use super::{Action, Answer, Context, Device, Planned, Realm, ReleaseCode, Settings, State};

/// New things have these ids and the next ones while a plan is worked out: far beyond those that are given away.
pub(super) const FIRST_ID: i64 = 1 << 62;

/// The plan id of a command that was just worked out with ids from [`FIRST_ID`] on, and neither kept nor taken back yet.
pub(super) fn of(state: &State, action: &Action, planned: &Planned, context: &Context<'_>) -> String {
    let mut hasher = Sha256::new();
    let Answer { outcome, reason, status, items, users, clients, .. } = &planned.answer;
    let answer = format!("{:?}", (outcome, reason, status, items, users, clients));
    let changes: Vec<_> = planned.records.iter().map(|record| &record.changes).collect();
    // A change of the device itself is one that matters, even if nothing else comes of it.
    let device = action.serial().and_then(|serial| state.devices.get(&serial)).map(|device| device.generation);
    let rows = Rows::default().of_all(state, context);
    for text in [format!("{action:?}"), rows, answer, format!("{changes:?}"), format!("{device:?}")] {
        hasher.update(text.len().to_be_bytes());
        hasher.update(text);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    let short = hash.get(..16).unwrap_or(&hash);
    format!("p{}", HEXLOWER.encode(short))
}

/// The rows that a command changes, as text.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn of_all(mut self, state: &State, context: &Context<'_>) -> String {
        self.before_and_after(&state.devices, context, still);
        self.before_and_after(&state.clusters, context, Clone::clone);
        self.before_and_after(&state.auth_clients, context, Clone::clone);
        self.before_and_after(&state.users, context, Clone::clone);
        self.before_and_after(&state.user_refs, context, Clone::clone);
        self.before_and_after(&state.realms, context, |realm| Realm { users: 0, clients: 0, ..realm.clone() });
        self.before_and_after(&state.settings, context, |settings| Settings { users: 0, ..settings.clone() });
        // What comes of these runs until some time after now, or is secret and new each time: what was found tells enough.
        self.before(&state.held, Clone::clone);
        self.before(&state.admin_tokens, Clone::clone);
        self.before(&state.web_apps, Clone::clone);
        self.before(&state.admission, Clone::clone);
        self.before(&state.lobby, Clone::clone);
        self.before(&state.licenses, Clone::clone);
        self.before(&state.release_codes, |code: &ReleaseCode| ReleaseCode { failures: 0, ..code.clone() });
        self.before(&state.device_keys, |key: &DeviceKey| (key.key, key.state));
        self.0
    }

    fn before_and_after<K: Ord + Clone + Debug, V: Clone + Debug>(
        &mut self,
        table: &Table<K, V>,
        context: &Context<'_>,
        still: impl Fn(&V) -> V,
    ) {
        let caller = format!("{:?}", context.caller);
        for (key, before) in table.found() {
            let after = timeless(&format!("{:?}", table.get(key).map(&still)), context.now).replace(&caller, "caller");
            let _ = write!(self.0, "{key:?}={:?}>{after};", before.map(&still));
        }
    }

    fn before<K: Ord + Clone + Debug, V: Clone, T: Debug>(&mut self, table: &Table<K, V>, still: impl Fn(&V) -> T) {
        for (key, before) in table.found() {
            if let Some(before) = before {
                let _ = write!(self.0, "{key:?}={:?};", still(before));
            }
        }
    }
}

/// The text of a row, with every time from now on as the same word: a row that changes twice moves on twice.
fn timeless(text: &str, now: Timestamp) -> String {
    const HEAD: &str = "Timestamp(";
    let mut parts = text.split(HEAD);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (micros, rest) = part.split_once(')').unwrap_or((part, ""));
        let is_past = micros.parse().is_ok_and(|micros: i64| micros < now.micros());
        let _ = write!(result, "{HEAD}{}){rest}", if is_past { micros } else { "now" });
    }
    result
}

/// A device, whenever it called.
fn still(device: &Device) -> Device {
    Device { last_seen_at: Timestamp::from_micros(0), contacts: 0, ..device.clone() }
}
