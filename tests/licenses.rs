//! Licences: imported, presented, released.

use muster_proto::Reason;
use muster_proto::v1::{self, Outcome};
use muster_tests::requests::*;
use muster_tests::{Muster, within};

const NUMBER: &str = "EFTM000000000001";

fn row(line: i64, number: &str, model: &str, realm: &str) -> v1::LicenseRow {
    v1::LicenseRow { line, number: number.to_owned(), model: model.to_owned(), realm: realm.to_owned() }
}

/// Imports some messages of rows; the answers, one for each.
async fn import(muster: &Muster, parts: Vec<v1::ImportLicensesRequest>) -> Vec<v1::ImportLicensesResponse> {
    let mut licenses = muster.admin().licenses();
    let sent = tokio_stream::iter(parts);
    let mut answers = within(licenses.import_licenses(sent)).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(answer) = within(answers.message()).await.unwrap() {
        all.push(answer);
    }
    all
}

async fn import_rows(muster: &Muster, rows: Vec<v1::LicenseRow>) -> Vec<String> {
    let part = v1::ImportLicensesRequest { rows, ..Default::default() };
    outcomes(&import(muster, vec![part]).await[0])
}

/// The outcomes of rows, as in "2 refused `REALM_UNKNOWN`".
fn outcomes(answer: &v1::ImportLicensesResponse) -> Vec<String> {
    let line = |item: &v1::LicenseOutcome| {
        let outcome = item.outcome().as_str_name().trim_start_matches("OUTCOME_").to_ascii_lowercase();
        format!("{} {outcome} {}", item.line, item.reason).trim_end().to_owned()
    };
    answer.licenses.iter().map(line).collect()
}

fn presents(serial: &str, model: &str, number: &str) -> v1::RegisterRequest {
    v1::RegisterRequest {
        info: Some(info(model, "", "")),
        license_number: number.to_owned(),
        ..register(serial, &["sales"])
    }
}

async fn license(muster: &Muster) -> v1::License {
    let request = v1::GetLicenseRequest { name: format!("licenses/{NUMBER}") };
    muster.admin().licenses().get_license(request).await.unwrap().into_inner().license.unwrap()
}

#[tokio::test]
async fn every_row_of_an_import_has_an_outcome_and_a_repetition_changes_nothing() {
    let muster = Muster::start().await;
    let rows = || {
        vec![
            row(1, "eftm-0000 0000-0001", "", ""),
            row(2, "short", "", ""),
            row(3, "EFTM000000000003", "", "realms/nowhere"),
            row(4, "EFTM000000000004", "\u{1b}[2J", "default"),
            row(5, "EFTM000000000005", "FortiGate-101F", "realms/default"),
        ]
    };
    let part = || v1::ImportLicensesRequest { rows: rows(), ..Default::default() };
    let plan = v1::ImportLicensesRequest { validate_only: true, ..part() };
    let more = v1::ImportLicensesRequest { rows: vec![row(6, "EFTM000000000006", "", "")], ..Default::default() };
    let answers = import(&muster, vec![plan, part(), part(), more]).await;
    let refused = ["2 refused LICENSE_NUMBER_MALFORMED", "3 refused REALM_UNKNOWN", "4 refused TEXT_MALFORMED"];
    let expected = |outcome: &str| {
        let (first, last) = (format!("1 {outcome}"), format!("5 {outcome}"));
        [vec![first], refused.map(str::to_owned).to_vec(), vec![last]].concat()
    };
    assert_eq!(outcomes(&answers[0]), expected("created"));
    assert_eq!(outcomes(&answers[1]), expected("created"));
    assert_eq!(outcomes(&answers[2]), expected("unchanged"));
    assert_eq!(outcomes(&answers[3]), ["6 created"]);
    assert!(answers[1].licenses.iter().all(|item| item.reason.is_empty() == item.fix.is_empty()));
    assert!(!answers[0].plan_id.is_empty());
    let list = v1::ListLicensesRequest { filter: "serial_number = \"\"".to_owned(), ..Default::default() };
    let listed = muster.admin().licenses().list_licenses(list).await.unwrap().into_inner();
    assert_eq!(listed.total_size, 3);
    let audited = muster.database().audit().await;
    assert_eq!(audited.iter().filter(|row| row.method == "ImportLicenses").count(), 3);
    let changed = import_rows(&muster, vec![row(1, NUMBER, "FortiGate-60F", "")]).await;
    assert_eq!(changed, ["1 updated"]);
}

