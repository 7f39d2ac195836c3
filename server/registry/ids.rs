//! Ids. All come from one sequence of the register and are never given to anything else, so that an id alone tells what it is of.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);)+
    };
}

ids! {
    /// The id of a device.
    DeviceId;
    /// The id of a cluster.
    ClusterId;
    /// The id of whoever auth clients belong to: a device, a cluster, or a Web app.
    OwnerId;
    /// The id of an auth client.
    AuthClientId;
    /// The id of a realm.
    RealmId;
    /// The id of an entry of the lobby.
    LobbyId;
    /// The id of an admin token.
    AdminTokenId;
    /// The id of a Web app.
    WebAppId;
    /// The id of a user.
    UserId;
    /// The id of a user reference.
    UserRefId;
    /// The id of a set of held removals.
    HeldId;
}

impl RealmId {
    /// The realm that always exists (domain sheet, section 1.9).
    pub const DEFAULT: Self = Self(1);
}
