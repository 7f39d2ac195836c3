//! The requests of the admin services, parsed: resource names, filters, orders and page tokens.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};

use crate::{Check, Invalid, Pattern, Reason, SerialNumber, VdomName};

/// How many items a page has if the caller does not say.
const DEFAULT_PAGE: u32 = 50;
/// How many items a page has at most.
const MAX_PAGE: u32 = 1_000;
/// How many characters a filter has at most.
const MAX_FILTER: usize = 1_024;

/// The name of an auth client: by id, or as people know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthClientName {
    /// `authClients/ID`.
    Id(i64),
    /// `authClients/SERIAL-VDOM`.
    Vdom(SerialNumber, VdomName),
}

impl AuthClientName {
    /// Reads the field `name` of a request.
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        let malformed = || {
            let description =
                "must be \"authClients/ID\" or \"authClients/SERIAL-VDOM\", as in authClients/FG101FTK19002788-root";
            Invalid::field("name", Reason::NameMalformed, description)
        };
        let name = name.strip_prefix("authClients/").ok_or_else(malformed)?;
        if let Ok(id) = name.parse::<i64>() {
            return Ok(Self::Id(id));
        }
        let (serial, vdom) = name.split_once('-').ok_or_else(malformed)?;
        match (serial.parse(), vdom.parse()) {
            (Ok(serial), Ok(vdom)) => Ok(Self::Vdom(serial, vdom)),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for AuthClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "authClients/{id}"),
            Self::Vdom(serial, vdom) => write!(f, "authClients/{serial}-{vdom}"),
        }
    }
}

/// Reads the field `name` of a request about a device: `devices/SERIAL`.
pub fn device_name(name: &str) -> Result<SerialNumber, Invalid> {
    name.strip_prefix("devices/").and_then(|serial| serial.parse().ok()).ok_or_else(|| {
        Invalid::field("name", Reason::NameMalformed, "must be \"devices/SERIAL\", as in devices/FG101FTK19002788")
    })
}

/// Reads the field `name` of a request about a user: `users/ID`.
pub fn user_name(name: &str) -> Result<i64, Invalid> {
    name.strip_prefix("users/")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| Invalid::field("name", Reason::NameMalformed, "must be \"users/ID\", as in users/1042"))
}

/// What can be listed: the fields of its filter, and the keys of its order besides the id.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// Fields that a filter may compare.
    pub filter_fields: &'static [&'static str],
    /// Keys to order by, besides "id".
    pub order_keys: &'static [&'static str],
}

/// The list of auth clients.
pub const AUTH_CLIENTS: Listing =
    Listing { filter_fields: &["serial_number", "vdom", "realm"], order_keys: &["serial_number", "vdom"] };
/// The list of devices.
pub const DEVICES: Listing =
    Listing { filter_fields: &["serial_number", "model", "hostname", "firmware"], order_keys: &["serial_number"] };
/// The list of audit entries.
pub const AUDIT: Listing = Listing {
    filter_fields: &["serial_number", "vdom", "user", "name", "operation_id", "caller", "method"],
    order_keys: &[],
};
/// The list of devices that have, or had, a channel.
pub const PRESENCE: Listing =
    Listing { filter_fields: &["serial_number", "online", "relay", "address"], order_keys: &[] };

/// The lobby.
pub const LOBBY: Listing = Listing { filter_fields: &["serial_number", "hostname"], order_keys: &["serial_number"] };

/// Reads the field `name` of a request about an entry of the lobby: `lobby/SERIAL`.
pub fn lobby_name(name: &str) -> Result<SerialNumber, Invalid> {
    name.strip_prefix("lobby/").and_then(|serial| serial.parse().ok()).ok_or_else(|| {
        Invalid::field("name", Reason::NameMalformed, "must be \"lobby/SERIAL\", as in lobby/FG101FTK19002788")
    })
}

/// The list of serial numbers that several keys claim.
pub const CLONE_CASES: Listing = Listing { filter_fields: &["serial_number"], order_keys: &["serial_number"] };
/// The list of admin tokens.
pub const ADMIN_TOKENS: Listing = Listing { filter_fields: &["display_name"], order_keys: &["display_name"] };
/// The list of Web apps.
pub const WEB_APPS: Listing =
    Listing { filter_fields: &["display_name", "client_id", "realm"], order_keys: &["display_name"] };
/// The list of licences.
pub const LICENSES: Listing =
    Listing { filter_fields: &["number", "model", "realm", "serial_number"], order_keys: &["number"] };
/// The list of clusters.
pub const CLUSTERS: Listing =
    Listing { filter_fields: &["display_name", "serial_number"], order_keys: &["display_name"] };

