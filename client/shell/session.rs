//! One session at the console: where it is, what it has begun, and what a line does there. Pure: the box is passed in, what must be done outside
//! is handed out.

use muster_proto::VdomName;

use crate::conf::configuration::{Configuration, ConfigurationError, Place};
use crate::conf::words::{self, Word};
use crate::device::Device;
use crate::shell::answers::Refused;
use crate::shell::config_mode::Open;
use crate::shell::debug::Debug;
use crate::shell::effect::{Effect, Moment, Step, changes};
use crate::shell::filter;
use crate::shell::grammar::{GLOBAL, ROW, SINGLE, TABLE, TOP, VDOM, VDOMS};
use crate::shell::guide::{Guide, ParseError};
use crate::shell::migrate;

/// Where a session is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Where {
    /// At the first prompt.
    #[default]
    Top,
    /// In `config global`.
    Global,
    /// In `config vdom`.
    Vdoms,
    /// In a VDOM.
    Vdom(VdomName),
}

/// What `(y/n)` was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Purge,
    VdomMode(bool),
    Restore(String),
    Migrate(VdomName),
}

/// A session at the console.
#[derive(Clone, Debug, Default)]
pub struct Session {
    pub(super) at: Where,
    pub(super) open: Option<Open>,
    pub(super) asking: Option<Question>,
    /// The debug switches.
    pub debug: Debug,
    /// The HTTP status that the service is said to answer with; 0 if what it says counts.
    pub forced_http: u16,
    /// What is typed of a line whose quote is still open.
    partial: String,
}

impl Session {
    /// A session in `config global`, or at the first prompt of a box without VDOMs: where the service may be talked to.
    #[must_use]
    pub fn global(device: &Device) -> Self {
        let at = if device.conf.has_vdoms() { Where::Global } else { Where::Top };
        Self { at, ..Self::default() }
    }

    /// The prompt.
    #[must_use]
    pub fn prompt(&self, device: &Device) -> String {
        if let Some(Question::Migrate(_)) = self.asking {
            return "Ready to proceed? (y/n)".to_owned();
        }
        if self.asking.is_some() {
            return "Do you want to continue? (y/n)".to_owned();
        }
        if !self.partial.is_empty() {
            return "> ".to_owned();
        }
        let place = match (&self.open, &self.at) {
            (Some(open), _) => Some(open.prompt().to_owned()),
            (None, Where::Top) => None,
            (None, Where::Global) => Some("global".to_owned()),
            (None, Where::Vdoms) => Some("vdom".to_owned()),
            (None, Where::Vdom(name)) => Some(name.to_string()),
        };
        let host = device.hostname();
        match place {
            Some(place) => format!("{} ({}) # ", host.as_str(), muster_proto::printable(&place)),
            None => format!("{} # ", host.as_str()),
        }
    }

    /// Whether the next line answers a question with yes or no.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// What can be said here.
    #[must_use]
    pub fn guide(&self, device: &Device) -> Guide {
        let places = match (&self.open, &self.at) {
            (Some(open), _) if open.row.is_some() => ROW,
            (Some(_), _) => TABLE,
            (None, Where::Top) if device.conf.has_vdoms() => TOP,
            (None, Where::Top) => SINGLE,
            (None, Where::Global) => GLOBAL,
            (None, Where::Vdoms) => VDOMS,
            (None, Where::Vdom(_)) => VDOM,
        };
        let rows = self.open.as_ref().map_or_else(Vec::new, |open| {
            let rows = device.conf.rows(&self.place(open.table.scope), open.table.path);
            rows.iter().map(|row| row.name().to_owned()).collect()
        });
        let table = self.open.as_ref().map(|open| open.table);
        Guide::new(places, table, device.vdoms().iter().map(ToString::to_string).collect(), rows)
    }

    /// Where a table of this scope is, seen from here.
    pub(super) fn place(&self, scope: crate::conf::schema::Scope) -> Place {
        match scope {
            crate::conf::schema::Scope::Global => Place::Global,
            crate::conf::schema::Scope::Vdom => Place::Vdom(self.vdom().to_string()),
        }
    }

    /// The VDOM that the session is in.
    pub(super) fn vdom(&self) -> VdomName {
        match self.at {
            Where::Vdom(name) => name,
            _ => VdomName::ROOT,
        }
    }

    /// Does what a line says.
    pub fn step(&mut self, line: &str, device: &mut Device, moment: &Moment) -> Step {
        self.leave_what_is_gone(device);
        if let Some(question) = self.asking.take() {
            return self.answer(question, line, device);
        }
        let line = if self.partial.is_empty() { line.to_owned() } else { format!("{}\n{line}", self.partial) };
        self.partial.clear();
        if line.trim_start().starts_with('#') {
            return Step::default();
        }
        let (words, _, None) = words::split(&line) else {
            self.partial = line;
            return Step::default();
        };
        let (words, filter) = match filter::cut(words) {
            Ok(cut) => cut,
            Err(refused) => return refused.into(),
        };
        if words.is_empty() {
            return Step::default();
        }
        let before = device.conf.clone();
        match self.run(&words, device, moment) {
            Ok(mut step) => {
                step.effects.extend(changes(&before, &device.conf));
                step.filter = filter;
                step
            }
            Err(refused) => {
                // Half of a command is never left behind.
                device.conf = before;
                self.with_a_hint(refused, &words, device)
            }
        }
    }

