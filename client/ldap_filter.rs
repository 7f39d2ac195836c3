//! LDAP search filters (RFC 4515), as `set two-factor-filter` has them: and, or, not, presence, equality with wildcards.

use std::iter::Peekable;
use std::str::{Chars, FromStr};

use crate::directory::Entry;

/// How deep a filter may be nested.
const DEPTH: usize = 32;

/// Which entries are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of these.
    And(Vec<Filter>),
    /// Any of these.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The attribute has a value that consists of these parts, with anything between them.
    Match(String, Vec<String>),
}

/// A filter that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a filter that this box understands: (&...), (|...), (!...), (NAME=VALUE), (NAME=*)")]
pub struct FilterError;

impl Filter {
    /// Whether an entry is meant. Letter case does not count.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        match self {
            Self::And(filters) => filters.iter().all(|filter| filter.matches(entry)),
            Self::Or(filters) => filters.iter().any(|filter| filter.matches(entry)),
            Self::Not(filter) => !filter.matches(entry),
            Self::Match(name, parts) => entry.values(name).any(|value| consists_of(&value.to_lowercase(), parts)),
        }
    }
}

/// Whether a value begins with the first part, ends with the last one, and has the others between them, in order.
fn consists_of(value: &str, parts: &[String]) -> bool {
    let [first, between @ .., last] = parts else { return parts.first().is_none_or(|only| value == only) };
    let Some(mut rest) = value.strip_prefix(first.as_str()) else { return false };
    for part in between {
        match rest.split_once(part.as_str()) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut rest = text.trim().chars().peekable();
        let filter = filter(&mut rest, DEPTH)?;
        if rest.next().is_none() { Ok(filter) } else { Err(FilterError) }
    }
}

fn filter(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Result<Filter, FilterError> {
    let depth = depth.checked_sub(1).ok_or(FilterError)?;
    expect(rest, '(')?;
    let read = match rest.peek() {
        Some('&') => Filter::And(several(rest, depth)?),
        Some('|') => Filter::Or(several(rest, depth)?),
        Some('!') => {
            rest.next();
            Filter::Not(Box::new(filter(rest, depth)?))
        }
        _ => item(rest)?,
    };
    expect(rest, ')')?;
    Ok(read)
}

fn several(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Result<Vec<Filter>, FilterError> {
    rest.next();
    let mut filters = Vec::new();
    while rest.peek() == Some(&'(') {
        filters.push(filter(rest, depth)?);
    }
    Ok(filters)
}

fn item(rest: &mut Peekable<Chars<'_>>) -> Result<Filter, FilterError> {
    let mut name = String::new();
    while let Some(character) = rest.next_if(|character| !"=()<>~*".contains(*character)) {
        name.push(character);
    }
    expect(rest, '=')?;
    let mut parts = vec![String::new()];
    while let Some(character) = rest.next_if(|character| !"()".contains(*character)) {
        match character {
            '*' => parts.push(String::new()),
            '\\' => {
                let digits: String = rest.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&digits, 16).map_err(|_| FilterError)?;
                parts.last_mut().ok_or(FilterError)?.push(char::from(byte));
            }
            character => parts.last_mut().ok_or(FilterError)?.extend(character.to_lowercase()),
        }
    }
    if name.trim().is_empty() { Err(FilterError) } else { Ok(Filter::Match(name.trim().to_owned(), parts)) }
}

fn expect(rest: &mut Peekable<Chars<'_>>, wanted: char) -> Result<(), FilterError> {
    if rest.next() == Some(wanted) { Ok(()) } else { Err(FilterError) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::parse;
    use proptest::prelude::*;

    fn matches(text: &str) -> bool {
        let entries =
            parse("dn: x\ncn: Ann Alice\nmail: ann@corp.example\nmemberOf: vpn\nmemberOf: staff (all)\n").unwrap();
        text.parse::<Filter>().unwrap().matches(&entries[0])
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>(), almost in "[(&|!)a=*\\\\2]{0,40}") {
            let _ = (text.parse::<Filter>(), almost.parse::<Filter>());
        }
    }

    #[test]
    fn a_filter_says_who_is_meant() {
        for text in [
            "(cn=ann alice)",
            "(CN=Ann*)",
            "(cn=*ice)",
            "(cn=a*n*l*e)",
            "(mail=*)",
            "(memberOf=VPN)",
            "(memberof=staff \\28all\\29)",
            "(&(mail=*)(memberOf=vpn))",
            "(|(cn=nobody)(mail=ann@*))",
            "(!(cn=bob))",
            "(&)",
            " (cn=*) ",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in
            ["(cn=ann)", "(cn=*x*)", "(mobile=*)", "(&(mail=*)(cn=bob))", "(|)", "(!(mail=*))", "(cn=ann alice*e)"]
        {
            assert!(!matches(text), "{text}");
        }
        for text in ["", "cn=x", "(cn=x", "(cn=x))", "(=x)", "(cn>=x)", "(!)", "(cn=\\zz)", &"(!".repeat(100)] {
            assert_eq!(text.parse::<Filter>(), Err(FilterError), "{text}");
        }
    }
}
