//! Every rpc, and who may make it: one table, which the gate and the tests go by.

/// Whether an admin call changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only reads.
    Read,
    /// It changes something: not for read-only admins, not even to validate.
    Write,
}

/// What an admin call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Things that are in realms. An admin of some realms may call, and finds what is in these realms only.
    Realms,
    /// The register as a whole: for global admins.
    Register,
}

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Devices, and relays in their names.
    Devices,
    /// Devices, relays, and Web apps for their own users.
    AuthClients,
    /// Those who hold an admin token, as far as their role allows.
    Admins(Access, Extent),
    /// Everybody who is known: each finds in the debug feed what is its own.
    Known,
}

/// A method of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its path in `muster.v1`, as in "DeviceService/Sync".
    pub path: &'static str,
    /// Its name, as in "Sync".
    pub name: &'static str,
    /// Who may call it.
    pub audience: Audience,
}

const DEVICES: Audience = Audience::Devices;
const AUTH_CLIENTS: Audience = Audience::AuthClients;
/// An admin reads what is in realms.
const READ: Audience = Audience::Admins(Access::Read, Extent::Realms);
/// An admin changes what is in realms.
const WRITE: Audience = Audience::Admins(Access::Write, Extent::Realms);
/// An admin reads something of the register as a whole.
const READ_ALL: Audience = Audience::Admins(Access::Read, Extent::Register);
/// An admin changes something of the register as a whole.
const WRITE_ALL: Audience = Audience::Admins(Access::Write, Extent::Register);
const KNOWN: Audience = Audience::Known;

