//! What a command did to auth clients, counted once it is done: how many each realm has.

use std::collections::{BTreeMap, BTreeSet};

use super::{AuthClient, Change, Context, RealmId, Record, State, Stop, Subject};

/// Brings the counts of the realms up to date, whatever rule changed the auth clients. A deleted realm that something returned to is in use
/// again: nothing is ever in a realm that is not there.
pub(super) fn settle(state: &mut State, context: &Context<'_>) -> Result<Vec<Record>, Stop> {
    let mut grown: BTreeMap<RealmId, i64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (key, before) in state.auth_clients.found() {
        // Only what stood there first is what was there before the command.
        if !seen.insert(key) {
            continue;
        }
        let in_use = |client: Option<&AuthClient>| client.filter(|it| it.is_active()).map(|client| client.realm);
        let (before, after) = (in_use(before), in_use(state.auth_clients.get(key)));
        if before == after {
            continue;
        }
        for (realm, by) in [(before, -1), (after, 1)] {
            let Some(realm) = realm else { continue };
            *grown.entry(realm).or_default() += by;
        }
    }
    let mut records = Vec::new();
    for (id, by) in grown.into_iter().filter(|(_, by)| *by != 0) {
        state.realm(id)?;
        let Some(realm) = state.realms.change(&id) else { continue };
        realm.clients += by;
        if realm.clients > 0 && !realm.is_active() {
            realm.deleted_at = None;
            realm.changed(context.now);
            let changes = vec![Change::state(Subject::Itself, "deleted", "active")];
            records.push(Record { about: id.0, name: realm.resource(), generation: 0, changes });
        }
    }
    Ok(records)
}
