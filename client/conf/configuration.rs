//! The configuration of a box: where its scopes, tables and VDOMs are in the text.

use std::fmt;

use muster_proto::VdomName;

use crate::conf::schema::{Scope, Table};
use crate::conf::tree::{Block, Body, Kind, SyntaxError};
use crate::conf::words::Word;

/// A configuration, with or without VDOMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    pub(super) body: Body,
}

/// Where a table is: its scope in a particular configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under `config global`.
    Global,
    /// In this VDOM.
    Vdom(String),
}

/// Text that cannot be the configuration of a box.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// It is not in the syntax of FortiOS.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A VDOM cannot be called so.
    #[error("the VDOM {0:?} cannot be called so")]
    VdomName(String),
}

pub(super) const VDOM: &str = "vdom";
pub(super) const GLOBAL: &str = "global";
pub(super) const SYSTEM_GLOBAL: &str = "system global";

impl Configuration {
    /// What a new box has: a host name, an administrator and, with more than `root`, VDOMs.
    #[must_use]
    pub fn new(hostname: &str, vdoms: &[VdomName]) -> Self {
        let mut new = Self::default();
        if vdoms.iter().any(|name| *name != VdomName::ROOT) {
            new.turn_on_vdoms();
        }
        for name in vdoms {
            new.add_vdom(name);
        }
        new.system("hostname", &Word::quoted(hostname));
        new.edit_row(&Place::Global, "system admin", "admin", |admin| {
            admin.set("accprofile", &[Word::quoted("super_admin")], 2);
            admin.set(VDOM, &[Word::quoted("root")], 2);
        });
        new
    }

    /// Reads a configuration; without any VDOM it is one with `root`.
    pub fn parse(text: &str) -> Result<Self, ConfigurationError> {
        let new = Self { body: Body::parse(text)? };
        let good = |name: &str| name.parse().is_ok_and(|name: VdomName| !name.is_pseudo());
        match new.vdom_texts().into_iter().find(|name| !good(name)) {
            Some(bad) => Err(ConfigurationError::VdomName(bad.to_owned())),
            None => Ok(new),
        }
    }

    /// Whether the box has VDOMs.
    #[must_use]
    pub fn has_vdoms(&self) -> bool {
        self.body.blocks(Kind::Config).any(|block| matches!(block.name(), VDOM | GLOBAL))
    }

    fn vdom_rows(&self) -> impl Iterator<Item = &Block> {
        self.body.named(Kind::Config, VDOM).into_iter().flat_map(|block| block.body.blocks(Kind::Edit))
    }

    pub(super) fn vdom_texts(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in self.vdom_rows() {
            if !names.contains(&row.name()) {
                names.push(row.name());
            }
        }
        names
    }

    /// The VDOMs, in the order in which they were made; `root` is always among them.
    #[must_use]
    pub fn vdoms(&self) -> Vec<VdomName> {
        let mut names: Vec<VdomName> = self.vdom_texts().into_iter().filter_map(|name| name.parse().ok()).collect();
        if !names.contains(&VdomName::ROOT) {
            names.insert(0, VdomName::ROOT);
        }
        names
    }

    /// The bodies that a place has in the text; there may be several.
    #[must_use]
    pub fn bodies(&self, place: &Place) -> Vec<&Body> {
        if !self.has_vdoms() {
            return vec![&self.body];
        }
        match place {
            Place::Global => self.body.named(Kind::Config, GLOBAL).into_iter().map(|block| &block.body).collect(),
            Place::Vdom(name) => self.vdom_rows().filter(|row| row.name() == name).map(|row| &row.body).collect(),
        }
    }

    /// The body of a place that takes what is added.
    pub fn body_mut(&mut self, place: &Place) -> &mut Body {
        if !self.has_vdoms() {
            return &mut self.body;
        }
        match place {
            Place::Global => {
                if self.body.named(Kind::Config, GLOBAL).is_empty() {
                    self.body.append_blank();
                }
                &mut self.body.block(Kind::Config, GLOBAL, 0).body
            }
            Place::Vdom(name) => self.vdom_body(name),
        }
    }

    /// The block of its own that FortiOS writes for a VDOM behind the list of VDOMs.
    fn vdom_body(&mut self, name: &str) -> &mut Body {
        let own = |block: &Block| {
            let mut rows = block.body.blocks(Kind::Edit);
            let is_it =
                rows.next().is_some_and(|row| row.name() == name && row.body.blocks(Kind::Config).next().is_some());
            is_it && rows.next().is_none()
        };
        let last = self
            .body
            .blocks(Kind::Config)
            .enumerate()
            .filter(|(_, block)| block.name() == VDOM && own(block))
            .map(|(index, _)| index)
            .last();
        let index = last.unwrap_or_else(|| {
            self.body.append_blank();
            let block = self.body.append_block(Kind::Config, VDOM, 0);
            block.body.append_block(Kind::Edit, name, 0).ended_by_its_table();
            self.body.blocks(Kind::Config).count() - 1
        });
        let block = self.body.blocks_mut(Kind::Config).nth(index);
        &mut block.unwrap_or_else(|| unreachable!("the index is that of a block")).body.block(Kind::Edit, name, 0).body
    }

