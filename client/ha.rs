//! What a box says of its HA cluster: whom its heartbeat interfaces see, who of them is the primary, and which epoch that is.
//!
//! The boxes that stand in directories side by side stand in for the cables of the heartbeat interfaces: those with the same `group-id`,
//! `group-name` and mode see each other.

use muster_proto::{SerialNumber, v1};

use crate::conf::configuration::{Configuration, Place};
use crate::conf::users::first;
use crate::memory::Memory;

/// The table that says it all.
const TABLE: &str = "system ha";
/// The priority of a box if nobody set one.
const PRIORITY: u8 = 128;

/// What `config system ha` says of a box that is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `set mode`: "a-a" or "a-p".
    mode: String,
    /// `set group-id`.
    id: String,
    /// `set group-name`.
    name: String,
    /// `set priority`.
    priority: u8,
}

/// A box at one end of the heartbeat interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its serial number.
    pub serial: SerialNumber,
    /// Its settings; `None` if it stands alone.
    pub group: Option<Group>,
    /// What it knows of its cluster.
    pub memory: Memory,
}

impl Configuration {
    /// The HA group of the box, if it is in one.
    #[must_use]
    pub fn ha_group(&self) -> Option<Group> {
        let ha = self.single(&Place::Global, TABLE)?;
        let value = |name| first(ha, name).unwrap_or_default().to_owned();
        let mode = Some(value("mode")).filter(|mode| matches!(mode.as_str(), "a-a" | "a-p"))?;
        let id = Some(value("group-id")).filter(|id| !id.is_empty()).unwrap_or_else(|| "0".to_owned());
        let priority = first(ha, "priority").and_then(|priority| priority.parse().ok()).unwrap_or(PRIORITY);
        Some(Group { mode, id, name: value("group-name"), priority })
    }
}

impl Group {
    fn sees(&self, other: &Self) -> bool {
        (&self.mode, &self.id, &self.name) == (&other.mode, &other.id, &other.name)
    }
}

/// What a box says of its cluster. `None` if it has nothing to say: it stands alone, and the service knows that.
#[must_use]
pub fn report(own: &Unit, others: &[Unit]) -> Option<v1::HaReport> {
    let Some(group) = &own.group else {
        let leaves = !own.memory.cluster.is_empty();
        return leaves.then(|| says(v1::HaRole::Standalone, own.memory.epoch, "", Vec::new()));
    };
    let mut seen: Vec<&Unit> = others.iter().filter(|other| other.serial != own.serial).collect();
    seen.retain(|other| other.group.as_ref().is_some_and(|other| group.sees(other)));
    seen.sort_by_key(|other| other.serial);
    let priority = |unit: &Unit| unit.group.as_ref().map(|group| group.priority);
    let elected = seen.iter().all(|other| (priority(own), own.serial) > (priority(other), other.serial));
    // Members tell each other what the service said to one of them.
    let epoch = seen.iter().map(|other| other.memory.epoch).fold(own.memory.epoch, i64::max);
    // Whoever is not a member yet joins before it takes over: it would found a cluster beside the one that is there.
    let joins = own.memory.cluster.is_empty() && seen.iter().any(|other| !other.memory.cluster.is_empty());
    let members = seen.iter().map(|other| other.serial.to_string()).collect();
    let is_primary = own.memory.primary && own.memory.epoch == epoch;
    Some(match elected && !joins {
        true if is_primary || epoch == 0 => says(v1::HaRole::Primary, epoch, &group.name, members),
        true => says(v1::HaRole::Primary, epoch.saturating_add(1), &group.name, members),
        false => says(v1::HaRole::Secondary, epoch, &group.name, members),
    })
}

