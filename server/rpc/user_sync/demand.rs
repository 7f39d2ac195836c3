//! What the caller is to send, by the digests of both sides.

use muster_proto::admin::AuthClientName;
use muster_proto::device_users::UserTarget;
use muster_proto::user_sync::{Kinds, UserSync};
use muster_proto::{VdomName, v1};

use super::UserSyncs;
use super::running::Place;
use crate::registry::{AuthClientId, OwnerId};
use crate::rpc::status::Failure;

impl UserSyncs {
    /// Where the users will be whose auth client is not there yet.
    pub(super) async fn place(&self, target: UserTarget) -> Result<Place, Failure> {
        Ok(match target {
            UserTarget::WebApp(app) => (Ok(OwnerId(app.unwrap_or_default())), VdomName::WEB_APP),
            UserTarget::FortiProduct(target) => {
                let known = self.store.device(target.serial).await?;
                (known.map(|(device, _)| device.owner()).ok_or(target.serial), target.vdom)
            }
        })
    }

    /// What the caller is to send, if this is the auth client. To be asked once no other sync of it runs: before, its digest may be the one that the
    /// other sync is about to change.
    pub(super) async fn demand(
        &self,
        sync: &UserSync,
        client: Option<AuthClientId>,
    ) -> Result<(v1::SyncUsersDemand, Option<Vec<bool>>), Failure> {
        let (Some(digest), Some(client)) = (sync.digest, client) else {
            return Ok((v1::SyncUsersDemand::SendAll, None));
        };
        if sync.kinds == Kinds::ALL {
            // The register has the digest of all users at hand.
            let held = self.store.auth_client(AuthClientName::Id(client.0)).await?;
            if held.is_some_and(|row| row.client.users_digest == digest) {
                return Ok((v1::SyncUsersDemand::InSync, None));
            }
            if sync.buckets.is_empty() {
                return Ok((v1::SyncUsersDemand::SendAll, None));
            }
        }
        let (whole, held) = self.store.user_digests(client, sync.kinds, sync.buckets.len()).await?;
        if whole == digest {
            return Ok((v1::SyncUsersDemand::InSync, None));
        }
        if sync.buckets.is_empty() {
            return Ok((v1::SyncUsersDemand::SendAll, None));
        }
        let differ: Vec<bool> = held.iter().zip(&sync.buckets).map(|(held, sent)| held != sent).collect();
        Ok((v1::SyncUsersDemand::SendBuckets, Some(differ)))
    }
}
