//! What FortiOS says when it does not do what was asked (domain sheet, section 3.6). Where its words are not public, they are ours; docs/console.md
//! says which.

use std::fmt;

use muster_proto::VdomName;

use crate::shell::guide::ParseError;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It cannot be understood.
    Parse(ParseError),
    /// A value cannot be.
    Value(String),
    /// Text is longer than a setting takes.
    TooLong(String, usize),
    /// A reference leads nowhere.
    Datasource(String),
    /// A row cannot be called so.
    Name(String),
    /// There is no such row.
    NoEntry,
    /// Others name what should go.
    Used(usize),
    /// The table is full.
    Full,
    /// Something that the row needs is missing.
    Incomplete,
    /// `root` stays.
    Root,
    /// Other VDOMs stand in the way.
    OtherVdoms(usize),
    /// Debugs cannot be on for so long.
    Duration,
    /// What a file says is no configuration.
    File(String),
    /// The service of this server has no such thing.
    NotOffered(&'static str),
    /// Nobody of a VDOM has a token that could be migrated.
    NoMobileUsers(String),
    /// The box does not use the service.
    CloudOff,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = |f: &mut fmt::Formatter<'_>, code: i32| write!(f, "Command fail. Return code {code}");
        match self {
            Self::Parse(ParseError::Word(word)) => {
                writeln!(f, "command parse error before '{word}'")?;
                code(f, -61)
            }
            Self::Parse(ParseError::Incomplete) => {
                writeln!(f, "incomplete command in the end")?;
                code(f, -160)
            }
            Self::Parse(ParseError::Value(word)) | Self::Value(word) => {
                writeln!(f, "value parse error before '{word}'")?;
                code(f, -61)
            }
            Self::TooLong(word, most) => {
                writeln!(f, "value parse error before '{word}'")?;
                code(f, -61)?;
                write!(f, "\nfix: at most {most} characters")
            }
            Self::Datasource(word) => {
                writeln!(f, "entry not found in datasource\n\nvalue parse error before '{word}'")?;
                code(f, -3)
            }
            Self::Name(name) => {
                writeln!(f, "node_check_object fail! for name {name}\n\nvalue parse error before '{name}'")?;
                code(f, -61)
            }
            Self::NoEntry => {
                writeln!(f, "entry not found in datasource")?;
                code(f, -3)
            }
            Self::Used(others) => {
                writeln!(f, "The entry is used by other {others} entries")?;
                code(f, -23)
            }
            Self::Full => f.write_str("Command fail. Return code -4 (reached the maximum number of entries)"),
            Self::Incomplete => {
                writeln!(f, "object check operator error, -56, discard the setting")?;
                code(f, -56)
            }
            Self::Root => {
                code(f, -61)?;
                write!(f, "\nfix: the VDOM {} always exists; delete another one", VdomName::ROOT)
            }
            Self::OtherVdoms(others) => {
                code(f, -61)?;
                write!(
                    f,
                    "\nfix: delete the {others} other VDOMs first: without VDOMs a box has {} alone",
                    VdomName::ROOT
                )
            }
            Self::Duration => {
                code(f, -61)?;
                f.write_str("\nfix: 1 to 99999 minutes, or 0 for unlimited")
            }
            Self::File(problem) => {
                code(f, -1)?;
                write!(f, "\nfix: {problem}")
            }
            Self::NotOffered(what) => {
                code(f, -1)?;
                write!(f, "\nfix: {what}")
            }
            Self::NoMobileUsers(vdom) => {
                code(f, -1)?;
                write!(
                    f,
                    "\nfix: no local user of VDOM {vdom} has \"set two-factor fortitoken\" and a mobile token (FTKMOB...)"
                )
            }
            Self::CloudOff => {
                code(f, -1)?;
                f.write_str("\nfix: FortiToken Cloud is switched off: \"config system global\", \"set fortitoken-cloud enable\"")
            }
        }
    }
}

impl From<ParseError> for Refused {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}
