//! The embedded store: one SQLite file, one connection that writes, a few that read.

mod admin_token;
mod audit;
mod auth_client;
mod device;
mod device_key;
mod entity;
mod held;
mod license;
mod lists;
mod load;
mod lobby;
mod read;
mod read_admin;
mod read_audit;
mod realm;
mod recent;
mod release_code;
mod text;
mod user;
mod user_pages;
mod web_app;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use muster_proto::user_sync::Kinds;
use muster_proto::{SerialNumber, Timestamp, UserKey, Username};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::{AuditRow, Recalling, Seen, StoreError, Writing};
use crate::registry::{AuthClient, AuthClientId, Device, DeviceId, Held, Needs, State, User, UserRef, WebApp};
use read::SqliteReading;
use recent::{Memory, Recent};
use text::{MAX_ROWS, Shape, Writes, list, pad, round, values};

static MIGRATIONS: Migrator = sqlx::migrate!("store/migrations/sqlite");

/// How many connections serve reads.
const READERS: u32 = 4;

/// Opens the database, makes it if it is not there, and brings it up to date.
pub async fn open_sqlite(path: &Path) -> Result<(SqliteWriting, SqliteReading), StoreError> {
    let open = |detail: String| StoreError::Open { path: path.display().to_string(), detail };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // An answer is sent only when it is on disk.
        .synchronous(SqliteSynchronous::Full)
        // The rules keep the references whole; checking them again costs a tenth of a registration.
        .foreign_keys(false)
        .statement_cache_capacity(256)
        // 80 MB of log between checkpoints: pages that change often are then written back rarely.
        .pragma("wal_autocheckpoint", "20000")
        // 16 MB of pages, the rest is with the operating system. After a commit that moved a page SQLite looks at every slot of its cache,
        // because the page had the highest number of all for a moment; with 64 MB that took longer than the fsync.
        .pragma("cache_size", "-16384")
        // A statement that may fail half-way keeps a journal of its own: not in a file.
        .pragma("temp_store", "memory")
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(|error| open(explain(&error)))?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| open(explain_migration(&error)))?;
    let reading = SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_with(options.read_only(true).pragma("query_only", "1"))
        .await
        .map_err(|error| open(explain(&error)))?;
    let serials: Vec<String> = sqlx::query_scalar("SELECT serial FROM device").fetch_all(&mut connection).await?;
    let known = serials.iter().map(|serial| load::serial(serial)).collect::<Result<_, _>>()?;
    let serials: Vec<String> = sqlx::query_scalar("SELECT serial FROM lobby").fetch_all(&mut connection).await?;
    let lobby = serials.iter().map(|serial| load::serial(serial)).collect::<Result<_, _>>()?;
    let recent = Arc::new(Mutex::new(Recent::new(known, lobby)));
    let mut writing = SqliteWriting { connection, texts: HashMap::new(), recent };
    writing.read_held().await?;
    Ok((writing, SqliteReading::new(reading)))
}

fn explain(error: &sqlx::Error) -> String {
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
        Some("11" | "26") => {
            "it is damaged, or not a database of Muster; restore it from a backup, or move it away to \
                              start with an empty register"
                .to_owned()
        }
        Some("8" | "14") => format!("{error}; check that the file and its directory can be written"),
        _ => error.to_string(),
    }
}

