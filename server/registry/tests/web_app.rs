//! Web apps: names, secrets, users, and what a deletion takes.

use std::time::Duration;

use muster_proto::device_users::{UserAddition, UserTarget};
use muster_proto::web_app::NewWebApp;
use proptest::prelude::*;

use super::*;

fn named(name: &str, request_id: &str) -> Action {
    let new = NewWebApp { display_name: name.parse().unwrap(), realm: None, request_id: request_id.parse().unwrap() };
    Action::CreateWebApp { new, client_id: ClientId("c".into()), secret: SecretHash([1; 32]) }
}

fn app(planned: &Planned) -> WebApp {
    match &planned.answer.after {
        After::WebApp(found) => found.0.clone(),
        after => panic!("{after:?}"),
    }
}

fn add(id: WebAppId, name: &str) -> Action {
    let wire = muster_proto::v1::UserAttributes {
        username: name.to_owned(),
        email: format!("{name}@example.com"),
        ..Default::default()
    };
    let user = UserAttributes::parse(&wire).unwrap();
    Action::AddUser(UserAddition { target: UserTarget::WebApp(Some(id.0)), user })
}

fn delete(id: WebAppId) -> Action {
    Action::DeleteWebApp { app: id, etag: None }
}

fn users(register: &Register) -> (i64, i64, i64) {
    let realm = register.state.realms.get(&RealmId::DEFAULT).unwrap();
    (realm.clients, realm.users, register.state.settings().users)
}

#[test]
fn a_web_app_without_a_name_is_given_the_first_that_is_free() {
    let mut register = Register::empty();
    let mut made = |name: &str| app(&register.plan(named(name, "")).unwrap());
    let first = made("");
    assert_eq!((first.name.as_str(), made("").name.as_str()), ("MyAuthClient", "MyAuthClient1"));
    assert_eq!(register.refused(named("MyAuthClient", "")), Reason::WebAppNameTaken);
    register.plan(delete(first.id)).unwrap();
    assert_eq!(app(&register.plan(named("", "")).unwrap()).name.as_str(), "MyAuthClient");
    assert_eq!(register.refused(Action::UndeleteWebApp(first.id)), Reason::WebAppNameTaken);
}

#[test]
fn a_request_that_is_repeated_makes_no_second_web_app() {
    let mut register = Register::empty();
    let first = register.plan(named("shop", "7f")).unwrap();
    let second = register.plan(named("shop", "7f")).unwrap();
    assert_eq!((app(&second).id, second.answer.reason), (app(&first).id, Some(Reason::SecretShownBefore)));
    assert!(second.records.is_empty());
}

#[test]
fn a_deletion_takes_the_users_and_undeleting_brings_exactly_them_back_with_the_secret() {
    let mut register = Register::empty();
    let shop = app(&register.plan(named("shop", "")).unwrap());
    register.plan(add(shop.id, "alice")).unwrap();
    assert_eq!(users(&register), (1, 1, 1));
    register.plan(delete(shop.id)).unwrap();
    assert_eq!(users(&register), (0, 0, 0));
    assert_eq!(register.refused(add(shop.id, "bob")), Reason::WebAppDeleted);
    assert_eq!(register.answer(delete(shop.id)).reason, Some(Reason::AlreadyDeleted));
    let back = register.plan(Action::UndeleteWebApp(shop.id)).unwrap();
    assert_eq!((app(&back).secret, back.answer.users.len()), (shop.secret, 1));
    assert_eq!(users(&register), (1, 1, 1));
    assert_eq!(register.answer(Action::UndeleteWebApp(shop.id)).reason, Some(Reason::AlreadyActive));
}

#[test]
fn the_purge_takes_a_deleted_web_app_once_its_retention_time_has_ended() {
    let mut register = Register::empty();
    let shop = app(&register.plan(named("shop", "")).unwrap());
    register.plan(add(shop.id, "alice")).unwrap();
    register.plan(delete(shop.id)).unwrap();
    let purge = || Action::Purge { serial: None, owner: shop.owner() };
    assert_eq!(register.answer(purge()).outcome, Outcome::Unchanged);
    register.now += 86_400 * 10_000;
    assert_eq!(register.refused(Action::UndeleteWebApp(shop.id)), Reason::RetentionEnded);
    assert_eq!(register.answer(purge()).outcome, Outcome::Removed);
    assert_eq!(register.refused(delete(shop.id)), Reason::WebAppUnknown);
}

#[test]
fn an_admin_of_another_realm_finds_no_web_app() {
    let mut register = Register::empty();
    let shop = app(&register.plan(named("shop", "")).unwrap());
    register.reach = [RealmId(2)].into_iter().collect();
    assert_eq!(register.refused(delete(shop.id)), Reason::WebAppUnknown);
    assert_eq!(register.refused(named("mine", "")), Reason::RealmUnknown);
}

#[test]
fn a_plan_of_a_web_app_does_not_depend_on_what_is_drawn_at_random() {
    let mut register = Register::empty();
    let plan = register.answer(rehearsed(named("shop", "").into())).plan;
    let Action::CreateWebApp { new, .. } = named("shop", "") else { panic!("another action") };
    let action = Action::CreateWebApp { new, client_id: ClientId("d".into()), secret: SecretHash([2; 32]) };
    register.plan(Command { action, options: Options { validate_only: false, plan } }).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Create,
    Rotate(usize, u64),
    Add(usize, u8),
    Delete(usize),
    Undelete(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0_usize..3;
    prop_oneof![
        Just(Step::Create),
        (which.clone(), 0_u64..5).prop_map(|(which, grace)| Step::Rotate(which, grace)),
        (which.clone(), 0_u8..3).prop_map(|(which, name)| Step::Add(which, name)),
        which.clone().prop_map(Step::Delete),
        which.prop_map(Step::Undelete),
    ]
}

proptest! {
    #[test]
    fn whatever_admins_do_the_counts_and_the_two_rows_of_each_web_app_agree(steps in prop::collection::vec(step(), 0..30)) {
        let mut register = Register::empty();
        let mut ids = Vec::new();
        for step in steps {
            let id = |which: usize| ids.get(which).copied().unwrap_or(WebAppId(1));
            let action = match step {
                Step::Create => named("", ""),
                Step::Rotate(which, grace) => {
                    Action::RotateWebApp { app: id(which), secret: SecretHash([9; 32]), grace: Duration::from_secs(grace) }
                }
                Step::Add(which, name) => add(id(which), &format!("u{name}")),
                Step::Delete(which) => delete(id(which)),
                Step::Undelete(which) => Action::UndeleteWebApp(id(which)),
            };
            if let Ok(planned) = register.plan(action)
                && planned.answer.outcome == Outcome::Created
                && let After::WebApp(found) = &planned.answer.after
            {
                ids.push(found.0.id);
            }
            let apps: Vec<_> = register.state.web_apps.iter().map(|(_, app)| app.clone()).collect();
            let mut active = 0;
            for app in apps {
                let client = register.state.client(app.owner(), VdomName::WEB_APP).unwrap().unwrap();
                prop_assert_eq!(client.is_active(), app.is_active());
                prop_assert!(app.is_active() || client.users == 0);
                active += i64::from(app.is_active());
            }
            let (clients, people, all) = users(&register);
            prop_assert_eq!(clients, active);
            let present = register.state.users.iter().filter(|(_, user)| user.deleted_at.is_none()).count();
            prop_assert_eq!((people, all), (i64::try_from(present).unwrap(), people));
        }
    }
}
