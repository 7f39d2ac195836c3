//! The box that the stand-in plays: what it knows of itself, and the rules of its VDOM list.

use std::fmt;
use std::str::FromStr;

use muster_proto::device::DeviceInfo;
use muster_proto::{MAX_VDOMS, SerialNumber, VdomName, v1};
use serde::{Deserialize, Serialize};

use crate::server_url::ServerUrl;

/// A box with its VDOMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The serial number.
    pub serial: SerialNumber,
    /// What it says of itself.
    pub info: DeviceInfo,
    /// Where it reports to.
    pub server: ServerUrl,
    vdoms: Vec<VdomName>,
}

/// A change of the VDOM list that the rules do not allow, or a list that breaks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VdomError {
    /// It is there already.
    #[error("the VDOM {0} exists already")]
    Exists(VdomName),
    /// There is no such VDOM.
    #[error("there is no VDOM {0}: see \"vdom list\", letter case counts")]
    Unknown(VdomName),
    /// `root` always exists.
    #[error("the VDOM \"root\" always exists and cannot be deleted")]
    Root,
    /// The pseudo-VDOM of administrators is no VDOM of the list.
    #[error("{0} is the pseudo-VDOM of the administrators: no list of VDOMs has it")]
    Pseudo(VdomName),
    /// The list is full.
    #[error("a box has at most {MAX_VDOMS} VDOMs")]
    Limit,
}

/// A text of `box.toml` that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{field} {problem}")]
pub struct FieldError {
    field: &'static str,
    problem: String,
}

/// `box.toml` as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BoxFile {
    serial: String,
    model: String,
    hostname: String,
    firmware: String,
    server: String,
    vdoms: Vec<String>,
}

impl Device {
    /// A box that has only `root`.
    #[must_use]
    pub fn new(serial: SerialNumber, info: DeviceInfo, server: ServerUrl) -> Self {
        Self { serial, info, server, vdoms: vec![VdomName::ROOT] }
    }

    /// The VDOMs, `root` among them, in the order in which they were made.
    #[must_use]
    pub fn vdoms(&self) -> &[VdomName] {
        &self.vdoms
    }

    /// Adds a VDOM.
    pub fn add_vdom(&mut self, name: VdomName) -> Result<(), VdomError> {
        if name.is_pseudo() {
            return Err(VdomError::Pseudo(name));
        }
        if self.vdoms.contains(&name) {
            return Err(VdomError::Exists(name));
        }
        if self.vdoms.len() >= MAX_VDOMS {
            return Err(VdomError::Limit);
        }
        self.vdoms.push(name);
        Ok(())
    }

    /// Deletes a VDOM.
    pub fn delete_vdom(&mut self, name: VdomName) -> Result<(), VdomError> {
        if name == VdomName::ROOT {
            return Err(VdomError::Root);
        }
        let index = self.vdoms.iter().position(|vdom| *vdom == name).ok_or(VdomError::Unknown(name))?;
        self.vdoms.remove(index);
        Ok(())
    }

    /// What `execute fortitoken-cloud update` sends: the full list, and its digest, by which the server sees at once that nothing changed.
    /// No base generation: FortiOS pushes what it has, whatever else changed the register meanwhile.
    #[must_use]
    pub fn sync_request(&self) -> v1::SyncRequest {
        let vdoms = self.vdoms.iter().map(|name| v1::Vdom { name: name.to_string() }).collect();
        v1::SyncRequest {
            serial_number: self.serial.to_string(),
            info: Some((&self.info).into()),
            full_list: Some(v1::VdomList { vdoms }),
            digest: muster_proto::digest(self.info.texts(), self.vdoms.iter().copied()).to_vec(),
            ..Default::default()
        }
    }

