//! Auth clients moved between realms: who merges, who is split, and what is lost.

use proptest::prelude::*;

use super::people::People;
use super::*;

fn to(people: &People, names: &str, realm: RealmId) -> Action {
    Action::MoveAuthClients { clients: names.split_whitespace().map(|name| people.named(name)).collect(), realm }
}

fn moved(people: &mut People, names: &str, realm: RealmId) -> Answer {
    let action = to(people, names, realm);
    let said = people.0.answer(rehearsed(action.clone().into()));
    let done = people.0.answer(action);
    assert_eq!((said.outcome, &said.clients), (done.outcome, &done.clients), "a dry run says what is done");
    people.check();
    done
}

/// What is said of users, in a line each.
fn said(answer: &Answer) -> Vec<String> {
    let users = answer.clients.iter().flat_map(|item| &item.users);
    users
        .map(|user| {
            format!("{} {} {:?} {}: {}", user.vdom, user.username, user.outcome, user.reason.unwrap(), user.detail)
        })
        .collect()
}

#[test]
fn a_user_that_no_other_auth_client_has_comes_along_as_it_is() {
    let mut people = People::with("a b");
    let east = people.realm("east");
    people.add("a", "alice");
    people.set_disabled(RealmId::DEFAULT, "alice", true);
    let before = people.user(RealmId::DEFAULT, "alice").unwrap().clone();
    let answer = moved(&mut people, "a", east);
    assert_eq!((answer.outcome, said(&answer).len(), answer.clients[0].users_total), (Outcome::Updated, 0, 1));
    let after = people.user(east, "alice").unwrap().clone();
    assert_eq!(User { realm: before.realm, updated_at: before.updated_at, ..after }, before);
    assert_eq!(people.user(RealmId::DEFAULT, "alice"), None);
}

#[test]
fn of_two_users_of_one_name_the_one_who_was_there_first_is_kept() {
    let mut people = People::with("a b");
    let east = people.realm("east");
    people.add("a", "Alice");
    moved(&mut people, "a", east);
    people.add("b", "alice");
    let kept = people.user(east, "alice").unwrap().id.0;
    let lost = people.user(RealmId::DEFAULT, "alice").unwrap().id.0;
    let answer = moved(&mut people, "b", east);
    let expected = format!(
        "b alice Removed USERS_MERGED: users/{kept}, who was in realm east first, is kept; users/{lost} of realm default is gone; \
         it is spelled Alice, no longer alice"
    );
    assert_eq!(said(&answer), [expected]);
    let alice = people.user(east, "alice").unwrap();
    assert_eq!((alice.id.0, alice.references), (kept, 2));
    assert_eq!(people.0.state.settings().users, 1);
}

#[test]
fn if_neither_was_there_the_one_that_moves_first_is_kept() {
    for (order, kept) in [("a b", "a"), ("b a", "b")] {
        let mut people = People::with("a b");
        let (east, west) = (people.realm("east"), people.realm("west"));
        moved(&mut people, "b", west);
        people.add("a", "alice");
        people.add("b", "alice");
        let of = |name| people.user(if name == "a" { RealmId::DEFAULT } else { west }, "alice").unwrap().id;
        let expected = of(kept);
        let answer = moved(&mut people, order, east);
        assert_eq!(people.user(east, "alice").unwrap().id, expected);
        assert_eq!(said(&answer).len(), 1);
    }
}

#[test]
fn a_user_that_others_refer_to_stays_and_is_in_the_new_realm_as_well() {
    let mut people = People::with("a b c");
    let east = people.realm("east");
    for client in ["a", "b", "c"] {
        people.add(client, "alice");
    }
    let id = people.user(RealmId::DEFAULT, "alice").unwrap().id;
    let answer = moved(&mut people, "a", east);
    let expected = format!(
        "a alice Created USER_SPLIT: users/{} stays in realm default for 2 other auth clients, and realm east gets a user of its own",
        id.0
    );
    assert_eq!(said(&answer), [expected]);
    assert_eq!(people.user(RealmId::DEFAULT, "alice").unwrap().references, 2);
    assert_ne!(people.user(east, "alice").unwrap().id, id);
    // The rest of them follow, and become one with the one who is there.
    let answer = moved(&mut people, "b c", east);
    assert_eq!(said(&answer).len(), 2);
    assert_eq!((people.user(east, "alice").unwrap().references, people.0.state.settings().users), (3, 1));
}

