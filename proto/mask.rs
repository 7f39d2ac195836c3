//! Field masks: which fields an update is about (AIP-134).

use crate::{Check, Reason};

/// Which of the fields of an update are named.
#[derive(Debug)]
pub(crate) struct Mask<'a> {
    /// `None` if the fields that are set are meant.
    named: Option<&'a [String]>,
}

impl<'a> Mask<'a> {
    /// Reads `update_mask`. Each path must be one of `fields`, or "*" for all of them.
    pub(crate) fn read(mask: Option<&'a prost_types::FieldMask>, fields: &[&str], check: &mut Check) -> Self {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        for path in paths {
            if path != "*" && !fields.contains(&path.as_str()) {
                let description = format!("names {path:?}; the fields are {}", fields.join(", "));
                check.refuse("update_mask", Reason::FieldInvalid, description);
            }
        }
        Self { named: (!paths.is_empty()).then_some(paths) }
    }

    /// Whether a field is to change; `set` says whether the request has a value for it.
    pub(crate) fn has(&self, field: &str, set: bool) -> bool {
        self.named.map_or(set, |paths| paths.iter().any(|path| path == "*" || path == field))
    }

    /// Notes an update that is about nothing.
    pub(crate) fn require(changes: bool, check: &mut Check) {
        if !changes && check.is_clean() {
            check.refuse("update_mask", Reason::FieldInvalid, "must name a field, or a field must be set");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> prost_types::FieldMask {
        prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
    }

    #[test]
    fn a_mask_names_fields_and_without_one_those_count_that_are_set() {
        let mut check = Check::default();
        let (named, all) = (mask(&["alias"]), mask(&["*"]));
        for (mask, set, expected) in [
            (Some(&named), false, [true, false]),
            (Some(&all), false, [true, true]),
            (None, true, [true, true]),
            (None, false, [false, false]),
        ] {
            let mask = Mask::read(mask, &["alias", "realm"], &mut check);
            assert_eq!(["alias", "realm"].map(|field| mask.has(field, set)), expected);
        }
        assert!(check.is_clean());
    }

    #[test]
    fn an_unknown_field_is_refused_and_so_is_an_update_of_nothing() {
        let mut check = Check::default();
        Mask::read(Some(&mask(&["users"])), &["alias", "realm"], &mut check);
        Mask::require(false, &mut check);
        assert_eq!(check.invalid().to_string(), "update_mask names \"users\"; the fields are alias, realm");
        let mut check = Check::default();
        Mask::require(false, &mut check);
        assert_eq!(check.invalid().reason(), Reason::FieldInvalid);
    }
}
