//! Failed calls, and what holds for every one of them.

use std::collections::HashMap;
use std::time::Duration;

use muster_proto::{Reason, printable};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

/// A call that the server refused, or failed to do.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What the caller is told in words.
    pub message: String,
    /// The fields that are named as bad.
    pub fields: Vec<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The operation.
    pub operation: String,
    /// What a caller may act on, by name.
    pub details: HashMap<String, String>,
}

impl Refusal {
    /// Reads what a call failed with, and checks the promises of `common.proto`: a known reason with its own code, help that names the
    /// fix, every bad field with a description, a delay where a retry helps, an operation id, and text that is safe for terminals.
    pub fn of<T>(result: Result<Response<T>, Status>) -> Self {
        match result {
            Ok(_) => panic!("this call should have been refused"),
            Err(status) => Self::read(&status),
        }
    }

    /// The same of the status at the end of a stream.
    #[must_use]
    pub fn read(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "muster");
        let reason = Reason::ALL.iter().copied().find(|reason| reason.as_str() == info.reason);
        let reason = reason.unwrap_or_else(|| panic!("{} is no stable reason", info.reason));
        assert_eq!(status.code(), reason.code(), "{status:?}");

        let help = &details.help().expect("every refusal has help").links;
        assert!(
            help.iter().any(|link| link.description == reason.fix() && link.url.starts_with("docs/reasons.md#")),
            "{help:?}"
        );
        assert!(status.message().ends_with(reason.fix()), "{status:?}");
        assert_eq!(status.message(), printable(status.message()));

        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        for violation in &violations {
            assert!(!violation.field.is_empty() && !violation.description.is_empty(), "{violation:?}");
            assert_eq!(violation.description, printable(&violation.description));
        }
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        let helps = matches!(status.code(), Code::Unavailable) || reason.as_str().ends_with("_LIMITED");
        assert!(!helps || retry_after.is_some_and(|delay| !delay.is_zero()), "{status:?}");

        let operation = info.metadata.get("operation_id").cloned().unwrap_or_default();
        assert_eq!(operation.len(), 32, "{status:?}");
        let header = status.metadata().get("muster-operation-id").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header.as_ref(), Some(&operation));

        let fields = violations.into_iter().map(|violation| violation.field).collect();
        let details = info.metadata.clone();
        Self { reason, message: status.message().to_owned(), fields, retry_after, operation, details }
    }
}
