//! The stable reason codes: why something was refused or left, the gRPC code that goes with it, and what to do about it.

use std::fmt;

use tonic::Code;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $code:ident, $fix:literal;)+) => {
        /// Why a call, or one item of it, was refused or left as it was. Codes are stable: clients may branch on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// Every reason, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable code, as in `IDENTITY_MISMATCH`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The gRPC code of a call that ends for this reason.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)+ }
            }

            /// What to do about it, in a sentence.
            #[must_use]
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)+ }
            }
        }
    };
}

reasons! {
    /// A field is not what its description allows.
    FieldInvalid, "FIELD_INVALID", InvalidArgument, "correct the named fields";
    /// A serial number is not 16 characters of A-Z and 0-9.
    SerialNumberMalformed, "SERIAL_NUMBER_MALFORMED", InvalidArgument, "send the serial number as the device shows it: 16 characters of A-Z and 0-9";
    /// A VDOM name is empty, too long, or has characters that FortiOS does not allow.
    VdomNameMalformed, "VDOM_NAME_MALFORMED", InvalidArgument, "send each VDOM name as FortiOS has it: 1 to 31 characters of A-Z, a-z, 0-9, '-', '_' and '.'";
    /// A list names a VDOM twice.
    VdomDuplicate, "VDOM_DUPLICATE", InvalidArgument, "list each VDOM once";
    /// A full list is empty.
    VdomListEmpty, "VDOM_LIST_EMPTY", InvalidArgument, "list every VDOM, at least \"root\"; to remove a device use Delete";
    /// Neither a list nor a digest was sent.
    VdomListMissing, "VDOM_LIST_MISSING", InvalidArgument, "send full_list with every VDOM, or a digest";
    /// A list is longer than any device allows.
    VdomListTooLong, "VDOM_LIST_TOO_LONG", InvalidArgument, "list at most 500 VDOMs";
    /// A text has control characters or is too long.
    TextMalformed, "TEXT_MALFORMED", InvalidArgument, "send printable text of at most 64 characters";
    /// A deletion does not say what to delete.
    TargetMissing, "TARGET_MISSING", InvalidArgument, "name a vdom, or choose whole_device";
    /// A resource name is not of the form that the call takes.
    NameMalformed, "NAME_MALFORMED", InvalidArgument, "use the name as the lists show it";
    /// A page token is not one of this list.
    PageTokenMalformed, "PAGE_TOKEN_MALFORMED", InvalidArgument, "pass next_page_token back unchanged, with the other fields as they were, or start again without it";
    /// A filter cannot be read.
    FilterMalformed, "FILTER_MALFORMED", InvalidArgument, "write the filter as FIELD = \"VALUE\" AND FIELD = \"VALUE\"";
    /// A cursor is not one of this service.
    CursorMalformed, "CURSOR_MALFORMED", InvalidArgument, "pass a cursor back exactly as the feed sent it, or start with tail, since or earliest";
    /// Fields of a feed request contradict each other.
    FieldsConflict, "FIELDS_CONFLICT", InvalidArgument, "give only one of the conflicting fields";
    /// The bytes of the request are not the message that the call takes.
    MessageMalformed, "MESSAGE_MALFORMED", InvalidArgument, "check that client and server use the same muster.v1 protocol";
    /// The request has more bytes than the server reads.
    MessageTooLarge, "MESSAGE_TOO_LARGE", ResourceExhausted, "send at most 4 MiB in one request";
    /// There is no such method.
    MethodUnknown, "METHOD_UNKNOWN", Unimplemented, "list the methods with server reflection; this server may be older than the client";
    /// Neither a client certificate nor a token came with the call.
    CredentialsMissing, "CREDENTIALS_MISSING", Unauthenticated, "devices: present the client certificate; admins: send metadata \"authorization: Bearer TOKEN\"";
    /// The token is wrong, expired or revoked.
    TokenInvalid, "TOKEN_INVALID", Unauthenticated, "use a token that is valid now; the first one is in the file admin-token of the data directory";
    /// The client certificate is no longer, or not yet, valid.
    CertificateExpired, "CERTIFICATE_EXPIRED", Unauthenticated, "renew the client certificate, and check the clocks of both sides";
    /// The client certificate is not one that the server trusts now.
    CertificateNotTrusted, "CERTIFICATE_NOT_TRUSTED", Unauthenticated, "use a certificate from the device CA that the server trusts";
    /// The client certificate is trusted and names neither a serial number nor a relay.
    CertificateWithoutIdentity, "CERTIFICATE_WITHOUT_IDENTITY", Unauthenticated, "issue the certificate with the serial number as its common name";
    /// The caller named a device that it may not speak for, or watch.
    IdentityMismatch, "IDENTITY_MISMATCH", PermissionDenied, "name the serial number of the client certificate, or call through a relay that may speak for the device";
    /// Callers of this kind may not make this call.
    RoleNotAllowed, "ROLE_NOT_ALLOWED", PermissionDenied, "devices and relays call DeviceService with a certificate; admins call the other services with a token whose role allows it: read-only tokens change nothing, and tokens of some realms touch nothing else";
    /// No such device was ever registered.
    DeviceUnknown, "DEVICE_UNKNOWN", NotFound, "check the serial number; the device registers itself with its first sync";
    /// The device never had such a VDOM.
    VdomUnknown, "VDOM_UNKNOWN", NotFound, "check the name and its letter case; list the auth clients of the device";
    /// There never was such an auth client.
    AuthClientUnknown, "AUTH_CLIENT_UNKNOWN", NotFound, "check the name; list the auth clients";
    /// Every device has the VDOM "root".
    RootVdomRequired, "ROOT_VDOM_REQUIRED", FailedPrecondition, "keep \"root\"; to remove the device as a whole choose whole_device";
    /// The device has as many VDOMs as any device may have.
    VdomLimit, "VDOM_LIMIT", FailedPrecondition, "remove VDOMs that are no longer used: a device has at most 500";
    /// It was deleted before this call.
    AlreadyDeleted, "ALREADY_DELETED", Ok, "nothing to do";
    /// It had been removed, and this call brought it back under its old id.
    ReturnedAfterRemoval, "RETURNED_AFTER_REMOVAL", Ok, "nothing to do, unless it was removed for good: then remove it on the device too";
    /// The device was banned by an admin.
    DeviceBanned, "DEVICE_BANNED", PermissionDenied, "an admin may lift the ban with UndeleteDevice";
    /// The device was retired by an admin.
    DeviceRetired, "DEVICE_RETIRED", FailedPrecondition, "an admin must approve the return in the lobby, or undelete the device";
    /// The auth client was banned by an admin.
    AuthClientBanned, "AUTH_CLIENT_BANNED", PermissionDenied, "an admin may lift the ban with UndeleteAuthClient; remove the VDOM on the device if it is not to return";
    /// The auth client was retired by an admin.
    AuthClientRetired, "AUTH_CLIENT_RETIRED", FailedPrecondition, "an admin must undelete the auth client";
    /// The device is not known and waits for an admin.
    PendingApproval, "PENDING_APPROVAL", FailedPrecondition, "an admin must approve the device in the lobby, or turn auto_create_auth_clients on";
    /// What a plan depends on has changed.
    PlanStale, "PLAN_STALE", Aborted, "ask for a new plan with validate_only, look at it, and apply that one";
    /// Another writer changed the device in between.
    StaleGeneration, "STALE_GENERATION", Aborted, "read the current generation, check what changed, and try again";
    /// It changed since its etag was read.
    EtagMismatch, "ETAG_MISMATCH", Aborted, "read it again, check what changed, and retry with its new etag";
    /// The caller makes calls faster than it may.
    RateLimited, "RATE_LIMITED", ResourceExhausted, "wait for the retry delay";
    /// The caller has as many calls in flight as it may.
    ConcurrencyLimited, "CONCURRENCY_LIMITED", ResourceExhausted, "wait for earlier calls to end";
    /// The server has more changes waiting than it takes.
    QueueFull, "QUEUE_FULL", ResourceExhausted, "wait for the retry delay";
    /// The deadline of the caller passed before the call was worked on.
    DeadlinePassed, "DEADLINE_PASSED", DeadlineExceeded, "allow more time, and repeat the call: it is idempotent";
    /// The database cannot be read or written now.
    StoreUnavailable, "STORE_UNAVAILABLE", Unavailable, "repeat the call after the retry delay; the operator finds the cause in the server's log";
    /// The disk of the database is full.
    StoreFull, "STORE_FULL", Unavailable, "the operator must free space on the disk of the database; then repeat the call";
    /// The server is shutting down.
    ShuttingDown, "SHUTTING_DOWN", Unavailable, "repeat the call after the retry delay";
    /// The database refused this very change.
    StoreRefused, "STORE_REFUSED", Internal, "report the operation id to the operator, who finds the cause in the server's log";
    /// A defect of the server.
    Internal, "INTERNAL", Internal, "report the operation id to the operator, who finds the cause in the server's log";
    /// The device never waited for an admin.
    LobbyUnknown, "LOBBY_UNKNOWN", NotFound, "check the serial number; list the lobby with show_deleted";
    /// An admin, or an admission rule, sent the device away.
    AdmissionRejected, "ADMISSION_REJECTED", PermissionDenied, "an admin may approve the device in the lobby, or change the admission rule that rejects it";
    /// Admission rules do not do what their own tests expect.
    AdmissionTestsFailed, "ADMISSION_TESTS_FAILED", FailedPrecondition, "correct the rules, or the tests that expect something else; nothing was saved";
    /// No such admin token was ever made.
    AdminTokenUnknown, "ADMIN_TOKEN_UNKNOWN", NotFound, "check the name; list the admin tokens";
    /// An admin token that is in use has this name already.
    AdminTokenNameTaken, "ADMIN_TOKEN_NAME_TAKEN", AlreadyExists, "choose another name, or revoke the token that has it";
    /// Without this token nobody could change anything.
    LastAdmin, "LAST_ADMIN", FailedPrecondition, "make another global token that may write first, or use `muster-server rotate-admin-token`";
    /// A request with this `request_id` was done before; its secret is shown once.
    SecretShownBefore, "SECRET_SHOWN_BEFORE", Ok, "if the first answer was lost, revoke or rotate the secret and make a new one";
    /// No such cluster was ever made.
    ClusterUnknown, "CLUSTER_UNKNOWN", NotFound, "check the id; list the clusters";
    /// The cluster is deleted.
    ClusterDeleted, "CLUSTER_DELETED", FailedPrecondition, "make a new cluster: one that was dissolved does not return";
    /// The device is a member of another cluster.
    ClusterOther, "CLUSTER_OTHER", FailedPrecondition, "take the device out of its present cluster first: RemoveClusterMember, or a report with role STANDALONE";
    /// The device and the cluster have users on the same VDOM in different realms.
    ClusterRealmsDiffer, "CLUSTER_REALMS_DIFFER", FailedPrecondition, "move the auth clients of that VDOM into one realm first, then join again";
    /// The device says that it is in a cluster whose primary does not list it, or has not reported yet.
    ClusterNotConfirmed, "CLUSTER_NOT_CONFIRMED", FailedPrecondition, "let the primary report with this device among its members, or let an admin add it with AddClusterMember";
    /// Another member became the primary since this epoch.
    StaleEpoch, "STALE_EPOCH", Aborted, "report as secondary with the current epoch; to take over register or sync as primary with the current epoch + 1";
    /// The report carries an epoch that never was.
    EpochAhead, "EPOCH_AHEAD", FailedPrecondition, "report with the current epoch; only a secondary that takes over sends one more";
    /// Only the primary of a cluster decides which VDOMs and users there are.
    PrimaryDecides, "PRIMARY_DECIDES", FailedPrecondition, "let the primary of the cluster report it, or take over with the current epoch + 1";
    /// The device is no member of the cluster.
    NotAMember, "NOT_A_MEMBER", FailedPrecondition, "add the device to the cluster first";
    /// The users of the VDOM are on the auth client of the cluster now.
    MovedToCluster, "MOVED_TO_CLUSTER", Ok, "nothing to do";
    /// The same person was on both auth clients: one reference stays.
    UserMerged, "USER_MERGED", Ok, "nothing to do; the reference that stays has the e-mail address and mobile number to check";
    /// The auth client went with its device when the cluster ended.
    MovedToDevice, "MOVED_TO_DEVICE", Ok, "nothing to do";
    /// More would be removed than may go in one sync, so it is held; everything else of the sync was done.
    RemovalHeld, "REMOVAL_HELD", FailedPrecondition, "if it is to go, sync the same again with confirm_token, or let an admin approve the held removal; if not, list it again";
    /// The device or VDOM is banned, and that is kept.
    BanKept, "BAN_KEPT", Ok, "nothing to do; undelete it first if its ban is to end";
    /// A confirmation is of other removals than the sync asks for; these are held.
    ConfirmTokenMismatch, "CONFIRM_TOKEN_MISMATCH", FailedPrecondition, "look at what is held now, and confirm that with the confirm_token of this answer";
    /// An admin decided that what the device asks to remove stays.
    RemovalRejected, "REMOVAL_REJECTED", FailedPrecondition, "list it again on the device; or let an admin approve the held removal after all, or delete it by name";
    /// There never was such a held removal, or it is long gone.
    HeldRemovalUnknown, "HELD_REMOVAL_UNKNOWN", NotFound, "check the name; list the held removals with show_deleted";
    /// It was decided, withdrawn or has expired.
    HeldRemovalClosed, "HELD_REMOVAL_CLOSED", FailedPrecondition, "read the held removal to see what became of it; a new sync of the device asks anew";
    /// It was so decided before this call.
    AlreadyDecided, "ALREADY_DECIDED", Ok, "nothing to do";
    /// It is in use.
    AlreadyActive, "ALREADY_ACTIVE", Ok, "nothing to do";
    /// The device is not deleted.
    DeviceActive, "DEVICE_ACTIVE", FailedPrecondition, "delete the device first";
    /// The device of an auth client is deleted.
    DeviceDeleted, "DEVICE_DELETED", FailedPrecondition, "undelete the device first";
    /// It was deleted longer ago than the retention time, so nothing of it can be restored.
    RetentionEnded, "RETENTION_ENDED", FailedPrecondition, "let the device register anew; a longer retention_days in the settings holds for later deletions";
    /// No such realm was ever made.
    RealmUnknown, "REALM_UNKNOWN", NotFound, "check the name; list the realms, deleted ones too";
    /// Another realm has this name, or had it before it was deleted.
    RealmNameTaken, "REALM_NAME_TAKEN", AlreadyExists, "choose another name; a deleted realm of this name comes back with UndeleteRealm";
    /// The realm "default" always exists.
    RealmDefault, "REALM_DEFAULT", FailedPrecondition, "leave the realm \"default\" as it is; it can be empty, and it can have a quota";
    /// Auth clients or users are in the realm.
    RealmNotEmpty, "REALM_NOT_EMPTY", FailedPrecondition, "move its auth clients to another realm with MoveAuthClients, or delete them";
    /// The realm is deleted.
    RealmDeleted, "REALM_DELETED", FailedPrecondition, "bring the realm back with UndeleteRealm, or name another one";
    /// In multi-realm mode no users come to an auth client in the realm "default".
    RealmRequired, "REALM_REQUIRED", FailedPrecondition, "an admin must move the auth client to a realm of its own with MoveAuthClients, or turn multi_realm_mode off";
    /// The realm has as many users as its quota allows.
    RealmQuotaExceeded, "REALM_QUOTA_EXCEEDED", ResourceExhausted, "an admin must raise user_quota of the realm, or delete users of it; disabled users count";
    /// The register as a whole has as many users as its quota allows.
    UserQuotaExceeded, "USER_QUOTA_EXCEEDED", ResourceExhausted, "an admin must raise user_quota in the settings, or delete users; disabled users count";
    /// What is left of the quota of the register is allocated to other realms.
    QuotaAllocatedElsewhere, "QUOTA_ALLOCATED_ELSEWHERE", ResourceExhausted, "an admin must lower user_quota of the realms that do not use theirs, give this realm one of its own, raise user_quota in the settings, or turn share_quota on";
    /// A quota is now below what is in use.
    QuotaBelowUse, "QUOTA_BELOW_USE", Ok, "nobody is removed, and no user can be added until enough are deleted";
    /// The realms are promised more users than the register may have.
    QuotaOverallocated, "QUOTA_OVERALLOCATED", Ok, "lower user_quota of some realms, or raise user_quota in the settings: until then whoever adds users first has them";
    /// A setting cannot change while there are users.
    SettingLocked, "SETTING_LOCKED", FailedPrecondition, "change fold_usernames only while the register has no users: it decides which of them are the same; users who were deleted before return under the old value only";
    /// The auth client is deleted.
    AuthClientDeleted, "AUTH_CLIENT_DELETED", FailedPrecondition, "bring the auth client back first: with UndeleteAuthClient, or with the next sync of its device";
    /// There never was such a user.
    UserUnknown, "USER_UNKNOWN", NotFound, "check the name; list the users";
    /// Two users of the same name became one.
    UsersMerged, "USERS_MERGED", Ok, "check that both names are the same person; if not, rename one of them on its device before the move";
    /// A user stays in its realm for other auth clients, and is in the new realm as well.
    UserSplit, "USER_SPLIT", Ok, "move the other auth clients of the user too if it is to be one person";
    /// The user is gone here, and the devices are not told.
    UserMayReturn, "USER_MAY_RETURN", Ok, "remove the user on its devices too: one that still has it brings it back with its next sync";
    /// A user came without an e-mail address, and would never get its activation code.
    UserEmailMissing, "USER_EMAIL_MISSING", InvalidArgument, "give the user an e-mail address on the device: set email-to, or fill in the mail attribute of the directory";
    /// A name of a user is not what its description allows.
    UsernameMalformed, "USERNAME_MALFORMED", InvalidArgument, "send the name as printable text of 1 to 80 characters, without blanks around it";
    /// An e-mail address of a user is none.
    UserEmailMalformed, "USER_EMAIL_MALFORMED", InvalidArgument, "send an e-mail address of at most 80 characters, as in alice@example.com";
    /// A mobile number of a user is none.
    UserMobileMalformed, "USER_MOBILE_MALFORMED", InvalidArgument, "send the number in the form of E.164, as in +14080123456, or leave it empty";
    /// The same name is there in another letter case.
    UsernameCollision, "USERNAME_COLLISION", AlreadyExists, "write the name in the same letter case everywhere, or give one of the users another name: they count as one person";
    /// A call does not say which auth client it is about.
    AuthClientMissing, "AUTH_CLIENT_MISSING", InvalidArgument, "name the auth client: forti_product with serial_number and vdom";
    /// A channel that does not begin with a hello, or that has a second one.
    ChannelHelloRequired, "CHANNEL_HELLO_REQUIRED", InvalidArgument, "send hello as the first message of a channel, within 10 seconds, and only once";
    /// Nothing was heard on a channel for two and a half heartbeat intervals.
    ChannelSilent, "CHANNEL_SILENT", DeadlineExceeded, "send a heartbeat whenever the heartbeat_interval of the welcome has passed; then open a new channel";
    /// A newer channel of the same device is open.
    ChannelSuperseded, "CHANNEL_SUPERSEDED", Aborted, "nothing to do if the device opened a new channel itself; else two boxes share a serial number: take one of them out of service";
    /// The device has no open channel.
    DeviceOffline, "DEVICE_OFFLINE", FailedPrecondition, "wait until the device is online (GetDevice shows it), or run execute fortitoken-cloud update on the device";
    /// The channel of the device cannot do what is asked.
    ChannelFeatureMissing, "CHANNEL_FEATURE_MISSING", FailedPrecondition, "update the firmware of the device; until then act on the device itself";
    /// The clock of the device is off by more than five seconds.
    ClockSkewed, "CLOCK_SKEWED", Ok, "set the clock of the device by NTP: tokens that go by time fail when it is off";
    /// A device sent more debug lines than it may, or lines that are malformed.
    DebugLinesLost, "DEBUG_LINES_LOST", Ok, "ask for fewer components or levels (SetDeviceDebug)";
    /// A sync of users of the same auth client runs.
    SyncInProgress, "SYNC_IN_PROGRESS", Aborted, "wait for the sync that runs (its operation id is in the details), or watch it in the debug feed; then sync again";
    /// The messages of a sync of users came in another order than begin, chunks, end.
    SyncOutOfOrder, "SYNC_OUT_OF_ORDER", InvalidArgument, "send begin first and once, then chunks, then end; nothing was done";
    /// Nothing came on the stream of a sync, or nothing was taken from it, for too long.
    SyncStalled, "SYNC_STALLED", DeadlineExceeded, "send the next chunk within 30 seconds and all of them within 10 minutes; nothing was done, so begin again";
    /// A sync lists more users than one auth client may have.
    UserListTooLong, "USER_LIST_TOO_LONG", InvalidArgument, "list at most 100,000 users of one auth client";
    /// A list names a user twice.
    UserDuplicate, "USER_DUPLICATE", InvalidArgument, "list each user once: the first one counts";
    /// A sync of some kinds of users lists one of another kind.
    UserKindNotSynced, "USER_KIND_NOT_SYNCED", InvalidArgument, "list users of the kinds in begin only, or begin a sync of all kinds";
    /// The device that shall replace another one has users of its own.
    ReplacementHasUsers, "REPLACEMENT_HAS_USERS", FailedPrecondition, "delete its auth clients first, or choose a box without users";
    /// Another box with the same serial number and another key is in use.
    CloneSuspected, "CLONE_SUSPECTED", FailedPrecondition, "an admin must look at both boxes and pick the right key with ResolveCloneCase";
    /// The device calls with a new key, after its old one had been silent.
    KeyChanged, "KEY_CHANGED", Ok, "nothing to do if the device has a new certificate; else look for the box that has it";
    /// An admin picked the key of another box with this serial number.
    KeyBanned, "KEY_BANNED", PermissionDenied, "an admin may pick this key with ResolveCloneCase; a cloned VM needs a serial number of its own";
    /// No second key ever claimed this serial number.
    CloneCaseUnknown, "CLONE_CASE_UNKNOWN", NotFound, "list the clone cases";
    /// No box ever called with this key.
    CloneKeyUnknown, "CLONE_KEY_UNKNOWN", NotFound, "pick one of the keys that the case shows";
    /// It was removed, and may return.
    Evicted, "EVICTED", Ok, "let the device report it: it comes back under its old id; or undelete it, with its users";
    /// A license number is not 8 to 32 characters of A-Z and 0-9.
    LicenseNumberMalformed, "LICENSE_NUMBER_MALFORMED", InvalidArgument, "send the license number as it was issued: 8 to 32 characters of A-Z and 0-9";
    /// No such licence was imported.
    LicenseUnknown, "LICENSE_UNKNOWN", NotFound, "check the number, or let an admin import the licence";
    /// Another device has the licence.
    LicenseInUse, "LICENSE_IN_USE", FailedPrecondition, "use another licence, or let an admin free this one with ReleaseLicense";
    /// The licence is for another model.
    LicenseModelMismatch, "LICENSE_MODEL_MISMATCH", FailedPrecondition, "use a licence for the model of the device, or let an admin import this one for it";
    /// A Web app shows a client id and a secret that do not belong together, or whose time is over.
    SecretInvalid, "SECRET_INVALID", Unauthenticated, "send the client id and the secret of a Web app that is in use; an admin may give it a new secret with RotateWebAppSecret";
    /// No such Web app was ever made.
    WebAppUnknown, "WEB_APP_UNKNOWN", NotFound, "check the name; list the Web apps";
    /// Another Web app of the realm has the name.
    WebAppNameTaken, "WEB_APP_NAME_TAKEN", AlreadyExists, "choose another name, or leave it out";
    /// The Web app is deleted.
    WebAppDeleted, "WEB_APP_DELETED", FailedPrecondition, "bring it back with UndeleteWebApp first";
    /// An auth client that is a Web app is deleted and brought back as such.
    AuthClientIsWebApp, "AUTH_CLIENT_IS_WEB_APP", FailedPrecondition, "use DeleteWebApp or UndeleteWebApp of WebAppService";
    /// A release code is wrong, used, expired or void, or there is no such device.
    ReleaseCodeInvalid, "RELEASE_CODE_INVALID", FailedPrecondition, "check the serial number and the code, or ask an admin of the realm of the device for a new code with CreateReleaseCode";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn reason_codes_are_unique_and_each_has_a_fix() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{reason}");
            assert!(!reason.fix().is_empty() && !reason.fix().ends_with('.'), "{reason}");
        }
    }

    #[test]
    fn the_page_of_reasons_has_every_one_with_its_fix() {
        let page = include_str!("../docs/reasons.md");
        for reason in Reason::ALL {
            assert!(page.contains(&format!("\n### {reason}\n")), "{reason}");
            assert!(page.contains(&format!("\nFix: {}.\n", reason.fix())), "{reason}");
        }
        assert_eq!(page.matches("\n### ").count(), Reason::ALL.len());
    }
}