#[test]
fn auth_clients_that_move_together_keep_the_user_that_they_share() {
    let mut people = People::with("a b");
    let east = people.realm("east");
    people.add("a", "alice");
    people.add("b", "alice");
    let id = people.user(RealmId::DEFAULT, "alice").unwrap().id;
    assert!(said(&moved(&mut people, "a b", east)).is_empty());
    assert_eq!(people.user(east, "alice").map(|user| (user.id, user.references)), Some((id, 2)));
}

#[test]
fn whoever_is_disabled_stays_disabled_and_it_is_said() {
    for (disabled_here, disabled_there, says) in [
        (true, false, "the one that comes is disabled, and so the one that is kept is disabled now"),
        (false, true, "the one that is kept is disabled, and so the user is disabled on this auth client too"),
        (true, true, "is gone"),
    ] {
        let mut people = People::with("a b");
        let east = people.realm("east");
        people.add("a", "alice");
        moved(&mut people, "a", east);
        people.add("b", "alice");
        people.set_disabled(RealmId::DEFAULT, "alice", disabled_here);
        people.set_disabled(east, "alice", disabled_there);
        let answer = moved(&mut people, "b", east);
        assert!(said(&answer)[0].ends_with(says), "{:?}", said(&answer));
        assert!(people.user(east, "alice").unwrap().disabled);
    }
}

#[test]
fn a_user_that_the_realm_had_before_is_back() {
    let mut people = People::with("a b");
    let east = people.realm("east");
    people.add("a", "alice");
    people.add("b", "alice");
    moved(&mut people, "a", east);
    let first = people.user(east, "alice").unwrap().id;
    moved(&mut people, "a", RealmId::DEFAULT);
    assert!(people.user(east, "alice").unwrap().deleted_at.is_some());
    let answer = moved(&mut people, "a", east);
    assert!(said(&answer)[0].starts_with("a alice Restored USERS_MERGED"), "{:?}", said(&answer));
    assert_eq!(people.user(east, "alice").map(|user| (user.id, user.references)), Some((first, 1)));
}

#[test]
fn without_room_for_all_nobody_moves() {
    let mut people = People::with("a b");
    let east = people.realm("east");
    people.add("a", "alice");
    people.add("b", "bob");
    people.0.state.realms.change(&east).unwrap().user_quota = Some(1);
    people.0.state.keep();
    let both = to(&people, "a b", east);
    let refusal = people.0.plan(both).unwrap_err();
    assert_eq!(refusal.reason, Reason::RealmQuotaExceeded);
    let quota = refusal.quota.unwrap();
    assert_eq!((quota.subject, quota.limit, quota.used), (format!("realms/{}", east.0), 1, 0));
    people.check();
    assert_eq!(people.0.client("a").realm, RealmId::DEFAULT);
    moved(&mut people, "a", east);
    // A move within the register needs no room in it, but a user who is split does.
    people.0.state.settings.change(&()).unwrap().user_quota = Some(2);
    people.0.state.realms.change(&east).unwrap().user_quota = None;
    people.0.state.keep();
    moved(&mut people, "a", RealmId::DEFAULT);
    people.add("b", "alice");
    let split = to(&people, "a", east);
    assert_eq!(people.0.refused(split), Reason::UserQuotaExceeded);
}

