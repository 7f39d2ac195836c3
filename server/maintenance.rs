//! What `muster-server` does besides serving.

use std::path::Path;

use anyhow::Context as _;
use muster_proto::Timestamp;
use rand::RngExt as _;

use crate::args::Args;
use crate::data_dir::{DataDir, DataFile};
use crate::identity::ca::Authority;
use crate::identity::relay::{Relay, RelayName, SerialPrefix};
use crate::identity::token::AdminToken;
use crate::serve::FIRST_ADMIN;
use crate::store::{Writing as _, open_sqlite};

/// Issues a client certificate for a relay, and says what to do with it.
pub fn relay_cert(
    data_dir: &Path,
    name: &RelayName,
    prefixes: &[SerialPrefix],
    out: &Path,
    now: Timestamp,
) -> anyhow::Result<String> {
    let data = DataDir::of_running_server(data_dir);
    let authority = Authority::load(&data).context("start the server once, so that it makes its CA")?;
    let issued = authority.issue_relay(&Relay { name: name.clone(), prefixes: prefixes.to_vec() }, now)?;
    let (certificate, key) = issued.save(out, name).with_context(|| format!("could not write to {}", out.display()))?;
    let (certificate, key) = (certificate.display(), key.display());
    Ok(format!("wrote {certificate} and {key}: give both to the relay, which presents them as its client certificate"))
}

/// Replaces the first admin token; the one before is refused from then on.
pub async fn rotate_admin_token(args: &Args, now: Timestamp) -> anyhow::Result<String> {
    let data = DataDir::open(&args.data_dir)?;
    let path = args.database_path().unwrap_or_else(|| data.path(DataFile::Database));
    let (mut store, _) = open_sqlite(&path).await?;
    let token = AdminToken::new(rand::rng().random());
    store.replace_admin_token(FIRST_ADMIN, token.hash().0, now).await?;
    data.write(DataFile::AdminToken, &format!("{}\n", token.expose())).context("could not write the token")?;
    Ok(format!("wrote a new token to {}; the former one is revoked", data.path(DataFile::AdminToken).display()))
}
