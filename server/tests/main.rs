//! The real binary: its command line, its data directory, its sudden death, and a fleet of boxes.
//!
//! # Layout, in reading order
//!
//! - [`process`]: how the binary is run; [`clients`]: who calls it.
//! - [`command_line`], [`data_directory`], [`kill`]: the tests. [`boxes`], [`console`], [`channel`], [`fleet`]: boxes against it; [`conformance`]: what it promises.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what the helpers cannot do fails the test")]

mod boxes;
mod channel;
mod clients;
mod command_line;
mod conformance;
mod console;
mod data_directory;
mod fleet;
mod kill;
#[expect(unreachable_pub, reason = "it is public in the harness of the black-box tests, which depends on this package")]
#[path = "../../tests/harness/patience.rs"]
mod patience;
mod process;
#[expect(unreachable_pub, reason = "it is public in the harness of the black-box tests, which depends on this package")]
#[path = "../../tests/harness/proxy.rs"]
mod proxy;
