//! What was acknowledged against what the register holds.

use std::collections::{BTreeSet, HashMap, HashSet};

use muster_proto::VdomName;

use super::{Acknowledged, Broken, Ids, Pair, Register};

/// Compares the register with what was acknowledged.
#[must_use]
pub fn check_register(acknowledged: &[Acknowledged], register: &Register) -> Vec<Broken> {
    let mut active: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for client in register.clients.iter().filter(|client| client.active) {
        active.entry(&client.serial).or_default().insert(&client.vdom);
    }
    let mut broken = Vec::new();
    for acknowledged in acknowledged {
        let (serial, operation) = (acknowledged.serial.to_string(), acknowledged.operation.clone());
        let Some(held) = register.devices.get(&serial).filter(|held| held.active) else {
            broken.push(Broken::DeviceAbsent { serial, operation });
            continue;
        };
        let gone = acknowledged.users.values().flatten().filter(|user| !register.users.contains(*user));
        broken.extend(gone.map(|user| Broken::UserAbsent { serial: serial.clone(), user: user.clone() }));
        if acknowledged.in_doubt {
            continue;
        }
        let vdoms = active.remove(serial.as_str()).unwrap_or_default();
        let expected: BTreeSet<_> = acknowledged.vdoms.iter().map(VdomName::as_str).collect();
        let named = |vdom: &&str| (serial.clone(), (*vdom).to_owned(), operation.clone());
        broken.extend(expected.difference(&vdoms).map(named).map(|(serial, vdom, operation)| Broken::VdomAbsent {
            serial,
            vdom,
            operation,
        }));
        broken.extend(vdoms.difference(&expected).map(named).map(|(serial, vdom, operation)| Broken::VdomUnexpected {
            serial,
            vdom,
            operation,
        }));
        if held.generation < acknowledged.generation || held.digest != acknowledged.digest {
            let generations = (acknowledged.generation, held.generation);
            broken.push(Broken::StateDiffers { serial, generations, operation });
        }
    }
    broken
}

/// What the register holds and what was acknowledged, in terms of the boxes that founded the pairs: the auth clients of a pair are those of its
/// founder, under their ids, whichever box is the primary.
pub fn as_founded(pairs: &[Pair], acknowledged: &mut [Acknowledged], register: &mut Register, known: &mut Ids) {
    let founders: HashMap<String, String> = pairs
        .iter()
        .flat_map(|pair| [pair.founder, pair.other].map(|member| (member.to_string(), pair.founder.to_string())))
        .collect();
    // What the other one had by itself before it joined is deleted now, and under no serial number of its own.
    register.clients.retain(|client| client.active || !founders.contains_key(&client.serial));
    for client in &mut register.clients {
        if let Some(founder) = founders.get(&client.serial) {
            client.serial.clone_from(founder);
        }
    }
    let is_joined = |what: &str| {
        let serial = what.split('-').next().unwrap_or_default();
        founders.get(serial).is_some_and(|founder| founder != serial) && what != serial
    };
    known.0.retain(|what, _| !is_joined(what));
    for acknowledged in acknowledged {
        let serial = acknowledged.serial.to_string();
        let Some(founder) = founders.get(&serial) else { continue };
        acknowledged.in_doubt |= *founder != serial;
        // Of the boxes themselves the pair says nothing.
        if let Some(held) = register.devices.get(&serial) {
            (acknowledged.generation, acknowledged.digest) = (held.generation, held.digest.clone());
        }
    }
}