/// The list of held removals.
pub const HELD_REMOVALS: Listing =
    Listing { filter_fields: &["serial_number", "vdom", "requested_by", "decided_by"], order_keys: &["serial_number"] };

/// Reads the field `name` of a request about a held removal: `heldRemovals/ID`.
pub fn held_removal_name(name: &str) -> Result<i64, Invalid> {
    let id = name.strip_prefix("heldRemovals/").and_then(|id| id.parse().ok());
    id.ok_or_else(|| Invalid::field("name", Reason::NameMalformed, "must be \"heldRemovals/ID\", as the lists show it"))
}

/// The list of realms.
pub const REALMS: Listing =
    Listing { filter_fields: &["display_name", "description"], order_keys: &["display_name", "users", "auth_clients"] };
/// The list of users.
pub const USERS: Listing =
    Listing { filter_fields: &["username", "realm", "email", "auth_client"], order_keys: &["username", "realm"] };

/// One comparison of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The field: one of those of the listing.
    pub field: &'static str,
    /// What its value must match.
    pub pattern: Pattern,
}

/// The order of a list; the id decides between equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The key: one of those of the listing, or `None` for the id alone.
    pub key: Option<&'static str>,
    /// Largest first.
    pub descending: bool,
}

/// The last item of a page: the next page starts behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its id.
    pub id: i64,
    /// The value of its order key; empty if the order is by id.
    pub key: String,
}

/// A list request, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// How many items at most.
    pub page_size: u32,
    /// Where the page before ended.
    pub after: Option<Position>,
    /// Comparisons that must all hold.
    pub filter: Vec<Comparison>,
    /// The order.
    pub order: Order,
    /// Whether deleted items are listed too.
    pub show_deleted: bool,
    /// Only what is in these realms, by id; `None` for everything. It comes from the role of the caller, never from the request.
    pub realms: Option<Vec<i64>>,
    /// What ties a page token to the other fields of the request.
    fingerprint: [u8; 8],
}

impl Query {
    /// Reads the fields that every list request has.
    pub fn parse(
        listing: Listing,
        page_size: i32,
        page_token: &str,
        filter: &str,
        order_by: &str,
        show_deleted: bool,
    ) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let size =
            check.take("page_size", Reason::FieldInvalid, u32::try_from(page_size).map_err(|_| "must not be negative"));
        let comparisons = check.take("filter", Reason::FilterMalformed, parse_filter(listing, filter));
        let order = check.take("order_by", Reason::FieldInvalid, parse_order(listing, order_by));
        let fingerprint = fingerprint(listing, filter, order_by, show_deleted);
        let after = check.take("page_token", Reason::PageTokenMalformed, parse_token(page_token, fingerprint));
        match (size, comparisons, order, after) {
            (Some(size), Some(filter), Some(order), Some(after)) => {
                let page_size = if size == 0 { DEFAULT_PAGE } else { size.min(MAX_PAGE) };
                Ok(Self { page_size, after, filter, order, show_deleted, realms: None, fingerprint })
            }
            _ => Err(check.invalid()),
        }
    }

    /// The same query, for what is in these realms only; `None` for everything.
    #[must_use]
    pub fn within(self, realms: Option<Vec<i64>>) -> Self {
        Self { realms, ..self }
    }

    /// The page token for what comes behind `last`.
    #[must_use]
    pub fn token(&self, last: &Position) -> String {
        let mut bytes = self.fingerprint.to_vec();
        bytes.extend(last.id.to_be_bytes());
        bytes.extend(last.key.as_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }
}

fn fingerprint(listing: Listing, filter: &str, order_by: &str, show_deleted: bool) -> [u8; 8] {
    let mut hasher = Sha256::new();
    for text in listing.filter_fields.iter().copied().chain([filter, order_by]) {
        hasher.update(text);
        hasher.update([0]);
    }
    hasher.update([u8::from(show_deleted)]);
    let hash: [u8; 32] = hasher.finalize().into();
    let mut short = [0; 8];
    short.copy_from_slice(&hash[..8]);
    short
}

fn parse_token(token: &str, fingerprint: [u8; 8]) -> Result<Option<Position>, &'static str> {
    const MALFORMED: &str = "is not a page token of this list with this filter, order and show_deleted";
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| MALFORMED)?;
    let rest = bytes.strip_prefix(&fingerprint).ok_or(MALFORMED)?;
    let (id, key) = rest.split_first_chunk::<8>().ok_or(MALFORMED)?;
    let key = str::from_utf8(key).map_err(|_| MALFORMED)?.to_owned();
    Ok(Some(Position { id: i64::from_be_bytes(*id), key }))
}

