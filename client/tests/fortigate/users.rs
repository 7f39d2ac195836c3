//! What a box says of its users, against a register that takes them as the real one does.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use muster_proto::Reason;
use muster_proto::v1::auth_client_target::Target;
use muster_proto::v1::sync_users_request::Kind as Up;
use muster_proto::v1::sync_users_response::Kind as Down;
use muster_proto::v1::{
    AddUserRequest, AddUserResponse, AuthClientTarget, DeviceServiceDeleteUserRequest, DeviceServiceDeleteUserResponse,
    HeldNotice, Outcome, SyncUsersBegin, SyncUsersCount, SyncUsersDemand, SyncUsersOpened, SyncUsersOutcomes,
    SyncUsersRequest, SyncUsersResponse, SyncUsersSummary, UpdateUserRequest, UpdateUserResponse, UserAttributes,
    UserOutcome,
};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::bench_and_server;
use crate::console::script;

/// The users of every auth client, by VDOM and name.
#[derive(Clone, Default)]
pub(crate) struct Register(Arc<Mutex<BTreeMap<(String, String), UserAttributes>>>, Arc<Mutex<Vec<SyncUsersBegin>>>);

fn vdom(target: Option<AuthClientTarget>) -> String {
    match target.unwrap().target.unwrap() {
        Target::FortiProduct(product) => product.vdom,
        Target::WebApp(name) => panic!("a FortiGate named the Web app {name:?}"),
    }
}

fn outcome(username: &str, outcome: Outcome) -> UserOutcome {
    UserOutcome { username: username.to_owned(), outcome: outcome.into(), ..Default::default() }
}

fn refused(reason: Reason, code: Code) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason.as_str(), "muster", []);
    Status::with_error_details(code, "no", details)
}

impl Register {
    pub(crate) fn add(&self, request: AddUserRequest) -> Result<AddUserResponse, Status> {
        let user = request.user.unwrap();
        if user.email.is_empty() {
            return Err(refused(Reason::UserEmailMissing, Code::InvalidArgument));
        }
        let (key, name) = ((vdom(request.target), user.username.clone()), user.username.clone());
        let before = self.0.lock().unwrap().insert(key, user.clone());
        let became = match before {
            None => Outcome::Created,
            Some(before) if before == user => Outcome::Unchanged,
            Some(_) => Outcome::Updated,
        };
        Ok(AddUserResponse { user: Some(outcome(&name, became)), ..Default::default() })
    }

    pub(crate) fn update(&self, request: UpdateUserRequest) -> Result<UpdateUserResponse, Status> {
        let mut users = self.0.lock().unwrap();
        let user = users.get_mut(&(vdom(request.target), request.username.clone()));
        let user = user.ok_or_else(|| refused(Reason::UserUnknown, Code::NotFound))?;
        user.email = request.email.unwrap_or(user.email.clone());
        user.mobile_number = request.mobile_number.unwrap_or(user.mobile_number.clone());
        user.active = request.active.or(user.active);
        Ok(UpdateUserResponse { user: Some(outcome(&request.username, Outcome::Updated)), ..Default::default() })
    }

    pub(crate) fn delete(
        &self,
        request: DeviceServiceDeleteUserRequest,
    ) -> Result<DeviceServiceDeleteUserResponse, Status> {
        let gone = self.0.lock().unwrap().remove(&(vdom(request.target), request.username.clone()));
        gone.ok_or_else(|| refused(Reason::UserUnknown, Code::NotFound))?;
        Ok(DeviceServiceDeleteUserResponse {
            user: Some(outcome(&request.username, Outcome::Removed)),
            ..Default::default()
        })
    }

