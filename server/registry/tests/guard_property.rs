//! The removal guard after any sequence of lists, confirmations, decisions and waiting.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::device_users::ClientTarget;
use muster_proto::user_sync::Kinds;
use proptest::prelude::*;

use super::*;
use crate::registry::user_sync::rule;

const VDOMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Which token a sync carries.
#[derive(Clone, Copy, Debug)]
enum Token {
    None,
    /// The one that was handed out last.
    Last,
    /// One that was handed out before, or nobody's.
    Any(usize),
}

#[derive(Clone, Debug)]
enum Step {
    Sync(Vec<&'static str>, Token),
    /// The same list again, with the token that the last answer gave.
    Confirm,
    /// An admin decides one of the sets that were ever held.
    Decide(usize, bool),
    /// So many days pass; whatever is overdue then expires.
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let token = prop_oneof![3 => Just(Token::None), 1 => Just(Token::Last), 1 => (0_usize..4).prop_map(Token::Any)];
    let list = prop::sample::subsequence(VDOMS.as_slice(), 0..=VDOMS.len());
    prop_oneof![
        6 => (list, token).prop_map(|(list, token)| Step::Sync(list, token)),
        3 => Just(Step::Confirm),
        3 => (0_usize..4, any::<bool>()).prop_map(|(set, approve)| Step::Decide(set, approve)),
        1 => (1_i64..7).prop_map(Step::Wait),
    ]
}

/// What was held: which names, and until which second.
struct Set {
    id: HeldId,
    token: String,
    names: BTreeSet<String>,
    until: i64,
    rejected: bool,
}

fn present(register: &Register) -> BTreeSet<String> {
    let names = register.active_vdoms().into_iter().map(|name| name.to_string());
    names.filter(|name| name != "root").collect()
}

proptest! {
    #[test]
    fn nothing_goes_beyond_the_limits_unless_exactly_that_was_confirmed_or_approved_in_time(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut register = Register::with("a b c d e");
        let (mut sets, mut last) = (Vec::<Set>::new(), Vec::new());
        for step in steps {
            let before = present(&register);
            let (list, token) = match step {
                Step::Sync(list, token) => (list, token),
                Step::Confirm => (last.clone(), Token::Last),
                Step::Decide(nth, approve) => {
                    let Some(set) = sets.get_mut(nth) else { continue };
                    let decision = Action::DecideHeld { id: set.id, serial: Some(serial()), approve };
                    let decided = register.plan(decision).is_ok_and(|planned| planned.answer.outcome == Outcome::Updated);
                    let gone: BTreeSet<_> = before.difference(&present(&register)).cloned().collect();
                    prop_assert!(gone.is_subset(&set.names) && (decided && approve || gone.is_empty()));
                    // What was rejected does not expire: it stands as long as the device asks for it, and an admin may think again.
                    prop_assert!(!decided || set.rejected || register.now < set.until, "decided when it was over");
                    set.rejected |= decided && !approve;
                    continue;
                }
                Step::Wait(days) => {
                    register.now += days * 24 * 60 * 60;
                    for set in &sets {
                        // Some are closed already, and some are not due.
                        let _ = register.plan(Action::ExpireHeld { id: set.id, serial: Some(serial()) });
                    }
                    prop_assert_eq!(present(&register), before);
                    continue;
                }
            };
            let token = match token {
                Token::None => None,
                Token::Last => sets.last().map(|set| set.token.clone()),
                Token::Any(nth) => Some(sets.get(nth).map_or("0000", |set| set.token.as_str()).to_owned()),
            };
            let names = ["root"].iter().chain(&list).copied().collect::<Vec<_>>().join(" ");
            let answer = register.answer(Action::Sync(Sync { confirm_token: token.clone(), ..listed(&names) }));
            let (after, wanted) = (present(&register), list.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
            let missing: BTreeSet<String> = before.difference(&wanted).cloned().collect();
            let gone: BTreeSet<String> = before.difference(&after).cloned().collect();

            // Everything else of the list goes through, and what stays is named.
            prop_assert!(wanted.is_subset(&after), "{wanted:?} of {after:?}");
            prop_assert_eq!(after.difference(&wanted).count(), missing.len() - gone.len());
            let outcomes: BTreeMap<_, _> = answer.items.iter().map(|item| (item.vdom.to_string(), item.outcome)).collect();
            for name in &missing {
                let said = outcomes.get(name).copied();
                let stays = matches!(said, Some(Outcome::Held | Outcome::Refused));
                prop_assert!(if gone.contains(name) { said == Some(Outcome::Removed) } else { stays }, "{name}: {said:?}");
            }

            // All of them, or none.
            prop_assert!(gone.is_empty() || gone == missing);
            // "root" counts among those that there are.
            let small = missing.len() <= 1 || missing.len() * 2 <= before.len() + 1;
            let confirmed = token.is_some_and(|token| sets.iter().any(|set| {
                set.token == token && set.names == missing && register.now < set.until && !set.rejected
            }));
            if !gone.is_empty() {
                prop_assert!(small || confirmed, "{gone:?} of {before:?}");
            }
            if let Some(notice) = answer.held
                && sets.iter().all(|set| set.id != notice.id)
            {
                let until = notice.expires_at.micros() / 1_000_000;
                sets.push(Set { id: notice.id, token: notice.token, names: missing, until, rejected: false });
            }
            last = list;
        }
    }
}

/// How many users may go at once, for the test below.
const FEW: usize = 2;

proptest! {
    #[test]
    fn no_list_of_users_removes_more_than_the_limit_unless_exactly_that_was_confirmed_in_time(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut register = Register::with("a");
        register.settings(|settings| settings.guard_users = 2);
        let client = register.client("a").clone();
        let site = Site { owner: client.owner, vdom: client.vdom, client: client.id, realm: client.realm };
        let target = ClientTarget { serial: serial(), vdom: client.vdom, epoch: None };
        let (mut sets, mut last) = (Vec::<Set>::new(), Vec::new());
        for step in steps {
            let (missing, token) = match step {
                Step::Sync(missing, token) => (missing, token),
                Step::Confirm => (last.clone(), Token::Last),
                Step::Decide(nth, approve) => {
                    let Some(set) = sets.get_mut(nth) else { continue };
                    let decision = Action::DecideHeld { id: set.id, serial: Some(serial()), approve };
                    let decided = register.plan(decision).is_ok_and(|planned| planned.answer.outcome == Outcome::Updated);
                    prop_assert!(!decided || set.rejected || register.now < set.until, "decided when it was over");
                    set.rejected |= decided && !approve;
                    continue;
                }
                Step::Wait(days) => {
                    register.now += days * 24 * 60 * 60;
                    continue;
                }
            };
            let token = match token {
                Token::None => None,
                Token::Last => sets.last().map(|set| set.token.clone()),
                Token::Any(nth) => Some(sets.get(nth).map_or("0000", |set| set.token.as_str()).to_owned()),
            };
            let names: Vec<Box<str>> = missing.iter().map(|name| (*name).into()).collect();
            register.now += 1;
            let now = Timestamp::from_micros(register.now * 1_000_000);
            let list = (target.into(), Kinds::ALL);
            let (stays, _) = loop {
                let (reach, next_id) = (&register.reach, &mut register.next_id);
                let mut context = Context { now, next_id, caller: "test", reach, address: None, proof: None };
                match rule(&mut register.state, site, list, &names, token.as_deref(), &mut context) {
                    Ok(ruled) => break ruled,
                    Err(Stop::Missing(needs)) => nothing_else(&mut register.state, *needs),
                    Err(Stop::Refused(refusal)) => panic!("{refusal:?}"),
                }
            };
            let wanted: BTreeSet<String> = missing.iter().map(|name| (*name).to_owned()).collect();
            let confirmed = token.is_some_and(|token| sets.iter().any(|set| {
                set.token == token && set.names == wanted && register.now < set.until && !set.rejected
            }));
            match stays {
                None => prop_assert!(missing.len() <= FEW || confirmed, "{missing:?} may go"),
                Some((_, _, notice)) => {
                    // What is held has a way to be confirmed.
                    let notice = notice.expect("a notice");
                    if sets.iter().all(|set| set.id != notice.id) {
                        let until = notice.expires_at.micros() / 1_000_000;
                        sets.push(Set { id: notice.id, token: notice.token, names: wanted, until, rejected: false });
                    }
                }
            }
            last = missing;
        }
    }
}