#[tokio::test]
async fn a_licence_admits_the_first_device_that_presents_it_and_no_other() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let refusal = muster.refusal(device.register(presents(A, "", NUMBER)).await).await;
    assert_eq!(refusal.reason, Reason::LicenseUnknown);
    import_rows(&muster, vec![row(1, NUMBER, "FortiGate-101F", "")]).await;
    let refusal = muster.refusal(device.register(presents(A, "FortiGate-60F", NUMBER)).await).await;
    assert_eq!(refusal.reason, Reason::LicenseModelMismatch);
    let muster = muster.stop().await;
    muster.database().execute("UPDATE settings SET auto_create_auth_clients = 0").await;
    let muster = muster.start().await;
    let mut device = muster.device(A).devices();
    muster.refusal(device.register(register(A, &[])).await).await;
    let answer = device.register(presents(A, "FortiGate-101F", NUMBER)).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), Outcome::Created);
    let again = device.register(presents(A, "FortiGate-101F", NUMBER)).await.unwrap().into_inner();
    assert_eq!(again.outcome(), Outcome::Unchanged);
    assert_eq!(license(&muster).await.serial_number, A);
    let why = v1::ExplainRequest { name: format!("devices/{A}"), ..Default::default() };
    let explained = muster.admin().explaining().explain(why).await.unwrap().into_inner();
    let deciding = explained.settings.iter().find(|setting| setting.name == format!("licenses/{NUMBER}")).unwrap();
    assert!(deciding.value.starts_with("FortiGate-101F, since "), "{}", deciding.value);

    let mut other = muster.device(B).devices();
    let refusal = muster.refusal(other.register(presents(B, "FortiGate-101F", NUMBER)).await).await;
    assert_eq!(refusal.reason, Reason::LicenseInUse);
    assert!(!refusal.message.contains(A) && refusal.details.contains_key("since"), "{}", refusal.message);
    let refusal = muster.refusal(other.register(presents(B, "", "x")).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::LicenseNumberMalformed, vec!["license_number".to_owned()]));

    let mut admin = muster.admin().licenses();
    let name = format!("licenses/{NUMBER}");
    let delete = v1::DeleteLicenseRequest { name: name.clone(), ..Default::default() };
    assert_eq!(muster.refusal(admin.delete_license(delete.clone()).await).await.reason, Reason::LicenseInUse);
    let release = v1::ReleaseLicenseRequest { name, ..Default::default() };
    let rehearsed = v1::ReleaseLicenseRequest { validate_only: true, ..release.clone() };
    assert_eq!(admin.release_license(rehearsed).await.unwrap().into_inner().outcome(), Outcome::Updated);
    assert_eq!(license(&muster).await.serial_number, A);
    assert_eq!(admin.release_license(release.clone()).await.unwrap().into_inner().outcome(), Outcome::Updated);
    assert_eq!(admin.release_license(release).await.unwrap().into_inner().outcome(), Outcome::Unchanged);
    other.register(presents(B, "FortiGate-101F", NUMBER)).await.unwrap();
    // A box that is replaced passes its licence on.
    let replace = v1::ReplaceDeviceRequest {
        name: format!("devices/{B}"),
        replacement_serial_number: VM.to_owned(),
        ..Default::default()
    };
    muster.admin().device_admin().replace_device(replace).await.unwrap();
    assert_eq!(license(&muster).await.serial_number, VM);
}

#[tokio::test]
async fn a_deleted_licence_is_unknown_to_devices_and_returns_with_an_import() {
    let muster = Muster::start().await;
    import_rows(&muster, vec![row(1, NUMBER, "", "")]).await;
    let delete = v1::DeleteLicenseRequest { name: format!("licenses/{NUMBER}"), ..Default::default() };
    let mut admin = muster.admin().licenses();
    assert_eq!(admin.delete_license(delete.clone()).await.unwrap().into_inner().outcome(), Outcome::Removed);
    assert_eq!(admin.delete_license(delete).await.unwrap().into_inner().outcome(), Outcome::Unchanged);
    let refusal = muster.refusal(muster.device(A).devices().register(presents(A, "", NUMBER)).await).await;
    assert_eq!(refusal.reason, Reason::LicenseUnknown);
    assert_eq!(import_rows(&muster, vec![row(1, NUMBER, "", "")]).await, ["1 restored"]);
    muster.device(A).devices().register(presents(A, "", NUMBER)).await.unwrap();
}
