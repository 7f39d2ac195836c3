//! How a user stands on an auth client, and how a person does.

use muster_proto::user_sync::Kinds;
use muster_proto::v1::ExplainVerdict as Verdict;
use muster_proto::{Reason, UserKey, Username};

use super::super::held::{HeldOn, HeldState};
use super::super::{AuthClient, Context, NamedUser, Refusal, State, Stop, quota};
use super::client::client;
use super::{Finding, Place, named, on_off};

pub(super) fn user(state: &State, place: &Place, username: &Username, context: &Context<'_>) -> Result<Finding, Stop> {
    let (of_client, found) = client(state, place, context)?;
    let key = username.key(state.settings().fold_usernames);
    let Some(client) = found else {
        let message = format!("user {username}: {}", of_client.message);
        return Ok(Finding { message, ..of_client });
    };
    let user_ref = state.user_ref(client.id, &key)?;
    let person = state.user(client.realm, &key)?;
    let mut finding = match user_ref {
        Some(found) if found.deleted_at.is_none() => {
            let mut finding = on_client(state, client, username, &key)?;
            finding.set("active on the auth client", on_off(found.attributes.active));
            finding.set("disabled by an admin", on_off(person.is_some_and(|person| person.disabled)));
            finding
        }
        _ if !client.is_active() => {
            let verdict = match (of_client.verdict, user_ref) {
                (Verdict::Absent, None) => Verdict::NeverSeen,
                (verdict, _) => verdict,
            };
            let message = format!("user {username} is not there, because {}", of_client.message);
            Finding { verdict, message, ..of_client.clone() }
        }
        user_ref => match room(state, client, &key)? {
            Some(refusal) => Finding::of(&refusal),
            None if user_ref.is_some() => {
                let message = format!(
                    "user {username} was removed from {}, and nothing keeps it from coming back",
                    named(client.vdom)
                );
                Finding::new(Verdict::Absent, Some(Reason::Evicted), message)
            }
            None => {
                let message = format!("user {username} was never on {}", named(client.vdom));
                Finding::new(Verdict::NeverSeen, None, message)
            }
        },
    };
    finding.about.extend(of_client.about);
    finding.about.extend(person.map(|person| person.id.0));
    finding.about.sort_unstable();
    finding.about.dedup();
    finding.set("fold_usernames", on_off(state.settings().fold_usernames));
    quotas(state, client, &mut finding)?;
    Ok(finding)
}

fn on_client(state: &State, client: &AuthClient, username: &Username, key: &UserKey) -> Result<Finding, Stop> {
    let mut held = state.held_over(HeldOn::Users(client.owner, client.vdom, Kinds::ALL))?;
    let Some(held) = held.find(|held| held.names.iter().any(|name| **name == *key.as_str())) else {
        let message = format!("user {username} is on {}", named(client.vdom));
        return Ok(Finding::new(Verdict::Present, None, message));
    };
    let reason = if held.state == HeldState::Rejected { Reason::RemovalRejected } else { Reason::RemovalHeld };
    let message = format!("user {username} is on {}; its removal is held", named(client.vdom));
    let mut finding = Finding::new(Verdict::Held, Some(reason), message);
    finding.set("guard_users", state.settings().guard_users);
    finding.about.push(held.id.0);
    Ok(finding)
}

/// Why there is no room for a user on this auth client, if there is none.
fn room(state: &State, client: &AuthClient, key: &UserKey) -> Result<Option<Refusal>, Stop> {
    if let Err(refusal) = quota::may_have_users(state, client) {
        return Ok(Some(refusal));
    }
    if state.user(client.realm, key)?.is_some_and(|person| person.deleted_at.is_none()) {
        return Ok(None);
    }
    match quota::admit(state, client.realm, 0) {
        Err(Stop::Refused(refusal)) => Ok(Some(refusal)),
        Err(missing) => Err(missing),
        Ok(()) => Ok(None),
    }
}

/// The quotas that a user of this auth client counts towards.
fn quotas(state: &State, client: &AuthClient, finding: &mut Finding) -> Result<(), Stop> {
    let settings = state.settings();
    if let Some(realm) = state.realm(client.realm)? {
        let limit = realm.user_quota.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        finding.set(format!("quota of realm {}", realm.name), format_args!("{} of {limit}", realm.users));
    }
    let limit = settings.user_quota.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    finding.set("quota of the register", format_args!("{} of {limit}", settings.users));
    finding.set("share_quota", on_off(settings.share_quota));
    finding.set("multi_realm_mode", on_off(settings.multi_realm_mode));
    Ok(())
}

pub(super) fn person(state: &State, named: &NamedUser, context: &Context<'_>) -> Result<Finding, Stop> {
    let unknown = || Refusal::new(Reason::UserUnknown, format!("there never was users/{}", named.id.0));
    if !context.may_touch(named.realm) {
        return Err(unknown().into());
    }
    let person = state.user(named.realm, &named.key)?.filter(|person| person.id == named.id).ok_or_else(unknown)?;
    let username = &person.username;
    let mut finding = match person.deleted_at {
        None => {
            let message = format!("user {username} is on {} auth clients of its realm", person.references);
            Finding::new(Verdict::Present, None, message)
        }
        Some(at) => {
            let message = format!("user {username} went at {at} with the last auth client that had it");
            Finding::new(Verdict::Absent, Some(Reason::Evicted), message)
        }
    };
    finding.set("disabled by an admin", on_off(person.disabled));
    finding.about.push(person.id.0);
    Ok(finding)
}