fn parse_order(listing: Listing, order_by: &str) -> Result<Order, String> {
    let mut words = order_by.split_whitespace();
    let key = words.next().unwrap_or("id");
    let descending = match (words.next(), words.next()) {
        (None | Some("asc"), None) => Some(false),
        (Some("desc"), None) => Some(true),
        _ => None,
    };
    let known = listing.order_keys.iter().copied().find(|known| *known == key);
    match descending {
        Some(descending) if key == "id" || known.is_some() => Ok(Order { key: known, descending }),
        _ => Err(format!(
            "must be one of id, {}, with \" desc\" behind it for descending",
            listing.order_keys.join(", ")
        )),
    }
}

fn parse_filter(listing: Listing, filter: &str) -> Result<Vec<Comparison>, String> {
    if filter.chars().nth(MAX_FILTER).is_some() {
        return Err(format!("must have at most {MAX_FILTER} characters"));
    }
    let malformed = || {
        let fields = listing.filter_fields.join(", ");
        format!("must be FIELD = \"VALUE\", several joined by AND; the fields are {fields}")
    };
    let mut comparisons = Vec::new();
    let mut rest = filter.trim();
    while !rest.is_empty() {
        if !comparisons.is_empty() {
            rest = rest.strip_prefix("AND").filter(|rest| rest.starts_with(' ')).ok_or_else(malformed)?.trim_start();
        }
        let (field, value) = rest.split_once('=').ok_or_else(malformed)?;
        let field = listing.filter_fields.iter().find(|known| **known == field.trim()).ok_or_else(malformed)?;
        let (value, behind) =
            value.trim_start().strip_prefix('"').and_then(|value| value.split_once('"')).ok_or_else(malformed)?;
        let value = if *field == "serial_number" { value.to_ascii_uppercase() } else { value.to_owned() };
        comparisons.push(Comparison { field, pattern: Pattern::new(&value) });
        rest = behind.trim_start();
    }
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(token: &str, filter: &str, order_by: &str) -> Result<Query, Invalid> {
        Query::parse(AUTH_CLIENTS, 0, token, filter, order_by, false)
    }

    #[test]
    fn an_auth_client_is_named_by_id_or_by_what_people_know() {
        assert_eq!(AuthClientName::parse("authClients/42").unwrap(), AuthClientName::Id(42));
        let named = AuthClientName::parse("authClients/FG101FTK19002788-#FOS_Administrator").unwrap();
        let serial = "FG101FTK19002788".parse().unwrap();
        assert_eq!(named, AuthClientName::Vdom(serial, VdomName::ADMINISTRATORS));
        for wrong in ["", "42", "authClients/", "authClients/FG101FTK19002788", "devices/FG101FTK19002788"] {
            assert_eq!(AuthClientName::parse(wrong).unwrap_err().reason(), Reason::NameMalformed, "{wrong}");
        }
    }

    #[test]
    fn a_filter_compares_fields_of_its_listing() {
        let query = query("", r#"serial_number = "fg101f*" AND vdom="a AND b""#, "").unwrap();
        let pattern = |field, pattern| Comparison { field, pattern };
        assert_eq!(
            query.filter,
            [
                pattern("serial_number", Pattern::Prefix("FG101F".to_owned())),
                pattern("vdom", Pattern::Exact("a AND b".to_owned()))
            ]
        );
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        for wrong in
            ["vdom", "vdom = root", r#"secret = "x""#, r#"vdom = "a" vdom = "b""#, r#"vdom = "a" OR vdom = "b""#]
        {
            assert_eq!(query("", wrong, "").unwrap_err().reason(), Reason::FilterMalformed, "{wrong}");
        }
    }

    #[test]
    fn a_page_token_belongs_to_its_query() {
        let position = Position { id: 7, key: "FG".to_owned() };
        let first = query("", r#"vdom = "root""#, "serial_number").unwrap();
        let token = first.token(&position);
        assert_eq!(query(&token, r#"vdom = "root""#, "serial_number").unwrap().after, Some(position));
        for (token, order) in [(token.as_str(), "vdom"), ("AAAA", "serial_number"), ("?", "serial_number")] {
            let reason = query(token, r#"vdom = "root""#, order).unwrap_err().reason();
            assert_eq!(reason, Reason::PageTokenMalformed);
        }
    }

    #[test]
    fn an_unknown_order_is_refused_with_the_known_ones() {
        let text = query("", "", "realm").unwrap_err().to_string();
        assert!(text.contains("id, serial_number, vdom"), "{text}");
    }
}
