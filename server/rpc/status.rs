//! The only place where an error becomes a gRPC status: code, message, and google.rpc details.

use std::collections::HashMap;
use std::time::Duration;

use muster_proto::{Invalid, Reason};
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic_types::{ErrorDetails, StatusExt as _};
use tracing::error;

use crate::operation::OperationId;
use crate::registry::{QuotaUse, Refusal};
use crate::store::StoreError;

/// The response header that names the operation of a failed call; an answer names it in a field.
pub(super) const OPERATION_HEADER: &str = "muster-operation-id";
/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "muster";
/// Where `Help` points: the page of the documentation that explains every reason.
const REASONS_PAGE: &str = "docs/reasons.md";

/// Why a call was not done.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) refusal: Refusal,
    invalid: Option<Invalid>,
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    /// A failure with its reason and what happened.
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Refusal::new(reason, message).into()
    }

    /// The same failure, and when a retry makes sense.
    pub(super) fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The status that the caller gets.
    pub(super) fn status(&self, operation: OperationId) -> Status {
        let reason = self.refusal.reason;
        let mut info = HashMap::from([("operation_id".to_owned(), operation.to_string())]);
        info.extend(self.refusal.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        if let Some(quota) = &self.refusal.quota {
            let QuotaUse { subject, limit, used, held_elsewhere } = &**quota;
            let values = [
                ("quota_subject", subject.clone()),
                ("quota_limit", limit.to_string()),
                ("quota_used", used.to_string()),
                ("quota_held_elsewhere", held_elsewhere.clone()),
            ];
            info.extend(values.map(|(name, value)| (name.to_owned(), value)));
        }
        let mut details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, info);
        if let Some(invalid) = &self.invalid {
            for violation in invalid.violations() {
                details.add_bad_request_violation(&violation.field, &violation.description);
            }
        }
        if let Some(quota) = &self.refusal.quota {
            let QuotaUse { subject, limit, used, held_elsewhere } = &**quota;
            let tail = if held_elsewhere.is_empty() { String::new() } else { format!("; {held_elsewhere}") };
            details.add_quota_failure_violation(subject, format!("limit {limit}, used {used}{tail}"));
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        details.add_help_link(reason.fix(), format!("{REASONS_PAGE}#{}", reason.as_str().to_ascii_lowercase()));
        let message = format!("{}; {}", self.refusal.message, reason.fix());
        let mut metadata = MetadataMap::new();
        if let Ok(value) = MetadataValue::try_from(operation.to_string()) {
            metadata.insert(OPERATION_HEADER, value);
        }
        Status::with_error_details_and_metadata(reason.code(), message, details, metadata)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let retry_after = match refusal.reason {
            Reason::QueueFull => Some(Duration::from_millis(100)),
            // People decide: no device needs to ask more often.
            Reason::PendingApproval => Some(Duration::from_mins(1)),
            Reason::StoreUnavailable | Reason::StoreFull | Reason::ShuttingDown => Some(Duration::from_secs(2)),
            _ => None,
        };
        Self { refusal, invalid: None, retry_after }
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self { refusal: Refusal::new(invalid.reason(), invalid.to_string()), invalid: Some(invalid), retry_after: None }
    }
}

impl From<StoreError> for Failure {
    fn from(failure: StoreError) -> Self {
        // The cause is for the operator; the caller learns what to do.
        error!(error = %failure, "the store failed to read");
        match failure {
            StoreError::Inconsistent { .. } => Self::new(Reason::Internal, "the register is inconsistent"),
            _ => Self::new(Reason::StoreUnavailable, "the database cannot be read now"),
        }
    }
}
