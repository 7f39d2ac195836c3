//! The requests of `DeviceService`, parsed.

use std::collections::HashSet;

use crate::cluster::{HaReport, epoch};
use crate::license::LicenseNumber;
use crate::{Check, Invalid, MAX_VDOMS, Reason, SerialNumber, Text, VdomName, v1};

/// What a device says of itself. An empty text leaves the register's value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The model, as in "FortiGate-101F".
    pub model: Text,
    /// The host name.
    pub hostname: Text,
    /// The firmware version.
    pub firmware: Text,
}

impl DeviceInfo {
    /// The texts in the order of the digest.
    #[must_use]
    pub fn texts(&self) -> [&str; 3] {
        [self.model.as_str(), self.hostname.as_str(), self.firmware.as_str()]
    }

    pub(crate) fn parse(check: &mut Check, wire: Option<&v1::DeviceInfo>) -> Self {
        let Some(wire) = wire else { return Self::default() };
        let mut text = |field: &str, text: &str| {
            check.take(field, Reason::TextMalformed, text.parse::<Text>()).unwrap_or_default()
        };
        Self {
            model: text("info.model", &wire.model),
            hostname: text("info.hostname", &wire.hostname),
            firmware: text("info.firmware", &wire.firmware),
        }
    }
}

impl From<&DeviceInfo> for v1::DeviceInfo {
    fn from(info: &DeviceInfo) -> Self {
        let [model, hostname, firmware] = info.texts().map(str::to_owned);
        Self { model, hostname, firmware }
    }
}

/// `DeviceService.Register`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The device.
    pub serial: SerialNumber,
    /// What it says of itself.
    pub info: DeviceInfo,
    /// VDOMs to add, each once.
    pub vdoms: Vec<VdomName>,
    /// What it says of its HA cluster.
    pub ha: Option<HaReport>,
    /// The licence that it presents.
    pub license: Option<LicenseNumber>,
}

/// `DeviceService.Sync`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The device.
    pub serial: SerialNumber,
    /// What it says of itself.
    pub info: DeviceInfo,
    /// Every VDOM of the device, each once and at least one; `None` if only a digest was sent.
    pub full_list: Option<Vec<VdomName>>,
    /// The generation that the device believes to be current.
    pub base_generation: Option<i64>,
    /// The digest of what the device would report.
    pub digest: Option<[u8; 32]>,
    /// What it says of its HA cluster.
    pub ha: Option<HaReport>,
    /// What confirms removals that were held.
    pub confirm_token: Option<String>,
}

/// What to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One VDOM.
    Vdom(VdomName),
    /// The device with all its VDOMs.
    WholeDevice,
}

/// `DeviceService.Delete`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The device.
    pub serial: SerialNumber,
    /// What of it to delete.
    pub target: Target,
    /// The epoch that the device believes its cluster to be at.
    pub epoch: Option<i64>,
}

pub(crate) fn serial_number(check: &mut Check, text: &str) -> Option<SerialNumber> {
    check.take("serial_number", Reason::SerialNumberMalformed, text.parse())
}

/// The names of a list, if all are good and none stands twice.
fn vdoms(check: &mut Check, field: &str, wire: &[v1::Vdom]) -> Vec<VdomName> {
    if wire.len() > MAX_VDOMS {
        let found = wire.len();
        check.refuse(
            field,
            Reason::VdomListTooLong,
            format_args!("must have at most {MAX_VDOMS} VDOMs, and has {found}"),
        );
        return Vec::new();
    }
    let mut seen = HashSet::with_capacity(wire.len());
    let mut names = Vec::with_capacity(wire.len());
    for (index, vdom) in wire.iter().enumerate() {
        match vdom.name.parse::<VdomName>() {
            Ok(name) if seen.insert(name) => names.push(name),
            Ok(name) => {
                let description = format_args!("names the VDOM {:?} again: each may stand once", name.as_str());
                check.refuse(format!("{field}[{index}].name"), Reason::VdomDuplicate, description);
            }
            Err(error) => check.refuse(format!("{field}[{index}].name"), Reason::VdomNameMalformed, error),
        }
    }
    names
}

impl TryFrom<&v1::RegisterRequest> for Registration {
    type Error = Invalid;

    fn try_from(wire: &v1::RegisterRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let serial = serial_number(&mut check, &wire.serial_number);
        let info = DeviceInfo::parse(&mut check, wire.info.as_ref());
        let vdoms = vdoms(&mut check, "vdoms", &wire.vdoms);
        let ha = HaReport::parse(&mut check, wire.ha.as_ref(), serial);
        let license = if wire.license_number.is_empty() {
            None
        } else {
            check.take("license_number", Reason::LicenseNumberMalformed, wire.license_number.parse())
        };
        match serial {
            Some(serial) if check.is_clean() => Ok(Self { serial, info, vdoms, ha, license }),
            _ => Err(check.invalid()),
        }
    }
}