    /// The text of `box.toml`.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let [model, hostname, firmware] = self.info.texts().map(str::to_owned);
        toml::to_string(&BoxFile {
            serial: self.serial.to_string(),
            model,
            hostname,
            firmware,
            server: self.server.to_string(),
            vdoms: self.vdoms.iter().map(ToString::to_string).collect(),
        })
    }

    /// Reads the text of `box.toml`.
    pub fn from_toml(text: &str) -> Result<Self, FieldError> {
        let problem = |field| move |error: toml::de::Error| FieldError { field, problem: error.message().to_owned() };
        let file: BoxFile = toml::from_str(text).map_err(problem("the file"))?;
        let info = DeviceInfo {
            model: field("model", &file.model)?,
            hostname: field("hostname", &file.hostname)?,
            firmware: field("firmware", &file.firmware)?,
        };
        let mut device = Self::new(field("serial", &file.serial)?, info, field("server", &file.server)?);
        device.vdoms.clear();
        for name in &file.vdoms {
            let name = field("vdoms", name)?;
            device.add_vdom(name).map_err(|error| FieldError { field: "vdoms:", problem: error.to_string() })?;
        }
        if device.vdoms.contains(&VdomName::ROOT) {
            Ok(device)
        } else {
            Err(FieldError { field: "vdoms", problem: "must list \"root\"".to_owned() })
        }
    }
}

fn field<T: FromStr<Err: fmt::Display>>(field: &'static str, text: &str) -> Result<T, FieldError> {
    text.parse().map_err(|error| FieldError { field, problem: format!("{error}, and is {text:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn device() -> Device {
        let serial = "FG101FTK19002788".parse().unwrap();
        Device::new(serial, DeviceInfo::default(), "https://localhost".parse().unwrap())
    }

    fn name(text: &str) -> VdomName {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn a_box_survives_its_file(names in prop::collection::hash_set("[A-Za-z0-9._-]{1,31}", 0..20), hostname in "[ -~]{0,64}") {
            let mut before = device();
            before.info.hostname = hostname.parse().unwrap();
            for text in names.iter().filter(|text| *text != "root") {
                before.add_vdom(name(text)).unwrap();
            }
            prop_assert_eq!(Device::from_toml(&before.to_toml().unwrap()).unwrap(), before);
        }
    }

    #[test]
    fn the_vdom_list_keeps_the_rules_of_fortios() {
        let mut device = device();
        device.add_vdom(name("dmz")).unwrap();
        assert_eq!(device.add_vdom(name("dmz")), Err(VdomError::Exists(name("dmz"))));
        assert_eq!(device.add_vdom(name("root")), Err(VdomError::Exists(VdomName::ROOT)));
        assert_eq!(device.add_vdom(VdomName::ADMINISTRATORS), Err(VdomError::Pseudo(VdomName::ADMINISTRATORS)));
        assert_eq!(device.delete_vdom(name("DMZ")), Err(VdomError::Unknown(name("DMZ"))));
        assert_eq!(device.delete_vdom(VdomName::ROOT), Err(VdomError::Root));
        device.delete_vdom(name("dmz")).unwrap();
        assert_eq!(device.vdoms(), [VdomName::ROOT]);
    }

    #[test]
    fn a_full_list_takes_no_more() {
        let mut device = device();
        for number in 1..MAX_VDOMS {
            device.add_vdom(name(&format!("v{number}"))).unwrap();
        }
        assert_eq!(device.add_vdom(name("one-more")), Err(VdomError::Limit));
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_field() {
        let good = device().to_toml().unwrap();
        for (from, to, error) in [
            ("FG101FTK19002788", "short", "serial must be 16 characters"),
            ("[\"root\"]", "[]", "vdoms must list \"root\""),
            ("[\"root\"]", "[\"root\", \"root\"]", "exists already"),
            ("[\"root\"]", "[\"root\", \"a b\"]", "vdoms must be made of"),
            ("https://", "http://", "server must begin with https://"),
            ("hostname", "hostnam", "the file unknown field"),
        ] {
            let message = Device::from_toml(&good.replace(from, to)).unwrap_err().to_string();
            assert!(message.contains(error), "{message}");
        }
    }
}