fn says(role: v1::HaRole, epoch: i64, name: &str, members: Vec<String>) -> v1::HaReport {
    let epoch = (epoch > 0).then_some(epoch);
    v1::HaReport { group_name: name.to_owned(), role: role.into(), epoch, member_serial_numbers: members }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "FG101FTK19000001";
    const B: &str = "FG101FTK19000002";

    /// A box with these HA settings, that knows this epoch and whether it is its primary.
    fn unit(serial: &str, settings: &str, epoch: i64, primary: bool) -> Unit {
        let text = format!("config system ha\n{settings}\nend\n");
        let cluster = if epoch > 0 { "clusters/7".to_owned() } else { String::new() };
        Unit {
            serial: serial.parse().unwrap(),
            group: Configuration::parse(&text).unwrap().ha_group(),
            memory: Memory { registered: true, contact: 1, cluster, epoch, primary },
        }
    }

    fn in_group(priority: u8) -> String {
        format!("set group-name \"edge\"\nset mode a-p\nset priority {priority}")
    }

    /// Role, epoch and members.
    fn said(own: &Unit, others: &[&Unit]) -> Option<(v1::HaRole, Option<i64>, Vec<String>)> {
        let others: Vec<Unit> = others.iter().map(|other| (*other).clone()).collect();
        let report = report(own, &others)?;
        Some((report.role(), report.epoch, report.member_serial_numbers))
    }

    #[test]
    fn a_box_that_stands_alone_says_nothing_once_the_service_knows() {
        assert_eq!(said(&unit(A, "set group-name \"edge\"", 0, false), &[&unit(B, &in_group(1), 0, false)]), None);
        let left = said(&unit(A, "set mode standalone", 3, true), &[]);
        assert_eq!(left, Some((v1::HaRole::Standalone, Some(3), Vec::new())));
    }

    #[test]
    fn the_box_of_the_highest_priority_then_serial_number_is_the_primary() {
        let (a, b) = (unit(A, &in_group(200), 0, false), unit(B, &in_group(100), 0, false));
        assert_eq!(said(&a, &[&b]), Some((v1::HaRole::Primary, None, vec![B.to_owned()])));
        assert_eq!(said(&b, &[&a]), Some((v1::HaRole::Secondary, None, vec![A.to_owned()])));
        let (a, b) = (unit(A, "set mode a-a", 0, false), unit(B, "set mode a-a", 0, false));
        assert_eq!(said(&a, &[&b]).unwrap().0, v1::HaRole::Secondary);
        assert_eq!(said(&b, &[&a]).unwrap().0, v1::HaRole::Primary);
    }

    #[test]
    fn boxes_of_another_group_are_not_seen() {
        let others = [
            unit(B, &in_group(200).replace("edge", "core"), 0, false),
            unit(B, &in_group(200).replace("a-p", "a-a"), 0, false),
            unit(B, &format!("{}\nset group-id 5", in_group(200)), 0, false),
            unit(B, "set priority 200", 0, false),
            unit(A, &in_group(200), 0, false),
        ];
        let own = unit(A, &in_group(1), 0, false);
        assert_eq!(report(&own, &others).unwrap().member_serial_numbers, Vec::<String>::new());
    }

    #[test]
    fn who_takes_over_says_the_next_epoch_and_who_is_primary_already_the_current_one() {
        let (primary, secondary) = (unit(A, &in_group(100), 4, true), unit(B, &in_group(200), 4, false));
        assert_eq!(said(&secondary, &[&primary]).unwrap().1, Some(5));
        assert_eq!(said(&primary, &[&secondary]).unwrap(), (v1::HaRole::Secondary, Some(4), vec![B.to_owned()]));
        let (back, new) = (unit(A, &in_group(250), 4, true), unit(B, &in_group(200), 5, true));
        assert_eq!(said(&new, &[]).unwrap().1, Some(5));
        // It was the primary of an epoch that is over.
        assert_eq!(said(&back, &[&new]).unwrap().1, Some(6));
    }

    #[test]
    fn a_box_that_is_new_to_a_cluster_joins_before_it_takes_over() {
        let (old, new) = (unit(A, &in_group(100), 2, true), unit(B, &in_group(200), 0, false));
        assert_eq!(said(&new, &[&old]).unwrap(), (v1::HaRole::Secondary, Some(2), vec![A.to_owned()]));
    }
}
