//! FortiOS configuration syntax as a tree that loses nothing: what is not changed is written back byte for byte.

use std::fmt;

use crate::conf::words;

/// Whether a block is `config ... end` or `edit ... next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `config`: a table, or a scope.
    Config,
    /// `edit`: a row of a table.
    Edit,
}

/// A block, with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub(super) kind: Kind,
    /// The words behind `config` or `edit`, with one blank between.
    pub(super) name: String,
    open: String,
    /// What stands inside.
    pub body: Body,
    /// Empty if the `end` of the table around a row ends the row too.
    pub(super) close: String,
}

/// `set NAME VALUE ...` or, without values, `unset NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) values: Vec<String>,
    pub(super) text: String,
}

/// One thing in a configuration; each knows its own text, line ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Setting(Setting),
    Block(Block),
    /// Blank lines, comments, and what is not understood.
    Other(String),
}

/// What stands in a file or in a block, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub(super) nodes: Vec<Node>,
}

/// Text that is not a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    line: usize,
    problem: &'static str,
}

impl Block {
    /// A new block, indented for its depth.
    pub(super) fn new(kind: Kind, name: &str, written: &str, depth: usize) -> Self {
        let indent = " ".repeat(4 * depth);
        let (open, close) = match kind {
            Kind::Config => ("config", "end"),
            Kind::Edit => ("edit", "next"),
        };
        Self {
            kind,
            name: name.to_owned(),
            open: format!("{indent}{open} {written}\n"),
            body: Body::default(),
            close: format!("{indent}{close}\n"),
        }
    }

    /// The words behind `config` or `edit`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Body {
    /// Reads a configuration.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut open: Vec<Block> = Vec::new();
        let mut top = Self::default();
        let (mut rest, mut line) = (text, 1);
        while !rest.is_empty() {
            let (statement, after) = statement(rest).ok_or(SyntaxError { line, problem: "a quote is never closed" })?;
            rest = after;
            let words = if is_comment(statement) { Vec::new() } else { words::words(statement).unwrap_or_default() };
            let error = |problem| SyntaxError { line, problem };
            let body = open.last_mut().map_or(&mut top, |block| &mut block.body);
            match words.first().filter(|word| !word.quoted).map(|word| word.text.as_str()) {
                Some(keyword @ ("config" | "edit")) if words.len() > 1 => {
                    let kind = if keyword == "config" { Kind::Config } else { Kind::Edit };
                    let texts: Vec<_> = words.iter().skip(1).map(|word| word.text.as_str()).collect();
                    let (name, close) = (texts.join(" "), String::new());
                    open.push(Block { kind, name, open: statement.to_owned(), body: Self::default(), close });
                }
                Some(keyword @ ("next" | "end")) if words.len() == 1 => {
                    let mut block = open.pop().ok_or_else(|| error("there is nothing that it could end"))?;
                    if keyword == "next" && block.kind == Kind::Config {
                        return Err(error("next without edit"));
                    }
                    if keyword == "end" && block.kind == Kind::Edit {
                        let mut table = open.pop().ok_or_else(|| error("end without config"))?;
                        table.body.nodes.push(Node::Block(block));
                        block = table;
                    }
                    statement.clone_into(&mut block.close);
                    open.last_mut().map_or(&mut top, |around| &mut around.body).nodes.push(Node::Block(block));
                }
                Some("set" | "unset") if words.len() > 1 => {
                    let mut texts = words.into_iter().skip(1).map(|word| word.text);
                    let name = texts.next().unwrap_or_default();
                    let (values, text) = (texts.collect(), statement.to_owned());
                    body.nodes.push(Node::Setting(Setting { name, values, text }));
                }
                _ => body.nodes.push(Node::Other(statement.to_owned())),
            }
            line += statement.matches('\n').count();
        }
        if open.is_empty() {
            Ok(top)
        } else {
            Err(SyntaxError { line, problem: "the file ends before the last \"end\"" })
        }
    }

    /// The blocks of a kind, in order.
    pub fn blocks(&self, kind: Kind) -> impl Iterator<Item = &Block> {
        self.nodes.iter().filter_map(move |node| match node {
            Node::Block(block) if block.kind == kind => Some(block),
            _ => None,
        })
    }

    /// The same, to be changed.
    pub fn blocks_mut(&mut self, kind: Kind) -> impl Iterator<Item = &mut Block> {
        self.nodes.iter_mut().filter_map(move |node| match node {
            Node::Block(block) if block.kind == kind => Some(block),
            _ => None,
        })
    }

    /// The blocks of this name.
    #[must_use]
    pub fn named(&self, kind: Kind, name: &str) -> Vec<&Block> {
        self.blocks(kind).filter(|block| block.name == name).collect()
    }

    /// The values of a setting; the last one counts.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[String]> {
        let last = self.settings().filter(|setting| setting.name == name).last()?;
        (!last.values.is_empty()).then_some(last.values.as_slice())
    }

    fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Setting(setting) => Some(setting),
            _ => None,
        })
    }

    /// The names of all settings.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.settings().map(|setting| setting.name.as_str())
    }
}

fn is_comment(statement: &str) -> bool {
    statement.trim_start().starts_with('#')
}

/// The first statement, which is a line or, with a quote open at its end, several; and what comes after it.
fn statement(text: &str) -> Option<(&str, &str)> {
    let (mut open, mut escaped, comment) = (false, false, is_comment(text));
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if !comment => escaped = true,
            b'"' if !comment => open = !open,
            _ => {}
        }
        // An escape does not reach over the end of a line.
        if byte == b'\n' && !open {
            return text.split_at_checked(place + 1);
        }
    }
    (!open).then_some((text, ""))
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nodes.iter().try_for_each(|node| match node {
            Node::Setting(setting) => f.write_str(&setting.text),
            Node::Block(block) => block.fmt(f),
            Node::Other(text) => f.write_str(text),
        })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.open, self.body, self.close)
    }
}
