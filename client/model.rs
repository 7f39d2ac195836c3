//! The models that the stand-in knows, and serial numbers as their makers would give them.

use std::str::FromStr;

use muster_proto::SerialNumber;
use rand::{Rng, RngExt as _};

/// A model, and how the serial numbers of its boxes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// The name, as in "FortiGate-101F".
    pub name: &'static str,
    /// The model code and the family: the first eight characters of a serial number (domain sheet, section 1.4).
    prefix: &'static str,
}

/// The model of a box if nobody says otherwise.
pub const DEFAULT_MODEL: &str = "FortiGate-101F";

/// Every model that the stand-in knows.
pub const MODELS: &[Model] = &[
    Model { name: "FortiGate-40F", prefix: "FGT40FTK" },
    Model { name: "FortiGate-60F", prefix: "FGT60FTK" },
    Model { name: "FortiGate-100D", prefix: "FG100D3G" },
    Model { name: "FortiGate-100F", prefix: "FG100FTK" },
    Model { name: "FortiGate-101E", prefix: "FG101ETK" },
    Model { name: "FortiGate-101F", prefix: "FG101FTK" },
    Model { name: "FortiGate-200E", prefix: "FG200ETK" },
    Model { name: "FortiGate-300E", prefix: "FG300ETK" },
    Model { name: "FortiGate-1101E", prefix: "FG10E1TB" },
    Model { name: "FortiGate-VM01", prefix: "FGVM01TM" },
    Model { name: "FortiGate-VM16", prefix: "FGVM16TM" },
];

const MAKER: &str = "FortiGate-";
const FIRST_YEAR: u8 = 18;
const BOXES_A_YEAR: u32 = 1_000_000;

impl Model {
    /// The model of this name; letter case does not matter, and "101F" is enough for "FortiGate-101F".
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        MODELS
            .iter()
            .find(|model| {
                let short = model.name.strip_prefix(MAKER).unwrap_or(model.name);
                model.name.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name)
            })
            .copied()
    }

    /// The model that this serial number belongs to.
    #[must_use]
    pub fn of(serial: &SerialNumber) -> Option<Self> {
        MODELS.iter().find(|model| serial.as_str().starts_with(model.prefix)).copied()
    }

    /// A serial number for a box of this model, made in some year up to `year` (two digits).
    pub fn serial(self, year: u8, rng: &mut impl Rng) -> Result<SerialNumber, <SerialNumber as FromStr>::Err> {
        let made = rng.random_range(FIRST_YEAR..=year.clamp(FIRST_YEAR, 99));
        let number = rng.random_range(0..BOXES_A_YEAR);
        format!("{}{made:02}{number:06}", self.prefix).parse()
    }
}

/// The names of the models, for people.
#[must_use]
pub fn names() -> String {
    MODELS.iter().map(|model| model.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    proptest! {
        #[test]
        fn a_serial_number_tells_its_model(index in 0..MODELS.len(), year: u8, seed: u64) {
            let model = MODELS[index];
            let serial = model.serial(year, &mut StdRng::seed_from_u64(seed)).unwrap();
            prop_assert_eq!(Model::of(&serial), Some(model));
            prop_assert!(serial.product().starts_with("FortiGate"));
        }
    }

    #[test]
    fn a_model_is_found_by_its_full_and_by_its_short_name() {
        for name in ["FortiGate-101F", "fortigate-101f", "101F", "101f"] {
            assert_eq!(Model::named(name).unwrap().name, "FortiGate-101F");
        }
        assert_eq!(Model::named("FortiToaster"), None);
        assert!(Model::named(DEFAULT_MODEL).is_some());
    }
}