/// Looks for ids that two things have, and for ids that changed since the last time.
#[must_use]
pub fn check_ids(register: &Register, known: &mut Ids) -> Vec<Broken> {
    let devices = register.devices.iter().map(|(serial, device)| (serial.clone(), device.id));
    let clients = register.clients.iter().map(|client| (format!("{}-{}", client.serial, client.vdom), client.id));
    let (mut broken, mut holders) = (Vec::new(), HashMap::new());
    let mut found = HashSet::new();
    for (what, id) in devices.chain(clients) {
        if let Some(other) = holders.insert(id, what.clone()) {
            broken.push(Broken::DuplicateId { id, holders: (other, what.clone()) });
        }
        match known.0.get(&what) {
            Some(before) if *before != id => {
                broken.push(Broken::IdChanged { what: what.clone(), ids: (*before, Some(id)) });
            }
            Some(_) => {}
            None => {
                known.0.insert(what.clone(), id);
            }
        }
        found.insert(what);
    }
    let gone = known.0.iter().filter(|(what, _)| !found.contains(*what));
    broken.extend(gone.map(|(what, id)| Broken::IdChanged { what: what.clone(), ids: (*id, None) }));
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::fleet::invariants::{HeldClient, HeldDevice};

    const SERIAL: &str = "FGVM01TM00000001";

    fn acknowledged() -> Acknowledged {
        Acknowledged {
            serial: SERIAL.parse().unwrap(),
            vdoms: ["root", "dmz"].map(|name| name.parse().unwrap()).into(),
            users: [(VdomName::ROOT, ["alice".to_owned()].into())].into(),
            generation: 3,
            digest: vec![7],
            operation: "op1".to_owned(),
            in_doubt: false,
        }
    }

    /// A register that holds exactly that.
    fn register() -> Register {
        let device = HeldDevice { id: 1, active: true, generation: 3, digest: vec![7] };
        let client = |id, vdom: &str| HeldClient { serial: SERIAL.to_owned(), vdom: vdom.to_owned(), id, active: true };
        Register {
            devices: [(SERIAL.to_owned(), device)].into(),
            clients: vec![client(2, "root"), client(3, "dmz")],
            users: ["alice".to_owned()].into(),
        }
    }

    fn texts(broken: &[Broken]) -> Vec<String> {
        broken.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_register_that_holds_what_was_acknowledged_is_well() {
        let mut ids = Ids::default();
        assert_eq!(check_register(&[acknowledged()], &register()), []);
        assert_eq!(check_ids(&register(), &mut ids), []);
        assert_eq!(check_ids(&register(), &mut ids), []);
    }

    #[test]
    fn what_was_acknowledged_and_is_absent_is_named_with_its_operation() {
        let mut lost = register();
        lost.devices.clear();
        assert_eq!(
            texts(&check_register(&[acknowledged()], &lost)),
            [format!("acknowledged but absent: device {SERIAL} (operation op1)")]
        );
        let mut deleted = register();
        deleted.clients[1].active = false;
        assert_eq!(
            texts(&check_register(&[acknowledged()], &deleted)),
            [format!("acknowledged but absent: VDOM dmz of {SERIAL} (operation op1)")]
        );
        let mut returned = register();
        returned.clients.push(HeldClient { id: 4, vdom: "lab".to_owned(), ..returned.clients[1].clone() });
        assert_eq!(
            texts(&check_register(&[acknowledged()], &returned)),
            [format!("present but not acknowledged: VDOM lab of {SERIAL} (operation op1)")]
        );
        let mut old = register();
        old.devices.get_mut(SERIAL).unwrap().generation = 2;
        let text = texts(&check_register(&[acknowledged()], &old));
        assert!(text[0].contains("generation 2, acknowledged was 3"), "{text:?}");
    }

    #[test]
    fn a_user_that_is_gone_is_named() {
        let mut gone = register();
        gone.users.clear();
        let text = texts(&check_register(&[acknowledged()], &gone));
        assert_eq!(text, [format!("acknowledged but absent: user alice of {SERIAL}")]);
    }

    #[test]
    fn the_auth_clients_of_a_pair_keep_their_ids_whoever_is_the_primary() {
        const OTHER: &str = "FGVM01TM00000002";
        let other = Acknowledged { serial: OTHER.parse().unwrap(), users: BTreeMap::new(), ..acknowledged() };
        let own = |id, vdom: &str| HeldClient { serial: OTHER.to_owned(), vdom: vdom.to_owned(), id, active: true };
        let mut before = register();
        before.devices.insert(OTHER.to_owned(), HeldDevice { id: 5, ..before.devices[SERIAL].clone() });
        before.clients.extend([own(6, "root"), own(7, "dmz")]);
        let mut ids = Ids::default();
        let boxes = [acknowledged(), other];
        assert_eq!((check_register(&boxes, &before), check_ids(&before, &mut ids)), (vec![], vec![]));

        // The other one joined, its own are deleted, and it took over.
        let pair = Pair { founder: SERIAL.parse().unwrap(), other: OTHER.parse().unwrap() };
        let mut after = before.clone();
        for client in &mut after.clients {
            client.active = client.serial == SERIAL;
            client.serial = OTHER.to_owned();
        }
        let check = |mut register: Register, ids: &mut Ids| {
            let mut boxes = boxes.clone();
            as_founded(&[pair], &mut boxes, &mut register, ids);
            texts(&[check_register(&boxes, &register), check_ids(&register, ids)].concat())
        };
        assert_eq!(check(after.clone(), &mut ids), Vec::<String>::new());
        after.clients[0].id = 99;
        assert_eq!(check(after.clone(), &mut ids), [format!("changed id: {SERIAL}-root had 2, and has 99")]);
        after.clients[1].active = false;
        assert!(check(after, &mut ids)[0].contains("VDOM dmz"));
    }

    #[test]
    fn a_box_with_a_call_in_doubt_must_still_be_there() {
        let doubtful = Acknowledged { in_doubt: true, ..acknowledged() };
        let mut other = register();
        other.clients.clear();
        assert_eq!(check_register(std::slice::from_ref(&doubtful), &other), []);
        other.devices.clear();
        assert_eq!(check_register(&[doubtful], &other).len(), 1);
    }

    #[test]
    fn an_id_that_two_have_and_an_id_that_changes_are_told() {
        let mut ids = Ids::default();
        assert_eq!(check_ids(&register(), &mut ids), []);
        let mut changed = register();
        changed.clients[1].id = 1;
        let broken = texts(&check_ids(&changed, &mut ids));
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].starts_with("duplicate id: ") && broken[0].ends_with("both have 1"), "{broken:?}");
        assert_eq!(broken[1], format!("changed id: {SERIAL}-dmz had 3, and has 1"));
        changed.clients.pop();
        assert_eq!(texts(&check_ids(&changed, &mut ids)), [format!("lost id: {SERIAL}-dmz had 3, and is gone")]);
    }
}
