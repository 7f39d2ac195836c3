//! What is shown: pure functions from answers to lines. Everything that came over the wire is made safe for terminals, although the server
//! does so already.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};
use std::time::Duration;

use muster_proto::v1::{
    ClosingReason, ClusterStanding, DebugEvent, FeedClosing, FeedGap, GapReason, HaRole, Outcome, SyncResponse,
    SyncStatus, VdomOutcome,
};
use muster_proto::{SerialNumber, printable};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::failure::CallError;
use crate::server_url::ServerUrl;

/// What FortiOS prints when the list was taken (domain sheet, section 3.4).
pub const UPDATED: &str = "List of VDOMs updated to FortiToken Cloud.";
/// What FortiOS prints when the service cannot be used (domain sheet, section 3.4).
pub const CANNOT_FIND: &str = "Cannot find ftc server!";
/// What FortiOS prints besides if it was about users (domain sheet, section 3.4).
pub const CANNOT_RETRIEVE: &str = "Cannot retrieve user information from FortiToken Cloud!";
/// What FortiOS prints at the end of a sync of users, however it went (domain sheet, section 3.4).
pub const SYNCHRONIZED: &str = "User synchronization completed!";
/// What FortiOS prints last when a command failed.
pub const COMMAND_FAIL: &str = "Command fail. Return code -1";

/// What is printed before the items of a dry run.
pub const DRY_RUN: &str = "Dry run: nothing was done. An update would do this:";
/// What is printed if there are none.
pub const DRY_RUN_IDLE: &str = "Dry run: nothing was done. An update would change nothing.";

/// What is printed before the users of a dry run.
pub const DRY_RUN_SYNC: &str = "Dry run: nothing was done. A sync would do this:";
/// What is printed if there are none.
pub const DRY_RUN_SYNC_IDLE: &str = "Dry run: nothing was done. A sync would change nothing.";

/// Whether the server took the list, in full or by its digest.
#[must_use]
pub fn was_taken(answer: &SyncResponse) -> bool {
    matches!(answer.status(), SyncStatus::InSync | SyncStatus::Completed)
}

/// Whether something of the list was refused, or ended in a way that this version does not know.
#[must_use]
pub fn has_failures(answer: &SyncResponse) -> bool {
    let failed = |outcome: i32| {
        matches!(Outcome::try_from(outcome), Ok(Outcome::Refused | Outcome::Held) | Err(_))
            || (outcome == Outcome::Unspecified as i32 && answer.status() != SyncStatus::InSync)
    };
    let refused = |standing: &ClusterStanding| matches!(standing.outcome(), Outcome::Refused | Outcome::Held);
    failed(answer.outcome)
        || answer.vdoms.iter().any(|item| failed(item.outcome))
        || answer.cluster.as_ref().is_some_and(refused)
}

/// One line for each item that was not simply done: with its outcome, and reason and fix where there are any.
#[must_use]
pub fn items(serial: &SerialNumber, answer: &SyncResponse) -> Vec<String> {
    let device = VdomOutcome { vdom: serial.to_string(), outcome: answer.outcome, ..Default::default() };
    // An answer by digest lists nothing, and may leave the outcome of the device out.
    let device = (answer.status() != SyncStatus::InSync).then_some(&device);
    let items = device.into_iter().chain(&answer.vdoms).filter_map(item);
    items.chain(answer.cluster.as_ref().and_then(standing)).collect()
}

/// One line for each item that did not become what the box has, or has a reason.
#[must_use]
pub fn surprises(answer: &SyncResponse) -> Vec<String> {
    let done = [Outcome::Created, Outcome::Updated, Outcome::Unchanged, Outcome::Removed, Outcome::Restored];
    let simply_done =
        |item: &&VdomOutcome| item.reason.is_empty() && done.iter().any(|done| *done as i32 == item.outcome);
    let items = answer.vdoms.iter().filter(|item| !simply_done(item)).map(line);
    let cluster = answer.cluster.as_ref().filter(|cluster| !cluster.reason.is_empty());
    items.chain(cluster.and_then(standing)).collect()
}

/// One line for each item that an update would change.
#[must_use]
pub fn plan(serial: &SerialNumber, answer: &SyncResponse) -> Vec<String> {
    let device = VdomOutcome { vdom: serial.to_string(), outcome: answer.outcome, ..Default::default() };
    let device = (answer.status() != SyncStatus::InSync).then_some(&device);
    let changed = |item: &&VdomOutcome| item.outcome != Outcome::Unchanged as i32 || !item.reason.is_empty();
    let items = device.into_iter().chain(&answer.vdoms).filter(changed).map(line);
    items.chain(answer.cluster.as_ref().and_then(standing)).collect()
}

