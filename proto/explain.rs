//! The requests of `ExplainService` and `AuditService`, parsed.

use crate::admin::{AUDIT, AuthClientName, Query, device_name, user_name};
use crate::{Check, Invalid, Reason, SerialNumber, Timestamp, Username, v1};

/// What to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A device.
    Device(SerialNumber),
    /// An auth client.
    AuthClient(AuthClientName),
    /// A user on an auth client.
    User(AuthClientName, Username),
    /// A person, by id.
    Person(i64),
}

impl TryFrom<&v1::ExplainRequest> for Subject {
    type Error = Invalid;

    fn try_from(wire: &v1::ExplainRequest) -> Result<Self, Invalid> {
        let is_client = wire.name.starts_with("authClients/");
        if !wire.username.is_empty() && !is_client {
            let description = "goes with the name of an auth client only";
            return Err(Invalid::field("username", Reason::FieldsConflict, description));
        }
        if is_client {
            let client = AuthClientName::parse(&wire.name)?;
            if wire.username.is_empty() {
                return Ok(Self::AuthClient(client));
            }
            let username = wire.username.parse();
            let username: Username =
                username.map_err(|error| Invalid::field("username", Reason::FieldInvalid, error))?;
            return Ok(Self::User(client, username));
        }
        if wire.name.starts_with("users/") {
            return user_name(&wire.name).map(Self::Person);
        }
        device_name(&wire.name).map(Self::Device).map_err(|_| {
            let description =
                "must be \"devices/SERIAL\", \"authClients/ID\", \"authClients/SERIAL-VDOM\" or \"users/ID\"";
            Invalid::field("name", Reason::NameMalformed, description)
        })
    }
}

/// From where to where to look back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From the creation to now.
    Everything,
    /// From a moment to now.
    AsOf(Timestamp),
    /// From the end of one generation to the end of another, or to now.
    Generations(i64, Option<i64>),
}

/// `ExplainService.GetHistory`, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The auth client.
    pub name: AuthClientName,
    /// From where to where.
    pub span: Span,
}

impl TryFrom<&v1::GetHistoryRequest> for HistoryRequest {
    type Error = Invalid;

    fn try_from(wire: &v1::GetHistoryRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let name = AuthClientName::parse(&wire.name)?;
        let as_of = wire
            .as_of_time
            .as_ref()
            .and_then(|time| check.take("as_of_time", Reason::FieldInvalid, Timestamp::try_from(time)));
        let (from, to) = (wire.from_generation, wire.to_generation);
        if wire.as_of_time.is_some() && from.is_some() {
            check.refuse("from_generation", Reason::FieldsConflict, "conflicts with as_of_time: give only one of them");
        }
        if from.is_some_and(i64::is_negative) {
            check.refuse("from_generation", Reason::FieldInvalid, "must not be negative");
        }
        match (from, to) {
            (None, Some(_)) => {
                check.refuse("to_generation", Reason::FieldsConflict, "goes with from_generation only");
            }
            (Some(from), Some(to)) if to < from => {
                check.refuse("to_generation", Reason::FieldsConflict, "must not be before from_generation");
            }
            _ => {}
        }
        if !check.is_clean() {
            return Err(check.invalid());
        }
        let span = match (as_of, from) {
            (Some(at), _) => Span::AsOf(at),
            (None, Some(from)) => Span::Generations(from, to),
            (None, None) => Span::Everything,
        };
        Ok(Self { name, span })
    }
}

/// `AuditService.ListAuditEntries`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// What every list has.
    pub query: Query,
    /// Only at or after this time.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
}

impl TryFrom<&v1::ListAuditEntriesRequest> for AuditQuery {
    type Error = Invalid;

    fn try_from(wire: &v1::ListAuditEntriesRequest) -> Result<Self, Invalid> {
        let v1::ListAuditEntriesRequest { page_size, page_token, filter, order_by, since_time, until_time } = wire;
        let order = if order_by.is_empty() { "id desc" } else { order_by };
        // An entry is never deleted.
        let query = Query::parse(AUDIT, *page_size, page_token, filter, order, true)?;
        let mut check = Check::default();
        let mut time = |field: &str, wire: &Option<prost_types::Timestamp>| {
            wire.as_ref().and_then(|time| check.take(field, Reason::FieldInvalid, Timestamp::try_from(time)))
        };
        let (since, until) = (time("since_time", since_time), time("until_time", until_time));
        if let (Some(since), Some(until)) = (since, until)
            && until < since
        {
            check.refuse("until_time", Reason::FieldsConflict, "conflicts with since_time: it must not be earlier");
        }
        if check.is_clean() { Ok(Self { query, since, until }) } else { Err(check.invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_to_be_explained() {
        let parse = |name: &str, username: &str| {
            let wire = v1::ExplainRequest { name: name.to_owned(), username: username.to_owned() };
            Subject::try_from(&wire).map_err(|invalid| invalid.reason())
        };
        assert!(matches!(parse("devices/FG101FTK19002788", ""), Ok(Subject::Device(_))));
        assert!(matches!(parse("authClients/FG101FTK19002788-root", ""), Ok(Subject::AuthClient(_))));
        assert!(matches!(parse("authClients/7", "jdoe"), Ok(Subject::User(AuthClientName::Id(7), _))));
        assert_eq!(parse("users/7", ""), Ok(Subject::Person(7)));
        assert_eq!(parse("users/7", "jdoe"), Err(Reason::FieldsConflict));
        assert_eq!(parse("realms/7", ""), Err(Reason::NameMalformed));
    }

    #[test]
    fn a_span_is_a_moment_or_two_generations() {
        let parse = |as_of_time, from_generation, to_generation| {
            let name = "authClients/7".to_owned();
            HistoryRequest::try_from(&v1::GetHistoryRequest { name, as_of_time, from_generation, to_generation })
                .map(|request| request.span)
                .map_err(|invalid| invalid.reason())
        };
        let time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        assert_eq!(parse(None, None, None), Ok(Span::Everything));
        assert_eq!(parse(time, None, None), Ok(Span::AsOf(Timestamp::from_micros(1_000_000))));
        assert_eq!(parse(None, Some(1), Some(3)), Ok(Span::Generations(1, Some(3))));
        for (time, from, to) in [(time, Some(1), None), (None, None, Some(1)), (None, Some(3), Some(1))] {
            assert_eq!(parse(time, from, to), Err(Reason::FieldsConflict));
        }
        assert_eq!(parse(None, Some(-1), None), Err(Reason::FieldInvalid));
    }
}
