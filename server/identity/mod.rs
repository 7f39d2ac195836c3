//! Who calls: device and relay certificates, admin tokens, and the CA that is built in.
//!
//! # Layout, in reading order
//!
//! - [`caller`]: who a call comes from, and for which devices it may speak; [`relay`]: those who may speak for others.
//! - [`names`]: how a certificate says who it belongs to.
//! - [`token`]: the tokens of admins.
//! - [`ca`]: the CA that is built in: what the first start makes, and what it issues later.
//! - [`trust`]: the certificates in use, reloaded when their files change; [`tls`]: the same as TLS needs them.
//! - [`incoming`]: accepted connections, as a stream for tonic; [`handshake`]: why one was not accepted.
//! - [`connection`], [`peer`]: one accepted connection, and who is at its other end.

pub mod ca;
pub mod caller;
pub mod connection;
pub mod handshake;
pub mod incoming;
mod issue;
pub mod names;
pub mod peer;
pub mod relay;
mod server_certificate;
mod tls;
pub mod token;
pub mod trust;

#[cfg(test)]
mod tests;
