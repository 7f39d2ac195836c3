//! What an admin says of a deletion, parsed.

use crate::{Check, Invalid, Reason, Text, v1};

/// The fields `mode` and `why` of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionTerms {
    /// What happens when the device reports again; `None` if the admin did not say.
    pub mode: Option<v1::DeleteMode>,
    /// Why, in the admin's words; may be empty.
    pub why: Text,
}

impl DeletionTerms {
    /// Reads the two fields.
    pub fn parse(mode: i32, why: &str) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let known = v1::DeleteMode::try_from(mode).map_err(|_| "must be one of evict (1), ban (2) and retire (3)");
        let mode = check.take("mode", Reason::FieldInvalid, known);
        let why = check.take("why", Reason::TextMalformed, why.parse());
        match (mode, why) {
            (Some(mode), Some(why)) => {
                Ok(Self { mode: Some(mode).filter(|mode| *mode != v1::DeleteMode::Unspecified), why })
            }
            _ => Err(check.invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_named_and_a_mode_may_be_left_out() {
        let terms = DeletionTerms::parse(2, "sold").unwrap();
        assert_eq!((terms.mode, terms.why.as_str()), (Some(v1::DeleteMode::Ban), "sold"));
        assert_eq!(DeletionTerms::parse(0, "").unwrap().mode, None);
        let invalid = DeletionTerms::parse(9, "\u{1b}[2J").unwrap_err();
        let fields: Vec<_> = invalid.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["mode", "why"]);
    }
}
