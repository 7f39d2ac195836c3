//! Serial numbers.

use std::fmt;
use std::str::FromStr;

/// The serial number of a device: 16 characters of A-Z and 0-9 (domain sheet, section 1.4). Lower case is folded on the way in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber([u8; SerialNumber::LENGTH]);

/// Text that is not a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 16 characters of A-Z and 0-9, as in FG101FTK19002788")]
pub struct SerialNumberError;

impl SerialNumber {
    /// How many characters a serial number has.
    pub const LENGTH: usize = 16;

    /// The serial number as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Always ASCII, by construction.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The product that the prefix stands for; "Other" for a prefix that is not known, because the list grows (domain sheet, 1.1).
    #[must_use]
    pub fn product(&self) -> &'static str {
        const PREFIXES: [(&str, &str); 10] = [
            ("FGVM", "FortiGateVM"),
            ("FG", "FortiGate"),
            ("FWF", "FortiGate"),
            ("FACVM", "FortiAuthenticator"),
            ("FAC", "FortiAuthenticator"),
            ("FSA", "FortiSandbox"),
            ("FAD", "FortiADC"),
            ("FPA", "FortiPAM"),
            ("FE", "FortiMail"),
            ("FMG", "FortiManager"),
        ];
        PREFIXES.iter().find(|(prefix, _)| self.as_str().starts_with(prefix)).map_or("Other", |(_, product)| product)
    }
}

impl FromStr for SerialNumber {
    type Err = SerialNumberError;

    fn from_str(text: &str) -> Result<Self, SerialNumberError> {
        let mut bytes: [u8; Self::LENGTH] = text.as_bytes().try_into().map_err(|_| SerialNumberError)?;
        bytes.make_ascii_uppercase();
        if bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
            Ok(Self(bytes))
        } else {
            Err(SerialNumberError)
        }
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_serial_number_survives_the_round_trip(text in "[A-Z0-9]{16}") {
            let serial: SerialNumber = text.parse().unwrap();
            prop_assert_eq!(serial.to_string(), text);
        }

        #[test]
        fn any_other_text_is_refused(text in "\\PC{0,20}") {
            let valid = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            prop_assert_eq!(text.parse::<SerialNumber>().is_ok(), valid);
        }
    }

    #[test]
    fn the_prefix_tells_the_product() {
        for (serial, product) in [
            ("FG101ETK18001260", "FortiGate"),
            ("fgvm01tm00000000", "FortiGateVM"),
            ("FACVM00000000001", "FortiAuthenticator"),
            ("ZZ00000000000000", "Other"),
        ] {
            assert_eq!(serial.parse::<SerialNumber>().unwrap().product(), product);
        }
    }
}