#[test]
fn what_cannot_move_is_said_and_the_rest_moves() {
    let mut people = People::with("a b c");
    let east = people.realm("east");
    moved(&mut people, "c", east);
    let (b, stranger) = (people.named("b"), NamedClient { id: AuthClientId(7), ..people.named("a") });
    people.0.answer(without("b"));
    let clients = vec![people.named("a"), b, people.named("c"), stranger];
    let answer = people.0.answer(Action::MoveAuthClients { clients, realm: east });
    let items: Vec<_> = answer.clients.iter().map(|item| (item.outcome, item.reason)).collect();
    let expected = [
        (Outcome::Updated, None),
        (Outcome::Refused, Some(Reason::AuthClientDeleted)),
        (Outcome::Unchanged, None),
        (Outcome::Refused, Some(Reason::AuthClientUnknown)),
    ];
    assert_eq!(items, expected);
    let nowhere = to(&people, "a", RealmId(77));
    assert_eq!(people.0.refused(nowhere), Reason::RealmUnknown);
    let again = moved(&mut people, "a", east);
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[test]
fn an_admin_of_some_realms_moves_between_these_only() {
    let mut people = People::with("a");
    let east = people.realm("east");
    let action = to(&people, "a", east);
    for (reach, expected) in [
        (vec![east], Ok(Outcome::Unchanged)),
        (vec![RealmId::DEFAULT], Err(Reason::RealmUnknown)),
        (vec![RealmId::DEFAULT, east], Ok(Outcome::Updated)),
    ] {
        let reach: Reach = reach.into_iter().collect();
        let mut next_id = 9_000;
        let mut context = Context {
            now: Timestamp::from_micros(9),
            next_id: &mut next_id,
            caller: "test",
            proof: None,
            reach: &reach,
            address: None,
        };
        let got = match plan(&mut people.0.state, &rehearsed(action.clone().into()), &mut context) {
            Ok(planned) => Ok(planned.answer.outcome),
            Err(Stop::Refused(refusal)) => Err(refusal.reason),
            Err(Stop::Missing(needs)) => panic!("{needs:?}"),
        };
        assert_eq!(got, expected);
    }
}

#[test]
fn an_auth_client_gets_an_alias_and_a_realm_in_one_change() {
    let mut people = People::with("a");
    let east = people.realm("east");
    people.add("a", "alice");
    let change = |people: &People, alias: &str, realm, etag| Action::UpdateAuthClient {
        client: people.named("a"),
        alias: Some(alias.parse().unwrap()),
        realm,
        etag,
    };
    let etag = people.0.client("a").etag();
    let action = change(&people, "branch", Some(east), Some(etag.clone()));
    let planned = people.0.plan(action).unwrap();
    let client = people.0.client("a").clone();
    assert_eq!((client.alias.as_str(), client.realm), ("branch", east));
    assert_eq!(planned.answer.after, After::AuthClient(client));
    assert_eq!(
        planned.records[0].changes,
        [Change::value("realm", "default", "east"), Change::value("alias", "", "branch")]
    );
    people.check();
    let stale = change(&people, "x", None, Some(etag));
    assert_eq!(people.0.refused(stale), Reason::EtagMismatch);
    let same = change(&people, "branch", Some(east), None);
    assert_eq!(people.0.answer(same).outcome, Outcome::Unchanged);
    people.0.answer(without("a"));
    let deleted = change(&people, "x", None, None);
    assert_eq!(people.0.refused(deleted), Reason::AuthClientDeleted);
}

#[derive(Clone, Debug)]
enum Step {
    Add(&'static str, &'static str),
    Move(Vec<&'static str>, usize),
    Remove(&'static str),
    Report(Vec<&'static str>),
    Delete(usize, &'static str),
    Disable(usize, &'static str, bool),
    DeleteRealm(usize),
}

const CLIENTS: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let client = || prop::sample::select(CLIENTS.to_vec());
    let name = || prop::sample::select(vec!["alice", "bob", "carol"]);
    let some = || prop::sample::subsequence(CLIENTS.to_vec(), 1..=3).prop_shuffle();
    prop_oneof![
        6 => (client(), name()).prop_map(|(client, name)| Step::Add(client, name)),
        6 => (some(), 0_usize..3).prop_map(|(clients, realm)| Step::Move(clients, realm)),
        1 => client().prop_map(Step::Remove),
        1 => some().prop_map(Step::Report),
        1 => (0_usize..3, name()).prop_map(|(realm, name)| Step::Delete(realm, name)),
        1 => (0_usize..3, name(), any::<bool>()).prop_map(|(realm, name, to)| Step::Disable(realm, name, to)),
        1 => (1_usize..3).prop_map(Step::DeleteRealm),
    ]
}

fn take(people: &mut People, realms: &[RealmId], step: &Step) {
    match step {
        Step::Add(client, name) => people.add(client, name),
        Step::Move(clients, realm) => {
            let before = people.present();
            let action = to(people, &clients.join(" "), realms[*realm]);
            let Ok(planned) = people.0.plan(action) else { return };
            let after = people.present();
            let said = said(&planned.answer).join("\n");
            for id in before.keys().filter(|id| !after.contains_key(id)) {
                assert!(said.contains(&format!("users/{id} of realm ")), "users/{id} is gone and not listed: {said}");
            }
        }
        Step::Remove(client) => drop(people.0.plan(without(client))),
        Step::Report(clients) => drop(people.0.plan(Action::Sync(listed(&clients.join(" "))))),
        Step::Delete(realm, name) => {
            if people.user(realms[*realm], name).is_some() {
                let user = people.person(realms[*realm], name);
                let clients = CLIENTS.map(|client| people.named(client)).to_vec();
                people.0.answer(Action::DeletePerson { user, clients });
            }
        }
        Step::Disable(realm, name, to) => {
            if people.user(realms[*realm], name).is_some_and(|user| user.deleted_at.is_none()) {
                people.set_disabled(realms[*realm], name, *to);
            }
        }
        Step::DeleteRealm(realm) => drop(people.0.plan(Action::DeleteRealm { realm: realms[*realm], etag: None })),
    }
}

proptest! {
    #[test]
    fn whatever_happens_counts_are_exact_and_nobody_disappears_unlisted(steps in prop::collection::vec(step(), 1..40)) {
        let mut people = People::with("a b c");
        let realms = [RealmId::DEFAULT, people.realm("east"), people.realm("west")];
        for step in &steps {
            take(&mut people, &realms, step);
            people.check();
        }
    }

    #[test]
    fn a_move_there_and_back_of_which_there_is_nothing_to_say_loses_nothing(
        steps in prop::collection::vec(step(), 1..24), client in prop::sample::select(CLIENTS.to_vec()),
    ) {
        let mut people = People::with("a b c");
        let realms = [RealmId::DEFAULT, people.realm("east"), people.realm("west")];
        for step in &steps {
            take(&mut people, &realms, step);
        }
        prop_assume!(people.0.client(client).is_active());
        let fresh = people.realm("fresh");
        let home = people.0.client(client).realm;
        let there = to(&people, client, fresh);
        let before = people.clone();
        let there = people.0.answer(there);
        if !said(&there).is_empty() {
            return Ok(());
        }
        let back = to(&people, client, home);
        let back = people.0.answer(back);
        prop_assert!(said(&back).is_empty());
        let people_of = |people: &People| people.0.state.users.iter()
            .map(|(_, user)| User { updated_at: Timestamp::from_micros(0), ..user.clone() }).collect::<Vec<_>>();
        let refs_of = |people: &People| people.0.state.user_refs.iter()
            .map(|(_, found)| UserRef { updated_at: Timestamp::from_micros(0), ..found.clone() }).collect::<Vec<_>>();
        prop_assert_eq!(people_of(&people), people_of(&before));
        prop_assert_eq!(refs_of(&people), refs_of(&before));
        people.check();
    }
}
