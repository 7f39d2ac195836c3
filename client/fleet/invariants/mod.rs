//! What must hold, whatever happens: what was acknowledged is there, no id is given twice, and no event is lost without a gap. Pure:
//! acknowledgements, the register and what viewers saw go in, what is broken comes out with its evidence.

mod broken;
mod register;
mod seen;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use muster_proto::{SerialNumber, VdomName};

pub use broken::Broken;
pub use register::{as_founded, check_ids, check_register};
pub use seen::{Seen, check_viewer};

/// What the server acknowledged of one box.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Which box.
    pub serial: SerialNumber,
    /// Its VDOMs after the last answer.
    pub vdoms: BTreeSet<VdomName>,
    /// The names of its users, by VDOM.
    pub users: BTreeMap<VdomName, BTreeSet<String>>,
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
/// Ids as they were first seen; an id stays for ever with what has it.
#[derive(Debug, Default)]
pub struct Ids(HashMap<String, i64>);
