//! What is wrong with a request: every bad field at once.

use std::fmt;

use crate::Reason;

/// One bad field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, as in `full_list.vdoms[3].name`.
    pub field: String,
    /// Why, as a code.
    pub reason: Reason,
    /// What is wrong and what is allowed, for people; free of control characters.
    pub description: String,
}

/// A request that cannot be understood: every bad field at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    violations: Vec<Violation>,
}

impl Invalid {
    /// One bad field.
    pub fn field(field: impl Into<String>, reason: Reason, description: impl fmt::Display) -> Self {
        let mut check = Check::default();
        check.refuse(field, reason, description);
        check.invalid()
    }

    /// The bad fields, at least one.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The code of the call: that of the first bad field.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.violations.first().map_or(Reason::FieldInvalid, |violation| violation.reason)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.violations.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Gathers the bad fields of one request while it is parsed.
#[derive(Debug, Default)]
pub struct Check {
    violations: Vec<Violation>,
}

impl Check {
    /// The value of a field, or a note of what is wrong with it.
    pub fn take<T, E: fmt::Display>(&mut self, field: &str, reason: Reason, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.refuse(field, reason, error)).ok()
    }

    /// Notes a bad field. Its description is made safe for terminals, because it may quote the caller.
    pub fn refuse(&mut self, field: impl Into<String>, reason: Reason, description: impl fmt::Display) {
        let description = crate::printable(&description.to_string());
        self.violations.push(Violation { field: field.into(), reason, description });
    }

    /// Takes over what was found wrong elsewhere.
    pub fn absorb(&mut self, invalid: Invalid) {
        self.violations.extend(invalid.violations);
    }

    /// Whether nothing was wrong so far.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// What was wrong.
    #[must_use]
    pub fn invalid(self) -> Invalid {
        Invalid { violations: self.violations }
    }
}
