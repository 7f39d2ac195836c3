//! Who may no longer call, so that streams that are open can be ended.

use muster_proto::SerialNumber;

use super::{AdminTokenId, DeleteMode, State};

/// One who may no longer call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// A device that was banned or retired.
    Device(SerialNumber),
    /// An admin token that was revoked.
    AdminToken(AdminTokenId),
}

impl State {
    /// Those who, by what changed, may no longer call. Read off the rows and not off the commands, so that no rule can forget to tell.
    #[must_use]
    pub fn revoked(&self) -> Vec<Revoked> {
        let barred = |mode| matches!(mode, DeleteMode::Ban | DeleteMode::Retire);
        let devices = self.devices.changed().filter_map(|device| {
            device.deleted.as_deref().filter(|it| barred(it.mode)).map(|_| Revoked::Device(device.serial))
        });
        let tokens = self.admin_tokens.changed().filter(|token| token.revoked_at.is_some());
        devices.chain(tokens.map(|token| Revoked::AdminToken(token.id))).collect()
    }
}
