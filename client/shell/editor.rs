//! The line editor of a terminal: history, Tab, `?`, and the state that the terminal is in between two lines.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::{Completer, Pair};
use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Context, Event, EventContext, EventHandler, ExternalPrinter as _,
    Helper, KeyEvent, RepeatCount,
};
use tokio::sync::mpsc;

use crate::conf::words::{Word, split};
use crate::shell::guide::{Guide, Next};
use crate::shell::screen::Screen;

/// How many lines can be called back.
const HISTORY: usize = 1_000;

/// What came of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the terminal is gone.
    Closed,
}

/// A prompt to be shown, and what can be said at it.
struct Prompt {
    text: String,
    guide: Guide,
}

/// The line editor, in a thread of its own.
#[derive(Debug)]
pub struct Editor {
    prompts: Sender<Prompt>,
    typed: mpsc::Receiver<Typed>,
    _terminal: Quiet,
}

impl Editor {
    /// The line editor of the terminal that this program has; nothing if it has none.
    pub fn new(screen: &Screen) -> anyhow::Result<Option<Self>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let terminal = Quiet::new()?;
        let mut editor = rustyline::Editor::<Assistant, _>::new()?;
        editor.set_max_history_size(HISTORY)?;
        editor.set_auto_add_history(true);
        editor.set_completion_type(CompletionType::List);
        // A paste is typed line by line, each with its prompt and its answer, as on a real box.
        editor.enable_bracketed_paste(false);
        let asked = Asked::default();
        editor.bind_sequence(KeyEvent::from('?'), EventHandler::Conditional(Box::new(asked.clone())));
        let mut printer = editor.create_external_printer()?;
        screen.prints_above(move |text| printer.print(text).map_err(io::Error::other));
        let (prompts, asks) = channel();
        let (answers, typed) = mpsc::channel(1);
        thread::spawn(move || read(&mut editor, &asked, &asks, &answers));
        Ok(Some(Self { prompts, typed, _terminal: terminal }))
    }

    /// Shows a prompt.
    pub fn ask(&self, text: String, guide: Guide) {
        // If the thread is gone, the answer says so.
        let _ = self.prompts.send(Prompt { text, guide });
    }

    /// What came of the prompt.
    pub async fn answer(&mut self) -> Typed {
        self.typed.recv().await.unwrap_or(Typed::Closed)
    }
}

type LineEditor = rustyline::Editor<Assistant, rustyline::history::DefaultHistory>;

fn read(editor: &mut LineEditor, asked: &Asked, prompts: &Receiver<Prompt>, answers: &mpsc::Sender<Typed>) {
    while let Ok(Prompt { text, guide }) = prompts.recv() {
        editor.set_helper(Some(Assistant { guide: guide.clone() }));
        let mut begun = (String::new(), String::new());
        let typed = loop {
            let line = editor.readline_with_initial(&text, (&begun.0, &begun.1));
            match (line, asked.take()) {
                (Ok(line), Some(place)) => {
                    let (left, right) = line.split_at_checked(place).unwrap_or((&line, ""));
                    let _ = io::stdout().write_all(help(&guide, left).as_bytes());
                    begun = (left.to_owned(), right.to_owned());
                }
                (Ok(line), None) => break Typed::Line(line),
                (Err(ReadlineError::Interrupted), _) => break Typed::Interrupted,
                (Err(ReadlineError::Signal(_)), _) => {}
                (Err(_), _) => break Typed::Closed,
            }
        };
        if answers.blocking_send(typed).is_err() {
            return;
        }
    }
}

/// What may come next, a line each.
#[must_use]
pub fn help(guide: &Guide, line: &str) -> String {
    let (next, _) = guide.next(line);
    let width = next.iter().map(|next| next.word.len()).max().unwrap_or_default();
    let line = |Next { word, help }: &Next| format!("{word:width$}    {help}").trim_end().to_owned() + "\n";
    next.iter().map(line).collect()
}

/// Where `?` was typed; it shows what may come next, without a key more.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Option<usize>>>);

impl Asked {
    fn take(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ConditionalEventHandler for Asked {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        let before = context.line().get(..context.pos()).unwrap_or_default();
        if split(before).2.is_some() {
            // In quotes it is a character like others.
            return None;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.pos());
        Some(Cmd::AcceptLine)
    }
}

/// What the line editor asks for while a line is typed.
struct Assistant {
    guide: Guide,
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..at).unwrap_or_default();
        let (next, begun) = self.guide.next(before);
        let next = next.into_iter().filter(|next| !next.word.starts_with('<'));
        let pairs = next.map(|next| {
            let written = Word::bare(next.word.as_str()).written();
            Pair { display: next.word, replacement: format!("{written} ") }
        });
        // A word in quotes begins at its quote.
        let start = before.len().saturating_sub(begun.len());
        let start = if before.get(..start).is_some_and(|rest| rest.ends_with('"')) { start - 1 } else { start };
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}
impl Validator for Assistant {}
impl Helper for Assistant {}

/// Between two lines the terminal does not show what is typed ahead: the next prompt does. As it was, when this goes.
#[derive(Debug)]
struct Quiet(Termios);

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        tcsetattr(io::stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing to give back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