impl TryFrom<&v1::SyncRequest> for Sync {
    type Error = Invalid;

    fn try_from(wire: &v1::SyncRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let serial = serial_number(&mut check, &wire.serial_number);
        let info = DeviceInfo::parse(&mut check, wire.info.as_ref());
        let full_list = wire.full_list.as_ref().map(|list| vdoms(&mut check, "full_list.vdoms", &list.vdoms));
        if wire.full_list.as_ref().is_some_and(|list| list.vdoms.is_empty()) {
            check.refuse("full_list", Reason::VdomListEmpty, "must not be empty: every device has at least \"root\"");
        }
        let digest = if wire.digest.is_empty() {
            None
        } else {
            let digest = wire.digest.as_slice().try_into().map_err(|_| "must be a SHA-256: 32 bytes");
            check.take("digest", Reason::FieldInvalid, digest)
        };
        if full_list.is_none() && wire.digest.is_empty() {
            check.refuse("full_list", Reason::VdomListMissing, "must be given, unless a digest is");
        }
        if wire.base_generation.is_some_and(i64::is_negative) {
            check.refuse("base_generation", Reason::FieldInvalid, "must not be negative");
        }
        if wire.confirm_token.len() > Text::MAX_LENGTH {
            check.refuse(
                "confirm_token",
                Reason::FieldInvalid,
                "must be a confirm_token of a SyncResponse, as it was sent",
            );
        }
        let confirm_token = (!wire.confirm_token.is_empty()).then(|| wire.confirm_token.clone());
        let base_generation = wire.base_generation;
        let ha = HaReport::parse(&mut check, wire.ha.as_ref(), serial);
        match serial {
            Some(serial) if check.is_clean() => {
                Ok(Self { serial, info, full_list, base_generation, digest, ha, confirm_token })
            }
            _ => Err(check.invalid()),
        }
    }
}

impl TryFrom<&v1::DeleteRequest> for Deletion {
    type Error = Invalid;

    fn try_from(wire: &v1::DeleteRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let serial = serial_number(&mut check, &wire.serial_number);
        let target = match &wire.target {
            Some(v1::delete_request::Target::WholeDevice(_)) => Some(Target::WholeDevice),
            Some(v1::delete_request::Target::Vdom(name)) => {
                check.take("vdom", Reason::VdomNameMalformed, name.parse()).map(Target::Vdom)
            }
            None => {
                check.refuse("target", Reason::TargetMissing, "must be given: name a vdom, or choose whole_device");
                None
            }
        };
        let epoch = epoch(&mut check, "epoch", wire.epoch);
        match (serial, target) {
            (Some(serial), Some(target)) if check.is_clean() => Ok(Self { serial, target, epoch }),
            _ => Err(check.invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<v1::Vdom> {
        names.iter().map(|name| v1::Vdom { name: (*name).to_owned() }).collect()
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let wire = v1::RegisterRequest {
            serial_number: "short".to_owned(),
            info: Some(v1::DeviceInfo { hostname: "\u{1b}[2J".to_owned(), ..Default::default() }),
            vdoms: named(&["root", "", "root"]),
            ..Default::default()
        };
        let invalid = Registration::try_from(&wire).unwrap_err();
        let fields: Vec<_> = invalid.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["serial_number", "info.hostname", "vdoms[1].name", "vdoms[2].name"]);
        assert_eq!(invalid.reason(), Reason::SerialNumberMalformed);
    }

    #[test]
    fn no_list_an_empty_list_and_a_digest_are_three_things() {
        let wire = v1::SyncRequest { serial_number: "FG101FTK19002788".to_owned(), ..Default::default() };
        assert_eq!(Sync::try_from(&wire).unwrap_err().reason(), Reason::VdomListMissing);
        let empty = v1::SyncRequest { full_list: Some(v1::VdomList::default()), ..wire.clone() };
        assert_eq!(Sync::try_from(&empty).unwrap_err().reason(), Reason::VdomListEmpty);
        let digest = v1::SyncRequest { digest: vec![7; 32], ..wire };
        assert_eq!(Sync::try_from(&digest).unwrap().full_list, None);
    }

    #[test]
    fn a_forgotten_target_deletes_nothing() {
        let wire = v1::DeleteRequest { serial_number: "FG101FTK19002788".to_owned(), ..Default::default() };
        assert_eq!(Deletion::try_from(&wire).unwrap_err().reason(), Reason::TargetMissing);
    }
}
