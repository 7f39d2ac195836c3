//! The settings changed by admins.

use muster_proto::Reason;
use muster_proto::settings::SettingsChange;

use super::auth_client::later;
use super::realms::{overallocated, quota_text};
use super::{After, Answer, Change, Context, Name, Outcome, Planned, Refusal, Settings, State, Stop};

/// Changes settings. What is in the register stays as it is.
pub(super) fn update(
    state: &mut State,
    change: &SettingsChange,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let settings = state.settings().clone();
    if etag.is_some_and(|etag| etag != settings.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the settings changed since their etag was read").into());
    }
    let (new, changes) = changed(&settings, change);
    if changes.is_empty() {
        let answer = Answer { after: After::Settings(settings), ..Answer::new(Outcome::Unchanged) };
        return Ok(Planned::unchanged(answer));
    }
    if new.fold_usernames != settings.fold_usernames && settings.users > 0 {
        let message = format!("fold_usernames cannot change while the register has users: it has {}", settings.users);
        return Err(Refusal::new(Reason::SettingLocked, message).with("users", settings.users).into());
    }
    let about_quota = changes.iter().any(|change| matches!(change.field, "user_quota" | "share_quota"));
    let below = new.user_quota.is_some_and(|quota| quota < new.users);
    let new = Settings { updated_at: later(settings.updated_at, context.now), ..new };
    state.settings.put((), new.clone());
    let reason = if !about_quota {
        None
    } else if below {
        Some(Reason::QuotaBelowUse)
    } else if overallocated(state)? {
        Some(Reason::QuotaOverallocated)
    } else {
        None
    };
    let answer = Answer { reason, after: After::Settings(new), ..Answer::new(Outcome::Updated) };
    Ok(Planned::about(answer, 0, Name::Resource("settings".into()), changes))
}

/// The settings after a change, and what differs.
fn changed(settings: &Settings, change: &SettingsChange) -> (Settings, Vec<Change>) {
    let mut new = settings.clone();
    let mut changes = Vec::new();
    macro_rules! take {
        ($($field:ident),+) => {
            $(if let Some(value) = change.$field && value != new.$field {
                changes.push(Change::value(stringify!($field), new.$field, value));
                new.$field = value;
            })+
        };
    }
    take!(auto_create_auth_clients, multi_realm_mode, share_quota, fold_usernames);
    take!(guard_vdoms, guard_vdom_percent, guard_users, retention_days);
    if let Some(quota) = change.user_quota.filter(|quota| *quota != new.user_quota) {
        changes.push(Change::value("user_quota", quota_text(new.user_quota), quota_text(quota)));
        new.user_quota = quota;
    }
    (new, changes)
}
