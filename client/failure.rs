//! Why a call failed: on the way, or by an answer of the server.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use muster_proto::{Reason, printable};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::connect::{ConnectError, Connection};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke during the call.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// The server was reached and did not answer.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    NoAnswer(Duration),
    /// The server answered, with an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
}

/// The error that the server answered with; its texts are safe for terminals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// What the server says.
    pub message: String,
    /// Why, as a stable code; empty if the server gave none.
    pub reason: String,
    /// Every bad field, or condition that does not hold, and what is wrong with it.
    pub violations: Vec<(String, String)>,
    /// What to do about it; empty if nobody knows.
    pub fix: String,
    /// When a repetition may help.
    pub retry_after: Option<Duration>,
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| printable(&info.reason)).unwrap_or_default();
        let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
        let fields = fields.map(|violation| (printable(&violation.field), printable(&violation.description)));
        let conditions = details.precondition_failure().into_iter().flat_map(|failure| &failure.violations);
        let conditions = conditions.map(|violation| (printable(&violation.subject), printable(&violation.description)));
        let quotas = details.quota_failure().into_iter().flat_map(|failure| &failure.violations);
        let quotas = quotas.map(|violation| (printable(&violation.subject), printable(&violation.description)));
        let help = details.help().into_iter().flat_map(|help| &help.links);
        let help: Vec<_> = help.map(|link| printable(&link.description)).filter(|text| !text.is_empty()).collect();
        let known = || Reason::ALL.iter().find(|known| known.as_str() == reason).map_or("", |known| known.fix());
        let fix = if help.is_empty() { known().to_owned() } else { help.join("; ") };
        // The server ends its message with the fix, for clients that show nothing else; here the fix has its own line.
        let message = printable(status.message());
        let message = message.strip_suffix(&format!("; {fix}")).unwrap_or(&message).to_owned();
        Self {
            code: status.code(),
            message,
            violations: fields.chain(conditions).chain(quotas).collect(),
            fix,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            reason,
        }
    }
}

impl fmt::Display for Refusal {
    /// What the server says, and the reason code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

impl Refusal {
    /// Whether the server does not accept who calls, or what the caller may do.
    #[must_use]
    pub fn is_authorisation(&self) -> bool {
        matches!(self.code, Code::Unauthenticated | Code::PermissionDenied)
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let too_large = self.reason == Reason::MessageTooLarge.as_str();
        self.retry_after.is_some()
            || self.code == Code::Unavailable
            || (self.code == Code::ResourceExhausted && !too_large)
    }
}

impl CallError {
    /// What went wrong with a call on this connection.
    #[must_use]
    pub fn of(connection: &Connection, status: &Status) -> Self {
        if let Some(problem) = connection.tls_problem() {
            return Self::Connect(ConnectError::Tls(problem));
        }
        // A status with a source was made on this side, because the connection failed; one without came from the server.
        match status.source() {
            Some(source) => Self::Lost(printable(&innermost(source).to_string())),
            None => Self::Refused(Box::new(status.into())),
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_passing(),
            Self::Lost(_) | Self::NoAnswer(_) => true,
            Self::Refused(refusal) => refusal.is_passing(),
        }
    }

    /// How long the server asks to wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn every_detail_of_an_error_is_kept_and_made_safe() {
        let mut details = ErrorDetails::new();
        details.set_error_info("VDOM_NAME_MALFORMED", "muster", []);
        details.add_bad_request_violation("full_list.vdoms[1].name", "must \u{1b}[2J not be empty");
        details.add_bad_request_violation("info.model", "must have at most 64 characters");
        details.add_precondition_failure_violation("T", "device", "is locked");
        details.add_help_link("send good names", "");
        details.set_retry_info(Some(Duration::from_secs(2)));
        let status = Status::with_error_details(Code::InvalidArgument, "two \u{7} fields; send good names", details);
        let refusal = Refusal::from(&status);
        assert_eq!(refusal.message, "two \\u{7} fields");
        assert_eq!(refusal.reason, "VDOM_NAME_MALFORMED");
        assert_eq!(refusal.violations.len(), 3);
        assert_eq!(refusal.violations[0].1, "must \\u{1b}[2J not be empty");
        assert_eq!(refusal.fix, "send good names");
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_known_reason_has_its_fix_even_if_the_server_sends_none() {
        let mut details = ErrorDetails::new();
        details.set_error_info("IDENTITY_MISMATCH", "muster", []);
        let status = Status::with_error_details(Code::PermissionDenied, "no", details);
        assert_eq!(Refusal::from(&status).fix, Reason::IdentityMismatch.fix());
        assert_eq!(Refusal::from(&Status::internal("no")).fix, "");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let passing = |code, reason: Reason| {
            let mut details = ErrorDetails::new();
            details.set_error_info(reason.as_str(), "muster", []);
            Refusal::from(&Status::with_error_details(code, "", details)).is_passing()
        };
        assert!(passing(Code::Unavailable, Reason::ShuttingDown));
        assert!(passing(Code::ResourceExhausted, Reason::QueueFull));
        assert!(!passing(Code::ResourceExhausted, Reason::MessageTooLarge));
        assert!(!passing(Code::PermissionDenied, Reason::IdentityMismatch));
    }
}