    /// Takes a full list as the real one does; it answers no digest, and holds the removal of more than two.
    pub(crate) async fn sync(
        &self,
        mut up: Streaming<SyncUsersRequest>,
        down: &mpsc::Sender<Result<SyncUsersResponse, Status>>,
    ) -> Result<(), Status> {
        let say = async |kind| down.send(Ok(SyncUsersResponse { kind: Some(kind) })).await.unwrap();
        let (mut begin, mut listed) = (SyncUsersBegin::default(), Vec::new());
        while let Some(message) = up.message().await? {
            match message.kind.unwrap() {
                Up::Begin(first) => {
                    begin = first;
                    self.1.lock().unwrap().push(begin.clone());
                    say(Down::Opened(SyncUsersOpened {
                        demand: SyncUsersDemand::SendAll.into(),
                        ..Default::default()
                    }))
                    .await;
                }
                Up::Chunk(chunk) => listed.extend(chunk.users),
                Up::End(_) => break,
            }
        }
        let vdom = vdom(begin.target);
        let users = self.0.lock().unwrap().clone();
        let mut next = users.clone();
        let (mut summary, mut outcomes) = (SyncUsersSummary::default(), Vec::new());
        let (mut create, mut modify, mut delete) = <(SyncUsersCount, SyncUsersCount, SyncUsersCount)>::default();
        let kept: Vec<_> = listed.iter().map(|user| user.username.clone()).collect();
        for user in listed {
            let key = (vdom.clone(), user.username.clone());
            if user.email.is_empty() {
                create.failure += 1;
                let reason = Reason::UserEmailMissing;
                let (reason, fix) = (reason.as_str().to_owned(), reason.fix().to_owned());
                outcomes.push(UserOutcome { reason, fix, ..outcome(&user.username, Outcome::Refused) });
                continue;
            }
            match next.insert(key, user.clone()) {
                None => {
                    create.success += 1;
                    outcomes.push(outcome(&user.username, Outcome::Created));
                }
                Some(before) if before == user => summary.unchanged += 1,
                Some(_) => {
                    modify.success += 1;
                    outcomes.push(outcome(&user.username, Outcome::Updated));
                }
            }
        }
        let meant = |user: &UserAttributes| begin.kinds.is_empty() || begin.kinds.contains(&user.kind);
        let goes =
            |(key, user): &(&(String, String), &UserAttributes)| key.0 == vdom && meant(user) && !kept.contains(&key.1);
        let gone: Vec<_> = users.iter().filter(goes).map(|(key, _)| key.clone()).collect();
        if gone.len() > 2 && begin.confirm_token != "token-1" {
            summary.held = i64::try_from(gone.len()).unwrap();
            summary.held_removal = Some(HeldNotice { confirm_token: "token-1".to_owned(), ..Default::default() });
            let held = |key: &(String, String)| UserOutcome {
                reason: "REMOVAL_HELD".to_owned(),
                ..outcome(&key.1, Outcome::Held)
            };
            outcomes.extend(gone.iter().map(held));
        } else {
            delete.success = i64::try_from(gone.len()).unwrap();
            outcomes.extend(gone.iter().map(|key| outcome(&key.1, Outcome::Removed)));
            next.retain(|key, _| !gone.contains(key));
        }
        (summary.create, summary.modify, summary.delete) = (Some(create), Some(modify), Some(delete));
        if !begin.validate_only {
            *self.0.lock().unwrap() = next;
        }
        say(Down::Outcomes(SyncUsersOutcomes { outcomes })).await;
        say(Down::Summary(summary)).await;
        Ok(())
    }

    /// How each sync began.
    fn begins(&self) -> Vec<SyncUsersBegin> {
        self.1.lock().unwrap().clone()
    }

    /// Every user in a line.
    fn lines(&self) -> Vec<String> {
        let line = |((vdom, name), user): (&(String, String), &UserAttributes)| {
            format!("{vdom}/{name} {} {} {:?} {:?}", user.email, user.mobile_number, user.kind(), user.active)
        };
        self.0.lock().unwrap().iter().map(line).collect()
    }
}

