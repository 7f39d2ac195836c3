//! The components of the debug feed that a viewer asks for, as FortiOS writes them: `fnbamd=-1,httpsd=255,ftc=-1`.

use std::str::FromStr;

use muster_proto::{SerialNumber, v1};

/// Components with their level masks; none at all means every component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Components(Vec<(String, i32)>);

/// Text that does not name components.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComponentsError {
    /// A part is not a name, or a name and a level.
    #[error("must be NAME or NAME=LEVEL, with commas between, as in fnbamd=-1,httpsd=255,ftc=-1")]
    Malformed,
    /// A level is not a mask.
    #[error("the level of {0} must be -1 (all) or a mask of 0 to 255")]
    Level(String),
    /// Every component has the level 0.
    #[error("with level 0 for every component there is nothing to show")]
    AllOff,
}

/// Text with the look-alikes of the hyphen-minus, which guides and word processors put in its place, made plain (domain sheet, section 3.5).
#[must_use]
pub fn plain_dashes(text: &str) -> String {
    let dash = |character: char| {
        matches!(character, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}')
    };
    text.replace(dash, "-")
}

impl Components {
    /// The filters that select these components of one box.
    #[must_use]
    pub fn filters(&self, serial: &SerialNumber) -> Vec<v1::DebugFilter> {
        let own = v1::DebugFilter { serial_number: serial.to_string(), ..Default::default() };
        if self.0.is_empty() {
            return vec![own];
        }
        let filter = |(name, level): &(String, i32)| v1::DebugFilter {
            component: name.clone(),
            level_mask: Some(*level),
            ..own.clone()
        };
        self.0.iter().map(filter).collect()
    }
}

impl FromStr for Components {
    type Err = ComponentsError;

    /// As on FortiOS the last level of a component counts, and level 0 switches it off.
    fn from_str(text: &str) -> Result<Self, ComponentsError> {
        let mut components: Vec<(String, i32)> = Vec::new();
        for part in plain_dashes(text).split(',').map(str::trim) {
            let (name, level) = match part.split_once('=') {
                Some((name, level)) => (name.trim(), level.trim()),
                None => (part, "-1"),
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                return Err(ComponentsError::Malformed);
            }
            let level = level.parse().ok().filter(|level| (-1..=255).contains(level));
            let level = level.ok_or_else(|| ComponentsError::Level(name.to_owned()))?;
            components.retain(|(other, _)| other != name);
            components.push((name.to_owned(), level));
        }
        components.retain(|(_, level)| *level != 0);
        if components.is_empty() { Err(ComponentsError::AllOff) } else { Ok(Self(components)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Vec<(String, i32)>, ComponentsError> {
        text.parse::<Components>().map(|components| components.0)
    }

    proptest! {
        #[test]
        fn any_mask_is_understood_with_any_dash(level in 1..=255, dash in "[-\u{2010}-\u{2015}\u{2212}\u{fe58}\u{fe63}\u{ff0d}]") {
            let all = [("ftc".to_owned(), level), ("fnbamd".to_owned(), -1)];
            prop_assert_eq!(parsed(&format!(" ftc = {level} , fnbamd={dash}1")), Ok(all.to_vec()));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = parsed(&text);
        }
    }

    #[test]
    fn the_last_level_counts_and_zero_is_off() {
        assert_eq!(parsed("ftc=1,httpsd,ftc=7"), Ok(vec![("httpsd".to_owned(), -1), ("ftc".to_owned(), 7)]));
        assert_eq!(parsed("ftc,httpsd=0"), Ok(vec![("ftc".to_owned(), -1)]));
        assert_eq!(parsed("ftc=0"), Err(ComponentsError::AllOff));
    }

    #[test]
    fn what_is_not_a_component_is_refused() {
        for text in ["", ",", "=1", "ftc,", "a b=1", "ftc\u{1b}=1"] {
            assert_eq!(parsed(text), Err(ComponentsError::Malformed), "{text:?}");
        }
        for text in ["ftc=", "ftc=256", "ftc=-2", "ftc=x", "ftc==1"] {
            assert_eq!(parsed(text), Err(ComponentsError::Level("ftc".to_owned())), "{text:?}");
        }
    }

    #[test]
    fn every_filter_names_the_own_serial_number() {
        let serial: SerialNumber = "FG101FTK19002788".parse().unwrap();
        for components in [Components::default(), "ftc=4,fnbamd".parse().unwrap()] {
            let filters = components.filters(&serial);
            assert!(filters.iter().all(|filter| filter.serial_number == serial.as_str()));
            assert_eq!(filters.len(), components.0.len().max(1));
        }
    }
}
