//! The tables that are modelled (domain sheet, sections 1.5, 3.1 and 3.6).

use crate::conf::schema::Kind::{Address, Choice, List, Number, Row, Secret, Text, Vdoms};
use crate::conf::schema::{Attribute, Kind, Scope, Table};

const SWITCH: Kind = Choice(&["enable", "disable"]);

const fn setting(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Attribute {
    Attribute { name, kind, default, help }
}

const TWO_FACTOR: Attribute = setting(
    "two-factor",
    Choice(&["disable", "fortitoken", "fortitoken-cloud", "email", "sms"]),
    "disable",
    "Enable/disable two-factor authentication.",
);
const TWO_FACTOR_AUTHENTICATION: Attribute = setting(
    "two-factor-authentication",
    Choice(&["fortitoken", "email", "sms"]),
    "",
    "Authentication method by FortiToken Cloud.",
);
const TWO_FACTOR_NOTIFICATION: Attribute = setting(
    "two-factor-notification",
    Choice(&["email", "sms"]),
    "",
    "Notification method for user activation by FortiToken Cloud.",
);
const FORTITOKEN: Attribute = setting("fortitoken", Text(16), "", "Two-factor recipient's FortiToken serial number.");
const EMAIL_TO: Attribute = setting("email-to", Text(80), "", "Two-factor recipient's email address.");
const SMS_SERVER: Attribute = setting(
    "sms-server",
    Choice(&["fortiguard", "custom"]),
    "fortiguard",
    "Send SMS through FortiGuard or other external server.",
);
const SMS_PHONE: Attribute = setting("sms-phone", Text(16), "", "Two-factor recipient's mobile phone number.");

/// Every table that is modelled.
pub const TABLES: &[Table] = &[
    Table {
        path: "system global",
        scope: Scope::Global,
        rows: false,
        help: "Configure global attributes.",
        attributes: GLOBAL,
    },
    Table { path: "system ha", scope: Scope::Global, rows: false, help: "Configure HA.", attributes: HA },
    Table { path: "system admin", scope: Scope::Global, rows: true, help: "Configure admin users.", attributes: ADMIN },
    Table { path: "user local", scope: Scope::Vdom, rows: true, help: "Configure local users.", attributes: LOCAL },
    Table {
        path: "user ldap",
        scope: Scope::Vdom,
        rows: true,
        help: "Configure LDAP server entries.",
        attributes: LDAP,
    },
    Table { path: "user group", scope: Scope::Vdom, rows: true, help: "Configure user groups.", attributes: GROUP },
];

const GLOBAL: &[Attribute] = &[
    setting("admin-sport", Number(1, 65535), "443", "Administrative access port for HTTPS."),
    setting("admintimeout", Number(1, 480), "5", "Number of minutes before an idle administrator session times out."),
    setting("alias", Text(35), "", "Alias for your FortiGate unit."),
    setting("fortitoken-cloud", SWITCH, "enable", "Enable/disable FortiToken Cloud service."),
    setting("hostname", Text(35), "", "FortiGate unit's hostname."),
    setting("long-vdom-name", SWITCH, "disable", "Enable/disable long VDOM name support."),
    setting("timezone", Text(63), "", "Timezone database name."),
    setting(
        "vdom-mode",
        Choice(&["no-vdom", "multi-vdom"]),
        "no-vdom",
        "Enable/disable support for multiple virtual domains (VDOMs).",
    ),
];

const HA: &[Attribute] = &[
    setting("group-id", Number(0, 1023), "0", "HA group ID."),
    setting("group-name", Text(32), "", "Cluster group name."),
    setting("hbdev", List, "", "Heartbeat interfaces, each with its priority."),
    setting("mode", Choice(&["standalone", "a-a", "a-p"]), "standalone", "HA mode."),
    setting("monitor", List, "", "Interfaces to check for port monitoring (or link failure)."),
    setting(
        "override",
        SWITCH,
        "disable",
        "Enable and increase the priority of the unit that should always be primary.",
    ),
    setting("password", Secret, "", "Cluster password."),
    setting("priority", Number(0, 255), "128", "Increase the priority to select the primary unit."),
    setting("session-pickup", SWITCH, "disable", "Enable/disable session pickup."),
];

const ADMIN: &[Attribute] = &[
    setting("accprofile", Text(35), "", "Access profile for this administrator."),
    setting("comments", Text(255), "", "Comment."),
    EMAIL_TO,
    FORTITOKEN,
    setting("password", Secret, "", "Admin user password."),
    setting("remote-auth", SWITCH, "disable", "Enable/disable authentication using a remote server."),
    setting("remote-group", Text(35), "", "User group name used for remote auth."),
    SMS_PHONE,
    SMS_SERVER,
    setting(
        "trusthost1",
        Address,
        "",
        "Any IPv4 address or subnet address and netmask from which the administrator can connect.",
    ),
    TWO_FACTOR,
    TWO_FACTOR_AUTHENTICATION,
    TWO_FACTOR_NOTIFICATION,
    setting("vdom", Vdoms, "", "Virtual domain(s) that the administrator can access."),
    setting("wildcard", SWITCH, "disable", "Enable/disable wildcard RADIUS authentication."),
];

const LOCAL: &[Attribute] = &[
    setting("auth-concurrent-override", SWITCH, "disable", "Enable/disable overriding the policy-auth-concurrent."),
    setting(
        "authtimeout",
        Number(0, 1440),
        "0",
        "Time in minutes before the authentication timeout for a user is reached.",
    ),
    EMAIL_TO,
    FORTITOKEN,
    setting("ldap-server", Row("user ldap"), "", "Name of LDAP server with which the user must authenticate."),
    setting("passwd", Secret, "", "User's password."),
    setting("passwd-time", Text(32), "", "Time of the last password update."),
    setting("radius-server", Text(35), "", "Name of RADIUS server with which the user must authenticate."),
    SMS_PHONE,
    SMS_SERVER,
    setting(
        "status",
        SWITCH,
        "enable",
        "Enable/disable allowing the local user to authenticate with the FortiGate unit.",
    ),
    TWO_FACTOR,
    TWO_FACTOR_AUTHENTICATION,
    TWO_FACTOR_NOTIFICATION,
    setting("type", Choice(&["password", "radius", "tacacs+", "ldap", "saml"]), "password", "Authentication method."),
    setting(
        "username-sensitivity",
        SWITCH,
        "enable",
        "Enable/disable case and accent sensitivity when performing username matching.",
    ),
];

const LDAP: &[Attribute] = &[
    setting("cnid", Text(20), "cn", "Common name identifier for the LDAP server."),
    setting("dn", Text(511), "", "Distinguished name used to look up entries on the LDAP server."),
    setting("password", Secret, "", "Password for initial binding."),
    setting("port", Number(1, 65535), "389", "Port to be used for communication with the LDAP server."),
    setting("secure", Choice(&["disable", "starttls", "ldaps"]), "disable", "Port to be used for authentication."),
    setting("server", Text(63), "", "LDAP server CN domain name or IP."),
    setting(
        "two-factor",
        Choice(&["disable", "fortitoken-cloud"]),
        "disable",
        "Enable/disable two-factor authentication.",
    ),
    TWO_FACTOR_AUTHENTICATION,
    setting("two-factor-filter", Text(2047), "", "Filter used to synchronize users to FortiToken Cloud."),
    TWO_FACTOR_NOTIFICATION,
    setting("type", Choice(&["simple", "anonymous", "regular"]), "simple", "Authentication type for LDAP searches."),
    setting("username", Text(511), "", "Username (full DN) for initial binding."),
];

const GROUP: &[Attribute] = &[
    setting(
        "group-type",
        Choice(&["firewall", "fsso-service", "rsso", "guest"]),
        "firewall",
        "Set the group to be for firewall authentication, FSSO, RSSO, or guest users.",
    ),
    setting(
        "member",
        List,
        "",
        "Names of users, peers, LDAP servers, RADIUS servers or external idp servers to add to the user group.",
    ),
];
