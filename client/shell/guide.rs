//! What can be said at one prompt: it reads lines, completes words, and explains what may come next.

use muster_proto::printable;

use crate::components::plain_dashes;
use crate::conf::schema::{Attribute, Kind, Scope, TABLES, Table};
use crate::conf::words::{Word, split};
use crate::shell::commands::{APPLICATIONS, COMMANDS, GLOSSARY};
use crate::shell::grammar::{self, GLOBAL, ROW, SINGLE, TOP, Token, TokenKind, VDOM};

/// A command that can be given here.
#[derive(Clone, Debug)]
struct Entry {
    tokens: Vec<Token>,
    help: String,
}

/// What can be said at one prompt.
#[derive(Clone, Debug, Default)]
pub struct Guide {
    entries: Vec<Entry>,
    vdoms: Vec<String>,
    rows: Vec<String>,
}

/// A command that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// A word that is not known here, is short for several, or is one too many.
    Word(String),
    /// A value that cannot be.
    Value(String),
    /// The command stops before it says what to do.
    Incomplete,
}

/// A command that is still being read: which one, and how much of it.
type Live<'a> = (&'a Entry, usize);

/// What may come next, with what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// A keyword, the name of something that is there, or an argument in angle brackets.
    pub word: String,
    /// What it means.
    pub help: String,
}

impl Guide {
    /// The guide to a prompt.
    #[must_use]
    pub fn new(places: u8, table: Option<&'static Table>, vdoms: Vec<String>, rows: Vec<String>) -> Self {
        let mut entries: Vec<Entry> = COMMANDS
            .iter()
            .filter(|usage| usage.places & places != 0)
            .map(|usage| Entry { tokens: grammar::tokens(usage.line), help: usage.help.to_owned() })
            .collect();
        for table in TABLES {
            let needed = match table.scope {
                Scope::Global => GLOBAL | SINGLE,
                Scope::Vdom => VDOM | SINGLE,
            };
            if places & needed != 0 {
                entries.extend(entries_of(table));
            }
        }
        if places & ROW != 0 {
            entries.extend(table.into_iter().flat_map(|table| table.attributes).flat_map(settings));
        }
        Self { entries, vdoms, rows }
    }

    /// The commands that run outside of every table, wherever; for a line that stands alone.
    #[must_use]
    pub fn anywhere() -> Self {
        Self::new(SINGLE | TOP | GLOBAL | VDOM, None, Vec::new(), Vec::new())
    }

    /// Reads a command: each keyword spelt out, each argument as it is.
    pub fn parse(&self, words: &[Word]) -> Result<Vec<String>, ParseError> {
        let mut live: Vec<Live<'_>> = self.entries.iter().map(|entry| (entry, 0)).collect();
        let mut read = Vec::new();
        for word in words {
            let (canonical, rest) = advance(&live, word)?;
            read.push(canonical);
            live = rest;
        }
        let complete = live.iter().any(|(entry, at)| ends(entry, *at));
        if complete { Ok(read) } else { Err(ParseError::Incomplete) }
    }

    /// What may follow the words of an unfinished line, and which part of a word is there already.
    #[must_use]
    pub fn next(&self, line: &str) -> (Vec<Next>, String) {
        let (mut words, over, _) = split(line);
        let begun = if over { None } else { words.pop() };
        let mut open: Vec<Live<'_>> = self.entries.iter().map(|entry| (entry, 0)).collect();
        for word in &words {
            match advance(&open, word) {
                Ok((_, rest)) => open = rest,
                Err(_) => return (Vec::new(), String::new()),
            }
        }
        let begun = begun.map(|word| word.text).unwrap_or_default();
        let mut found: Vec<Next> = Vec::new();
        let mut add = |word: &str, help: &str| {
            if word.starts_with(&begun) && !found.iter().any(|next| next.word == word) {
                found.push(Next { word: word.to_owned(), help: help.to_owned() });
            }
        };
        for (entry, at) in &open {
            match entry.tokens.get(*at).map(|token| &token.kind) {
                Some(TokenKind::Words(choices)) => {
                    let rest = entry.tokens.get(at + 1..).unwrap_or_default();
                    let more = rest.iter().any(|token| !token.optional && matches!(token.kind, TokenKind::Words(_)));
                    for word in choices {
                        let general = glossary(word);
                        add(word, if more && !general.is_empty() { general } else { &entry.help });
                    }
                }
                Some(TokenKind::Argument { name, .. }) => self.names(name).iter().for_each(|name| add(name, "")),
                None => {}
            }
        }
        if begun.is_empty() {
            for (entry, at) in &open {
                match entry.tokens.get(*at).map(|token| &token.kind) {
                    Some(TokenKind::Argument { name, .. }) => add(name, glossary(name)),
                    _ if ends(entry, *at) => add("<Enter>", &entry.help),
                    _ => {}
                }
            }
        }
        found.sort_by(|a, b| (a.word.starts_with('<'), &a.word).cmp(&(b.word.starts_with('<'), &b.word)));
        (found, begun)
    }

