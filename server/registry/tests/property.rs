//! What holds after any sequence of commands.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 5] = ["root", "a", "b", "c", "#FOS_Administrator"];

fn names() -> impl Strategy<Value = Vec<VdomName>> {
    prop::sample::subsequence(NAMES.as_slice(), 0..=NAMES.len())
        .prop_shuffle()
        .prop_map(|names| names.into_iter().map(vdom).collect())
}

fn info() -> impl Strategy<Value = DeviceInfo> {
    prop::sample::select(vec!["", "", "x", "y"])
        .prop_map(|text| DeviceInfo { hostname: text.parse().unwrap(), ..DeviceInfo::default() })
}

/// Any command about the device. A digest, if given, is that of some report, so that it often is the right one.
pub(in crate::registry) fn command() -> impl Strategy<Value = Command> {
    let register = (names(), info(), prop::bool::weighted(0.1)).prop_map(|(vdoms, info, validate_only)| {
        Command::Register(Registration { serial: serial(), info, vdoms, validate_only })
    });
    let sync = (names(), info(), prop::option::weighted(0.2, 0_i64..8), 0_u8..3, prop::bool::weighted(0.1)).prop_map(
        |(list, info, base_generation, form, validate_only)| {
            let digest = (form > 0).then(|| digest(info.texts(), list.iter().copied()));
            let full_list = (form < 2).then_some(list);
            Command::Sync(Sync { serial: serial(), info, full_list, base_generation, digest, validate_only })
        },
    );
    let name = || prop::sample::select(NAMES.to_vec()).prop_map(vdom);
    let target = prop_oneof![4 => name().prop_map(Target::Vdom), 1 => Just(Target::WholeDevice)];
    prop_oneof![
        4 => register,
        6 => sync,
        2 => target.prop_map(deletion),
        1 => name().prop_map(|vdom| Command::DeleteAuthClient { serial: serial(), vdom, etag: None, validate_only: false }),
        1 => prop::option::of(0_i64..8)
            .prop_map(|generation| Command::DeleteDevice { serial: serial(), generation, validate_only: false }),
    ]
}

/// What is held, whether or not it must be written back.
fn values(held: Option<&Aggregate>) -> Option<(Device, Vec<AuthClient>)> {
    held.map(|held| {
        (held.device.get().clone(), held.auth_clients.values().map(|client| client.get().clone()).collect())
    })
}

proptest! {
    #[test]
    fn what_needs_no_vdoms_is_the_same_without_them_and_changes_nothing(commands in prop::collection::vec(command(), 1..24)) {
        let mut register = Register::empty();
        for command in &commands {
            let before = register.clone();
            let planned = register.plan(command);
            if let Some(held) = &before.held
                && !command.needs_vdoms(held.device.get())
            {
                let mut bare = before.clone();
                bare.held = Some(Aggregate { device: held.device.clone(), auth_clients: BTreeMap::new() });
                let unloaded = bare.held.clone();
                prop_assert_eq!(&bare.plan(command), &planned);
                prop_assert_eq!((&bare.held, bare.next_id), (&unloaded, before.next_id));
                prop_assert_eq!((&register.held, register.next_id), (&before.held, before.next_id));
            }
        }
    }

    #[test]
    fn the_generation_counts_the_changes_and_the_digest_tells_what_is_held(commands in prop::collection::vec(command(), 1..24)) {
        let mut register = Register::empty();
        for command in &commands {
            let before = values(register.held.as_ref());
            let planned = register.plan(command);
            let after = values(register.held.as_ref());
            let changed = !command.validate_only() && planned.as_ref().is_ok_and(|planned| !planned.changes.is_empty());
            prop_assert_eq!(changed, before != after);
            let generation = |held: &Option<(Device, Vec<AuthClient>)>| held.as_ref().map_or(0, |held| held.0.generation);
            prop_assert_eq!(generation(&after), generation(&before) + i64::from(changed));
            if let Some(held) = &register.held {
                prop_assert_eq!(held.device.get().digest, digest(held.device.get().info.texts(), held.active_vdoms()));
                let deleted = held.device.get().deleted_at.is_some();
                prop_assert!(!deleted || held.active_vdoms().count() == 0);
            }
        }
    }

    #[test]
    fn a_report_that_is_repeated_at_once_changes_nothing(commands in prop::collection::vec(command(), 1..24)) {
        let mut register = Register::empty();
        for command in &commands {
            let first = register.plan(command);
            let before = values(register.held.as_ref());
            let again = register.plan(command);
            if !command.validate_only() {
                prop_assert!(again.as_ref().map_or(true, |again| again.changes.is_empty()), "{:?} then {:?}", first, again);
            }
            prop_assert_eq!(values(register.held.as_ref()), before);
        }
    }

    #[test]
    fn an_id_is_given_once_and_for_ever(commands in prop::collection::vec(command(), 1..24)) {
        let mut register = Register::empty();
        let mut ids: HashMap<Option<VdomName>, i64> = HashMap::new();
        for command in &commands {
            let _ = register.plan(command);
            let Some(held) = &register.held else { continue };
            let clients = held.auth_clients.iter().map(|(vdom, client)| (Some(*vdom), client.get().id.0));
            for (name, id) in clients.chain([(None, held.device.get().id.0)]) {
                prop_assert_eq!(*ids.entry(name).or_insert(id), id);
                prop_assert!(id < register.next_id);
            }
            prop_assert_eq!(ids.values().collect::<HashSet<_>>().len(), ids.len());
        }
    }
}
