//! Texts that are safe to show, and patterns over texts.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Printable text of at most 64 characters, possibly empty: safe for a terminal as it is. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text(Arc<str>);

/// Text that is too long, or that a terminal would act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// More than 64 characters.
    #[error("must have at most 64 characters")]
    TooLong,
    /// A control character, a bidirectional override or the like.
    #[error("must be printable text, without control characters")]
    NotPrintable,
}

impl Text {
    /// How many characters a text has at most.
    pub const MAX_LENGTH: usize = 64;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Text {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        if text.chars().any(acts_on_a_terminal) {
            return Err(TextError::NotPrintable);
        }
        if text.chars().nth(Self::MAX_LENGTH).is_some() {
            return Err(TextError::TooLong);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether a terminal or a page would do something on this character rather than show it: C0 and C1 controls, line and paragraph
/// separators, and the bidirectional controls that make text read as what it is not.
pub(crate) fn acts_on_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Text from outside, made safe for terminals: what would act is written as an escape, as in `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if acts_on_a_terminal(character) { safe.extend(character.escape_default()) } else { safe.push(character) }
    }
    safe
}

/// An exact text, or a prefix if it ends in "*".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Matches this text alone.
    Exact(String),
    /// Matches every text that begins so.
    Prefix(String),
}

impl Pattern {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    /// Whether the text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_made_printable_has_nothing_left_that_acts(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(acts_on_a_terminal));
        }

        #[test]
        fn a_text_is_kept_to_the_letter(text in "\\PC{0,64}") {
            prop_assume!(!text.chars().any(acts_on_a_terminal));
            let parsed: Text = text.parse().unwrap();
            prop_assert_eq!(parsed.as_str(), text);
        }
    }

    #[test]
    fn a_terminal_escape_is_refused_and_sql_is_just_text() {
        assert_eq!("\u{1b}[31mred".parse::<Text>(), Err(TextError::NotPrintable));
        assert_eq!("a\u{202e}b".parse::<Text>(), Err(TextError::NotPrintable));
        assert_eq!("x".repeat(65).parse::<Text>(), Err(TextError::TooLong));
        assert_eq!("'; DROP TABLE device; --".parse::<Text>().unwrap().as_str(), "'; DROP TABLE device; --");
    }
}
