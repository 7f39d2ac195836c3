//! Admin tokens: who may be left.

use std::collections::BTreeSet;

use muster_proto::admin_token::NewAdminToken;
use muster_proto::{RealmRef, Text};
use proptest::prelude::*;

use super::*;

/// A register with the default realm and no token.
fn register() -> Register {
    let mut register = Register::empty();
    let now = Timestamp::from_micros(0);
    register.state.realms.load(RealmId::DEFAULT, Some(Realm::new(RealmId::DEFAULT, "default".parse().unwrap(), now)));
    register.state.whole.admin_tokens = true;
    register
}

fn new(name: &str, realm: bool, read_only: bool, expires_at: Option<i64>) -> Action {
    let realms = realm.then(|| BTreeSet::from([RealmRef::Id(1)]));
    let expires_at = expires_at.map(|seconds| Timestamp::from_micros(seconds * 1_000_000));
    let display_name = name.parse().unwrap();
    let new = NewAdminToken { display_name, realms, read_only, expires_at, request_id: Text::default() };
    Action::CreateAdminToken { new, hash: SecretHash([7; 32]) }
}

fn id_of(planned: &Planned) -> AdminTokenId {
    match &planned.answer.after {
        After::AdminToken(token) => token.id,
        after => panic!("{after:?}"),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create { realm: bool, read_only: bool, lasts: Option<i64> },
    Revoke(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), any::<bool>(), prop::option::of(1_i64..6)).prop_map(|(realm, read_only, lasts)| Step::Create {
            realm,
            read_only,
            lasts
        }),
        (0_usize..8).prop_map(Step::Revoke),
    ]
}

proptest! {
    #[test]
    fn a_revocation_never_takes_the_last_global_token_that_may_write(steps in prop::collection::vec(step(), 0..24)) {
        let mut register = register();
        let mut ids = vec![id_of(&register.plan(new("first", false, false, None)).unwrap())];
        for (number, step) in steps.into_iter().enumerate() {
            let rules = |register: &Register| {
                let now = Timestamp::from_micros((register.now + 1) * 1_000_000);
                let tokens = register.state.admin_tokens.iter();
                tokens.filter(|(_, token)| token.is_usable(now) && token.reach == Reach::Everything && !token.read_only).count()
            };
            match step {
                Step::Create { realm, read_only, lasts } => {
                    let end = lasts.map(|seconds| register.now + 1 + seconds);
                    let planned = register.plan(new(&format!("t{number}"), realm, read_only, end)).unwrap();
                    ids.push(id_of(&planned));
                }
                Step::Revoke(which) => {
                    let before = rules(&register);
                    let result = register.plan(Action::RevokeAdminToken(ids[which % ids.len()]));
                    register.now -= 1;
                    prop_assert!(before == 0 || rules(&register) >= 1, "{:?}", result);
                    register.now += 1;
                    if let Err(refusal) = result {
                        prop_assert_eq!(refusal.reason, Reason::LastAdmin);
                        prop_assert_eq!(before, 1);
                    }
                }
            }
        }
    }
}

#[test]
fn a_name_is_free_again_once_its_token_is_gone() {
    let mut register = register();
    register.plan(new("first", false, false, None)).unwrap();
    let guest = id_of(&register.plan(new("guest", false, true, None)).unwrap());
    assert_eq!(register.refused(new("guest", false, true, None)), Reason::AdminTokenNameTaken);
    register.plan(Action::RevokeAdminToken(guest)).unwrap();
    register.plan(new("guest", true, true, Some(100))).unwrap();
}
