//! Scenarios: what a fleet does, step by step. They are texts in TOML; the built-in ones are in `scenarios/`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Deserializer};

/// The built-in scenarios.
const BUILT_IN: [&str; 6] = [
    include_str!("scenarios/steady.toml"),
    include_str!("scenarios/storm.toml"),
    include_str!("scenarios/churn.toml"),
    include_str!("scenarios/failover.toml"),
    include_str!("scenarios/clones.toml"),
    include_str!("scenarios/slow-viewers.toml"),
];

/// What a fleet does.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// What is done, one after the other.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

/// One step. A rate is in operations a second over the whole run; without one that of the command line counts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Every box connects and registers.
    Connect {
        /// How many boxes a second.
        rate: Option<f64>,
    },
    /// Boxes report what they have, one after the other.
    Sync {
        /// How many a second.
        rate: Option<f64>,
        /// For how long; that of the command line if it is not given.
        #[serde(rename = "for", default, deserialize_with = "time")]
        time: Option<Duration>,
    },
    /// Every box gets so many more VDOMs, and reports them.
    AddVdoms {
        /// How many.
        count: u32,
        /// How many boxes a second.
        rate: Option<f64>,
    },
    /// Every box loses its last VDOMs, and reports what is left.
    RemoveVdoms {
        /// How many.
        count: u32,
        /// How many boxes a second.
        rate: Option<f64>,
    },
    /// Every box reports the users of each of its auth clients, one stream each.
    SyncUsers {
        /// How many boxes a second.
        rate: Option<f64>,
    },
    /// Every box gets so many more users, and adds them one by one.
    AddUsers {
        /// How many.
        count: u32,
        /// How many boxes a second.
        rate: Option<f64>,
    },
    /// Every box closes its connection and comes back.
    Reconnect {
        /// How many boxes a second.
        rate: Option<f64>,
    },
    /// The server restarts; the step lasts until every box is back in sync. Boxes report meanwhile, at the rate of the command line.
    Restart {},
    /// Boxes are two and two an HA pair, and the other one of each pair takes over.
    Failover {
        /// How many pairs a second.
        rate: Option<f64>,
    },
    /// So many boxes exist twice: the same serial number, another key, other VDOMs.
    Clone {
        /// How many.
        boxes: u32,
    },
    /// Viewers follow the debug feed of the run.
    Watch {
        /// How many that keep up.
        viewers: u32,
        /// How many that read nothing until the next check.
        slow: u32,
    },
    /// The register and the feed are compared with what was acknowledged.
    Check {},
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

impl Scenario {
    /// The built-in scenario of this name, or that of the file at this path.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let built_in = Self::built_in()?;
        if let Some(scenario) = built_in.iter().find(|scenario| scenario.name == name) {
            return Ok(scenario.clone());
        }
        let names = || built_in.iter().map(|scenario| scenario.name.as_str()).collect::<Vec<_>>().join(", ");
        if !Path::new(name).exists() {
            anyhow::bail!("there is no scenario {name:?}: name a file, or one of {}", names());
        }
        let text = std::fs::read_to_string(name).with_context(|| format!("could not read {name}"))?;
        toml::from_str(&text).with_context(|| format!("{name} is not a scenario"))
    }

    /// Every built-in scenario.
    pub fn built_in() -> anyhow::Result<Vec<Self>> {
        BUILT_IN.iter().map(|text| toml::from_str(text).context("a built-in scenario is damaged")).collect()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { .. } => f.write_str("connect"),
            Self::Sync { .. } => f.write_str("sync"),
            Self::AddVdoms { count, .. } => write!(f, "add {count} VDOMs to each"),
            Self::RemoveVdoms { count, .. } => write!(f, "remove {count} VDOMs from each"),
            Self::SyncUsers { .. } => f.write_str("sync of users"),
            Self::AddUsers { count, .. } => write!(f, "add {count} users to each"),
            Self::Reconnect { .. } => f.write_str("reconnect"),
            Self::Restart {} => f.write_str("restart of the server"),
            Self::Failover { .. } => f.write_str("failover"),
            Self::Clone { boxes } => write!(f, "clone {boxes} boxes"),
            Self::Watch { viewers, slow } => write!(f, "watch with {viewers} viewers and {slow} slow ones"),
            Self::Check {} => f.write_str("check"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_found_by_its_name_and_checks_what_it_did() {
        for scenario in Scenario::built_in().unwrap() {
            assert_eq!(Scenario::named(&scenario.name).unwrap(), scenario);
            assert_eq!(scenario.steps.last(), Some(&Step::Check {}), "{}", scenario.name);
        }
    }

    #[test]
    fn a_file_is_a_scenario_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        let text = "name = \"mine\"\nabout = \"a test\"\n[[step]]\ndo = \"sync\"\nrate = 20.0\nfor = \"2s\"\n";
        std::fs::write(&path, text).unwrap();
        let scenario = Scenario::named(path.to_str().unwrap()).unwrap();
        assert_eq!(scenario.steps, [Step::Sync { rate: Some(20.0), time: Some(Duration::from_secs(2)) }]);
    }

    #[test]
    fn what_is_not_a_scenario_is_told_with_what_would_be_one() {
        let error = Scenario::named("stedy").unwrap_err().to_string();
        assert!(error.contains("stedy") && error.contains("steady, storm, churn"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("unknown-step", "name = \"x\"\nabout = \"\"\n[[step]]\ndo = \"dance\"\n"),
            ("unknown-field", "name = \"x\"\nabout = \"\"\n[[step]]\ndo = \"sync\"\nrat = 1.0\n"),
            ("bad-time", "name = \"x\"\nabout = \"\"\n[[step]]\ndo = \"sync\"\nfor = \"soon\"\n"),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Scenario::named(path.to_str().unwrap()).unwrap_err());
            assert!(error.contains(name) && error.contains("is not a scenario"), "{error}");
        }
    }
}
