//! Licences: a number that admits one device to a realm.

use std::fmt;
use std::str::FromStr;

use crate::{Invalid, RealmRef, Reason, Text, v1};

/// How many rows one message of an import may have.
pub const MAX_ROWS: usize = 1_000;

/// A license number: 8 to 32 characters of A-Z and 0-9, as in `EFTM` and 12 digits (domain sheet, section 1.4). Lower case is folded, and
/// hyphens and blanks, which people put between groups, are left out on the way in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LicenseNumber(Box<str>);

/// Text that is not a license number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 8 to 32 characters of A-Z and 0-9, as in EFTM000000000001")]
pub struct LicenseNumberError;

impl LicenseNumber {
    /// The number.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LicenseNumber {
    type Err = LicenseNumberError;

    fn from_str(text: &str) -> Result<Self, LicenseNumberError> {
        if text.len() > 64 {
            return Err(LicenseNumberError);
        }
        let number: String = text.chars().filter(|character| !matches!(character, '-' | ' ')).collect();
        let number = number.to_ascii_uppercase();
        let good = number.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if good && (8..=32).contains(&number.len()) { Ok(Self(number.into())) } else { Err(LicenseNumberError) }
    }
}

impl fmt::Display for LicenseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Reads the field `name` of a request about a licence: `licenses/NUMBER`.
pub fn license_name(name: &str) -> Result<LicenseNumber, Invalid> {
    name.strip_prefix("licenses/").and_then(|number| number.parse().ok()).ok_or_else(|| {
        Invalid::field("name", Reason::NameMalformed, "must be \"licenses/NUMBER\", as in licenses/EFTM000000000001")
    })
}

/// One row of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseRow {
    /// Its line in the file that it comes from.
    pub line: i64,
    /// The number as it was sent, safe to show.
    pub shown: String,
    /// What it says, or what is wrong with it.
    pub parsed: Result<NewLicense, (Reason, String)>,
}

/// A licence to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLicense {
    /// Its number.
    pub number: LicenseNumber,
    /// The model that it is for; empty for any.
    pub model: Text,
    /// The realm that its device goes to.
    pub realm: RealmRef,
}

impl From<&v1::LicenseRow> for LicenseRow {
    fn from(wire: &v1::LicenseRow) -> Self {
        let shown = crate::printable(&wire.number.chars().take(64).collect::<String>());
        Self { line: wire.line, shown, parsed: parse(wire).map_err(|(reason, text)| (reason, crate::printable(&text))) }
    }
}

fn parse(wire: &v1::LicenseRow) -> Result<NewLicense, (Reason, String)> {
    let number = wire.number.parse::<LicenseNumber>();
    let number = number.map_err(|error| (Reason::LicenseNumberMalformed, format!("number {error}")))?;
    let model = wire.model.parse().map_err(|error| (Reason::TextMalformed, format!("model {error}")))?;
    let realm = if wire.realm.is_empty() { "realms/default" } else { wire.realm.as_str() };
    let realm = realm.parse().map_err(|error| (Reason::NameMalformed, format!("realm {error}")))?;
    Ok(NewLicense { number, model, realm })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_license_number_survives_the_round_trip(text in "[A-Z0-9]{8,32}") {
            let number: LicenseNumber = text.parse().unwrap();
            prop_assert_eq!(number.as_str(), &text);
            prop_assert_eq!(number.to_string().parse(), Ok(number));
        }

        #[test]
        fn any_other_text_is_refused_and_none_panics(text in "\\PC{0,40}") {
            let folded = text.replace(['-', ' '], "").to_ascii_uppercase();
            let good = (8..=32).contains(&folded.len()) && folded.bytes().all(|byte| byte.is_ascii_alphanumeric());
            prop_assert_eq!(text.parse::<LicenseNumber>().is_ok(), good && text.len() <= 64);
        }
    }

    #[test]
    fn people_write_groups_and_small_letters() {
        assert_eq!("eftm-0000 0000-0001".parse::<LicenseNumber>().unwrap().as_str(), "EFTM000000000001");
    }
}
