//! The server of Muster: the register of auth clients, behind gRPC.
//!
//! # Layout, in reading order
//!
//! - [`serve`]: open everything, serve, stop; [`args`]: the command line.
//! - [`rpc`]: the gRPC services: who calls, parse, one call inward, answer.
//! - [`writer`]: shares commits between calls; [`registry`]: the rules, pure; [`store`]: the only rooms that know SQL.
//! - [`presence`]: the channels of devices: who is online, and what is to be said to whom.
//! - [`feed`]: the debug feed. It is written to, and never asks back.
//! - [`identity`]: certificates, tokens, and the built-in CA; [`data_dir`]: the files of the server.
//! - [`spool`]: lists of messages that are too long to be held.
//! - [`sweep`]: what ends by itself.
//! - [`log`], [`announce`]: what the operator reads; [`maintenance`]: what the binary does besides serving.
//! - [`clock`], [`operation`]: time and operation ids, passed in everywhere.

pub mod announce;
pub mod args;
pub mod clock;
pub mod data_dir;
pub mod feed;
pub mod identity;
pub mod log;
pub mod maintenance;
pub mod operation;
pub mod presence;
pub mod registry;
pub mod rpc;
pub mod serve;
pub mod spool;
pub mod store;
pub mod sweep;
pub mod writer;
