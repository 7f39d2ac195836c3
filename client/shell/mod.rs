//! The FortiOS command line of a box: a table of commands, a session that is pure, and the console around it.

#[cfg(test)]
mod abbreviations;
pub mod answers;
pub mod commands;
mod config_mode;
pub mod console;
mod daemons;
pub mod debug;
pub mod editor;
pub mod effect;
mod execute;
pub mod filter;
pub mod grammar;
pub mod guide;
mod migrate;
pub mod perform;
pub mod roster;
pub mod screen;
pub mod session;
mod show;
pub mod source;
#[cfg(test)]
mod transcripts;
pub mod watch;