/// How the box stands in its HA cluster, if that changed or did not become what the box says.
fn standing(cluster: &ClusterStanding) -> Option<String> {
    if cluster.outcome() == Outcome::Unchanged && cluster.reason.is_empty() {
        return None;
    }
    let mut line = format!("HA cluster: {}", outcome(cluster.outcome));
    match cluster.role() {
        _ if cluster.cluster.is_empty() => line.push_str(", in none"),
        HaRole::Primary => {
            let _ = write!(line, ", primary of \"{}\"", printable(&cluster.display_name));
        }
        _ => {
            let _ = write!(line, ", member of \"{}\"", printable(&cluster.display_name));
        }
    }
    if !cluster.reason.is_empty() {
        let _ = write!(line, " ({})", printable(&cluster.reason));
    }
    if !cluster.fix.is_empty() {
        let _ = write!(line, ": {}", printable(&cluster.fix));
    }
    Some(line)
}

fn item(item: &VdomOutcome) -> Option<String> {
    let simply_done =
        matches!(Outcome::try_from(item.outcome), Ok(Outcome::Created | Outcome::Updated | Outcome::Unchanged));
    (!simply_done || !item.reason.is_empty()).then(|| line(item))
}

fn line(item: &VdomOutcome) -> String {
    let mut line = format!("{}: {}", printable(&item.vdom), outcome(item.outcome));
    if !item.reason.is_empty() {
        let _ = write!(line, " ({})", printable(&item.reason));
    }
    if !item.fix.is_empty() {
        let _ = write!(line, ": {}", printable(&item.fix));
    }
    line
}

/// An outcome in a word.
#[must_use]
pub fn outcome(outcome: i32) -> &'static str {
    match Outcome::try_from(outcome) {
        Ok(Outcome::Created) => "created",
        Ok(Outcome::Updated) => "updated",
        Ok(Outcome::Unchanged) => "unchanged",
        Ok(Outcome::Removed) => "removed",
        Ok(Outcome::Restored) => "restored",
        Ok(Outcome::Refused) => "refused",
        Ok(Outcome::Held) => "held",
        Ok(Outcome::Unspecified) | Err(_) => "outcome not known to this client",
    }
}

/// Why a call failed: a line that tells where on the way, one for each bad field, and the fix.
#[must_use]
pub fn failure(server: &ServerUrl, error: &CallError) -> String {
    let stage = match error {
        CallError::Connect(error) => error.stage().to_owned(),
        CallError::Lost(_) => "connection".to_owned(),
        CallError::NoAnswer(_) => "timeout".to_owned(),
        CallError::Refused(refusal) if refusal.is_authorisation() => "authorisation".to_owned(),
        CallError::Refused(refusal) => format!("{:?}", refusal.code),
    };
    // A certificate of the server may be quoted.
    let mut text = format!("{stage}: {}: {}", server.authority(), printable(&error.to_string()));
    let fix = match error {
        CallError::Connect(error) => error.fix(),
        CallError::Lost(_) => "repeat the command: it is idempotent",
        CallError::NoAnswer(_) => "check that the server is well, or allow more time with --timeout",
        CallError::Refused(refusal) => {
            for (field, description) in &refusal.violations {
                let _ = write!(text, "\n  {field}: {description}");
            }
            if let Some(delay) = refusal.retry_after {
                let _ = write!(text, "\n  retry after {}", wait(delay));
            }
            &refusal.fix
        }
    };
    if !fix.is_empty() {
        let _ = write!(text, "\nfix: {fix}");
    }
    text
}

/// Writes lines.
pub fn lines(out: &mut impl Write, lines: impl IntoIterator<Item = impl Display>) -> io::Result<()> {
    lines.into_iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// A wait, in seconds.
#[must_use]
pub fn wait(wait: Duration) -> String {
    format!("{:.1} s", wait.as_secs_f64())
}

/// One line of the debug feed:
///
/// `[COMPONENT] STEP VDOM: MESSAGE (REASON); FIELD "BEFORE" -> "AFTER"; by CALLER => CODE, operation ID`, where everything behind the message
/// stands only where there is something to say: the caller if it is not the device itself, code and operation at the end of an operation.
/// FortiOS does not document its own lines (domain sheet, section 3.5), so this shape is ours, and stays as it is.
#[must_use]
pub fn event(event: &DebugEvent, own: &SerialNumber, timestamps: bool) -> String {
    let mut line = if timestamps { timestamp(event) } else { String::new() };
    let _ = write!(line, "[{}] {}", event.component, event.step);
    if !event.vdom.is_empty() {
        let _ = write!(line, " {}", event.vdom);
    }
    let _ = write!(line, ": {}", event.message);
    if !event.reason.is_empty() {
        let _ = write!(line, " ({})", event.reason);
    }
    for change in &event.changes {
        let _ = write!(line, "; {} \"{}\" -> \"{}\"", change.field, change.before, change.after);
    }
    if !event.caller.is_empty() && event.caller.strip_prefix("device:") != Some(own.as_str()) {
        let _ = write!(line, "; by {}", event.caller);
    }
    if event.terminal {
        let _ = write!(line, " => {}, operation {}", event.code, event.operation_id);
    }
    printable(&line)
}

/// When the server recorded the event, in UTC.
fn timestamp(event: &DebugEvent) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] ");
    let time = event.time.as_ref().and_then(|time| OffsetDateTime::from_unix_timestamp(time.seconds).ok());
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| "0000-00-00 00:00:00 ".to_owned())
}

