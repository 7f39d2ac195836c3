//! What a modelled table of FortiOS is: where it is, and which settings it has.

pub use crate::conf::tables::TABLES;

/// Where a table is on a box with several VDOMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Once, under `config global`.
    Global,
    /// In every VDOM.
    Vdom,
}

/// A table, or a group of settings that has no rows.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// The words behind `config`.
    pub path: &'static str,
    /// Where it is.
    pub scope: Scope,
    /// Whether it has rows.
    pub rows: bool,
    /// What it is for.
    pub help: &'static str,
    /// Its settings.
    pub attributes: &'static [Attribute],
}

/// A setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is if nobody set it.
    pub default: &'static str,
    /// What it is for.
    pub help: &'static str,
}

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of these.
    Choice(&'static [&'static str]),
    /// A number from here to there.
    Number(u32, u32),
    /// Text of at most so many characters.
    Text(usize),
    /// Several texts.
    List,
    /// An address with its netmask.
    Address,
    /// Text that is not kept in the clear.
    Secret,
    /// The name of a row of another table of the same VDOM.
    Row(&'static str),
    /// The names of VDOMs.
    Vdoms,
}

impl Table {
    /// The table at a path.
    #[must_use]
    pub fn at(path: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.path == path)
    }

    /// The setting of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The last word of the path, which stands in the prompt.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.path.rsplit(' ').next().unwrap_or(self.path)
    }
}

impl Kind {
    /// Whether its values stand in quotes.
    #[must_use]
    pub fn is_quoted(self) -> bool {
        !matches!(self, Self::Choice(_) | Self::Number(..) | Self::Secret | Self::Address)
    }

    /// Whether it may have several values.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Vdoms)
    }
}

/// Where a table of this path is that is not modelled: FortiOS has most of `system`, `log` and `certificate` once.
#[must_use]
pub fn scope_of(path: &str) -> Scope {
    const OF_A_VDOM: &[&str] =
        &["system settings", "system zone", "system dhcp", "system session-ttl", "system proxy-arp"];
    match Table::at(path) {
        Some(table) => table.scope,
        None if OF_A_VDOM.iter().any(|prefix| path.starts_with(prefix)) => Scope::Vdom,
        None if ["system ", "log ", "certificate "].iter().any(|prefix| path.starts_with(prefix)) => Scope::Global,
        None => Scope::Vdom,
    }
}
