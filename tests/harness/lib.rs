//! What the suites share: the real server in this process, clients with every kind of identity, and checks that every refusal passes.
//!
//! # Layout, in reading order
//!
//! - [`Muster`]: a server on a free port with a data directory of its own; [`Stopped`]: the same after its stop.
//! - [`Caller`]: a connection with an identity, and the clients of every service on it; [`Ca`]: where certificates come from.
//! - [`Follower`]: a stream of the debug feed that waits for what a test expects.
//! - [`Line`]: the channel of a device; [`Proxy`]: what may be in its way.
//! - [`UserStream`]: one sync of users, message by message.
//! - [`Refusal`]: a failed call, after the checks that hold for every failed call.
//! - [`Descriptors`]: the rpcs and their string fields, as reflection shows them.
//! - [`requests`]: requests and answers in few words; [`Database`]: the register behind the server's back.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what the harness cannot do fails the test")]

mod bare;
mod caller;
mod certificates;
mod database;
mod descriptors;
mod follower;
mod line;
mod muster;
mod patience;
mod proxy;
mod raw;
mod refusal;
pub mod requests;
mod user_stream;

pub use bare::Bare;
pub use caller::{Bearer, Caller, Connection};
pub use certificates::{Ca, DAY, Issued};
pub use database::{Audited, Database};
pub use descriptors::{Descriptors, Rpc, TextField};
pub use follower::Follower;
pub use line::{Line, hello};
pub use muster::{Muster, Stopped};
pub use patience::{eventually, within};
pub use proxy::Proxy;
pub use refusal::Refusal;
pub use user_stream::{UserStream, UsersSynced};
