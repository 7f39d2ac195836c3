//! The register behind the server's back: what no call shows.

use std::path::{Path, PathBuf};

use muster_server::data_dir::DataFile;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

/// The database file of a server.
#[derive(Debug)]
pub struct Database(PathBuf);

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Audited {
    /// The operation, in hexadecimal.
    pub operation_id: String,
    /// Who called.
    pub caller: String,
    /// The method.
    pub method: String,
    /// The device.
    pub serial: String,
    /// What changed, as a JSON list.
    pub changes: String,
}

impl Database {
    /// The database in a data directory.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(DataFile::Database.name()))
    }

    async fn connect(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.0).connect().await.unwrap()
    }

    /// Does something to it that no server does.
    pub async fn execute(&self, text: &'static str) {
        sqlx::query(text).execute(&mut self.connect().await).await.unwrap();
    }

    /// The audit log, earliest first.
    pub async fn audit(&self) -> Vec<Audited> {
        let text =
            "SELECT lower(hex(operation_id)) AS operation_id, caller, method, serial, changes FROM audit ORDER BY id";
        sqlx::query_as(text).fetch_all(&mut self.connect().await).await.unwrap()
    }

    /// The definitions of its tables, and whether SQLite finds them sound.
    pub async fn soundness(&self) -> (Vec<String>, String) {
        let mut connection = self.connect().await;
        let tables = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
        let tables = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
        let verdict = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
        (tables, verdict)
    }

    /// Keeps everybody else from writing until the returned connection is given to [`Database::unlock`].
    pub async fn lock(&self) -> SqliteConnection {
        let mut connection = self.connect().await;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    }

    /// Lets others write again.
    pub async fn unlock(mut locked: SqliteConnection) {
        sqlx::query("ROLLBACK").execute(&mut locked).await.unwrap();
        locked.close().await.unwrap();
    }
}
