//! Tables and rows: `config`, `edit`, `set`, `unset`, `next`, `end`, `abort`, `delete`, `purge`.

use data_encoding::BASE64;
use muster_proto::{MAX_VDOMS, VdomName, printable};
use sha2::{Digest as _, Sha256};

use crate::conf::configuration::{Place, SHORT_NAME};
use crate::conf::schema::{Attribute, Kind, Table};
use crate::conf::tree::Body;
use crate::conf::users::first;
use crate::conf::words::Word;
use crate::device::Device;
use crate::shell::answers::Refused;
use crate::shell::effect::{Moment, Step};
use crate::shell::guide::ParseError;
use crate::shell::session::{Question, Session, Where};

/// How long the name of a row may be.
const NAME: usize = 64;

/// A table that is open, and the row of it that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) table: &'static Table,
    pub(super) row: Option<Row>,
}

/// A row that is being edited. What is set is kept here until `next` or `end`, so that two sessions change no more than they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Empty in a table that has no rows.
    pub(super) name: String,
    /// What was set, or unset, in order.
    changes: Vec<(&'static str, Option<Vec<Word>>)>,
}

impl Open {
    /// What stands in the prompt.
    pub(super) fn prompt(&self) -> &str {
        match &self.row {
            Some(row) if self.table.rows => &row.name,
            _ => self.table.short_name(),
        }
    }
}

impl Row {
    /// Makes the changes in a body at this depth.
    pub(super) fn apply(&self, body: &mut Body, depth: usize) {
        for (name, values) in &self.changes {
            match values {
                Some(values) => body.set(name, values, depth),
                None => body.unset(name),
            }
        }
    }
}

impl Session {
    pub(super) fn configure(
        &mut self,
        read: &[&str],
        words: &[Word],
        device: &mut Device,
        moment: &Moment,
    ) -> Result<Step, Refused> {
        match (read, &self.open) {
            (["config", "global"], _) => self.at = Where::Global,
            (["config", "vdom"], _) | (["next"], None) => self.at = Where::Vdoms,
            (["config", path @ ..], _) => {
                let table = Table::at(&path.join(" ")).ok_or(ParseError::Incomplete)?;
                let row = (!table.rows).then(Row::default);
                self.open = Some(Open { table, row });
            }
            (["set", name, values @ ..], Some(open)) => {
                let place = self.place(open.table.scope);
                let attribute = open.table.attribute(name).ok_or(ParseError::Incomplete)?;
                let values = checked(attribute, values, device, &place, moment)?;
                self.change(attribute.name, Some(values));
            }
            (["unset", name], Some(open)) => {
                let attribute = open.table.attribute(name).ok_or(ParseError::Incomplete)?;
                self.change(attribute.name, None);
            }
            (["edit", name], Some(_)) => self.edit(name)?,
            (["edit", name], None) => return self.enter(name, device),
            (["delete", name], Some(open)) => {
                let (place, table) = (self.place(open.table.scope), open.table);
                delete(device, &place, table, name)?;
            }
            (["delete", name], None) => delete_vdom(device, name)?,
            (["purge"], Some(_)) => {
                self.asking = Some(Question::Purge);
                return Ok("This operation will clear all table!\n".to_owned().into());
            }
            (["next"], Some(_)) => {
                self.save(device)?;
                if let Some(open) = &mut self.open {
                    open.row = None;
                }
            }
            (["end"], Some(_)) => {
                // What cannot be saved is discarded, and the table left, as FortiOS does.
                let saved = self.save(device);
                self.open = None;
                return saved;
            }
            (["abort"], Some(_)) => self.open = None,
            (["end" | "abort"], None) => self.at = Where::Top,
            _ => {
                return Err(words
                    .first()
                    .map_or(ParseError::Incomplete, |word| ParseError::Word(printable(&word.text)))
                    .into());
            }
        }
        Ok(Step::default())
    }

    fn change(&mut self, name: &'static str, values: Option<Vec<Word>>) {
        if let Some(row) = self.open.as_mut().and_then(|open| open.row.as_mut()) {
            row.changes.retain(|(other, _)| *other != name);
            row.changes.push((name, values));
        }
    }

    fn edit(&mut self, name: &str) -> Result<(), Refused> {
        if name.is_empty() || name.chars().count() > NAME || name.trim() != name || printable(name) != name {
            return Err(Refused::Name(printable(name)));
        }
        if let Some(open) = &mut self.open {
            open.row = Some(Row { name: name.to_owned(), changes: Vec::new() });
        }
        Ok(())
    }

    /// Enters a VDOM, which is made if it is not there.
    fn enter(&mut self, name: &str, device: &mut Device) -> Result<Step, Refused> {
        let vdom: VdomName = name
            .parse()
            .ok()
            .filter(|vdom: &VdomName| !vdom.is_pseudo())
            .ok_or_else(|| Refused::Name(printable(name)))?;
        if !device.vdoms().contains(&vdom) {
            if vdom.as_str().len() > SHORT_NAME && device.conf.global("long-vdom-name") != Some("enable") {
                return Err(Refused::TooLong(vdom.to_string(), SHORT_NAME));
            }
            if device.vdoms().len() >= MAX_VDOMS {
                return Err(Refused::Full);
            }
            device.conf.add_vdom(&vdom);
        }
        self.at = Where::Vdom(vdom);
        let index = device.vdoms().iter().position(|other| *other == vdom).unwrap_or_default();
        Ok(format!("current vf={vdom}:{index}\n").into())
    }

