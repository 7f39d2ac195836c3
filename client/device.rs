//! The box that the stand-in plays: what it knows of itself, and the rules of its VDOM list.

use std::fmt;
use std::str::FromStr;

use muster_proto::device::DeviceInfo;
use muster_proto::{MAX_VDOMS, SerialNumber, Text, VdomName, v1};
use serde::{Deserialize, Serialize};

use crate::conf::configuration::Configuration;
use crate::server_url::ServerUrl;

/// A box with its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The serial number.
    pub serial: SerialNumber,
    /// The model, as in "FortiGate-101F"; may be empty.
    pub model: Text,
    /// The firmware, as in "v7.4.8,build2795".
    pub firmware: Text,
    /// Where it reports to.
    pub server: ServerUrl,
    /// Where it reports to for now: what `diagnose fortitoken-cloud server` set.
    pub other_server: Option<ServerUrl>,
    /// Everything else.
    pub conf: Configuration,
    /// What it says of its HA cluster; `None` if it has nothing to say.
    pub ha: Option<v1::HaReport>,
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
    /// Something of the configuration names it.
    #[error("the VDOM {0} is used by {1} other entries of the configuration")]
    Used(VdomName, usize),
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

/// `box.toml` as it is written. Boxes of the first version had their host name and VDOMs here; now the configuration has them.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BoxFile {
    serial: String,
    model: String,
    #[serde(default, skip_serializing)]
    hostname: Option<String>,
    firmware: String,
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other_server: Option<String>,
    #[serde(default, skip_serializing)]
    vdoms: Option<Vec<String>>,
}

impl Device {
    /// A box that has only `root`.
    #[must_use]
    pub fn new(serial: SerialNumber, info: DeviceInfo, server: ServerUrl) -> Self {
        let DeviceInfo { model, hostname, firmware } = info;
        let conf = Configuration::new(hostname.as_str(), &[VdomName::ROOT]);
        Self { serial, model, firmware, server, other_server: None, conf, ha: None }
    }

    /// What the box says of itself.
    #[must_use]
    pub fn info(&self) -> DeviceInfo {
        DeviceInfo { model: self.model.clone(), hostname: self.hostname(), firmware: self.firmware.clone() }
    }

    /// The host name; the serial number if there is none, as on a new box.
    #[must_use]
    pub fn hostname(&self) -> Text {
        let named = self.conf.global("hostname").filter(|name| !name.is_empty()).and_then(|name| name.parse().ok());
        named.or_else(|| self.serial.as_str().parse().ok()).unwrap_or_default()
    }

    /// Where the box reports to.
    #[must_use]
    pub fn reports_to(&self) -> &ServerUrl {
        self.other_server.as_ref().unwrap_or(&self.server)
    }

    /// The VDOMs, `root` among them, in the order in which they were made.
    #[must_use]
    pub fn vdoms(&self) -> Vec<VdomName> {
        self.conf.vdoms()
    }

    /// Adds a VDOM; a box without VDOMs begins to have them.
    pub fn add_vdom(&mut self, name: VdomName) -> Result<(), VdomError> {
        if name.is_pseudo() {
            return Err(VdomError::Pseudo(name));
        }
        let vdoms = self.vdoms();
        if vdoms.contains(&name) {
            return Err(VdomError::Exists(name));
        }
        if vdoms.len() >= MAX_VDOMS {
            return Err(VdomError::Limit);
        }
        self.conf.turn_on_vdoms();
        self.conf.add_vdom(&name);
        Ok(())
    }

    /// Deletes a VDOM, with all that it holds.
    pub fn delete_vdom(&mut self, name: VdomName) -> Result<(), VdomError> {
        if name == VdomName::ROOT {
            return Err(VdomError::Root);
        }
        if !self.vdoms().contains(&name) {
            return Err(VdomError::Unknown(name));
        }
        match self.conf.references(&name) {
            0 => self.conf.remove_vdom(&name),
            references => return Err(VdomError::Used(name, references)),
        }
        Ok(())
    }

