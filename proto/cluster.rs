//! What a device says of its HA cluster, and the names of clusters.

use crate::{Check, Invalid, Reason, SerialNumber, Text, v1};

/// How many members a report may list: FGSP allows 16 peers, FGCP 4 members.
pub const MAX_MEMBERS: usize = 32;
/// The largest epoch that a report may carry: no cluster fails over so often.
const MAX_EPOCH: i64 = 1 << 40;

/// The role of a device, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaRole {
    /// It is in no cluster.
    Standalone,
    /// It speaks for its cluster.
    Primary,
    /// It takes over when the primary fails.
    Secondary,
}

/// What a device says of its HA cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaReport {
    /// The HA group name; may be empty.
    pub group: Text,
    /// Its own role.
    pub role: HaRole,
    /// The epoch that it believes to be current; one more to take over.
    pub epoch: Option<i64>,
    /// The other members that it sees, in the order of their serial numbers.
    pub members: Vec<SerialNumber>,
}

impl HaReport {
    /// Reads the field `ha` of a request about a device; `None` if it is not there.
    pub(crate) fn parse(check: &mut Check, wire: Option<&v1::HaReport>, own: Option<SerialNumber>) -> Option<Self> {
        let wire = wire?;
        let group = check.take("ha.group_name", Reason::TextMalformed, wire.group_name.parse::<Text>());
        let role = match wire.role() {
            v1::HaRole::Standalone => Some(HaRole::Standalone),
            v1::HaRole::Primary => Some(HaRole::Primary),
            v1::HaRole::Secondary => Some(HaRole::Secondary),
            v1::HaRole::Unspecified => {
                check.refuse("ha.role", Reason::FieldInvalid, "must be STANDALONE, PRIMARY or SECONDARY");
                None
            }
        };
        let epoch = epoch(check, "ha.epoch", wire.epoch);
        let mut members = serials(check, "ha.member_serial_numbers", &wire.member_serial_numbers);
        members.retain(|member| Some(*member) != own);
        Some(Self { group: group?, role: role?, epoch, members })
    }
}

/// The epoch of a request. One of 0 is none: the device has never had an answer, or is in no cluster.
pub(crate) fn epoch(check: &mut Check, field: &str, wire: Option<i64>) -> Option<i64> {
    if wire.is_some_and(|epoch| !(0..=MAX_EPOCH).contains(&epoch)) {
        check.refuse(field, Reason::FieldInvalid, "must be the epoch of the last answer, or one more to take over");
    }
    wire.filter(|epoch| *epoch > 0)
}

/// A list of serial numbers, in their order and each once.
pub(crate) fn serials(check: &mut Check, field: &str, wire: &[String]) -> Vec<SerialNumber> {
    if wire.len() > MAX_MEMBERS {
        let found = wire.len();
        check.refuse(
            field,
            Reason::FieldInvalid,
            format_args!("must have at most {MAX_MEMBERS} entries, and has {found}"),
        );
        return Vec::new();
    }
    let mut serials = Vec::with_capacity(wire.len());
    for (index, text) in wire.iter().enumerate() {
        serials.extend(check.take(
            &format!("{field}[{index}]"),
            Reason::SerialNumberMalformed,
            text.parse::<SerialNumber>(),
        ));
    }
    serials.sort_unstable();
    serials.dedup();
    serials
}

/// Reads the field `name` of a request about a cluster: `clusters/ID`.
pub fn cluster_name(name: &str) -> Result<i64, Invalid> {
    name.strip_prefix("clusters/").and_then(|id| id.parse().ok()).ok_or_else(|| {
        Invalid::field("name", Reason::NameMalformed, "must be \"clusters/ID\", as the list of clusters shows it")
    })
}

/// The first members of a cluster, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterCreation {
    /// Its name; empty for the serial number of the primary.
    pub name: Text,
    /// The primary, whose auth clients the cluster takes over.
    pub primary: SerialNumber,
    /// The other members, in the order of their serial numbers.
    pub others: Vec<SerialNumber>,
}

impl TryFrom<&v1::CreateClusterRequest> for ClusterCreation {
    type Error = Invalid;

    fn try_from(wire: &v1::CreateClusterRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let name = check.take("display_name", Reason::TextMalformed, wire.display_name.parse::<Text>());
        let primary = wire.primary_serial_number.parse::<SerialNumber>();
        let primary = check.take("primary_serial_number", Reason::SerialNumberMalformed, primary);
        let mut others = serials(&mut check, "member_serial_numbers", &wire.member_serial_numbers);
        others.retain(|member| Some(*member) != primary);
        match (name, primary) {
            (Some(name), Some(primary)) if check.is_clean() => Ok(Self { name, primary, others }),
            _ => Err(check.invalid()),
        }
    }
}

/// Reads the name of a cluster and the serial number of one device: what every call about one member has.
pub fn member(name: &str, serial: &str) -> Result<(i64, SerialNumber), Invalid> {
    let id = cluster_name(name)?;
    let serial =
        serial.parse().map_err(|error| Invalid::field("serial_number", Reason::SerialNumberMalformed, error))?;
    Ok((id, serial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_every_bad_field_and_leaves_itself_out_of_its_members() {
        let own = "FG101FTK19002788".parse().unwrap();
        let mut wire = v1::HaReport {
            role: v1::HaRole::Primary.into(),
            member_serial_numbers: vec!["fg101ftk19002789".to_owned(), "FG101FTK19002788".to_owned()],
            ..Default::default()
        };
        let mut check = Check::default();
        let report = HaReport::parse(&mut check, Some(&wire), Some(own)).unwrap();
        assert_eq!(report.members, ["FG101FTK19002789".parse().unwrap()]);
        wire = v1::HaReport {
            group_name: "\u{1b}".to_owned(),
            role: 0,
            epoch: Some(-1),
            member_serial_numbers: vec!["x".to_owned()],
        };
        assert_eq!(HaReport::parse(&mut check, Some(&wire), Some(own)), None);
        let fields: Vec<_> = check.invalid().violations().iter().map(|violation| violation.field.clone()).collect();
        assert_eq!(fields, ["ha.group_name", "ha.role", "ha.epoch", "ha.member_serial_numbers[0]"]);
    }
}
