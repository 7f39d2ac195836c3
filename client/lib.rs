//! `fortigate`: a stand-in for a FortiGate with several VDOMs, that talks to Muster as a device does.
//!
//! # Layout, in reading order
//!
//! - [`args`], [`cli`]: the command line, and what each command does.
//! - [`device`], [`device_dir`]: the box, and the directory that holds it.
//! - [`model`], [`certificate`]: what the factory gives a box.
//! - [`conf`]: its configuration, in the syntax of FortiOS.
//! - [`memory`], [`ha`]: what it remembers of the service, and says of its HA cluster.
//! - [`directory`], [`ldap_filter`]: what stands in for an LDAP server.
//! - [`shell`]: the command line of FortiOS.
//! - [`server_url`], [`connect`], [`tls`], [`http2`]: the way to the server; [`failure`], [`backoff`]: when it does not work.
//! - [`channel`]: the line that stays open; [`daemon`]: who keeps it. [`fleet`]: thousands of boxes. [`conformance`]: checks of any server.
//! - [`cloud`], [`users`], [`user_sync`], [`call`], [`feed`], [`components`]: what is said to the server; [`render`], [`report`]: what is shown of its answers.

pub mod args;
pub mod backoff;
pub mod call;
pub mod certificate;
pub mod channel;
pub mod cli;
pub mod cloud;
pub mod components;
pub mod conf;
pub mod conformance;
pub mod connect;
pub mod daemon;
pub mod device;
pub mod device_dir;
pub mod directory;
pub mod failure;
pub mod feed;
pub mod fleet;
pub mod ha;
pub mod http2;
pub mod ldap_filter;
mod link;
pub mod memory;
pub mod model;
pub mod render;
pub mod report;
pub mod server_url;
pub mod shell;
pub mod tls;
pub mod user_sync;
pub mod users;
