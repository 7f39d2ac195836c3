//! Word of who may no longer call, to the streams that are open.

use tokio::sync::broadcast;

use crate::registry::Revoked;

/// How much word may wait for a stream that does not look. One that missed some asks the store instead.
const WAITING: usize = 256;

/// Where word of revocations is spread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Revocations(broadcast::Sender<Revoked>);

/// Where one stream hears of revocations.
#[derive(Debug)]
pub struct Hearing(broadcast::Receiver<Revoked>);

impl Default for Revocations {
    fn default() -> Self {
        Self(broadcast::channel(WAITING).0)
    }
}

impl Revocations {
    /// Spreads the word, after the commit.
    pub fn tell(&self, revoked: Revoked) {
        // Nobody may be listening.
        let _ = self.0.send(revoked);
    }

    /// Hears of everything that is revoked from now on.
    #[must_use]
    pub fn hear(&self) -> Hearing {
        Hearing(self.0.subscribe())
    }
}

impl Hearing {
    /// Waits for word of `whom`, or until some word was missed: either way it is time to look. For ever if nothing more can come.
    pub async fn of(&mut self, whom: Revoked) {
        loop {
            match self.0.recv().await {
                Ok(revoked) if revoked == whom => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::AdminTokenId;

    #[tokio::test]
    async fn a_stream_hears_of_itself_alone_or_that_it_missed_some() {
        let revocations = Revocations::default();
        let mut hearing = revocations.hear();
        let other = Revoked::AdminToken(AdminTokenId(1));
        let own = Revoked::AdminToken(AdminTokenId(2));
        revocations.tell(other);
        revocations.tell(own);
        hearing.of(own).await;
        assert!(hearing.0.is_empty());
        (0..=WAITING).for_each(|_| revocations.tell(other));
        hearing.of(own).await;
    }
}