    fn names(&self, argument: &str) -> Vec<String> {
        match argument {
            "<vdom>" => self.vdoms.clone(),
            "<row>" => self.rows.clone(),
            "<application>" => APPLICATIONS.iter().map(|name| (*name).to_owned()).collect(),
            _ => Vec::new(),
        }
    }
}

/// The commands of a table outside of it.
fn entries_of(table: &Table) -> Vec<Entry> {
    let row = if table.rows { " [<row>]" } else { "" };
    let entry = |line: String| Entry { tokens: grammar::tokens(&line), help: table.help.to_owned() };
    let path = table.path;
    vec![entry(format!("config {path}")), entry(format!("show {path}{row}")), entry(format!("get {path}{row}"))]
}

/// The commands of a setting.
fn settings(attribute: &Attribute) -> Vec<Entry> {
    let name = attribute.name;
    let value = match attribute.kind {
        Kind::Choice(choices) => format!("{{{}}}", choices.join("|")),
        Kind::Number(..) => "<number>".to_owned(),
        Kind::List | Kind::Address => "<value>...".to_owned(),
        Kind::Vdoms => "<vdom>...".to_owned(),
        Kind::Text(_) | Kind::Secret | Kind::Row(_) => "<value>".to_owned(),
    };
    let entry = |line: String| Entry { tokens: grammar::tokens(&line), help: attribute.help.to_owned() };
    let mut entries = vec![entry(format!("set {name} {value}")), entry(format!("unset {name}"))];
    if attribute.kind == Kind::Secret {
        entries.push(entry(format!("set {name} ENC <value>")));
    }
    entries
}

fn glossary(word: &str) -> &'static str {
    GLOSSARY.iter().find(|(known, _)| *known == word).map_or("", |(_, help)| help)
}

fn ends(entry: &Entry, at: usize) -> bool {
    entry.tokens.get(at).is_none_or(|token| token.optional)
}

/// Reads one word: what it stands for, and the commands that it leaves.
fn advance<'a>(live: &[Live<'a>], word: &Word) -> Result<(String, Vec<Live<'a>>), ParseError> {
    let plain = plain_dashes(&word.text);
    let kind = |(entry, at): &Live<'a>| -> Option<&'a TokenKind> {
        let last = entry.tokens.last().filter(|token| matches!(token.kind, TokenKind::Argument { many: true, .. }));
        entry.tokens.get(*at).or(last).map(|token| &token.kind)
    };
    if !word.quoted {
        let mut keywords: Vec<&str> = live
            .iter()
            .filter_map(kind)
            .flat_map(|kind| match kind {
                TokenKind::Words(words) => words.as_slice(),
                TokenKind::Argument { .. } => &[],
            })
            .map(String::as_str)
            .filter(|keyword| keyword.starts_with(&plain))
            .collect();
        keywords.sort_unstable();
        keywords.dedup();
        let keyword = keywords.iter().copied().find(|keyword| *keyword == plain);
        // A name that is spelt out may be meant where an argument can stand; a keyword must then be spelt out too.
        let argument = live.iter().filter_map(kind).any(|kind| matches!(kind, TokenKind::Argument { .. }));
        let only = || keywords.first().copied().filter(|_| keywords.len() == 1 && !argument);
        if let Some(keyword) = keyword.or_else(only) {
            let takes = |live: &&Live<'a>| matches!(kind(live), Some(TokenKind::Words(words)) if words.iter().any(|other| other == keyword));
            let rest = live.iter().filter(takes).map(|(entry, at)| (*entry, at + 1)).collect();
            return Ok((keyword.to_owned(), rest));
        }
    }
    let takes = |live: &&Live<'a>| matches!(kind(live), Some(TokenKind::Argument { .. }));
    let rest: Vec<Live<'a>> = live.iter().filter(takes).copied().collect();
    let numeric = rest
        .iter()
        .all(|live| matches!(kind(live), Some(TokenKind::Argument { name, .. }) if grammar::is_number(name)));
    match rest.is_empty() {
        true => Err(ParseError::Word(printable(&word.text))),
        false if numeric && plain.parse::<i64>().is_err() => Err(ParseError::Value(printable(&word.text))),
        false => {
            let text = if numeric { plain } else { word.text.clone() };
            Ok((text, rest.into_iter().map(|(entry, at)| (entry, at + 1)).collect()))
        }
    }
}
