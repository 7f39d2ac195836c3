//! What became of users, as it is shown: the counts of FortiOS, and each user that is more than simply done.

use muster_proto::{VdomName, printable, v1};

use crate::failure::Refusal;
use crate::render;
use crate::user_sync::Synced;

/// What became of users, in the words of the task that FortiOS prints (domain sheet, section 3.4).
#[derive(Clone, Debug, Default)]
pub struct Report {
    create: (u64, u64),
    modify: (u64, u64),
    delete: (u64, u64),
    held: u64,
    /// A line for each that failed, or has a reason.
    items: Vec<String>,
}

impl Report {
    /// Counts what became of one user; one that failed counts as one that did not come.
    pub fn add(&mut self, vdom: VdomName, user: &v1::UserOutcome) {
        match v1::Outcome::try_from(user.outcome) {
            Ok(v1::Outcome::Created | v1::Outcome::Restored) => self.create.0 += 1,
            Ok(v1::Outcome::Updated) => self.modify.0 += 1,
            Ok(v1::Outcome::Removed) => self.delete.0 += 1,
            Ok(v1::Outcome::Unchanged) => {}
            _ => self.create.1 += 1,
        }
        if is_told(user) {
            self.items.push(line(vdom, user));
        }
    }

    /// Counts what became of all users of an auth client.
    pub fn add_all(&mut self, vdom: VdomName, sync: &Synced) {
        let counts = [
            (&mut self.create, &sync.summary.create),
            (&mut self.modify, &sync.summary.modify),
            (&mut self.delete, &sync.summary.delete),
        ];
        for ((success, failure), count) in counts {
            let v1::SyncUsersCount { success: done, failure: failed } = count.unwrap_or_default();
            *success += u64::try_from(done).unwrap_or_default();
            *failure += u64::try_from(failed).unwrap_or_default();
        }
        self.held += u64::try_from(sync.summary.held).unwrap_or_default();
        let told = sync.outcomes.iter().filter(|user| is_told(user));
        self.items.extend(told.map(|user| line(vdom, user)));
    }

    /// How many removals wait for a confirmation.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Whether anything failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.create.1 + self.modify.1 + self.delete.1 > 0
    }

    /// A line for each user that failed, or has a reason.
    #[must_use]
    pub fn items(&self) -> &[String] {
        &self.items
    }

    /// The status line of `execute fortitoken-cloud sync`.
    #[must_use]
    pub fn status(&self) -> String {
        let count = |(success, failure)| format!("{{\"success\": {success}, \"failure\": {failure}}}");
        format!(
            "Sync status: {{\"status\": \"complete\", \"msg\": {{\"delete\": {}, \"modify\": {}, \"create\": {}}}}}",
            count(self.delete),
            count(self.modify),
            count(self.create)
        )
    }
}

/// Whether a user is more than simply done.
fn is_told(user: &v1::UserOutcome) -> bool {
    let done = [
        v1::Outcome::Created,
        v1::Outcome::Updated,
        v1::Outcome::Unchanged,
        v1::Outcome::Removed,
        v1::Outcome::Restored,
    ];
    !user.reason.is_empty() || !done.iter().any(|done| *done as i32 == user.outcome)
}

/// A user with what became of it.
#[must_use]
pub fn line(vdom: VdomName, user: &v1::UserOutcome) -> String {
    let mut line = format!("{} ({vdom}): {}", printable(&user.username), render::outcome(user.outcome));
    if !user.reason.is_empty() {
        line = format!("{line} ({})", printable(&user.reason));
    }
    if !user.detail.is_empty() {
        line = format!("{line}: {}", printable(&user.detail));
    }
    if !user.fix.is_empty() {
        line = format!("{line}: {}", printable(&user.fix));
    }
    line
}

/// A user that the service does not take.
#[must_use]
pub fn refused(username: &str, refusal: &Refusal) -> v1::UserOutcome {
    let fields = refusal.violations.iter().map(|(field, description)| format!("{field} {description}"));
    let detail = fields.collect::<Vec<_>>().join(", ");
    v1::UserOutcome {
        username: username.to_owned(),
        outcome: v1::Outcome::Refused.into(),
        reason: refusal.reason.clone(),
        fix: refusal.fix.clone(),
        detail: if refusal.reason.is_empty() && detail.is_empty() { refusal.message.clone() } else { detail },
    }
}
