//! What holds after any sequence of commands.

use std::collections::{HashMap, HashSet};

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
    let register = (names(), info()).prop_map(|(vdoms, info)| {
        Action::Register(Registration { serial: serial(), info, vdoms, ha: None, license: None })
    });
    let sync = (names(), info(), prop::option::weighted(0.2, 0_i64..8), 0_u8..3).prop_map(
        |(list, info, base_generation, form)| {
            let digest = (form > 0).then(|| digest(info.texts(), list.iter().copied()));
            let full_list = (form < 2).then_some(list);
            Action::Sync(Sync {
                serial: serial(),
                info,
                full_list,
                base_generation,
                digest,
                confirm_token: None,
                ha: None,
            })
        },
    );
    let name = || prop::sample::select(NAMES.to_vec()).prop_map(vdom);
    let target = prop_oneof![4 => name().prop_map(Target::Vdom), 1 => Just(Target::WholeDevice)];
    let action = prop_oneof![
        4 => register,
        6 => sync,
        2 => target.prop_map(|target| Action::Delete(Deletion { serial: serial(), target, epoch: None })),
        1 => name().prop_map(|vdom| Action::DeleteAuthClient { serial: serial(), vdom, etag: None, verdict: Verdict::default() }),
        1 => prop::option::of(0_i64..8)
            .prop_map(|generation| Action::DeleteDevice { serial: serial(), generation, verdict: Verdict::default() }),
    ];
    (action, prop::bool::weighted(0.1))
        .prop_map(|(action, validate_only)| Command { action, options: Options { validate_only, plan: None } })
}

proptest! {
    #[test]
    fn what_needs_no_vdoms_is_the_same_without_them_and_changes_nothing(commands in prop::collection::vec(command(), 1..24)) {
        let mut register = Register::empty();
        for command in &commands {
            let before = register.clone();
            let planned = register.plan(command.clone());
            let mut foreseen = Needs::default();
            if let Some(device) = before.held() {
                command.action.foresee_of(device, &mut foreseen);
            }
            if before.held().is_some() && foreseen.owners.is_empty() {
                let mut bare = before.clone();
                bare.state.auth_clients = Table::default();
                bare.state.whole.owners.clear();
                prop_assert_eq!(&bare.plan(command.clone()), &planned);
                prop_assert_eq!((&bare.values().0, bare.next_id), (&before.values().0, before.next_id));
                prop_assert_eq!((register.values(), register.next_id), (before.values(), before.next_id));
            }
        }
    }

    #[test]
    fn the_generation_counts_the_changes_and_the_digest_tells_what_is_held(commands in prop::collection::vec(command(), 1..24)) {
        let mut register = Register::empty();
        for command in &commands {
            let before = register.values();
            let planned = register.plan(command.clone());
            let after = register.values();
            let changed = !command.options.validate_only && planned.as_ref().is_ok_and(|planned| {
                // What is held changes no device.
                planned.records.iter().any(|record| matches!(record.name, Name::Device(_)))
            });
            prop_assert_eq!(changed, before != after);
            let generation = |held: &(Vec<Device>, Vec<AuthClient>)| held.0.first().map_or(0, |device| device.generation);
            prop_assert_eq!(generation(&after), generation(&before) + i64::from(changed));
            if let Some(device) = register.held() {
                let vdoms = register.active_vdoms();
                prop_assert!(device.is_active() || vdoms.is_empty());
                prop_assert_eq!(device.digest, digest(device.info.texts(), vdoms));
            }
        }
    }

    #[test]
    fn a_report_that_is_repeated_at_once_changes_nothing(commands in prop::collection::vec(command(), 1..24)) {
        let mut register = Register::empty();
        for command in &commands {
            let first = register.plan(command.clone());
            let before = register.values();
            let again = register.plan(command.clone());
            if !command.options.validate_only {
                prop_assert!(again.as_ref().map_or(true, |again| again.records.is_empty()), "{:?} then {:?}", first, again);
            }
            prop_assert_eq!(register.values(), before);
        }
    }

    #[test]
    fn an_id_is_given_once_and_for_ever(commands in prop::collection::vec(command(), 1..24)) {
        let mut register = Register::empty();
        let mut ids: HashMap<Option<VdomName>, i64> = HashMap::new();
        for command in &commands {
            let _ = register.plan(command.clone());
            let (devices, clients) = register.values();
            let clients = clients.iter().map(|client| (Some(client.vdom), client.id.0));
            for (name, id) in clients.chain(devices.iter().map(|device| (None, device.id.0))) {
                prop_assert_eq!(*ids.entry(name).or_insert(id), id);
                prop_assert!(id < register.next_id);
            }
            prop_assert_eq!(ids.values().collect::<HashSet<_>>().len(), ids.len());
        }
    }
}
