//! The embedded store: one SQLite file, one connection that writes, a few that read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use muster_proto::{SerialNumber, Timestamp};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _, Sqlite};

use super::recent::{Memory, Recent};
use super::sqlite_read::SqliteReading;
use super::sqlite_text::{MAX_ROWS, Shape, list, round, values};
use super::{Changes, StoreError, Writing, rows};
use crate::registry::{AuthClient, Device, DeviceId};

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
        // 80 MB of log between checkpoints, and 64 MB of pages: pages that change often are then written back rarely.
        .pragma("wal_autocheckpoint", "20000")
        .pragma("cache_size", "-65536")
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
    let known = serials.iter().map(|serial| rows::serial(serial)).collect::<Result<_, _>>()?;
    Ok((SqliteWriting { connection, texts: HashMap::new(), recent: Recent::new(known) }, SqliteReading::new(reading)))
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
    recent: Recent,
}

/// How many texts are kept; shapes beyond that are rare, and made anew.
const MAX_TEXTS: usize = 512;

type SqliteQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

fn pad(mut query: SqliteQuery<'_>, parameters: usize) -> SqliteQuery<'_> {
    for _ in 0..parameters {
        query = query.bind(None::<i64>);
    }
    query
}

fn bind_device<'q>(query: SqliteQuery<'q>, device: &'q Device) -> SqliteQuery<'q> {
    let [model, hostname, firmware] = device.info.texts();
    query
        .bind(device.id.0)
        .bind(device.serial.as_str())
        .bind(model)
        .bind(hostname)
        .bind(firmware)
        .bind(device.generation)
        .bind(device.digest.as_slice())
        .bind(device.created_at.micros())
        .bind(device.updated_at.micros())
        .bind(device.deleted_at.map(Timestamp::micros))
        .bind(device.last_seen_at.micros())
}

fn bind_auth_client<'q>(query: SqliteQuery<'q>, client: &'q AuthClient) -> SqliteQuery<'q> {
    query
        .bind(client.id.0)
        .bind(client.device.0)
        .bind(client.vdom.as_str())
        .bind(client.realm.0)
        .bind(client.created_at.micros())
        .bind(client.updated_at.micros())
        .bind(client.deleted_at.map(Timestamp::micros))
}

impl SqliteWriting {
    /// One text for each shape, so that its prepared statement is found again.
    fn text(&mut self, shape: Shape) -> Arc<str> {
        if let Some(text) = self.texts.get(&shape) {
            return Arc::clone(text);
        }
        if self.texts.len() >= MAX_TEXTS {
            self.texts.clear();
        }
        let text: Arc<str> = shape.text().into();
        self.texts.insert(shape, Arc::clone(&text));
        text
    }
}

#[async_trait]
impl Writing for SqliteWriting {
    async fn next_id(&mut self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT next_id FROM register").fetch_one(&mut self.connection).await?)
    }

    // No transaction is needed to load: this connection is the only one that writes.
    async fn load_devices(&mut self, serials: &[SerialNumber]) -> Result<Vec<Device>, StoreError> {
        let mut devices = Vec::with_capacity(serials.len());
        let mut faded = Vec::new();
        for serial in serials {
            match self.recent.recall(serial) {
                Memory::New => {}
                Memory::Faded => faded.push(*serial),
                Memory::Fresh(device) => devices.push(device),
            }
        }
        for serials in faded.chunks(MAX_ROWS) {
            let count = round(serials.len());
            let text = format!("SELECT {} FROM device WHERE serial IN ({})", rows::DEVICE, list(count));
            let mut query = sqlx::query(AssertSqlSafe(text));
            for serial in serials {
                query = query.bind(serial.as_str());
            }
            for row in pad(query, count - serials.len()).fetch_all(&mut self.connection).await? {
                let device = rows::device(&row)?;
                self.recent.note(&device);
                devices.push(device);
            }
        }
        Ok(devices)
    }

    async fn load_auth_clients(&mut self, devices: &[DeviceId]) -> Result<Vec<AuthClient>, StoreError> {
        let mut clients = Vec::new();
        for devices in devices.chunks(MAX_ROWS) {
            let count = round(devices.len());
            let text = format!("SELECT {} FROM auth_client WHERE device_id IN ({})", rows::AUTH_CLIENT, list(count));
            let mut query = sqlx::query(AssertSqlSafe(text));
            for device in devices {
                query = query.bind(device.0);
            }
            for row in pad(query, count - devices.len()).fetch_all(&mut self.connection).await? {
                clients.push(rows::auth_client(&row)?);
            }
        }
        Ok(clients)
    }

    async fn apply(&mut self, changes: &Changes<'_>) -> Result<(), StoreError> {
        let counts = (changes.devices.len(), changes.auth_clients.len(), changes.audit.len());
        let shape = Shape::of(counts.0, counts.1, counts.2);
        let (devices, auth_clients, audit) = shape.padding(counts);
        let text = self.text(shape);
        let mut arguments = SqliteArguments::default();
        // Room for all at once: growing by doubling costs more than filling.
        arguments.reserve(shape.parameters(), 0);
        let mut query = sqlx::query_with(AssertSqlSafe(text), arguments);
        query = pad(changes.devices.iter().fold(query, |query, device| bind_device(query, device)), devices);
        query = changes.auth_clients.iter().fold(query, |query, client| bind_auth_client(query, client));
        query = pad(query, auth_clients);
        for row in &changes.audit {
            query = query
                .bind(row.at.micros())
                .bind(row.operation.to_bytes().to_vec())
                .bind(row.caller)
                .bind(row.method)
                .bind(row.serial.as_str())
                .bind(row.changes.as_str());
        }
        query = pad(query, audit).bind(changes.next_id).bind(changes.next_id);
        if let Err(error) = query.execute(&mut self.connection).await {
            // The statement that failed left the transaction open, unless SQLite ended it itself.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
            self.recent.doubt(changes.devices.iter().copied());
            return Err(error.into());
        }
        for device in &changes.devices {
            self.recent.note(device);
        }
        Ok(())
    }

    async fn abandon(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn touch(&mut self, seen: &[(DeviceId, Timestamp)]) -> Result<(), StoreError> {
        for seen in seen.chunks(MAX_ROWS) {
            let count = round(seen.len());
            let mut text = String::from("UPDATE device SET last_seen_at = seen.column2 FROM (");
            values(&mut text, count, 2);
            text.push_str(") AS seen WHERE device.id = seen.column1 AND device.last_seen_at < seen.column2");
            let query = seen.iter().fold(sqlx::query(AssertSqlSafe(text)), |query, (device, time)| {
                query.bind(device.0).bind(time.micros())
            });
            pad(query, (count - seen.len()) * 2).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let text = "UPDATE register SET probed_at = ?";
        sqlx::query(text).bind(now.micros()).execute(&mut self.connection).await?;
        Ok(())
    }

    async fn has_admin_token(&mut self) -> Result<bool, StoreError> {
        let text = "SELECT EXISTS (SELECT 1 FROM admin_token)";
        Ok(sqlx::query_scalar(text).fetch_one(&mut self.connection).await?)
    }

    async fn replace_admin_token(&mut self, name: &str, hash: [u8; 32], now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("UPDATE admin_token SET revoked_at = $1 WHERE name = $2 AND hash <> $3 AND revoked_at IS NULL")
            .bind(now.micros())
            .bind(name)
            .bind(hash.as_slice())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO admin_token (hash, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(hash.as_slice())
        .bind(name)
        .bind(now.micros())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}
