//! What must hold, whatever happens: what was acknowledged is there, no id is given twice, and no event is lost without a gap. Pure:
//! acknowledgements, the register and what viewers saw go in, what is broken comes out with its evidence.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use muster_proto::{SerialNumber, VdomName};
use tokio::time::Instant;

use super::metrics::Operation;

/// What the server acknowledged of one box.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Which box.
    pub serial: SerialNumber,
    /// Its VDOMs after the last answer.
    pub vdoms: BTreeSet<VdomName>,
    /// Its users, by name.
    pub users: BTreeSet<String>,
    /// The generation in the last answer.
    pub generation: i64,
    /// The digest in the last answer.
    pub digest: Vec<u8>,
    /// The operation of the last answer.
    pub operation: String,
    /// Whether a later call had no answer, or somebody else writes under this serial number: then only the box itself is certain.
    pub in_doubt: bool,
}

/// A device as the register holds it.
#[derive(Clone, Debug)]
pub struct HeldDevice {
    /// Its id.
    pub id: i64,
    /// Whether it is in use.
    pub active: bool,
    /// Its generation.
    pub generation: i64,
    /// Its digest.
    pub digest: Vec<u8>,
}

/// An auth client as the register holds it.
#[derive(Clone, Debug)]
pub struct HeldClient {
    /// The serial number of its device.
    pub serial: String,
    /// Its VDOM.
    pub vdom: String,
    /// Its id.
    pub id: i64,
    /// Whether it is in use.
    pub active: bool,
}

/// What the register holds of a run.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// The devices, by serial number.
    pub devices: HashMap<String, HeldDevice>,
    /// The auth clients, the deleted ones too.
    pub clients: Vec<HeldClient>,
    /// The names of the users.
    pub users: HashSet<String>,
}

/// Two boxes that are an HA pair.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The box whose auth clients the pair took over.
    pub founder: SerialNumber,
    /// The other one.
    pub other: SerialNumber,
}

/// What one viewer of the debug feed saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often it saw the last event of each operation.
    pub terminal: HashMap<String, u32>,
    /// How many events it saw.
    pub events: u64,
    /// How many events were in the gaps that it was given.
    pub missed: u64,
    /// How many gaps it was given.
    pub gaps: u64,
    /// When it was last given a gap that cannot be counted, because the server restarted.
    pub uncounted: Option<Instant>,
}

/// Ids as they were first seen; an id stays for ever with what has it.
#[derive(Debug, Default)]
pub struct Ids(HashMap<String, i64>);

/// What does not hold, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// An acknowledged device is not in use.
    DeviceAbsent {
        /// Which one.
        serial: String,
        /// The operation that acknowledged it.
        operation: String,
    },
    /// An acknowledged VDOM is not in use.
    VdomAbsent {
        /// Of which device.
        serial: String,
        /// Which one.
        vdom: String,
        /// The operation that acknowledged it.
        operation: String,
    },
    /// An acknowledged user is not there.
    UserAbsent {
        /// Of which device.
        serial: String,
        /// Which one.
        user: String,
    },
    /// A VDOM is in use that was acknowledged as removed, or never reported.
    VdomUnexpected {
        /// Of which device.
        serial: String,
        /// Which one.
        vdom: String,
        /// The operation that acknowledged the list without it.
        operation: String,
    },
    /// The register is older than, or not the same as, what was acknowledged.
    StateDiffers {
        /// Of which device.
        serial: String,
        /// The generation that was acknowledged, and the one that is held.
        generations: (i64, i64),
        /// The operation that acknowledged it.
        operation: String,
    },
    /// Two things have one id.
    DuplicateId {
        /// The id.
        id: i64,
        /// Who has it.
        holders: (String, String),
    },
    /// Something has another id than before.
    IdChanged {
        /// What.
        what: String,
        /// The id before and now; none if it is gone.
        ids: (i64, Option<i64>),
    },
    /// Acknowledged operations have no terminal event, and no gap accounts for them.
    EventsLost {
        /// Which viewer.
        viewer: usize,
        /// How many.
        count: usize,
        /// How many events its gaps account for.
        missed: u64,
        /// One of the operations, and whose it was.
        example: (String, String),
    },
    /// An operation has several terminal events.
    EventTwice {
        /// Which viewer.
        viewer: usize,
        /// The operation.
        operation: String,
        /// How many.
        count: u32,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceAbsent { serial, operation } => {
                write!(f, "acknowledged but absent: device {serial} (operation {operation})")
            }
            Self::VdomAbsent { serial, vdom, operation } => {
                write!(f, "acknowledged but absent: VDOM {vdom} of {serial} (operation {operation})")
            }
            Self::UserAbsent { serial, user } => write!(f, "acknowledged but absent: user {user} of {serial}"),
            Self::VdomUnexpected { serial, vdom, operation } => {
                write!(f, "present but not acknowledged: VDOM {vdom} of {serial} (operation {operation})")
            }
            Self::StateDiffers { serial, generations: (acknowledged, held), operation } => write!(
                f,
                "another state than acknowledged: {serial} is at generation {held}, acknowledged was {acknowledged} (operation {operation})"
            ),
            Self::DuplicateId { id, holders: (one, other) } => {
                write!(f, "duplicate id: {one} and {other} both have {id}")
            }
            Self::IdChanged { what, ids: (before, Some(now)) } => {
                write!(f, "changed id: {what} had {before}, and has {now}")
            }
            Self::IdChanged { what, ids: (before, None) } => write!(f, "lost id: {what} had {before}, and is gone"),
            Self::EventsLost { viewer, count, missed, example: (operation, serial) } => write!(
                f,
                "events lost without a gap: viewer {viewer} missed the end of {count} operations and its gaps count {missed} events; one \
                 is {operation} of {serial}"
            ),
            Self::EventTwice { viewer, operation, count } => {
                write!(f, "an event twice: viewer {viewer} saw {count} ends of operation {operation}")
            }
        }
    }
}

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
        let gone = acknowledged.users.iter().filter(|user| !register.users.contains(*user));
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