    /// The end of the input: a quote that is still open is an error then.
    pub fn finish(&mut self) -> Option<String> {
        let partial = std::mem::take(&mut self.partial);
        words::words(&partial).err().map(|unmatched| format!("{unmatched}\n"))
    }

    /// Forgets the line that is being typed, as Ctrl-C does.
    pub fn interrupt(&mut self) {
        self.partial.clear();
        self.asking = None;
    }

    fn run(&mut self, words: &[Word], device: &mut Device, moment: &Moment) -> Result<Step, Refused> {
        let read = self.guide(device).parse(words)?;
        let read: Vec<&str> = read.iter().map(String::as_str).collect();
        match read.as_slice() {
            ["sudo", place, ..] => self.sudo(place, words.get(2..).unwrap_or_default(), device, moment),
            ["execute" | "diagnose", ..] => self.execute(&read, device, moment),
            ["get" | "show", ..] => Ok(self.show(&read, device, moment)?.into()),
            ["exit" | "quit"] => Ok(Effect::Close.into()),
            _ => self.configure(&read, words, device, moment),
        }
    }

    /// Runs one command elsewhere, and comes back.
    fn sudo(&mut self, place: &str, words: &[Word], device: &mut Device, moment: &Moment) -> Result<Step, Refused> {
        let at = match place {
            "global" if device.conf.has_vdoms() => Where::Global,
            "global" => Where::Top,
            name => match name.parse().ok().filter(|name| device.vdoms().contains(name)) {
                Some(VdomName::ROOT) if !device.conf.has_vdoms() => Where::Top,
                Some(name) => Where::Vdom(name),
                None => return Err(ParseError::Word(muster_proto::printable(name)).into()),
            },
        };
        let mut elsewhere = Self { at, debug: self.debug.clone(), forced_http: self.forced_http, ..Self::default() };
        // One command that ends where it began: entering a table there would leave nothing to come back to.
        if let Some(word) = words.first().filter(|word| "config".starts_with(&word.text)) {
            return Err(ParseError::Word(muster_proto::printable(&word.text)).into());
        }
        let step = elsewhere.run(words, device, moment)?;
        (self.debug, self.forced_http) = (elsewhere.debug, elsewhere.forced_http);
        if let Some(question @ (Question::Restore(_) | Question::Migrate(_))) = elsewhere.asking {
            self.asking = Some(question);
        }
        Ok(step)
    }

    /// Adds where a command could be given that is not known here.
    fn with_a_hint(&self, refused: Refused, words: &[Word], device: &Device) -> Step {
        let mut step = Step::from(refused);
        let begins = |known: &&str| words.first().is_some_and(|word| known.starts_with(&word.text));
        let is_command = ["config", "execute", "diagnose", "get", "show"].iter().any(begins);
        if !is_command || self.open.is_some() || !device.conf.has_vdoms() || self.guide(device).parse(words).is_ok() {
            return step;
        }
        let elsewhere = |places| Guide::new(places, None, Vec::new(), Vec::new()).parse(words).is_ok();
        if elsewhere(GLOBAL) {
            step.output.push_str("fix: enter \"config global\" first: this command is global\n");
        } else if elsewhere(VDOM) {
            step.output.push_str("fix: enter \"config vdom\", \"edit NAME\" first: this command is that of a VDOM\n");
        }
        step
    }

    /// Another session may have deleted the VDOM that this one is in, or switched VDOMs off.
    fn leave_what_is_gone(&mut self, device: &Device) {
        let gone = match &self.at {
            Where::Top => false,
            Where::Global | Where::Vdoms => !device.conf.has_vdoms(),
            Where::Vdom(name) => !device.conf.has_vdoms() || !device.vdoms().contains(name),
        };
        if gone {
            (self.at, self.open, self.asking) = (Where::Top, None, None);
        }
    }

    fn answer(&mut self, question: Question, line: &str, device: &mut Device) -> Step {
        let yes = matches!(line.trim(), "y" | "Y" | "yes");
        let before = device.conf.clone();
        let mut step = match question {
            _ if !yes => Step::default(),
            Question::Purge => {
                if let Some(open) = &self.open {
                    device.conf.remove_rows(&self.place(open.table.scope), open.table.path, |_| true);
                }
                Step::default()
            }
            Question::VdomMode(on) => {
                if on {
                    device.conf.turn_on_vdoms();
                } else {
                    device.conf.turn_off_vdoms();
                }
                // Logged out, and in again.
                *self = Self::default();
                Step::default()
            }
            Question::Restore(path) => Effect::Restore(path).into(),
            Question::Migrate(vdom) => {
                migrate::migrate(device, vdom);
                Step::default()
            }
        };
        step.effects.extend(changes(&before, &device.conf));
        step
    }

    /// Loads what `execute restore config` read: a whole configuration, or an excerpt that is merged.
    pub fn restore(&mut self, text: &str, device: &mut Device) -> Step {
        let before = device.conf.clone();
        let new = match Configuration::parse(text) {
            Ok(new) => new,
            Err(error @ (ConfigurationError::Syntax(_) | ConfigurationError::VdomName(_))) => {
                return Refused::File(error.to_string()).into();
            }
        };
        if text.starts_with("#config-version=") {
            device.conf = new;
        } else {
            device.conf.merge(new, self.vdom().as_str());
        }
        if device.vdoms().len() > muster_proto::MAX_VDOMS {
            device.conf = before;
            return Refused::Full.into();
        }
        self.leave_what_is_gone(device);
        Step { effects: changes(&before, &device.conf), ..Step::default() }
    }
}
