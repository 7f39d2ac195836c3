//! Loading what a batch needs: one set-based query for each table.

use muster_proto::{SerialNumber, Timestamp, UserKey};
use sqlx::AssertSqlSafe;
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery};
use super::{MAX_ROWS, Memory, SqliteWriting, list, pad, round};
use crate::registry::{
    AdminToken, Admission, AuthClient, Cluster, Device, DeviceKey, Held, License, LobbyEntry, Needs, OwnerId, Realm,
    ReleaseCode, Settings, State, User, UserRef, WebApp,
};

/// A serial number as `device.serial` holds it.
pub(super) fn serial(text: &str) -> Result<SerialNumber, StoreError> {
    text.parse().map_err(|_| StoreError::Inconsistent { table: "device", column: "serial", value: text.to_owned() })
}

/// `(?,?),(?,?)`: a list of pairs.
fn pairs(count: usize) -> String {
    let mut text = "(?,?),".repeat(count);
    text.pop();
    text
}

impl SqliteWriting {
    /// The rows whose `column` is one of the keys.
    async fn select<'q, E: Entity, K>(
        &mut self,
        column: &str,
        keys: &'q [K],
        bind: impl Fn(SqliteQuery<'q>, &'q K) -> SqliteQuery<'q>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let mut found = Vec::new();
        for keys in keys.chunks(MAX_ROWS) {
            let count = round(keys.len());
            let text = format!("SELECT {} FROM {} WHERE {column} IN ({})", E::columns(), E::TABLE, list(count));
            let query = keys.iter().fold(sqlx::query(AssertSqlSafe(text)), &bind);
            found.extend(pad(query, count - keys.len()).fetch_all(&mut self.connection).await?);
        }
        Ok(found)
    }

    /// The rows whose two columns are one of the pairs.
    async fn select_pairs<E: Entity>(
        &mut self,
        columns: &str,
        keys: &[(i64, &UserKey)],
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let mut found = Vec::new();
        for keys in keys.chunks(MAX_ROWS) {
            let count = round(keys.len());
            let text =
                format!("SELECT {} FROM {} WHERE ({columns}) IN (VALUES {})", E::columns(), E::TABLE, pairs(count));
            let query = keys
                .iter()
                .fold(sqlx::query(AssertSqlSafe(text)), |query, (id, key)| query.bind(*id).bind(key.as_str()));
            found.extend(pad(query, (count - keys.len()) * 2).fetch_all(&mut self.connection).await?);
        }
        Ok(found)
    }

    pub(super) async fn load_all(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.load_settings(state).await?;
        self.load_devices(needs, state).await?;
        self.load_clusters(needs, state).await?;
        self.load_auth_clients(needs, state).await?;
        self.load_realms(needs, state).await?;
        self.load_users(needs, state).await?;
        self.load_lobby(needs, state).await?;
        self.load_keys(needs, state).await?;
        self.load_admin_tokens(needs, state).await?;
        self.load_web_apps(needs, state).await?;
        self.load_held(needs, state).await
    }

    async fn load_settings(&mut self, state: &mut State) -> Result<(), StoreError> {
        if state.settings.knows(&()) {
            return Ok(());
        }
        if let Some(settings) = self.recent().settings() {
            state.settings.load((), Some(settings.clone()));
            return Ok(());
        }
        let text = format!("SELECT {} FROM settings", Settings::columns());
        let settings = Settings::read(&sqlx::query(AssertSqlSafe(text)).fetch_one(&mut self.connection).await?)?;
        self.recent().note_settings(&settings);
        state.settings.load((), Some(settings));
        Ok(())
    }

    async fn load_lobby(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        if !state.admission.knows(&()) {
            let known = self.recent().admission().is_some();
            if !known {
                let text = format!("SELECT {} FROM admission", Admission::columns());
                let found = sqlx::query(AssertSqlSafe(text)).fetch_optional(&mut self.connection).await?;
                let admission = found.as_ref().map(Admission::read).transpose()?;
                self.recent().note_admission(&admission.unwrap_or_default());
            }
            state.admission.load((), self.recent().admission().cloned());
        }
        // Most devices never waited: they are known not to have.
        let waited: Vec<SerialNumber> = {
            let recent = self.recent();
            needs.lobby.iter().filter(|serial| recent.waited(serial)).copied().collect()
        };
        if !waited.is_empty() {
            for row in self.select::<LobbyEntry, _>("serial", &waited, |query, it| query.bind(it.as_str())).await? {
                let entry = LobbyEntry::read(&row)?;
                state.lobby.load(entry.serial, Some(entry));
            }
        }
        needs.lobby.iter().for_each(|serial| state.lobby.load(*serial, None));
        Ok(())
    }

    async fn load_admin_tokens(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        if needs.admin_tokens {
            let text = format!("SELECT {} FROM admin_token", AdminToken::columns());
            for row in sqlx::query(AssertSqlSafe(text)).fetch_all(&mut self.connection).await? {
                let token = AdminToken::read(&row)?;
                state.admin_tokens.load(token.id, Some(token));
            }
            state.whole.admin_tokens = true;
        }
        Ok(())
    }

    async fn load_web_apps(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        if needs.web_apps {
            let text = format!("SELECT {} FROM web_app", WebApp::columns());
            for row in sqlx::query(AssertSqlSafe(text)).fetch_all(&mut self.connection).await? {
                let app = WebApp::read(&row)?;
                state.whole.owners.insert(app.owner());
                state.web_apps.load(app.id, Some(app));
            }
            let text = format!(
                "SELECT {} FROM auth_client JOIN web_app ON web_app.id = auth_client.owner_id",
                AuthClient::columns()
            );
            for row in sqlx::query(AssertSqlSafe(text)).fetch_all(&mut self.connection).await? {
                let client = AuthClient::read(&row)?;
                state.auth_clients.load((client.owner, client.vdom), Some(client));
            }
            state.whole.web_apps = true;
        }
        Ok(())
    }

    async fn load_devices(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        let mut faded = Vec::new();
        {
            let mut recent = self.recent();
            for serial in &needs.devices {
                match recent.recall(serial) {
                    Memory::New => state.devices.load(*serial, None),
                    Memory::Faded => faded.push(*serial),
                    Memory::Fresh(device) => state.devices.load(*serial, Some(device.clone())),
                }
            }
        }
        if faded.is_empty() {
            return Ok(());
        }
        for row in self.select::<Device, _>("serial", &faded, |query, serial| query.bind(serial.as_str())).await? {
            let device = Device::read(&row)?;
            self.recent().note(&device);
            state.devices.load(device.serial, Some(device));
        }
        for serial in faded {
            state.devices.load(serial, None);
        }
        Ok(())
    }

    async fn load_clusters(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        let ids: Vec<i64> = needs.clusters.iter().map(|id| id.0).collect();
        for row in self.select::<Cluster, _>("id", &ids, Query::bind).await? {
            let mut cluster = Cluster::read(&row)?;
            let text = format!("SELECT {} FROM device WHERE cluster_id = ? ORDER BY serial", Device::columns());
            let members = sqlx::query(AssertSqlSafe(text)).bind(cluster.id.0).fetch_all(&mut self.connection).await?;
            for row in members {
                let device = Device::read(&row)?;
                cluster.members.push(device.serial);
                state.devices.load(device.serial, Some(device));
            }
            state.clusters.load(cluster.id, Some(cluster));
        }
        for id in &needs.clusters {
            state.clusters.load(*id, None);
            state.whole.clusters.insert(*id);
        }
        Ok(())
    }

    async fn load_auth_clients(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        let owners: Vec<i64> = needs.owners.iter().map(|owner| owner.0).collect();
        for row in self.select::<AuthClient, _>("owner_id", &owners, Query::bind).await? {
            let client = AuthClient::read(&row)?;
            state.auth_clients.load((client.owner, client.vdom), Some(client));
        }
        state.whole.owners.extend(&needs.owners);
        Ok(())
    }

    async fn load_realms(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        let mut unknown = Vec::new();
        for id in &needs.realms {
            let known = self.recent().realm(*id);
            match known {
                Some(realm) => state.realms.load(*id, Some(realm)),
                None => unknown.push(id.0),
            }
        }
        let names: Vec<_> = needs.realm_names.iter().collect();
        let mut rows = self.select::<Realm, _>("id", &unknown, Query::bind).await?;
        rows.extend(self.select::<Realm, _>("name", &names, |query, name| query.bind(name.as_str())).await?);
        if needs.quota_realms && !state.whole.quota_realms {
            let text = format!("SELECT {} FROM realm WHERE user_quota IS NOT NULL", Realm::columns());
            rows.extend(sqlx::query(AssertSqlSafe(text)).fetch_all(&mut self.connection).await?);
            state.whole.quota_realms = true;
        }
        for row in rows {
            let realm = Realm::read(&row)?;
            self.recent().note_realm(&realm);
            state.realms.load(realm.id, Some(realm));
        }
        needs.realms.iter().for_each(|id| state.realms.load(*id, None));
        state.whole.realm_names.extend(needs.realm_names.iter().cloned());
        Ok(())
    }

    /// Held removals are few: the connection remembers which owners have any, so that most syncs read nothing.
    async fn load_keys(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        let serials: Vec<_> = needs.device_keys.iter().collect();
        for row in self.select::<DeviceKey, _>("serial", &serials, |query, serial| query.bind(serial.as_str())).await? {
            let key = DeviceKey::read(&row)?;
            state.device_keys.load((key.serial, key.key), Some(key));
        }
        state.whole.device_keys.extend(&needs.device_keys);
        let numbers: Vec<_> = needs.licenses.iter().collect();
        let mut rows =
            self.select::<License, _>("number", &numbers, |query, number| query.bind(number.as_str())).await?;
        let serials: Vec<_> = needs.licenses_of.iter().collect();
        rows.extend(self.select::<License, _>("serial", &serials, |query, serial| query.bind(serial.as_str())).await?);
        for row in rows {
            let license = License::read(&row)?;
            state.licenses.load(license.number.clone(), Some(license));
        }
        needs.licenses.iter().for_each(|number| state.licenses.load(number.clone(), None));
        state.whole.licenses_of.extend(&needs.licenses_of);
        let devices: Vec<i64> = needs.release_codes.iter().map(|device| device.0).collect();
        for row in self.select::<ReleaseCode, _>("id", &devices, Query::bind).await? {
            let code = ReleaseCode::read(&row)?;
            state.release_codes.load(code.device, Some(code));
        }
        needs.release_codes.iter().for_each(|device| state.release_codes.load(*device, None));
        for serial in &needs.last_seen {
            let text = "SELECT last_seen_at FROM device WHERE serial = ?";
            let found = sqlx::query_scalar(text).bind(serial.as_str()).fetch_optional(&mut self.connection).await?;
            state.last_seen.load(*serial, found.map(Timestamp::from_micros));
        }
        Ok(())
    }

    /// Makes sure that it is known of whom removals are held.
    pub(super) async fn read_held(&mut self) -> Result<(), StoreError> {
        let known = self.recent().held().is_some();
        if !known {
            let text = "SELECT DISTINCT owner_id FROM held WHERE deleted_at IS NULL";
            let owners: Vec<i64> = sqlx::query_scalar(text).fetch_all(&mut self.connection).await?;
            self.recent().note_held(owners.into_iter().map(OwnerId).collect());
        }
        Ok(())
    }

    async fn load_held(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        if needs.held.is_empty() && needs.held_ids.is_empty() {
            return Ok(());
        }
        self.read_held().await?;
        let owners: Vec<i64> = {
            let recent = self.recent();
            let owners = recent.held().into_iter().flatten().filter(|owner| needs.held.contains(owner));
            owners.map(|owner| owner.0).collect()
        };
        let mut rows = self.select::<Held, _>("deleted_at IS NULL AND owner_id", &owners, Query::bind).await?;
        let ids: Vec<i64> = needs.held_ids.iter().map(|id| id.0).collect();
        rows.extend(self.select::<Held, _>("id", &ids, Query::bind).await?);
        for row in rows {
            let held = Held::read(&row)?;
            state.held.load(held.id, Some(held));
        }
        needs.held_ids.iter().for_each(|id| state.held.load(*id, None));
        state.whole.held.extend(&needs.held);
        Ok(())
    }

    async fn load_users(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        let keys: Vec<_> = needs.users.iter().map(|(realm, key)| (realm.0, key)).collect();
        let mut users = self.select_pairs::<User>("realm_id, user_key", &keys).await?;
        let keys: Vec<_> = needs.user_refs.iter().map(|(client, key)| (client.0, key)).collect();
        let mut refs = self.select_pairs::<UserRef>("auth_client_id, user_key", &keys).await?;
        for client in &needs.client_users {
            let text = format!("SELECT {} FROM user_ref WHERE auth_client_id = ?", UserRef::columns());
            refs.extend(sqlx::query(AssertSqlSafe(text)).bind(client.0).fetch_all(&mut self.connection).await?);
            let text = format!(
                "SELECT {} FROM user_ref JOIN user ON user.id = user_ref.user_id WHERE user_ref.auth_client_id = ?",
                User::columns()
            );
            users.extend(sqlx::query(AssertSqlSafe(text)).bind(client.0).fetch_all(&mut self.connection).await?);
            state.whole.client_users.insert(*client);
        }
        for row in users {
            let user = User::read(&row)?;
            state.users.load((user.realm, user.key.clone()), Some(user));
        }
        for row in refs {
            let user_ref = UserRef::read(&row)?;
            state.user_refs.load((user_ref.client, user_ref.key.clone()), Some(user_ref));
        }
        needs.users.iter().for_each(|key| state.users.load(key.clone(), None));
        needs.user_refs.iter().for_each(|key| state.user_refs.load(key.clone(), None));
        Ok(())
    }
}
