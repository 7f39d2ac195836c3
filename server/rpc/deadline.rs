//! Until when a caller waits: counted from the moment its call arrived, as the transport counts, which cuts a late call off without a reason.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Request;

/// So much earlier than the transport a call is ended, and said why.
const EARLIER: Duration = Duration::from_millis(3);
/// So much earlier than the transport a call is ended that no service has seen yet.
const UNSEEN: Duration = Duration::from_millis(1);

/// When the transport cuts a call off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// That of a call that arrives now; `None` if its caller waits as long as it takes.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("grpc-timeout")?.to_str().ok()?;
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: u64 = number.parse().ok()?;
        let timeout = match unit {
            "H" => Duration::from_secs(number.saturating_mul(3_600)),
            "M" => Duration::from_secs(number.saturating_mul(60)),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        };
        Instant::now().checked_add(timeout).map(Self)
    }

    /// When a call that has not come to a service yet is ended.
    pub(super) fn unseen(self) -> Instant {
        self.0.checked_sub(UNSEEN).unwrap_or(self.0)
    }
}

/// When the work of a call is ended because its caller waits no longer.
pub(super) fn deadline<M>(request: &Request<M>) -> Option<Instant> {
    let Deadline(end) = *request.extensions().get()?;
    Some(end.checked_sub(EARLIER).unwrap_or(end))
}
