//! What the caller is to send, by the digests of both sides.

use muster_proto::device_users::UserTarget;
use muster_proto::user_sync::{Kinds, UserSync};
use muster_proto::{VdomName, v1};

use super::UserSyncs;
use super::running::Place;
use crate::registry::{AuthClient, AuthClientId, OwnerId, WebAppId};
use crate::rpc::status::Failure;

impl UserSyncs {
    /// Where the users are, and the auth client that they are on, if there is one yet.
    pub(super) async fn place(&self, target: UserTarget) -> Result<(Place, Option<AuthClientId>), Failure> {
        let target = match target {
            UserTarget::FortiProduct(target) => target,
            UserTarget::WebApp(app) => {
                let app = WebAppId(app.unwrap_or_default());
                let known = self.store.web_app(app).await?;
                let client = known.filter(|known| known.client.is_active()).map(|known| known.client.id);
                return Ok(((Ok(OwnerId(app.0)), VdomName::WEB_APP), client));
            }
        };
        let known = self.store.device(target.serial).await?;
        let owner = known.as_ref().map(|(device, _)| device.owner()).ok_or(target.serial);
        let active = |client: &AuthClient| client.vdom == target.vdom && client.is_active();
        let client = known.and_then(|(device, clients)| {
            clients.into_iter().find(|client| device.is_active() && active(client)).map(|client| client.id)
        });
        Ok(((owner, target.vdom), client))
    }

    /// What the caller is to send.
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
            let held = self.store.auth_client(muster_proto::admin::AuthClientName::Id(client.0)).await?;
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
