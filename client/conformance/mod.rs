//! `fortigate conformance`: named checks of the device protocol, against any server.
//!
//! # Layout, in reading order
//!
//! - [`subject`]: the server under test, and the boxes that the checks make for themselves; `raw`: bytes as they are.
//! - `devices`, `clusters`, `wire`, `calls`, `users`, `user_lists`, `channels`, `feeds`: the checks. [`CHECKS`] lists them.

mod calls;
mod channels;
mod clusters;
mod devices;
mod feeds;
mod raw;
pub mod subject;
mod user_lists;
mod users;
mod wire;

use std::fmt;
use std::fs;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use muster_proto::{DEFAULT_DATA_DIR, printable};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::fleet::Way;
use subject::Subject;

/// How long one check may take.
const LIMIT: Duration = Duration::from_secs(30);

const STATUS: &str =
    "Exit status: 0 if every check passed, 1 if one failed. Checks that need an admin are skipped without a token.";

/// Which checks to run.
#[derive(Args, Clone, Debug)]
#[command(after_help = STATUS)]
pub struct Conformance {
    /// Only the checks whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Lists the checks, each with what it asks, and runs none.
    #[arg(long)]
    pub list: bool,
    /// Writes the results as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The data directory of the server: `ca.pem`, `device-ca.pem` with its key, and `admin-token`.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    pub muster_data: PathBuf,
}

/// What a check found: nothing, or what it expected and what it got.
pub type Found = Result<(), String>;

type Running = Pin<Box<dyn Future<Output = Found> + Send>>;

