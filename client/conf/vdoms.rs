//! VDOMs in a configuration: they come, go, are switched on and off, and excerpts are sorted into them.

use muster_proto::VdomName;

use crate::conf::configuration::{Configuration, GLOBAL, Place, SHORT_NAME, SYSTEM_GLOBAL, VDOM};
use crate::conf::schema::{self, Scope};
use crate::conf::tree::{Body, Kind};
use crate::conf::words::Word;

impl Configuration {
    /// Adds a VDOM, if it is not there.
    pub fn add_vdom(&mut self, name: &VdomName) {
        if self.has_vdoms() && !self.vdoms_listed(name) {
            let place = self.body.blocks(Kind::Config).position(|block| block.name() == VDOM);
            let list = match place.and_then(|place| self.body.blocks_mut(Kind::Config).nth(place)) {
                Some(list) => list,
                None => self.body.block(Kind::Config, VDOM, 0),
            };
            list.body.block(Kind::Edit, name.as_str(), 0);
            if name.as_str().len() > SHORT_NAME {
                self.system("long-vdom-name", &Word::bare("enable"));
            }
        }
    }

    fn vdoms_listed(&self, name: &VdomName) -> bool {
        self.vdom_texts().contains(&name.as_str())
    }

    /// Takes a VDOM away, with all that it holds.
    pub fn remove_vdom(&mut self, name: &VdomName) {
        for block in self.body.blocks_mut(Kind::Config).filter(|block| block.name() == VDOM) {
            block.body.remove(Kind::Edit, |row| row.name() == name.as_str());
        }
        self.body.remove(Kind::Config, |block| block.name() == VDOM && block.body.blocks(Kind::Edit).next().is_none());
    }

    /// Puts everything into `config global` and the VDOM `root`: what `set vdom-mode multi-vdom` does.
    pub fn turn_on_vdoms(&mut self) {
        if self.has_vdoms() {
            return;
        }
        let globals = self.body.take(|block| schema::scope_of(block.name()) == Scope::Global);
        let locals = self.body.take(|_| true);
        self.body.append_block(Kind::Config, VDOM, 0).body.append_block(Kind::Edit, VdomName::ROOT.as_str(), 0);
        self.body_mut(&Place::Global).extend(globals);
        if locals.blocks(Kind::Config).next().is_some() {
            self.body_mut(&Place::Vdom(VdomName::ROOT.to_string())).extend(locals);
        }
        self.system("vdom-mode", &Word::bare("multi-vdom"));
    }

    /// Takes `config global` and the VDOM `root` apart again; only for a box that has no other VDOM.
    pub fn turn_off_vdoms(&mut self) {
        let mut inside = Body::default();
        for body in self.bodies(&Place::Global).into_iter().chain(self.bodies(&Place::Vdom(VdomName::ROOT.to_string())))
        {
            inside.extend(body.clone());
        }
        self.body.remove(Kind::Config, |block| matches!(block.name(), VDOM | GLOBAL));
        self.body.extend(inside);
        self.single_mut(&Place::Global, SYSTEM_GLOBAL).unset("vdom-mode");
    }

    /// Loads an excerpt, as if it were typed: what stands outside of `config global` and `config vdom` goes where its table is, and to `vdom`.
    pub fn merge(&mut self, excerpt: Self, vdom: &str) {
        let mut body = excerpt.body;
        let scopes = body.take(|block| matches!(block.name(), VDOM | GLOBAL));
        if scopes.blocks(Kind::Config).next().is_some() {
            self.turn_on_vdoms();
        }
        for scope in scopes.blocks(Kind::Config) {
            if scope.name() == GLOBAL {
                self.body_mut(&Place::Global).merge(scope.body.clone(), 0);
            }
            for row in scope.body.blocks(Kind::Edit) {
                if let Ok(name) = row.name().parse() {
                    self.add_vdom(&name);
                }
                if row.body.blocks(Kind::Config).next().is_some() {
                    self.body_mut(&Place::Vdom(row.name().to_owned())).merge(row.body.clone(), 0);
                }
            }
        }
        let globals = body.take(|block| schema::scope_of(block.name()) == Scope::Global);
        self.body_mut(&Place::Global).merge(globals, 0);
        let locals = body.take(|_| true);
        if locals.blocks(Kind::Config).next().is_some() {
            self.body_mut(&Place::Vdom(vdom.to_owned())).merge(locals, 0);
        }
    }
}