/// Every rpc of `muster.v1`. A new one has a row here, or it does not compile; `tests/roles.rs` tries every row as every role.
pub const METHODS: &[Method] = &[
    row("DeviceService/Register", DEVICES),
    row("DeviceService/Sync", DEVICES),
    row("DeviceService/Delete", DEVICES),
    row("DeviceService/AddUser", AUTH_CLIENTS),
    row("DeviceService/UpdateUser", AUTH_CLIENTS),
    row("DeviceService/DeleteUser", AUTH_CLIENTS),
    row("DeviceService/SyncUsers", AUTH_CLIENTS),
    row("DeviceService/Channel", DEVICES),
    row("AuthClientService/ListAuthClients", READ),
    row("AuthClientService/GetAuthClient", READ),
    row("AuthClientService/DeleteAuthClient", WRITE),
    row("AuthClientService/UndeleteAuthClient", WRITE),
    row("AuthClientService/UpdateAuthClient", WRITE),
    row("RealmService/ListRealms", READ),
    row("RealmService/GetRealm", READ),
    row("RealmService/CreateRealm", WRITE_ALL),
    row("RealmService/UpdateRealm", WRITE_ALL),
    row("RealmService/DeleteRealm", WRITE_ALL),
    row("RealmService/UndeleteRealm", WRITE_ALL),
    row("RealmService/MoveAuthClients", WRITE),
    row("SettingsService/GetSettings", READ_ALL),
    row("SettingsService/UpdateSettings", WRITE_ALL),
    row("UserService/ListUsers", READ),
    row("UserService/GetUser", READ),
    row("UserService/DisableUser", WRITE),
    row("UserService/EnableUser", WRITE),
    row("UserService/DeleteUser", WRITE),
    row("DeviceAdminService/ListDevices", READ),
    row("DeviceAdminService/GetDevice", READ),
    row("DeviceAdminService/DeleteDevice", WRITE),
    row("LicenseService/ImportLicenses", WRITE_ALL),
    row("LicenseService/ListLicenses", READ_ALL),
    row("LicenseService/GetLicense", READ_ALL),
    row("LicenseService/ReleaseLicense", WRITE_ALL),
    row("LicenseService/DeleteLicense", WRITE_ALL),
    row("DeviceAdminService/UndeleteDevice", WRITE),
    row("DeviceAdminService/PurgeDevice", WRITE),
    row("CloneService/ListCloneCases", READ_ALL),
    row("CloneService/GetCloneCase", READ_ALL),
    row("CloneService/ResolveCloneCase", WRITE_ALL),
    row("DeviceAdminService/ReplaceDevice", WRITE_ALL),
    row("DeviceAdminService/CreateReleaseCode", WRITE),
    row("DeviceAdminService/ClaimDevice", WRITE),
    row("ClusterService/ListClusters", READ_ALL),
    row("ClusterService/GetCluster", READ_ALL),
    row("ClusterService/CreateCluster", WRITE_ALL),
    row("ClusterService/UpdateCluster", WRITE_ALL),
    row("ClusterService/DeleteCluster", WRITE_ALL),
    row("ClusterService/AddClusterMember", WRITE_ALL),
    row("ClusterService/RemoveClusterMember", WRITE_ALL),
    row("ClusterService/SetClusterPrimary", WRITE_ALL),
    row("DeviceAdminService/ListPresence", READ_ALL),
    row("DeviceAdminService/RequestSync", WRITE),
    row("DeviceAdminService/SetDeviceDebug", WRITE_ALL),
    row("HeldRemovalService/ListHeldRemovals", READ_ALL),
    row("HeldRemovalService/GetHeldRemoval", READ_ALL),
    row("HeldRemovalService/ApproveHeldRemoval", WRITE_ALL),
    row("HeldRemovalService/RejectHeldRemoval", WRITE_ALL),
    row("AuditService/ListAuditEntries", READ_ALL),
    row("ExplainService/Explain", READ),
    row("ExplainService/GetHistory", READ),
    row("DebugLogService/StreamDebugLogs", KNOWN),
    row("DebugLogService/GetFeedStatus", READ_ALL),
    row("AdminTokenService/ListAdminTokens", READ_ALL),
    row("AdminTokenService/GetAdminToken", READ_ALL),
    row("AdminTokenService/CreateAdminToken", WRITE_ALL),
    row("AdminTokenService/RevokeAdminToken", WRITE_ALL),
    row("WebAppService/ListWebApps", READ),
    row("WebAppService/GetWebApp", READ),
    row("WebAppService/CreateWebApp", WRITE),
    row("WebAppService/UpdateWebApp", WRITE),
    row("WebAppService/RotateWebAppSecret", WRITE),
    row("WebAppService/DeleteWebApp", WRITE),
    row("WebAppService/UndeleteWebApp", WRITE),
    row("LobbyService/ListLobby", READ_ALL),
    row("LobbyService/GetLobbyEntry", READ_ALL),
    row("LobbyService/ApproveLobbyEntry", WRITE_ALL),
    row("LobbyService/RejectLobbyEntry", WRITE_ALL),
    row("AdmissionRuleService/GetAdmissionRules", READ_ALL),
    row("AdmissionRuleService/UpdateAdmissionRules", WRITE_ALL),
];

/// The row of an rpc, found while compiling: one that has none does not compile.
pub(super) const fn method(path: &str) -> Method {
    let mut index = 0;
    while index < METHODS.len() {
        if same(METHODS[index].path, path) {
            return METHODS[index];
        }
        index += 1;
    }
    panic!("this rpc has no row in METHODS");
}

const fn row(path: &'static str, audience: Audience) -> Method {
    let mut slash = 0;
    while path.as_bytes()[slash] != b'/' {
        slash += 1;
    }
    let (_, name) = path.split_at(slash + 1);
    Method { path, name, audience }
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::DESCRIPTORS;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    #[test]
    fn the_table_has_exactly_the_rpcs_of_the_protocol() {
        let descriptors = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let files = descriptors.file.iter().filter(|file| file.package() == "muster.v1");
        let mut rpcs: Vec<String> = files
            .flat_map(|file| &file.service)
            .flat_map(|service| service.method.iter().map(|method| format!("{}/{}", service.name(), method.name())))
            .collect();
        let mut rows: Vec<&str> = METHODS.iter().map(|method| method.path).collect();
        rpcs.sort();
        rows.sort_unstable();
        assert_eq!(rows, rpcs);
    }

    #[test]
    fn a_method_is_known_by_its_own_name() {
        assert_eq!(method("DeviceService/Sync").name, "Sync");
    }
}