const ALICE: &str = "config vdom\nedit dmz\nconfig user local\nedit alice\nset two-factor fortitoken-cloud\nset email-to alice@example.com\n";

#[tokio::test]
async fn a_user_is_made_changed_and_deleted_where_it_is_made_changed_and_deleted() {
    let (bench, server) = bench_and_server().await;
    let (out, code, err) = script(&bench, &server, &format!("{ALICE}end\n")).await;
    insta::assert_snapshot!(out, @r"
    FG101FTK19002788 # config vdom
    FG101FTK19002788 (vdom) # edit dmz
    current vf=dmz:1
    FG101FTK19002788 (dmz) # config user local
    FG101FTK19002788 (local) # edit alice
    FG101FTK19002788 (alice) # set two-factor fortitoken-cloud
    FG101FTK19002788 (alice) # set email-to alice@example.com
    FG101FTK19002788 (alice) # end
    FG101FTK19002788 (dmz) #
    ");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(server.users.lines(), ["dmz/alice alice@example.com  Local Some(true)"]);

    script(
        &bench,
        &server,
        "config vdom\nedit dmz\nconfig user local\nedit alice\nset sms-phone +14080123456\nset status disable\nend\n",
    )
    .await;
    assert_eq!(server.users.lines(), ["dmz/alice alice@example.com +14080123456 Local Some(false)"]);

    let admin = "config global\nconfig system admin\nedit admin\nset two-factor fortitoken-cloud\nset email-to a@example.com\nend\n";
    script(&bench, &server, admin).await;
    assert_eq!(server.users.lines()[0], "#FOS_Administrator/admin a@example.com  Administrator Some(true)");

    script(&bench, &server, "config vdom\nedit dmz\nconfig user local\ndelete alice\nend\n").await;
    script(&bench, &server, "config global\nconfig system admin\nedit admin\nunset two-factor\nend\n").await;
    assert_eq!(server.users.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_user_that_the_service_refuses_is_named_with_reason_and_fix_and_stays_on_the_box() {
    let (bench, server) = bench_and_server().await;
    let lines = "config vdom\nedit dmz\nconfig user local\nedit bob\nset two-factor fortitoken-cloud\nnext\nedit bob\nset email-to bob@example.com\nend\nshow user local\n";
    let (out, code, _) = script(&bench, &server, lines).await;
    insta::assert_snapshot!(out, @r#"
    FG101FTK19002788 # config vdom
    FG101FTK19002788 (vdom) # edit dmz
    current vf=dmz:1
    FG101FTK19002788 (dmz) # config user local
    FG101FTK19002788 (local) # edit bob
    FG101FTK19002788 (bob) # set two-factor fortitoken-cloud
    FG101FTK19002788 (bob) # next
    Failed to create FortiToken Cloud user bob.
    bob (dmz): refused (USER_EMAIL_MISSING): give the user an e-mail address on the device: set email-to, or fill in the mail attribute of the directory
    FG101FTK19002788 (local) # edit bob
    FG101FTK19002788 (bob) # set email-to bob@example.com
    FG101FTK19002788 (bob) # end
    FG101FTK19002788 (dmz) # show user local
    config user local
        edit "bob"
            set two-factor fortitoken-cloud
            set email-to "bob@example.com"
        next
    end
    FG101FTK19002788 (dmz) #
    "#);
    assert_eq!(code, Some(1));
    assert_eq!(server.users.lines(), ["dmz/bob bob@example.com  Local Some(true)"]);
}

#[tokio::test]
async fn a_user_that_cannot_be_sent_is_told_and_a_sync_sends_it() {
    let (bench, server) = bench_and_server().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    fs::write(bench.path("script"), format!("{ALICE}end\n")).unwrap();
    let away = bench.run(&format!("--server https://127.0.0.1:{closed} exec sudo dmz show user local")).await;
    assert_eq!(away.out, "config user local\nend\n");
    let lines = format!(
        "config global\ndiagnose fortitoken-cloud set-http 503\nend\n{ALICE}end\nend\nconfig global\nexecute fortitoken-cloud sync\n\
        diagnose fortitoken-cloud set-http 0\nexecute fortitoken-cloud sync\nexecute fortitoken-cloud sync all\n"
    );
    let (out, code, _) = script(&bench, &server, &lines).await;
    insta::assert_snapshot!(out, @r#"
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # diagnose fortitoken-cloud set-http 503
    FG101FTK19002788 (global) # end
    FG101FTK19002788 # config vdom
    FG101FTK19002788 (vdom) # edit dmz
    current vf=dmz:1
    FG101FTK19002788 (dmz) # config user local
    FG101FTK19002788 (local) # edit alice
    FG101FTK19002788 (alice) # set two-factor fortitoken-cloud
    FG101FTK19002788 (alice) # set email-to alice@example.com
    FG101FTK19002788 (alice) # end
    Failed to create FortiToken Cloud user alice.
    Cannot find ftc server!
    Command fail. Return code -1
    fix: this status is forced and the service was not asked: diagnose fortitoken-cloud set-http 0
    FG101FTK19002788 (dmz) # end
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # execute fortitoken-cloud sync
    Cannot find ftc server!
    Command fail. Return code -1
    fix: this status is forced and the service was not asked: diagnose fortitoken-cloud set-http 0
    FG101FTK19002788 (global) # diagnose fortitoken-cloud set-http 0
    FG101FTK19002788 (global) # execute fortitoken-cloud sync
    Sync status: {"status": "complete", "msg": {"delete": {"success": 0, "failure": 0}, "modify": {"success": 0, "failure": 0}, "create": {"success": 1, "failure": 0}}}
    User synchronization completed!
    FG101FTK19002788 (global) # execute fortitoken-cloud sync all
    Sync status: {"status": "complete", "msg": {"delete": {"success": 0, "failure": 0}, "modify": {"success": 0, "failure": 0}, "create": {"success": 0, "failure": 0}}}
    User synchronization completed!
    FG101FTK19002788 (global) #
    "#);
    assert_eq!(code, Some(2));
    assert_eq!(server.users.lines(), ["dmz/alice alice@example.com  Local Some(true)"]);
}

#[tokio::test]
async fn a_sync_sends_the_users_of_directories_and_names_each_that_is_refused() {
    let (bench, server) = bench_and_server().await;
    fs::create_dir(bench.device().join("ldap")).unwrap();
    let ldif = "dn: cn=Ann,dc=corp\nsAMAccountName: ann\nmail: ann@corp.example\nmobile: +14080123456\nmemberOf: vpn\n\n\
                dn: cn=Bob,dc=corp\nsAMAccountName: bob\nmemberOf: vpn\n\ndn: cn=Eve,dc=corp\nsAMAccountName: eve\nmail: eve@corp.example\n";
    fs::write(bench.device().join("ldap/ldap.example.ldif"), ldif).unwrap();
    let lines = "config vdom\nedit root\nconfig user ldap\nedit corp\nset server ldap.example\nset cnid sAMAccountName\nset dn dc=corp\n\
                 set two-factor fortitoken-cloud\nset two-factor-filter \"(memberOf=vpn)\"\nend\nend\nconfig vdom\nedit dmz\nconfig user ldap\nedit away\nset server nowhere\n\
                 set two-factor fortitoken-cloud\nend\nend\nconfig global\nexecute fortitoken-cloud sync remote\nexecute fortitoken-cloud sync local\n\
                 diagnose fortitoken-cloud show users\ndiagnose fortitoken-cloud show user ann root\ndiagnose fortitoken-cloud show user nobody root\n\
                 diagnose fortitoken-cloud delete ann root\ndiagnose fortitoken-cloud delete ann root\n";
    let (out, code, _) = script(&bench, &server, lines).await;
    insta::assert_snapshot!(out.replace(bench.device().to_str().unwrap(), "box"), @r#"
    FG101FTK19002788 # config vdom
    FG101FTK19002788 (vdom) # edit root
    current vf=root:0
    FG101FTK19002788 (root) # config user ldap
    FG101FTK19002788 (ldap) # edit corp
    FG101FTK19002788 (corp) # set server ldap.example
    FG101FTK19002788 (corp) # set cnid sAMAccountName
    FG101FTK19002788 (corp) # set dn dc=corp
    FG101FTK19002788 (corp) # set two-factor fortitoken-cloud
    FG101FTK19002788 (corp) # set two-factor-filter "(memberOf=vpn)"
    FG101FTK19002788 (corp) # end
    FG101FTK19002788 (root) # end
    FG101FTK19002788 # config vdom
    FG101FTK19002788 (vdom) # edit dmz
    current vf=dmz:1
    FG101FTK19002788 (dmz) # config user ldap
    FG101FTK19002788 (ldap) # edit away
    FG101FTK19002788 (away) # set server nowhere
    FG101FTK19002788 (away) # set two-factor fortitoken-cloud
    FG101FTK19002788 (away) # end
    FG101FTK19002788 (dmz) # end
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # execute fortitoken-cloud sync remote
    Sync status: {"status": "complete", "msg": {"delete": {"success": 0, "failure": 0}, "modify": {"success": 0, "failure": 0}, "create": {"success": 1, "failure": 1}}}
    User synchronization completed!
    bob (root): refused (USER_EMAIL_MISSING): give the user an e-mail address on the device: set email-to, or fill in the mail attribute of the directory
    away (dmz): not read: box/ldap/nowhere.ldif: No such file or directory (os error 2); nobody of a directory of this VDOM was sent or removed
    FG101FTK19002788 (global) # execute fortitoken-cloud sync local
    Sync status: {"status": "complete", "msg": {"delete": {"success": 0, "failure": 0}, "modify": {"success": 0, "failure": 0}, "create": {"success": 0, "failure": 0}}}
    User synchronization completed!
    FG101FTK19002788 (global) # diagnose fortitoken-cloud show users
    ann (root): remote, email ann@corp.example, phone +14080123456
    bob (root): remote
    away (dmz): not read: box/ldap/nowhere.ldif: No such file or directory (os error 2)
    FG101FTK19002788 (global) # diagnose fortitoken-cloud show user ann root
    ann (root): remote, email ann@corp.example, phone +14080123456
    FG101FTK19002788 (global) # diagnose fortitoken-cloud show user nobody root
    entry not found in datasource
    Command fail. Return code -3
    away (dmz): not read: box/ldap/nowhere.ldif: No such file or directory (os error 2)
    FG101FTK19002788 (global) # diagnose fortitoken-cloud delete ann root
    ann (root): removed
    FG101FTK19002788 (global) # diagnose fortitoken-cloud delete ann root
    ann (root): unchanged
    FG101FTK19002788 (global) #
    "#);
    assert_eq!(code, Some(1));
    assert_eq!(server.users.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sync_removes_what_the_box_no_longer_has_and_asks_before_it_removes_many() {
    let (bench, server) = bench_and_server().await;
    let user =
        |name: &str| format!("edit {name}\nset two-factor fortitoken-cloud\nset email-to {name}@example.com\nnext\n");
    let users = ["ann", "bob", "cid", "dan"].map(user).concat();
    script(&bench, &server, &format!("config vdom\nedit dmz\nconfig user local\n{users}end\n")).await;
    assert_eq!(server.users.lines().len(), 4);
    // The box forgets them while it cannot say so.
    let lines = "config global\ndiagnose fortitoken-cloud set-http 503\nend\nconfig vdom\nedit dmz\nconfig user local\npurge\ny\nend\nend\n\
                 config global\ndiagnose fortitoken-cloud set-http 0\nexecute fortitoken-cloud sync all dry-run\nexecute fortitoken-cloud sync\n\
                 execute fortitoken-cloud sync all confirm\nexecute fortitoken-cloud sync all dry-run\n";
    let (out, code, _) = script(&bench, &server, lines).await;
    insta::assert_snapshot!(out.split_once("set-http 0").unwrap().1, @r#"
    FG101FTK19002788 (local) # end
    FG101FTK19002788 (dmz) # end
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # diagnose fortitoken-cloud set-http 0
    FG101FTK19002788 (global) # execute fortitoken-cloud sync all dry-run
    Dry run: nothing was done. A sync would do this:
    ann (dmz): held (REMOVAL_HELD)
    bob (dmz): held (REMOVAL_HELD)
    cid (dmz): held (REMOVAL_HELD)
    dan (dmz): held (REMOVAL_HELD)
    FG101FTK19002788 (global) # execute fortitoken-cloud sync
    Sync status: {"status": "complete", "msg": {"delete": {"success": 0, "failure": 0}, "modify": {"success": 0, "failure": 0}, "create": {"success": 0, "failure": 0}}}
    User synchronization completed!
    ann (dmz): held (REMOVAL_HELD)
    bob (dmz): held (REMOVAL_HELD)
    cid (dmz): held (REMOVAL_HELD)
    dan (dmz): held (REMOVAL_HELD)
    fix: what is held is removed by: execute fortitoken-cloud sync all confirm
    FG101FTK19002788 (global) # execute fortitoken-cloud sync all confirm
    Sync status: {"status": "complete", "msg": {"delete": {"success": 4, "failure": 0}, "modify": {"success": 0, "failure": 0}, "create": {"success": 0, "failure": 0}}}
    User synchronization completed!
    FG101FTK19002788 (global) # execute fortitoken-cloud sync all dry-run
    Dry run: nothing was done. A sync would change nothing.
    FG101FTK19002788 (global) #
    "#);
    assert_eq!(code, Some(2));
    assert_eq!(server.users.lines(), Vec::<String>::new());
    assert!(server.users.begins().iter().all(|begin| begin.digest == [0; 32]), "no user is left on the box");
}

#[tokio::test]
async fn a_new_code_is_for_a_user_that_the_box_has_and_the_service_takes() {
    let (bench, server) = bench_and_server().await;
    let lines = "config vdom\nedit dmz\nconfig user local\nedit ann\nset two-factor fortitoken-cloud\nset email-to ann@example.com\nend\nend\n\
                 config global\nexecute fortitoken-cloud new ann local dmz\nexecute fortitoken-cloud new ann remote dmz\n\
                 execute fortitoken-cloud new bob local dmz\nexecute fortitoken-cloud new ann local a/b\n";
    let (out, code, _) = script(&bench, &server, lines).await;
    insta::assert_snapshot!(out.split_once("config global\n").unwrap().1, @r#"
    FG101FTK19002788 (global) # execute fortitoken-cloud new ann local dmz
    ann (dmz): registered with ann@example.com
    Command fail. Return code -1
    fix: this service keeps users and sends no activation codes: let whoever hands out the tokens send one to ann@example.com
    FG101FTK19002788 (global) # execute fortitoken-cloud new ann remote dmz
    entry not found in datasource
    Command fail. Return code -3
    fix: give the user "set two-factor fortitoken-cloud" first
    FG101FTK19002788 (global) # execute fortitoken-cloud new bob local dmz
    entry not found in datasource
    Command fail. Return code -3
    fix: give the user "set two-factor fortitoken-cloud" first
    FG101FTK19002788 (global) # execute fortitoken-cloud new ann local a/b
    entry not found in datasource

    value parse error before 'a/b'
    Command fail. Return code -3
    FG101FTK19002788 (global) #
    "#);
    assert_eq!(code, Some(1));
}
