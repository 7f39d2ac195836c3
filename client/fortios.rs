//! Commands of FortiOS, as they are typed: a tree of keywords, each of which may be abbreviated.

use std::fmt;

use muster_proto::printable;

use crate::components::plain_dashes;

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `execute fortitoken-cloud update`: push the VDOM list.
    Update,
}

/// A keyword, and what may follow it.
struct Keyword {
    word: &'static str,
    then: Then,
}

enum Then {
    Keywords(&'static [Keyword]),
    Run(Command),
}

/// Every command that the stand-in knows.
const COMMANDS: &[Keyword] = &[Keyword { word: "execute", then: Then::Keywords(EXECUTE) }];
const EXECUTE: &[Keyword] = &[Keyword { word: "fortitoken-cloud", then: Then::Keywords(FORTITOKEN_CLOUD) }];
const FORTITOKEN_CLOUD: &[Keyword] = &[Keyword { word: "update", then: Then::Run(Command::Update) }];

/// A command that cannot be understood. Shown as FortiOS shows it (domain sheet, section 3.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A word that is not known here, is short for several, or is one too many.
    Word(String),
    /// The command stops before it says what to do.
    Incomplete,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "command parse error before '{word}'\nCommand fail. Return code -61"),
            Self::Incomplete => f.write_str("incomplete command in the end\nCommand fail. Return code -160"),
        }
    }
}

/// Reads a command. Any unambiguous prefix of a keyword stands for it, blanks between words do not count, and look-alikes of the
/// hyphen are hyphens.
pub fn parse(line: &str) -> Result<Command, ParseError> {
    walk(COMMANDS, plain_dashes(line).split_whitespace())
}

fn walk<'a>(commands: &[Keyword], mut words: impl Iterator<Item = &'a str>) -> Result<Command, ParseError> {
    let mut keywords = commands;
    loop {
        let word = words.next().ok_or(ParseError::Incomplete)?;
        let keyword = select(keywords, word).ok_or_else(|| ParseError::Word(printable(word)))?;
        match keyword.then {
            Then::Keywords(next) => keywords = next,
            Then::Run(command) => {
                return match words.next() {
                    Some(word) => Err(ParseError::Word(printable(word))),
                    None => Ok(command),
                };
            }
        }
    }
}

/// The keyword that a word stands for: the one it spells out, or the only one that it begins.
fn select<'a>(keywords: &'a [Keyword], word: &str) -> Option<&'a Keyword> {
    let mut begun = keywords.iter().filter(|keyword| keyword.word.starts_with(word));
    let spelt_out = keywords.iter().find(|keyword| keyword.word == word);
    spelt_out.or_else(|| begun.next().filter(|_| begun.next().is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Like the tree of a later shell: keywords that begin alike.
    const ALIKE: &[Keyword] = &[
        Keyword { word: "fortitoken", then: Then::Run(Command::Update) },
        Keyword { word: "fortitoken-cloud", then: Then::Run(Command::Update) },
        Keyword { word: "ping", then: Then::Run(Command::Update) },
    ];

    /// Every command of a tree, spelt out.
    fn spelt_out(keywords: &'static [Keyword]) -> Vec<Vec<&'static Keyword>> {
        let lines = keywords.iter().flat_map(|keyword| match &keyword.then {
            Then::Run(_) => vec![vec![keyword]],
            Then::Keywords(next) => spelt_out(next).into_iter().map(|rest| [vec![keyword], rest].concat()).collect(),
        });
        lines.collect()
    }

    proptest! {
        #[test]
        fn any_unambiguous_prefix_is_accepted(line in 0..100_usize, cuts in prop::collection::vec(1..=16_usize, 3), blank in "[ \t\u{a0}]{1,3}") {
            let lines = spelt_out(COMMANDS);
            let line = &lines[line % lines.len()];
            let words: Vec<&str> = line.iter().zip(cuts).map(|(keyword, cut)| &keyword.word[..cut.min(keyword.word.len())]).collect();
            let mut keywords = COMMANDS;
            let mut unambiguous = true;
            for (word, keyword) in words.iter().zip(line) {
                unambiguous &= *word == keyword.word || keywords.iter().filter(|other| other.word.starts_with(word)).count() == 1;
                if let Then::Keywords(next) = keyword.then { keywords = next; }
            }
            let Then::Run(command) = line.last().unwrap().then else { panic!("a line ends with a command") };
            let typed = format!("{blank}{}{blank}", words.join(&blank));
            prop_assert_eq!(parse(&typed).ok(), unambiguous.then_some(command));
        }

        #[test]
        fn a_prefix_stands_for_a_keyword_unless_it_is_short_for_two(cut in 1..=16_usize) {
            let word = &"fortitoken-cloud"[..cut];
            let selected = select(ALIKE, word).map(|keyword| keyword.word);
            let expected = match cut { 10 => Some("fortitoken"), 11.. => Some("fortitoken-cloud"), _ => None };
            prop_assert_eq!(selected, expected);
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_reaches_a_terminal_raw(text in any::<String>()) {
            if let Err(ParseError::Word(word)) = parse(&text) {
                prop_assert_eq!(printable(&word), word);
            }
        }
    }

    #[test]
    fn abbreviations_blanks_and_dashes_of_guides_are_understood() {
        for line in
            ["execute fortitoken-cloud update", "exe forti upd", "  exec\tfortitoken\u{2013}cloud   update ", "e f u"]
        {
            assert_eq!(parse(line), Ok(Command::Update), "{line}");
        }
    }

    #[test]
    fn errors_read_as_those_of_fortios() {
        let shown = |line| parse(line).unwrap_err().to_string();
        assert_eq!(
            shown("execute fortitoken-cloud xyz"),
            "command parse error before 'xyz'\nCommand fail. Return code -61"
        );
        assert_eq!(shown("xyz"), "command parse error before 'xyz'\nCommand fail. Return code -61");
        assert_eq!(shown("exec forti upd now"), "command parse error before 'now'\nCommand fail. Return code -61");
        assert_eq!(shown("exec forti"), "incomplete command in the end\nCommand fail. Return code -160");
        assert_eq!(shown(" "), "incomplete command in the end\nCommand fail. Return code -160");
    }
}