    /// What names the list of VDOMs and what the box says of itself, as the server computes it.
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        let info = self.info();
        muster_proto::digest(info.texts(), self.vdoms()).to_vec()
    }

    /// What `execute fortitoken-cloud update` sends: the full list, and its digest, by which the server sees at once that nothing changed. A box
    /// that says something of its cluster sends no digest: an equal one would be the end of it.
    /// No base generation: FortiOS pushes what it has, whatever else changed the register meanwhile.
    #[must_use]
    pub fn sync_request(&self) -> v1::SyncRequest {
        let (info, vdoms) = (self.info(), self.vdoms());
        v1::SyncRequest {
            serial_number: self.serial.to_string(),
            digest: if self.ha.is_none() { self.digest() } else { Vec::new() },
            ha: self.ha.clone(),
            info: Some((&info).into()),
            full_list: Some(v1::VdomList {
                vdoms: vdoms.iter().map(|name| v1::Vdom { name: name.to_string() }).collect(),
            }),
            ..Default::default()
        }
    }

    /// The text of `box.toml`; the configuration is in a file of its own.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(&BoxFile {
            serial: self.serial.to_string(),
            model: self.model.as_str().to_owned(),
            hostname: None,
            firmware: self.firmware.as_str().to_owned(),
            server: self.server.to_string(),
            other_server: self.other_server.as_ref().map(ToString::to_string),
            vdoms: None,
        })
    }

    /// Reads the text of `box.toml`, and a box of the first version as a whole.
    pub fn from_toml(text: &str) -> Result<Self, FieldError> {
        let problem = |field| move |error: toml::de::Error| FieldError { field, problem: error.message().to_owned() };
        let file: BoxFile = toml::from_str(text).map_err(problem("the file"))?;
        let info = DeviceInfo {
            model: field("model", &file.model)?,
            hostname: field("hostname", file.hostname.as_deref().unwrap_or_default())?,
            firmware: field("firmware", &file.firmware)?,
        };
        let mut device = Self::new(field("serial", &file.serial)?, info, field("server", &file.server)?);
        device.other_server = file.other_server.map(|other| field("other_server", &other)).transpose()?;
        let Some(vdoms) = file.vdoms else { return Ok(device) };
        let vdoms = vdoms.iter().map(|name| field("vdoms", name)).collect::<Result<Vec<VdomName>, _>>()?;
        if !vdoms.contains(&VdomName::ROOT) {
            return Err(FieldError { field: "vdoms", problem: "must list \"root\"".to_owned() });
        }
        for (index, name) in vdoms.iter().enumerate() {
            let before = vdoms.get(..index).unwrap_or_default();
            let problem = match name {
                name if before.contains(name) => VdomError::Exists(*name),
                name if name.is_pseudo() => VdomError::Pseudo(*name),
                _ => continue,
            };
            return Err(FieldError { field: "vdoms:", problem: problem.to_string() });
        }
        device.conf = Configuration::new(device.hostname().as_str(), &vdoms);
        Ok(device)
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

    /// A box as the first version wrote it.
    fn of_the_first_version(hostname: &str, vdoms: &[String]) -> String {
        let vdoms = toml::Value::try_from(vdoms).unwrap();
        format!(
            "serial = \"FG101FTK19002788\"\nmodel = \"\"\nhostname = {}\nfirmware = \"\"\nserver = \"https://localhost:7443\"\nvdoms = {vdoms}\n",
            toml::Value::from(hostname)
        )
    }

    proptest! {
        #[test]
        fn a_box_survives_its_files(names in prop::collection::hash_set("[A-Za-z0-9._-]{1,31}", 0..20), hostname in "[ -~]{0,35}") {
            let mut before = device();
            before.conf.system("hostname", &crate::conf::words::Word::quoted(hostname));
            for text in names.iter().filter(|text| *text != "root") {
                before.add_vdom(name(text)).unwrap();
            }
            let mut after = Device::from_toml(&before.to_toml().unwrap()).unwrap();
            after.conf = Configuration::parse(&before.conf.to_string()).unwrap();
            prop_assert_eq!(&after, &before);
            prop_assert_eq!(after.vdoms().len(), 1 + names.iter().filter(|text| *text != "root").count());
        }

        #[test]
        fn a_box_of_the_first_version_still_loads(names in prop::collection::hash_set("[A-Za-z0-9._-]{1,31}", 0..20), hostname in "[!-~]{1,64}") {
            let mut names: Vec<String> = names.into_iter().filter(|text| text != "root").collect();
            names.insert(0, "root".to_owned());
            let loaded = Device::from_toml(&of_the_first_version(&hostname, &names)).unwrap();
            prop_assert_eq!(loaded.vdoms().iter().map(ToString::to_string).collect::<Vec<_>>(), names);
            prop_assert_eq!(loaded.hostname().to_string(), hostname);
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
        let good = of_the_first_version("branch", &["root".to_owned()]);
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