    /// The rows of a table, in order, each name once.
    #[must_use]
    pub fn rows(&self, place: &Place, path: &str) -> Vec<&Block> {
        let tables = self.bodies(place).into_iter().flat_map(|body| body.named(Kind::Config, path));
        tables.flat_map(|table| table.body.blocks(Kind::Edit)).collect()
    }

    /// A row of a table.
    #[must_use]
    pub fn row(&self, place: &Place, path: &str, name: &str) -> Option<&Body> {
        self.rows(place, path).into_iter().find(|row| row.name() == name).map(|row| &row.body)
    }

    /// The settings of a table without rows.
    #[must_use]
    pub fn single(&self, place: &Place, path: &str) -> Option<&Body> {
        let bodies = self.bodies(place);
        bodies.into_iter().find_map(|body| body.named(Kind::Config, path).pop()).map(|block| &block.body)
    }

    /// The settings of a table without rows, to be changed.
    pub fn single_mut(&mut self, place: &Place, path: &str) -> &mut Body {
        &mut self.body_mut(place).block(Kind::Config, path, 0).body
    }

    /// Changes a row, which is made if it is not there.
    pub fn edit_row(&mut self, place: &Place, path: &str, name: &str, change: impl FnOnce(&mut Body)) {
        if self.row(place, path, name).is_none() {
            self.single_mut(place, path).block(Kind::Edit, name, 1);
        }
        let mut rows = self.tables_mut(place, path).into_iter().flat_map(|table| table.body.blocks_mut(Kind::Edit));
        if let Some(row) = rows.find(|row| row.name() == name) {
            change(&mut row.body);
        }
    }

    /// Takes the rows away that fit.
    pub fn remove_rows(&mut self, place: &Place, path: &str, fits: impl Fn(&Block) -> bool) {
        for table in self.tables_mut(place, path) {
            table.body.remove(Kind::Edit, &fits);
        }
    }

    /// The blocks that a table has in the text; there may be several, and none.
    fn tables_mut(&mut self, place: &Place, path: &str) -> Vec<&mut Block> {
        let named = |block: &&mut Block| block.name() == path;
        if !self.has_vdoms() {
            return self.body.blocks_mut(Kind::Config).filter(named).collect();
        }
        let (scope, vdom) = match place {
            Place::Global => (GLOBAL, None),
            Place::Vdom(name) => (VDOM, Some(name)),
        };
        let scopes = self.body.blocks_mut(Kind::Config).filter(|block| block.name() == scope);
        match vdom {
            None => scopes.flat_map(|scope| scope.body.blocks_mut(Kind::Config)).filter(named).collect(),
            Some(name) => {
                let rows = scopes.flat_map(|scope| scope.body.blocks_mut(Kind::Edit)).filter(|row| row.name() == name);
                rows.flat_map(|row| row.body.blocks_mut(Kind::Config)).filter(named).collect()
            }
        }
    }

    /// Rows of global tables that name a VDOM, and so keep it from being deleted: interfaces, administrators.
    #[must_use]
    pub fn references(&self, name: &VdomName) -> usize {
        let tables =
            self.bodies(&Place::Global).into_iter().flat_map(|body| body.blocks(Kind::Config).collect::<Vec<_>>());
        let rows = tables.filter(|table| table.name() != VDOM).flat_map(|table| table.body.blocks(Kind::Edit));
        rows.filter(|row| row.body.get(VDOM).is_some_and(|names| names.iter().any(|other| other == name.as_str())))
            .count()
    }

    /// A value of `config system global`.
    #[must_use]
    pub fn global(&self, name: &str) -> Option<&str> {
        let set = self.single(&Place::Global, SYSTEM_GLOBAL).and_then(|body| body.get(name));
        set.and_then(|values| values.first()).map(String::as_str)
    }

    /// Sets a value of `config system global`.
    pub fn system(&mut self, name: &str, value: &Word) {
        self.single_mut(&Place::Global, SYSTEM_GLOBAL).set(name, std::slice::from_ref(value), 1);
    }
}

/// How long the name of a VDOM may be without `long-vdom-name` (domain sheet, section 1.5).
pub const SHORT_NAME: usize = 11;

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

/// Where the rows of a table are, seen from a VDOM.
#[must_use]
pub fn place_of(table: &Table, vdom: &str) -> Place {
    match table.scope {
        Scope::Global => Place::Global,
        Scope::Vdom => Place::Vdom(vdom.to_owned()),
    }
}
