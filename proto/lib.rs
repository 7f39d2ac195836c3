//! The protocol of Muster: the generated types of `muster.v1`, and beside them the domain types that the wire is parsed into.
//!
//! # Layout, in reading order
//!
//! - [`v1`]: what `build.rs` generates from `proto/muster/v1`; [`DESCRIPTORS`] is the same for server reflection.
//! - [`SerialNumber`], [`VdomName`], [`RealmName`], [`Username`], [`Email`], [`MobileNumber`], [`Text`], [`Timestamp`], [`Cursor`]: values that cannot be wrong.
//! - [`device`], [`device_users`], [`user_sync`], [`channel`], [`admin`], [`realms`], [`settings`], [`deleting`], [`release_code`], [`debug_log`]: the requests, parsed; every bad field is named at once ([`Invalid`]).
//! - [`Reason`]: the stable reason codes of every refusal, each with its gRPC code and its fix.
//! - [`raw`]: messages as bytes, for tools and tests.
//! - [`encoded`]: the server of the debug feed, whose responses are bytes already.

pub mod admin;
pub mod admin_token;
pub mod channel;
pub mod cluster;
mod cursor;
pub mod debug_log;
pub mod deleting;
pub mod device;
pub mod device_users;
pub mod encoded;
pub mod explain;
mod invalid;
pub mod license;
mod mask;
pub mod raw;
mod realm;
mod realm_ref;
pub mod realms;
mod reason;
pub mod release_code;
mod serial;
pub mod settings;
mod text;
mod timestamp;
pub mod user;
pub mod user_sync;
mod vdom;
pub mod web_app;

pub use cursor::Cursor;
pub use device_users::UserAttributes;
pub use invalid::{Check, Invalid, Violation};
pub use realm::RealmName;
pub use realm_ref::{RealmRef, RealmRefError};
pub use reason::Reason;
pub use serial::SerialNumber;
pub use text::{Pattern, Text, printable};
pub use timestamp::Timestamp;
pub use user::{Email, MobileNumber, UserKey, UserKind, Username};
pub use vdom::{VdomName, digest};

/// The generated types, clients and servers of `muster.v1`.
#[allow(clippy::all, clippy::pedantic, clippy::allow_attributes, missing_debug_implementations, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("muster.v1");
}

/// The descriptor set that the code was generated from, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Where the server listens if nobody says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7443";

/// The data directory of the server if nobody says otherwise; `fortigate` finds the stand-in factory CA in it.
pub const DEFAULT_DATA_DIR: &str = "muster-data";

/// The most VDOMs that one device may have: the largest `FortiGate` licence is 500 (domain sheet, section 1.5).
pub const MAX_VDOMS: usize = 500;