/// Compares what a viewer saw with what was acknowledged while it watched: each operation ends in exactly one terminal event, or that event
/// is inside a gap.
#[must_use]
pub fn check_viewer(viewer: usize, seen: &Seen, operations: &[Operation]) -> Vec<Broken> {
    let mut broken = Vec::new();
    // What was acknowledged before an uncounted gap may be in it.
    let accounted = |operation: &&Operation| seen.uncounted.is_none_or(|gap| operation.acknowledged > gap);
    let missing = |operation: &&Operation| !seen.terminal.contains_key(&operation.id);
    let lost: Vec<_> = operations.iter().filter(accounted).filter(missing).collect();
    if let Some(first) = lost.first()
        && u64::try_from(lost.len()).is_ok_and(|lost| lost > seen.missed)
    {
        let example = (first.id.clone(), first.serial.to_string());
        broken.push(Broken::EventsLost { viewer, count: lost.len(), missed: seen.missed, example });
    }
    let twice = seen.terminal.iter().filter(|(_, count)| **count > 1);
    broken.extend(twice.map(|(operation, count)| Broken::EventTwice {
        viewer,
        operation: operation.clone(),
        count: *count,
    }));
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SERIAL: &str = "FGVM01TM00000001";

    fn acknowledged() -> Acknowledged {
        Acknowledged {
            serial: SERIAL.parse().unwrap(),
            vdoms: ["root", "dmz"].map(|name| name.parse().unwrap()).into(),
            users: ["alice".to_owned()].into(),
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
        let other = Acknowledged { serial: OTHER.parse().unwrap(), users: BTreeSet::new(), ..acknowledged() };
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

    fn operation(id: &str, acknowledged: Instant) -> Operation {
        Operation { id: id.to_owned(), serial: SERIAL.parse().unwrap(), acknowledged }
    }

    #[test]
    fn an_event_is_seen_or_in_a_gap() {
        let now = Instant::now();
        let operations = ["a", "b", "c"].map(|id| operation(id, now));
        let mut seen = Seen {
            terminal: [("a", 1), ("b", 1), ("c", 1)].map(|(id, count)| (id.to_owned(), count)).into(),
            ..Seen::default()
        };
        assert_eq!(check_viewer(0, &seen, &operations), []);
        seen.terminal.remove("b");
        seen.terminal.remove("c");
        let broken = texts(&check_viewer(4, &seen, &operations));
        assert!(
            broken[0].contains("viewer 4 missed the end of 2 operations and its gaps count 0 events; one is b"),
            "{broken:?}"
        );
        seen.missed = 1;
        assert_eq!(check_viewer(0, &seen, &operations).len(), 1);
        seen.missed = 2;
        assert_eq!(check_viewer(0, &seen, &operations), []);
        seen.terminal.insert("a".to_owned(), 2);
        assert_eq!(texts(&check_viewer(0, &seen, &operations)), ["an event twice: viewer 0 saw 2 ends of operation a"]);
    }

    #[test]
    fn a_restart_excuses_only_what_was_acknowledged_before_it() {
        let restart = Instant::now();
        let later = restart + Duration::from_secs(1);
        let seen = Seen { uncounted: Some(restart), ..Seen::default() };
        assert_eq!(check_viewer(0, &seen, &[operation("before", restart)]), []);
        assert_eq!(check_viewer(0, &seen, &[operation("after", later)]).len(), 1);
    }
}
