//! `| grep [-i] [-v] [-n] [-c] PATTERN` behind a command (domain sheet, section 3.6).

use regex::{Regex, RegexBuilder};

use crate::conf::words::Word;
use crate::shell::answers::Refused;
use crate::shell::guide::ParseError;

/// How large a compiled pattern may grow.
const PATTERN_LIMIT: usize = 1 << 20;

/// Which lines of an output are wanted.
#[derive(Clone, Debug)]
pub struct Filter {
    pattern: Regex,
    invert: bool,
    numbers: bool,
    count: bool,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        let flags = |filter: &Self| (filter.invert, filter.numbers, filter.count);
        self.pattern.as_str() == other.pattern.as_str() && flags(self) == flags(other)
    }
}

impl Eq for Filter {}

/// Parts a line into the command and what its output is passed through.
pub fn cut(mut words: Vec<Word>) -> Result<(Vec<Word>, Option<Filter>), Refused> {
    let Some(place) = words.iter().position(|word| !word.quoted && word.text == "|") else { return Ok((words, None)) };
    let behind = words.split_off(place);
    let mut behind = behind.into_iter().skip(1);
    match behind.next() {
        Some(word) if word.text == "grep" => {}
        Some(word) => return Err(ParseError::Word(muster_proto::printable(&word.text)).into()),
        None => return Err(ParseError::Incomplete.into()),
    }
    let (mut ignore_case, mut invert, mut numbers, mut count) = (false, false, false, false);
    let mut pattern = None;
    for word in behind {
        match word.text.as_str() {
            "-i" if pattern.is_none() => ignore_case = true,
            "-v" if pattern.is_none() => invert = true,
            "-n" if pattern.is_none() => numbers = true,
            "-c" if pattern.is_none() => count = true,
            text if pattern.is_none() => pattern = Some(text.to_owned()),
            text => return Err(ParseError::Word(muster_proto::printable(text)).into()),
        }
    }
    let text = pattern.ok_or(ParseError::Incomplete)?;
    let built = RegexBuilder::new(&text).case_insensitive(ignore_case).size_limit(PATTERN_LIMIT).build();
    let pattern = built.map_err(|_| ParseError::Value(muster_proto::printable(&text)))?;
    Ok((words, Some(Filter { pattern, invert, numbers, count })))
}

impl Filter {
    /// The lines of a text that are wanted.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let wanted = text.lines().enumerate().filter(|(_, line)| self.pattern.is_match(line) != self.invert);
        if self.count {
            return format!("{}\n", wanted.count());
        }
        let line = |(index, line): (usize, &str)| {
            if self.numbers { format!("{}:{line}\n", index + 1) } else { format!("{line}\n") }
        };
        wanted.map(line).collect()
    }
}