/// A line about the feed itself.
#[must_use]
pub fn note(text: &str) -> String {
    format!("--- {} ---", printable(text))
}

/// How many events are missing, and why.
#[must_use]
pub fn gap(gap: &FeedGap) -> String {
    let missed = match gap.count {
        None => "events missed".to_owned(),
        Some(1) => "1 event missed".to_owned(),
        Some(count) => format!("{count} events missed"),
    };
    let why = match gap.reason() {
        GapReason::SlowViewer => "slow viewer",
        GapReason::Expired => "no longer held by the server",
        GapReason::Restart => "the server was restarted",
        GapReason::Unspecified => "reason not known to this client",
    };
    note(&format!("{missed} ({why})"))
}

/// Why the server ended the feed.
#[must_use]
pub fn closing(closing: &FeedClosing) -> &'static str {
    match closing.reason() {
        ClosingReason::Complete => "the feed is complete",
        ClosingReason::Limit => "the limit was reached",
        ClosingReason::Until => "the end time was reached",
        ClosingReason::Shutdown => "the server is shutting down",
        ClosingReason::AuthorisationEnded => "this box may no longer watch",
        ClosingReason::Unspecified => "the server ended the feed",
    }
}

/// Whether all that was asked for has been sent.
#[must_use]
pub fn is_final(closing: &FeedClosing) -> bool {
    matches!(closing.reason(), ClosingReason::Complete | ClosingReason::Limit | ClosingReason::Until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::v1::ValueChange;
    use proptest::prelude::*;

    const SERIAL: &str = "FG101FTK19002788";

    fn shown(change: impl FnOnce(&mut DebugEvent)) -> String {
        let mut debug_event = DebugEvent {
            component: "ftc".to_owned(),
            step: "sync".to_owned(),
            message: "taken".to_owned(),
            caller: format!("device:{SERIAL}"),
            ..Default::default()
        };
        change(&mut debug_event);
        event(&debug_event, &SERIAL.parse().unwrap(), false)
    }

    #[test]
    fn a_line_has_only_what_there_is_to_say() {
        assert_eq!(shown(|_| {}), "[ftc] sync: taken");
        assert_eq!(shown(|event| event.vdom = "dmz".to_owned()), "[ftc] sync dmz: taken");
        assert_eq!(shown(|event| event.reason = "VDOM_LIMIT".to_owned()), "[ftc] sync: taken (VDOM_LIMIT)");
        assert_eq!(shown(|event| event.caller = "relay:hq".to_owned()), "[ftc] sync: taken; by relay:hq");
        assert_eq!(shown(|event| event.caller.clear()), "[ftc] sync: taken");
        let change = ValueChange { field: "model".to_owned(), before: String::new(), after: "x".to_owned() };
        assert_eq!(shown(|event| event.changes.push(change)), "[ftc] sync: taken; model \"\" -> \"x\"");
    }

    #[test]
    fn the_end_of_an_operation_tells_how_it_ended_and_its_id() {
        let line = shown(|event| {
            (event.terminal, event.code, event.operation_id) = (true, "OK".to_owned(), "op-1".to_owned());
        });
        assert_eq!(line, "[ftc] sync: taken => OK, operation op-1");
    }

    #[test]
    fn a_time_that_is_no_time_does_no_harm() {
        let mut event =
            DebugEvent { time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 }), ..Default::default() };
        assert_eq!(timestamp(&event), "0000-00-00 00:00:00 ");
        event.time = Some(prost_types::Timestamp { seconds: 0, nanos: 999_999_999 });
        assert_eq!(timestamp(&event), "1970-01-01 00:00:00 ");
    }

    proptest! {
        #[test]
        fn no_text_from_outside_acts_on_the_terminal(texts in prop::array::uniform8(any::<String>()), outcome: i32) {
            let [vdom, reason, fix, step, message, caller, code, component] = texts;
            let line = shown(|event| {
                (event.vdom, event.reason, event.step, event.message) = (vdom.clone(), reason.clone(), step, message.clone());
                (event.caller, event.code, event.component, event.terminal) = (caller, code, component, true);
            });
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert!(!note(&message).chars().any(char::is_control));
            let listed = item(&VdomOutcome { vdom, outcome, reason, fix });
            prop_assert!(!listed.unwrap_or_default().chars().any(char::is_control));
        }
    }
}