    /// Writes the open row into the configuration.
    fn save(&mut self, device: &mut Device) -> Result<Step, Refused> {
        let Some(Open { table, row: Some(row) }) = &self.open else { return Ok(Step::default()) };
        let place = self.place(table.scope);
        if table.rows {
            device.conf.edit_row(&place, table.path, &row.name, |body| row.apply(body, 2));
            let body = device.conf.row(&place, table.path, &row.name);
            if body.is_some_and(|body| lacks_something(table, body)) {
                return Err(Refused::Incomplete);
            }
            return Ok(Step::default());
        }
        let mut row = row.clone();
        let mode = row.changes.iter().position(|(name, _)| *name == "vdom-mode").map(|index| row.changes.remove(index));
        if !row.changes.is_empty() {
            row.apply(device.conf.single_mut(&place, table.path), 1);
        }
        let Some((_, mode)) = mode else { return Ok(Step::default()) };
        let on = mode.is_some_and(|values| values.first().is_some_and(|value| value.text == "multi-vdom"));
        if on == device.conf.has_vdoms() {
            return Ok(Step::default());
        }
        match device.vdoms().len() - 1 {
            others @ 1.. if !on => Err(Refused::OtherVdoms(others)),
            _ => {
                self.asking = Some(Question::VdomMode(on));
                Ok("You will be logged out for the operation to take effect.\n".to_owned().into())
            }
        }
    }
}

/// Whether a row needs something that it does not have.
fn lacks_something(table: &Table, row: &Body) -> bool {
    table.path == "user local" && first(row, "type") == Some("ldap") && first(row, "ldap-server").is_none()
}

/// The values of a setting as they are kept.
fn checked(
    attribute: &Attribute,
    values: &[&str],
    device: &Device,
    place: &Place,
    moment: &Moment,
) -> Result<Vec<Word>, Refused> {
    let value = values.first().copied().unwrap_or_default();
    match attribute.kind {
        Kind::Number(from, to) if !value.parse().is_ok_and(|number: u32| (from..=to).contains(&number)) => {
            return Err(Refused::Value(printable(value)));
        }
        Kind::Text(most) if value.chars().count() > most => return Err(Refused::TooLong(printable(value), most)),
        Kind::Row(path) if device.conf.row(place, path, value).is_none() => {
            return Err(Refused::Datasource(printable(value)));
        }
        Kind::Vdoms => {
            let vdoms = device.vdoms();
            if let Some(unknown) = values.iter().find(|name| !vdoms.iter().any(|vdom| vdom.as_str() == **name)) {
                return Err(Refused::Datasource(printable(unknown)));
            }
        }
        Kind::Secret => {
            let kept = if values.len() > 1 {
                values.last().map_or_else(String::new, |value| (*value).to_owned())
            } else {
                scrambled(value, moment)
            };
            return Ok(vec![Word::bare("ENC"), Word::bare(kept)]);
        }
        _ => {}
    }
    // A text may have several lines; what acts on a terminal it may not have.
    if let Some(bad) = values.iter().find(|value| value.lines().any(|line| printable(line) != line)) {
        return Err(Refused::Value(printable(bad)));
    }
    let is_number = |text: &str| attribute.kind == Kind::List && text.parse::<u32>().is_ok();
    let word = |text: &&str| Word { text: (*text).to_owned(), quoted: attribute.kind.is_quoted() && !is_number(text) };
    Ok(values.iter().map(word).collect())
}

/// A password as it is kept: the salt, and the SHA-256 over salt and password. Nobody logs in to a stand-in; no more than a mark of it is needed.
fn scrambled(password: &str, moment: &Moment) -> String {
    let salt = moment.salt.to_be_bytes();
    let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
    BASE64.encode(&[salt.as_slice(), hash.as_slice()].concat())
}

fn delete(device: &mut Device, place: &Place, table: &Table, name: &str) -> Result<(), Refused> {
    if device.conf.row(place, table.path, name).is_none() {
        return Err(Refused::NoEntry);
    }
    let others = device.conf.rows(place, "user local");
    let names_it =
        |row: &&&crate::conf::tree::Block| table.path == "user ldap" && first(&row.body, "ldap-server") == Some(name);
    match others.iter().filter(names_it).count() {
        0 => device.conf.remove_rows(place, table.path, |row| row.name() == name),
        others => return Err(Refused::Used(others)),
    }
    Ok(())
}

fn delete_vdom(device: &mut Device, name: &str) -> Result<(), Refused> {
    let vdom = name.parse().ok().filter(|vdom| device.vdoms().contains(vdom)).ok_or(Refused::NoEntry)?;
    if vdom == VdomName::ROOT {
        return Err(Refused::Root);
    }
    match device.conf.references(&vdom) {
        0 => device.conf.remove_vdom(&vdom),
        others => return Err(Refused::Used(others)),
    }
    Ok(())
}