/// One check.
pub struct Check {
    /// Its name: lower case, with dashes.
    pub name: &'static str,
    /// What must hold, in a sentence.
    pub about: &'static str,
    needs_admin: bool,
    run: fn(Arc<Subject>) -> Running,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

macro_rules! checks {
    ($($name:literal, $about:literal, $admin:literal, $run:path;)+) => {
        /// Every check, in the order in which they run.
        pub const CHECKS: &[Check] = &[$(Check {
            name: $name,
            about: $about,
            needs_admin: $admin,
            run: |subject| Box::pin(async move { $run(&subject).await }),
        },)+];
    };
}

checks! {
    "register-is-idempotent", "The same registration again changes nothing, and says so.", false, devices::register_is_idempotent;
    "root-is-always-there", "A device has the VDOM \"root\", whatever it reports.", false, devices::root_is_always_there;
    "register-never-removes", "A registration adds VDOMs and removes none.", false, devices::register_never_removes;
    "sync-is-a-full-list", "A sync adds what is new, removes what is missing, and says which is which.", false, devices::sync_is_a_full_list;
    "first-contact-by-sync", "A sync of an unknown device registers it.", false, devices::first_contact_by_sync;
    "empty-list-is-refused", "A box that is not fully up does not wipe its VDOMs.", false, devices::empty_list_is_refused;
    "missing-list-is-refused", "A sync with neither list nor digest is refused.", false, devices::missing_list_is_refused;
    "digest-is-as-documented", "The digest in an answer is the one that the protocol describes.", false, devices::digest_is_as_documented;
    "digest-in-one-round-trip", "An equal digest is answered IN_SYNC, without a list.", false, devices::digest_in_one_round_trip;
    "digest-that-differs-does-nothing", "Another digest without a list is answered LIST_NEEDED, and nothing is done.", false, devices::digest_that_differs_does_nothing;
    "generation-grows-by-one", "A change moves the generation by one, and no change leaves it.", false, devices::generation_grows_by_one;
    "stale-generation-is-fenced", "A sync on a generation that is not current does nothing.", false, devices::stale_generation_is_fenced;
    "serial-number-is-folded", "A serial number in lower case is the same device.", false, devices::serial_number_is_folded;
    "identity-is-enforced", "A device may not speak for another one.", false, devices::identity_is_enforced;
    "no-certificate-no-device", "A call without a certificate is refused.", false, devices::no_certificate_no_device;
    "delete-a-vdom", "A VDOM is removed once; again, nothing changes.", false, devices::delete_a_vdom;
    "root-cannot-be-deleted", "\"root\" cannot be removed while its device is there.", false, devices::root_cannot_be_deleted;
    "delete-needs-a-target", "A forgotten field never deletes a device.", false, devices::delete_needs_a_target;
    "delete-of-the-unknown", "What is not there cannot be removed, and the reason says what is missing.", false, devices::delete_of_the_unknown;
    "deleted-devices-return", "A device that was deleted and reports again is restored.", false, devices::deleted_devices_return;
    "ids-return-with-devices", "What returns has the id of before.", true, devices::ids_return_with_devices;
    "validate-only-does-nothing", "validate_only says what would happen, and nothing happens.", false, devices::validate_only_does_nothing;
    "plans-are-kept", "A plan is done as it was shown, or not at all.", false, devices::plans_are_kept;
    "removal-guard-holds", "A sync that would remove too much is held, and done when it is confirmed.", false, devices::removal_guard_holds;

    "cluster-is-made-by-reports", "A primary founds a cluster, a device that it lists joins, and a standalone one leaves.", false, clusters::is_made_by_reports;
    "cluster-fails-over", "A secondary that reports itself primary with the next epoch is the primary.", false, clusters::fails_over;
    "stale-epoch-is-fenced", "A report with an epoch that is not current does nothing.", false, clusters::stale_epoch_is_fenced;

    "bad-fields-are-named-at-once", "Every bad field is named in one answer.", false, wire::bad_fields_are_named_at_once;
    "vdom-names-are-checked", "A malformed name, or one that is there twice, is refused.", false, wire::vdom_names_are_checked;
    "vdom-lists-have-a-limit", "A list of 501 VDOMs is refused.", false, wire::vdom_lists_have_a_limit;
    "unknown-fields-are-ignored", "A newer client may talk to an older server.", false, wire::unknown_fields_are_ignored;
    "malformed-messages-are-refused", "Bytes that are no message are refused, and the connection goes on.", false, wire::malformed_messages_are_refused;
    "unknown-methods-are-told", "A method that is not there is UNIMPLEMENTED.", false, wire::unknown_methods_are_told;
    "oversized-messages-are-refused", "A request of 5 MiB is refused, and the connection goes on.", false, wire::oversized_messages_are_refused;
    "calls-side-by-side", "Many calls of one device at once are all answered.", false, wire::calls_side_by_side;

    "deadlines-are-kept", "A call whose deadline passes ends in DEADLINE_EXCEEDED or is done, and is never half done.", false, calls::deadlines_are_kept;
    "health-is-serving", "The server says SERVING of itself and of its services.", false, calls::health_is_serving;

    "user-is-added-once", "The same user again changes nothing.", false, users::user_is_added_once;
    "user-needs-an-email", "A user without an e-mail address is refused by name.", false, users::user_needs_an_email;
    "user-digest-is-as-documented", "The digest of the users is the one that the protocol describes.", false, users::user_digest_is_as_documented;
    "user-is-removed-once", "A user is removed once; again, nothing changes.", false, users::user_is_removed_once;
    "unknown-users-are-told", "A user that is not there cannot be changed.", false, users::unknown_users_are_told;

    "user-list-is-a-full-list", "A sync of users adds what is new, removes what is missing, and says which is which.", false, user_lists::is_a_full_list;
    "user-list-by-digest", "An equal digest of the users is answered IN_SYNC, and nothing has to be sent.", false, user_lists::knows_the_digest;
    "user-list-refuses-by-name", "A user that cannot be taken is refused by name, and all others go through.", false, user_lists::refuses_by_name;
    "user-list-one-at-a-time", "While one sync of an auth client runs, another one of it is refused.", false, user_lists::one_at_a_time;
    "user-list-that-breaks-off", "A list that breaks off before its end changes nothing.", false, user_lists::breaks_off_without_a_trace;
    "user-list-removals-are-held", "A list that would remove too many users is held, and done when it is confirmed.", false, user_lists::removals_are_held;

    "channel-begins-with-welcome", "A hello is answered by a welcome with a heartbeat interval of at most 25 seconds.", false, channels::begins_with_welcome;
    "channel-knows-the-digest", "The welcome says whether box and register agree.", false, channels::knows_the_digest;
    "channel-heartbeats-are-answered", "Each heartbeat is answered with its number.", false, channels::heartbeats_are_answered;
    "channel-needs-a-hello", "A channel that begins with anything else is refused.", false, channels::needs_a_hello;
    "channel-is-superseded", "A second channel of a device ends the first, which is told so.", false, channels::is_superseded;
    "channel-sync-now", "An admin's wish for a sync arrives.", true, channels::sync_now;
    "channel-removed", "A device hears that it was deleted.", true, channels::removed;
    "channel-debug", "Debug lines are sent when they are asked for, and enter the feed.", true, channels::debug;

    "feed-opens-at-once", "A feed begins with opened, and without follow ends with caught_up and closing.", false, feeds::opens_at_once;
    "feed-has-each-end", "Each operation ends in one terminal event with its code.", false, feeds::has_each_end;
    "feed-has-refusals", "A refused call leaves its reason in the feed.", false, feeds::has_refusals;
    "feed-cursor-resumes", "Behind a cursor comes exactly what happened after it.", false, feeds::cursor_resumes;
    "feed-cursor-is-checked", "A cursor from nowhere is refused.", false, feeds::cursor_is_checked;
    "feed-is-ones-own", "A device may not watch another one.", false, feeds::is_ones_own;
    "feed-excludes", "What is excluded is not shown.", false, feeds::excludes;
    "feed-follows", "A feed that follows shows what happens, and its heartbeats keep it alive.", false, feeds::follows;
}

/// How a check ended.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Its name.
    pub name: &'static str,
    /// What must hold.
    pub about: &'static str,
    /// PASS, FAIL or SKIP.
    pub result: &'static str,
    /// Why it did not pass.
    pub reason: Option<String>,
}