fn explain_migration(error: &MigrateError) -> String {
    match error {
        MigrateError::VersionMissing(version) => {
            format!("it is from a newer version of Muster (migration {version}); start that version, or a later one")
        }
        MigrateError::VersionMismatch(version) => {
            format!("migration {version} is not the one that this version of Muster knows; it is from another build")
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => explain(error),
        error => error.to_string(),
    }
}

/// The connection that writes.
#[derive(Debug)]
pub struct SqliteWriting {
    connection: SqliteConnection,
    /// The texts of the batches so far, by shape.
    texts: HashMap<Shape, Arc<str>>,
    recent: Arc<Mutex<Recent>>,
}

/// Everything that changed in the state.
fn writes_of<'q>(mut writes: Writes<'q>, state: &'q State, audit: &'q [AuditRow<'_>]) -> Writes<'q> {
    writes.remove::<UserRef>(state.user_refs.removed().map(|row| row.id.0));
    writes.remove::<Held>(state.held.removed().map(|row| row.id.0));
    writes.remove::<User>(state.users.removed().map(|row| row.id.0));
    writes.remove::<AuthClient>(state.auth_clients.removed().map(|row| row.id.0));
    writes.remove::<WebApp>(state.web_apps.removed().map(|row| row.id.0));
    writes.remove::<Device>(state.devices.removed().map(|row| row.id.0));
    writes.write(state.settings.changed());
    writes.write(state.realms.changed());
    writes.write(state.clusters.changed());
    writes.write(state.devices.changed());
    writes.write(state.device_keys.changed());
    writes.write(state.licenses.changed());
    writes.write(state.release_codes.changed());
    writes.write(state.auth_clients.changed());
    writes.write(state.users.changed());
    writes.write(state.user_refs.changed());
    writes.write(state.admin_tokens.changed());
    writes.write(state.web_apps.changed());
    writes.write(state.admission.changed());
    writes.write(state.lobby.changed());
    writes.write(state.held.changed());
    writes.write(audit.iter());
    writes
}

/// How many texts are kept; shapes beyond that are rare, and made anew.
const MAX_TEXTS: usize = 512;

impl SqliteWriting {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One text for each shape, so that its prepared statement is found again.
    fn text(&mut self, writes: &Writes<'_>) -> Arc<str> {
        let shape = writes.shape();
        if let Some(text) = self.texts.get(&shape) {
            return Arc::clone(text);
        }
        if self.texts.len() >= MAX_TEXTS {
            self.texts.clear();
        }
        let text: Arc<str> = writes.text().into();
        self.texts.insert(shape, Arc::clone(&text));
        text
    }
}

impl SqliteWriting {
    /// Notes when those who wait last called, and how often they were turned away. An id alone tells what it is of.
    async fn touch_lobby(&mut self, seen: &[(DeviceId, Seen)]) -> Result<(), StoreError> {
        let text = "UPDATE lobby SET last_seen_at = max(last_seen_at, ?), attempts = attempts + ? WHERE id = ?";
        for (id, seen) in seen.iter().filter(|(_, seen)| seen.refused > 0) {
            let query = sqlx::query(text).bind(seen.at.micros()).bind(seen.refused).bind(id.0);
            query.execute(&mut self.connection).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Writing for SqliteWriting {
    async fn next_id(&mut self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT next_id FROM register").fetch_one(&mut self.connection).await?)
    }

    // No transaction is needed to load: this connection is the only one that writes.
    async fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.load_all(needs, state).await
    }

    async fn apply(&mut self, state: &State, audit: &[AuditRow<'_>], next_id: i64) -> Result<(), StoreError> {
        let writes = writes_of(Writes::new(false), state, audit);
        let text = self.text(&writes);
        if let Err(error) = writes.query(text, next_id).execute(&mut self.connection).await {
            // The statement that failed left the transaction open, unless SQLite ended it itself.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
            self.recent().doubt(state);
            return Err(error.into());
        }
        self.recent().note_all(state);
        Ok(())
    }

    fn recalling(&self) -> Arc<dyn Recalling> {
        Arc::<Mutex<Recent>>::clone(&self.recent)
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        // What is read within the transaction may yet be taken back.
        self.read_held().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        Ok(())
    }

    async fn stage(&mut self, state: &State, audit: &[AuditRow<'_>], next_id: i64) -> Result<(), StoreError> {
        let writes = writes_of(Writes::new(true), state, audit);
        let text = self.text(&writes);
        writes.query(text, next_id).execute(&mut self.connection).await?;
        Ok(())
    }

    async fn commit(&mut self, state: &State) -> Result<(), StoreError> {
        if let Err(error) = sqlx::query("COMMIT").execute(&mut self.connection).await {
            self.rollback(state).await?;
            return Err(error.into());
        }
        self.recent().note_all(state);
        Ok(())
    }

    async fn withdraw(&mut self, state: &State) -> Result<(), StoreError> {
        if sqlx::query("ROLLBACK").execute(&mut self.connection).await.is_ok() {
            self.recent().forget_changed(state);
        } else {
            self.recent().doubt(state);
        }
        Ok(())
    }

    async fn rollback(&mut self, state: &State) -> Result<(), StoreError> {
        // SQLite may have ended it itself; what was read within it may be what no longer is.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        self.recent().doubt(state);
        Ok(())
    }

    async fn present_users(
        &mut self,
        client: AuthClientId,
        kinds: Kinds,
        after: &UserKey,
    ) -> Result<Vec<(UserKey, Username)>, StoreError> {
        user_pages::present(&mut self.connection, client, kinds, after).await
    }

    async fn abandon(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn touch(&mut self, seen: &[(DeviceId, Seen)]) -> Result<(), StoreError> {
        for seen in seen.chunks(MAX_ROWS) {
            let count = round(seen.len());
            let mut text = String::from(
                "UPDATE device SET last_seen_at = max(last_seen_at, seen.column2), \
                 contacts = contacts + CASE WHEN deleted_at IS NULL THEN 0 ELSE seen.column3 END FROM (",
            );
            values(&mut text, count, 3);
            text.push_str(
                ") AS seen WHERE device.id = seen.column1 AND (device.last_seen_at < seen.column2 OR seen.column3 > 0)",
            );
            let query = seen.iter().fold(sqlx::query(AssertSqlSafe(text)), |query, (device, seen)| {
                query.bind(device.0).bind(seen.at.micros()).bind(seen.refused)
            });
            pad(query, (count - seen.len()) * 3).execute(&mut self.connection).await?;
            if self.recent().anybody_waited() {
                self.touch_lobby(seen).await?;
            }
        }
        Ok(())
    }

    async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let text = "UPDATE register SET probed_at = ?";
        sqlx::query(text).bind(now.micros()).execute(&mut self.connection).await?;
        Ok(())
    }

    async fn banned(&mut self) -> Result<Vec<SerialNumber>, StoreError> {
        let text = "SELECT serial FROM device WHERE deleted_at IS NOT NULL AND json_extract(tombstone, '$.mode') = 2";
        let serials: Vec<String> = sqlx::query_scalar(text).fetch_all(&mut self.connection).await?;
        serials.iter().map(|serial| load::serial(serial)).collect()
    }

    async fn has_admin_token(&mut self) -> Result<bool, StoreError> {
        let text = "SELECT EXISTS (SELECT 1 FROM admin_token)";
        Ok(sqlx::query_scalar(text).fetch_one(&mut self.connection).await?)
    }

    async fn replace_admin_token(&mut self, name: &str, hash: [u8; 32], now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "UPDATE admin_token SET deleted_at = $1 WHERE display_name = $2 AND hash <> $3 AND deleted_at IS NULL",
        )
        .bind(now.micros())
        .bind(name)
        .bind(hash.as_slice())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO admin_token (id, hash, display_name, created_at) SELECT next_id, $1, $2, $3 FROM register WHERE true \
                ON CONFLICT (hash) DO NOTHING",
        )
        .bind(hash.as_slice())
        .bind(name)
        .bind(now.micros())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("UPDATE register SET next_id = next_id + 1").execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }
}
