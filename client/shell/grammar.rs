//! How a command is written: its words, the choices between words, and the arguments.

/// At the first prompt of a box without VDOMs.
pub const SINGLE: u8 = 1;
/// At the first prompt of a box with VDOMs.
pub const TOP: u8 = 1 << 1;
/// In `config global`.
pub const GLOBAL: u8 = 1 << 2;
/// In a VDOM.
pub const VDOM: u8 = 1 << 3;
/// In `config vdom`.
pub const VDOMS: u8 = 1 << 4;
/// In a table that has rows.
pub const TABLE: u8 = 1 << 5;
/// In a row, or in a table that has none.
pub const ROW: u8 = 1 << 6;

/// A command: where it can be given, how it is written, and what it does.
///
/// A word stands for itself, `{a|b}` for one of several, `<name>` for an argument, `<name>...` for one or more; what is in brackets may be left
/// out.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The places, as a mask.
    pub places: u8,
    /// How it is written.
    pub line: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// One position of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What may stand here.
    pub kind: TokenKind,
    /// Whether the command may end before it.
    pub optional: bool,
}

/// What may stand at one position of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// One of these words.
    Words(Vec<String>),
    /// An argument.
    Argument {
        /// Its name, in angle brackets.
        name: String,
        /// Whether more of the same may follow.
        many: bool,
    },
}

/// Reads how a command is written.
#[must_use]
pub fn tokens(line: &str) -> Vec<Token> {
    line.split_whitespace()
        .map(|text| {
            let optional = text.starts_with('[');
            let text = text.trim_start_matches('[').trim_end_matches(']');
            let kind = match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                Some(choice) => TokenKind::Words(choice.split('|').map(str::to_owned).collect()),
                None if text.starts_with('<') => {
                    TokenKind::Argument { name: text.trim_end_matches('.').to_owned(), many: text.ends_with("...") }
                }
                None => TokenKind::Words(vec![text.to_owned()]),
            };
            Token { kind, optional }
        })
        .collect()
}

/// Whether an argument of this name is a number.
#[must_use]
pub fn is_number(name: &str) -> bool {
    matches!(name, "<number>" | "<minutes>" | "<level>" | "<port>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_is_read_as_it_is_written() {
        let words = |words: &[&str]| TokenKind::Words(words.iter().map(|word| (*word).to_owned()).collect());
        let read = tokens("a {b|c} [<host> <port>] <x>...");
        let kinds: Vec<_> = read.iter().map(|token| (token.kind.clone(), token.optional)).collect();
        let argument = |name: &str, many| TokenKind::Argument { name: name.to_owned(), many };
        assert_eq!(
            kinds,
            [
                (words(&["a"]), false),
                (words(&["b", "c"]), false),
                (argument("<host>", false), true),
                (argument("<port>", false), false),
                (argument("<x>", true), false),
            ]
        );
    }
}