/// Runs the checks. False if one failed.
pub async fn conformance(
    arguments: &Conformance,
    way: &Way,
    now: OffsetDateTime,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let wanted =
        |check: &&Check| arguments.only.is_empty() || arguments.only.iter().any(|only| check.name.contains(only));
    let checks: Vec<_> = CHECKS.iter().filter(wanted).collect();
    anyhow::ensure!(!checks.is_empty(), "no check has such a name: see --list");
    if arguments.list {
        for check in checks {
            writeln!(out, "{:<34}{}", check.name, check.about)?;
        }
        return Ok(true);
    }
    let subject = Arc::new(Subject::new(way, &arguments.muster_data, now)?);
    let mut verdicts = Vec::new();
    for check in checks {
        let (result, reason) = if check.needs_admin && subject.admin.is_none() {
            ("SKIP", Some("there is no admin token".to_owned()))
        } else {
            match timeout(LIMIT, (check.run)(Arc::clone(&subject))).await {
                Ok(Ok(())) => ("PASS", None),
                Ok(Err(reason)) => ("FAIL", Some(printable(&reason))),
                Err(_) => ("FAIL", Some(format!("no end within {}", humantime::format_duration(LIMIT)))),
            }
        };
        subject.tidy().await;
        match &reason {
            Some(reason) => writeln!(out, "{result} {}: {reason}", check.name)?,
            None => writeln!(out, "{result} {}", check.name)?,
        }
        out.flush()?;
        verdicts.push(Verdict { name: check.name, about: check.about, result, reason });
    }
    let count = |result: &str| verdicts.iter().filter(|verdict| verdict.result == result).count();
    let (passed, failed, skipped) = (count("PASS"), count("FAIL"), count("SKIP"));
    writeln!(out, "\n{passed} passed, {failed} failed, {skipped} skipped")?;
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&verdicts).context("the results cannot be written as JSON")?;
        fs::write(path, text).with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_check_has_a_name_of_its_own_and_a_sentence() {
        let names: HashSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        for check in CHECKS {
            assert!(check.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{check:?}");
            assert!(check.about.ends_with('.'), "{check:?}");
        }
    }
}
