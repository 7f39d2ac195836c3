//! What the daemons of the box say of a command, for a server that asked for debug lines. Their real lines are not public: these are ours, in
//! the shape of those of fnbamd (domain sheet, section 3.5).

use crate::cli::Exit;
use crate::daemon::Line;
use crate::shell::effect::{Effect, Update, UserChange, Users};

const ERROR: u32 = 1;
const OUTCOME: u32 = 4;

/// What is said of what was done outside of a session, and how that ended.
pub(super) fn lines(effect: &Effect, exit: Exit) -> Vec<Line> {
    let level = if exit == Exit::Done { OUTCOME } else { ERROR };
    let line = |vdom: String, text: String| {
        let text = format!("{text}, result {}", exit as u8);
        Line { component: "fnbamd", level, vdom, text }
    };
    match effect {
        Effect::Update(Update::DryRun) | Effect::SyncUsers(_, Update::DryRun) => Vec::new(),
        Effect::Update(_) => vec![line(String::new(), "ftc_update-list of VDOMs sent".to_owned())],
        Effect::SyncUsers(which, _) => {
            let which = match which {
                Users::All => "all",
                Users::Local => "local",
                Users::Remote => "remote",
            };
            vec![line(String::new(), format!("ftc_sync-{which} users sent"))]
        }
        Effect::Users(changes) => {
            let said = |change: &UserChange| {
                let (user, verb) = match change {
                    UserChange::Added(user) => (user, "add"),
                    UserChange::Changed(user) => (user, "modify"),
                    UserChange::Removed(user) => (user, "delete"),
                };
                line(user.vdom.to_string(), format!("ftc_user-{verb} {}", user.username))
            };
            changes.iter().map(said).collect()
        }
        Effect::NewCode(user, _, vdom) => vec![line(vdom.to_string(), format!("ftc_new-code for {user}"))],
        Effect::DeleteUser(user, vdom) => vec![line(vdom.to_string(), format!("ftc_user-delete {user}"))],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_said_with_its_result_and_a_dry_run_is_not() {
        let said = |effect: &Effect, exit| {
            lines(effect, exit).into_iter().map(|line| (line.level, line.vdom, line.text)).collect::<Vec<_>>()
        };
        let update = "ftc_update-list of VDOMs sent, result 0".to_owned();
        assert_eq!(said(&Effect::Update(Update::Now), Exit::Done), [(4, String::new(), update)]);
        assert_eq!(said(&Effect::Update(Update::DryRun), Exit::Done), []);
        let delete = Effect::DeleteUser("ann".to_owned(), "dmz".parse().unwrap());
        let failed = "ftc_user-delete ann, result 2".to_owned();
        assert_eq!(said(&delete, Exit::Unreachable), [(1, "dmz".to_owned(), failed)]);
        let sync = "ftc_sync-remote users sent, result 1".to_owned();
        assert_eq!(said(&Effect::SyncUsers(Users::Remote, Update::Now), Exit::Failed), [(1, String::new(), sync)]);
    }
}
