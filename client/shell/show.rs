//! `show` and `get`: the configuration as text, and as a list of values.

use std::fmt::Write as _;

use crate::conf::schema::{Attribute, Table};
use crate::conf::tree::{Block, Body, Kind};
use crate::conf::words::Word;
use crate::device::Device;
use crate::shell::answers::Refused;
use crate::shell::effect::Moment;
use crate::shell::guide::ParseError;
use crate::shell::session::{Session, Where};

impl Session {
    pub(super) fn show(&self, read: &[&str], device: &Device, moment: &Moment) -> Result<String, Refused> {
        match read {
            ["get", "system", "status"] => Ok(self.status(device, moment)),
            ["show" | "get"] | ["show", "full-configuration"] => match &self.open {
                Some(open) => {
                    let row = open.row.as_ref().filter(|_| open.table.rows).map(|row| row.name.as_str());
                    let table = self.table(open.table, row, device);
                    Ok(shown(open.table, row, &table, read))
                }
                None if *read == ["get"] => {
                    Ok(device.vdoms().iter().map(|name| listed(name.as_str())).collect::<Vec<_>>().concat())
                }
                None => Ok(self.all(device)),
            },
            [_, path @ ..] => {
                let rows = |table: &&&Table| table.path == path.join(" ");
                let whole = crate::conf::schema::TABLES.iter().find(|table| rows(&table)).map(|table| (table, None));
                let of_row = || {
                    let (name, path) = path.split_last()?;
                    Table::at(&path.join(" ")).map(|table| (table, Some(*name)))
                };
                let (table, row) = whole.or_else(of_row).ok_or(ParseError::Incomplete)?;
                let place = self.place(table.scope);
                if row.is_some_and(|name| device.conf.row(&place, table.path, name).is_none()) {
                    return Err(Refused::NoEntry);
                }
                Ok(shown(table, row, &self.table(table, row, device), read))
            }
            [] => Err(ParseError::Incomplete.into()),
        }
    }

    /// A table as a body that holds its block alone, or that of one row; what is not saved yet is in it if it is the open one.
    fn table(&self, table: &Table, row: Option<&str>, device: &Device) -> Body {
        let place = self.place(table.scope);
        let mut body = Body::default();
        let block = body.append_block(Kind::Config, table.path, 0);
        let pending = self.open.as_ref().filter(|open| open.table == table).and_then(|open| open.row.as_ref());
        if table.rows {
            for saved in device.conf.rows(&place, table.path) {
                if row.is_none_or(|name| name == saved.name()) {
                    block.body.push(saved.clone());
                }
            }
            if let Some(pending) = pending {
                pending.apply(&mut block.body.block(Kind::Edit, &pending.name, 1).body, 2);
            }
        } else {
            if let Some(saved) = device.conf.single(&place, table.path) {
                block.body = saved.clone();
            }
            if let Some(pending) = pending {
                pending.apply(&mut block.body, 1);
            }
        }
        body
    }

    /// Everything that can be seen from here.
    fn all(&self, device: &Device) -> String {
        let place = match &self.at {
            Where::Top => return device.conf.to_string(),
            Where::Global => crate::conf::configuration::Place::Global,
            Where::Vdoms => {
                let rows =
                    device.vdoms().iter().map(|name| format!("edit {name}\nnext\n")).collect::<Vec<_>>().concat();
                return format!("config vdom\n{rows}end\n");
            }
            Where::Vdom(name) => crate::conf::configuration::Place::Vdom(name.to_string()),
        };
        device.conf.bodies(&place).into_iter().map(ToString::to_string).collect()
    }

    /// `get system status`: the lines of FortiOS that a stand-in can fill.
    fn status(&self, device: &Device, moment: &Moment) -> String {
        let mode = device.conf.single(&self.place(crate::conf::schema::Scope::Global), "system ha");
        let mode = mode.and_then(|body| crate::conf::users::first(body, "mode")).unwrap_or("standalone");
        let (vdoms, build) = (device.vdoms(), device.firmware.as_str());
        let branch = build.rsplit_once("build").map_or("", |(_, number)| number);
        let format = time::macros::format_description!(
            "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
        );
        let lines = [
            ("Version", format!("{} {build} (GA)", device.model)),
            ("Serial-Number", device.serial.to_string()),
            ("Hostname", device.hostname().to_string()),
            ("Operation Mode", "NAT".to_owned()),
            ("Current virtual domain", self.vdom().to_string()),
            ("Max number of virtual domains", muster_proto::MAX_VDOMS.to_string()),
            ("Virtual domains status", format!("{} in NAT mode, 0 in TP mode", vdoms.len())),
            ("Virtual domain configuration", if device.conf.has_vdoms() { "multiple" } else { "disable" }.to_owned()),
            ("Current HA mode", mode.to_owned()),
            ("Branch point", branch.to_owned()),
            ("Release Version Information", "GA".to_owned()),
            ("System time", moment.now.format(format).unwrap_or_default()),
        ];
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }
}

/// A table as `show`, `show full-configuration` or `get` has it.
fn shown(table: &Table, row: Option<&str>, body: &Body, read: &[&str]) -> String {
    match read {
        ["get", ..] if table.rows && row.is_none() => {
            rows_of(body).map(|row| listed(row.name())).collect::<Vec<_>>().concat()
        }
        ["get", ..] => {
            let inside = if table.rows { rows_of(body).next().map(|row| &row.body) } else { settings_of(body) };
            inside.map_or_else(String::new, |inside| values(table, row, inside))
        }
        ["show", "full-configuration"] => {
            let mut full = body.clone();
            for block in full.blocks_mut(Kind::Config) {
                if table.rows {
                    block.body.blocks_mut(Kind::Edit).for_each(|row| fill(table, &mut row.body, 2));
                } else {
                    fill(table, &mut block.body, 1);
                }
            }
            full.to_string()
        }
        _ => body.to_string(),
    }
}

/// A row as `get` lists it.
fn listed(name: &str) -> String {
    format!("== [ {name} ]\nname: {name}\n")
}

fn rows_of(body: &Body) -> impl Iterator<Item = &Block> {
    body.blocks(Kind::Config).flat_map(|block| block.body.blocks(Kind::Edit))
}

fn settings_of(body: &Body) -> Option<&Body> {
    body.blocks(Kind::Config).next().map(|block| &block.body)
}

/// Every setting with its value.
fn values(table: &Table, row: Option<&str>, body: &Body) -> String {
    let mut text = String::new();
    if let Some(name) = row {
        let _ = writeln!(text, "{:<20}: {name}", "name");
    }
    for attribute in table.attributes {
        let value = match (attribute.kind, body.get(attribute.name)) {
            (crate::conf::schema::Kind::Secret, _) => "*".to_owned(),
            (_, Some(values)) => values.iter().map(|value| written(attribute, value)).collect::<Vec<_>>().join(" "),
            (_, None) => attribute.default.to_owned(),
        };
        let _ = writeln!(text, "{:<20}: {value}", attribute.name);
    }
    text
}

fn written(attribute: &Attribute, value: &str) -> String {
    if attribute.kind.is_list() { Word::quoted(value).written() } else { value.to_owned() }
}

/// Adds what is as it comes from the factory.
fn fill(table: &Table, body: &mut Body, depth: usize) {
    for attribute in table.attributes {
        if body.get(attribute.name).is_none() && !attribute.default.is_empty() {
            let word = Word { text: attribute.default.to_owned(), quoted: attribute.kind.is_quoted() };
            body.set(attribute.name, &[word], depth);
        }
    }
}
