//! The server certificate of a server that runs for years.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::ca::Authority;
use crate::clock::Clock;
use crate::data_dir::DataDir;

const EVERY: Duration = Duration::from_hours(12);

/// Looks after the certificate of the server, now and twice a day, for ever: one of ours that ends soon is made anew (see
/// [`Authority::ensure_server_certificate`]), and [`Trust::watch`](super::trust::Trust::watch) puts it to use.
pub async fn keep_server_certificate(data: Arc<DataDir>, names: Vec<String>, clock: Arc<dyn Clock>) {
    let names: Arc<[String]> = names.into();
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let (data, names, clock) = (Arc::clone(&data), Arc::clone(&names), Arc::clone(&clock));
        let look = move || Authority::load(&data)?.ensure_server_certificate(&names, clock.now());
        let outcome = tokio::task::spawn_blocking(look).await.map_err(anyhow::Error::from);
        if let Err(error) = outcome.and_then(|looked| looked.map_err(anyhow::Error::from)) {
            tracing::warn!("could not look after the server certificate: {error:#}");
        }
    }
}
