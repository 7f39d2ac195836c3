//! Licences: who may have one.

use muster_proto::license::{LicenseNumber, LicenseRow};
use muster_proto::v1;
use proptest::prelude::*;

use super::*;

const DEVICES: [&str; 3] = ["FG101FTK00000001", "FG101FTK00000002", "FG101FTK00000003"];
const NUMBERS: [&str; 2] = ["EFTM000000000001", "EFTM000000000002"];

fn number(text: &str) -> LicenseNumber {
    text.parse().unwrap()
}

fn import(text: &str) -> Action {
    let row = v1::LicenseRow { line: 1, number: text.to_owned(), ..Default::default() };
    Action::ImportLicenses(vec![LicenseRow::from(&row)])
}

fn presents(serial: &str, text: &str) -> Action {
    let license = Some(number(text));
    Action::Register(Registration { serial: serial.parse().unwrap(), license, ..registration("") })
}

fn step() -> impl Strategy<Value = Action> {
    let text = || prop::sample::select(NUMBERS.to_vec());
    let serial = || prop::sample::select(DEVICES.to_vec());
    prop_oneof![
        2 => text().prop_map(import),
        6 => (serial(), text()).prop_map(|(serial, text)| presents(serial, text)),
        2 => text().prop_map(|text| Action::ReleaseLicense(number(text))),
        1 => text().prop_map(|text| Action::DeleteLicense(number(text))),
        1 => (serial(), serial()).prop_filter("two boxes", |(old, new)| old != new)
            .prop_map(|(old, new)| Action::ReplaceDevice { old: old.parse().unwrap(), new: new.parse().unwrap() }),
    ]
}

proptest! {
    #[test]
    fn a_licence_has_one_device_until_it_is_released_or_the_device_replaced(steps in prop::collection::vec(step(), 1..24)) {
        let mut register = Register::empty();
        let held = |register: &Register, text: &str| {
            register.state.licenses.get(&number(text)).and_then(|license| license.bound.map(|(serial, _)| serial))
        };
        for step in steps {
            let before: Vec<_> = NUMBERS.iter().map(|text| held(&register, text)).collect();
            let result = register.plan(step.clone());
            for (text, before) in NUMBERS.iter().zip(before) {
                let after = held(&register, text);
                if let (Some(before), false) = (before, before == after) {
                    let may = match &step {
                        Action::ReleaseLicense(released) => *released == number(text),
                        Action::ReplaceDevice { old, new } => *old == before && after == Some(*new),
                        _ => false,
                    };
                    prop_assert!(may, "{:?}", step);
                }
                let license = register.state.licenses.get(&number(text));
                prop_assert!(license.is_none_or(|license| license.deleted_at.is_none() || license.bound.is_none()));
            }
            if let (Action::Register(registration), Ok(Planned { refused: None, .. })) = (&step, &result) {
                let text = registration.license.as_ref().unwrap();
                prop_assert_eq!(held(&register, text.as_str()), Some(registration.serial));
            }
        }
    }
}

#[test]
fn the_realm_of_the_licence_is_where_the_device_goes_even_if_nobody_else_may_come() {
    let mut register = Register::empty();
    let branch = Realm::new(RealmId(7), "branch".parse().unwrap(), Timestamp::from_micros(0));
    register.state.realms.load(RealmId(7), Some(branch));
    let row = v1::LicenseRow { number: NUMBERS[0].to_owned(), realm: "realms/branch".to_owned(), ..Default::default() };
    register.answer(Action::ImportLicenses(vec![LicenseRow::from(&row)]));
    register.state.settings.change(&()).unwrap().auto_create_auth_clients = false;
    register.state.keep();
    let serial = serial().to_string();
    assert_eq!(register.answer(presents(&serial, NUMBERS[0])).outcome, Outcome::Created);
    assert_eq!(register.client("root").realm, RealmId(7));
    assert_eq!(register.refused(presents(DEVICES[0], NUMBERS[0])), Reason::LicenseInUse);
    assert_eq!(register.refused(presents(DEVICES[0], NUMBERS[1])), Reason::LicenseUnknown);
}
