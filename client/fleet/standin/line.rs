//! The connection of a box: made, lost, found again.

use tokio::time::Instant;

use super::{CALL, StandIn};
use crate::channel::{Channel, Happening};
use crate::connect::{Connection, Over};
use crate::failure::CallError;
use crate::fleet::metrics::Kind;
use crate::fleet::shared::Home;

impl StandIn {
    /// The connection, made if there is none.
    pub(super) async fn connection(&mut self) -> Result<Connection, CallError> {
        if let Some((connection, _)) = &self.line {
            return Ok(connection.clone());
        }
        let began = Instant::now();
        let line = Box::pin(self.dialer.connect_from(self.source, CALL)).await?;
        let now = Instant::now();
        self.shared.metrics.due(Kind::Handshake, began);
        self.shared.metrics.done(Kind::Handshake, began, &self.device.serial);
        self.shared.metrics.connection(true);
        self.shared.in_storm(|storm| {
            if storm.first_loss.is_some() {
                storm.first_return.get_or_insert(now);
            }
        });
        Ok(self.line.insert(line).0.clone())
    }

    /// Says goodbye, and closes the connection.
    pub(super) async fn leave(&mut self, reason: &str) {
        if let Some(channel) = self.channel.take() {
            channel.leave(reason).await;
        }
        self.hang_up();
    }

    /// Closes the connection.
    fn hang_up(&mut self) {
        (self.channel, self.healthy) = (None, None);
        if self.line.take().is_some() {
            self.shared.metrics.connection(false);
        }
    }

    /// The connection was lost.
    pub(super) fn lose(&mut self) {
        if self.line.is_some() {
            let now = Instant::now();
            self.hang_up();
            self.lost.get_or_insert(now);
            self.shared.in_storm(|storm| {
                storm.first_loss.get_or_insert(now);
            });
        }
    }

    /// The box is in sync, again if it had lost its connection.
    pub(super) fn found(&mut self) {
        if let Some(lost) = self.lost.take() {
            self.shared.metrics.due(Kind::Return, lost);
            self.shared.metrics.done(Kind::Return, lost, &self.device.serial);
            // Nobody counts any more once the step is over.
            self.shared.in_storm(|storm| {
                let _ = storm.homes.send(Home::Back(self.index));
            });
        }
        self.healthy.get_or_insert_with(Instant::now);
    }
}

/// Waits for what happens on a channel; for ever if there is none.
pub(super) async fn happening(channel: &mut Option<Channel>) -> Happening {
    match channel {
        Some(channel) => channel.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of a connection; for ever if there is none.
pub(super) async fn over(line: &mut Option<(Connection, Over)>) {
    match line {
        Some((_, over)) => over.wait().await,
        None => std::future::pending().await,
    }
}
