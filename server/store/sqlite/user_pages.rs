//! The users of an auth client, read by the thousand: a page is one row of text, because a row of its own for each costs ten times what is in it.

use muster_proto::user_sync::{Kinds, bucket_of};
use muster_proto::{UserKey, UserKind, Username, user};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::StoreError;
use crate::registry::{AuthClientId, toggle};

/// Between the fields of a user, and between users: control characters, which no field may contain.
const FIELD: char = '\u{1f}';
const USER: char = '\u{1e}';

/// How many users a page has.
const PAGE: usize = 4_096;

/// Where in an auth client's users a reader is.
#[derive(Debug)]
pub(super) struct UserPages {
    client: AuthClientId,
    kinds: Kinds,
    after: String,
    text: String,
}

impl UserPages {
    /// Reads these columns of the users that are present, in the order of their keys, from behind a key on.
    pub(super) fn new(client: AuthClientId, kinds: Kinds, columns: &[&str], after: &str) -> Self {
        let separator = format!(" || char({}) || ", u32::from(FIELD));
        let text = format!(
            "SELECT max(user_key), group_concat({}, char({})) FROM (SELECT * FROM user_ref WHERE auth_client_id = ? \
             AND user_key > ? AND deleted_at IS NULL AND (? & (1 << kind)) <> 0 ORDER BY user_key LIMIT {PAGE})",
            columns.join(&separator),
            u32::from(USER),
        );
        Self { client, kinds, after: after.to_owned(), text }
    }

    /// The next page: a user a line, as [`Page::users`] takes it apart. `None` behind the last one.
    pub(super) async fn next(&mut self, connection: &mut SqliteConnection) -> Result<Option<Page>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(self.text.clone()));
        let query = query.bind(self.client.0).bind(self.after.as_str()).bind(i64::from(self.kinds.mask()));
        let row = query.fetch_one(connection).await?;
        let Some(last) = row.try_get(0)? else { return Ok(None) };
        self.after = last;
        Ok(Some(Page(row.try_get(1)?)))
    }
}

/// Some users as text.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    /// The fields of each user; `N` is how many columns were asked for.
    fn users<const N: usize>(&self) -> impl Iterator<Item = Result<[&str; N], StoreError>> {
        self.0.split(USER).map(|line| {
            let mut parts = line.split(FIELD);
            let fields = [(); N].map(|()| parts.next());
            if parts.next().is_some() || fields.contains(&None) {
                return Err(inconsistent("username", line));
            }
            Ok(fields.map(Option::unwrap_or_default))
        })
    }
}

/// The digests of an auth client's users: of all of them, and of each bucket.
pub(super) async fn digests(
    connection: &mut SqliteConnection,
    client: AuthClientId,
    kinds: Kinds,
    buckets: usize,
) -> Result<([u8; 32], Vec<[u8; 32]>), StoreError> {
    let (mut whole, mut parts) = ([0; 32], vec![[0; 32]; buckets]);
    let columns = ["username", "email", "coalesce(mobile, '')", "kind", "active"];
    let mut pages = UserPages::new(client, kinds, &columns, "");
    while let Some(page) = pages.next(connection).await? {
        for user in page.users() {
            let [username, email, mobile, kind, active] = user?;
            let kind = kind.parse().ok().and_then(UserKind::from_number).ok_or_else(|| inconsistent("kind", kind))?;
            let digest = user::digest(username, email, mobile, kind, active == "1");
            toggle(&mut whole, &digest);
            if buckets > 0
                && let Some(part) = parts.get_mut(bucket_of(username, buckets))
            {
                toggle(part, &digest);
            }
        }
    }
    Ok((whole, parts))
}

/// Some of the users that are present, from behind a key on.
pub(super) async fn present(
    connection: &mut SqliteConnection,
    client: AuthClientId,
    kinds: Kinds,
    after: &UserKey,
) -> Result<Vec<(UserKey, Username)>, StoreError> {
    let mut pages = UserPages::new(client, kinds, &["user_key", "username"], after.as_str());
    let Some(page) = pages.next(connection).await? else { return Ok(Vec::new()) };
    page.users()
        .map(|user| {
            let [key, username] = user?;
            Ok((UserKey::new(key), username.parse().map_err(|_| inconsistent("username", username))?))
        })
        .collect()
}

fn inconsistent(column: &'static str, value: &str) -> StoreError {
    StoreError::Inconsistent { table: "user_ref", column, value: value.to_owned() }
}
