//! The real binary: its command line, its data directory, and its sudden death.
//!
//! # Layout, in reading order
//!
//! - [`process`]: how the binary is run; [`clients`]: who calls it.
//! - [`command_line`], [`data_directory`], [`kill`]: the tests.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what the helpers cannot do fails the test")]

mod clients;
mod command_line;
mod data_directory;
mod kill;
mod process;
