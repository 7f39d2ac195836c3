//! Who calls: device and relay certificates, admin tokens, and the CA that is built in.
//!
//! # Layout, in reading order
//!
//! - [`caller`]: who a call comes from, and for which devices it may speak; [`relay`]: those who may speak for others.
//! - [`names`]: how a certificate says who it belongs to.
//! - [`token`]: the tokens of admins.
//! - [`revocations`]: identities that may no longer call, told to open calls at once.
//! - [`ca`]: the CA that is built in: what the first start makes, and what it issues later ([`issued`]); [`renewal`]: the server
//!   certificate of a server that runs for years.
//! - [`trust`]: the certificates in use, reloaded when their files change.
//! - [`incoming`]: accepted connections, as a stream for tonic; [`handshake`]: why one was not accepted.
//! - [`connection`], [`peer`]: one accepted connection, and who is at its other end.

pub mod ca;
pub mod caller;
pub mod connection;
pub mod handshake;
pub mod incoming;
mod issue;
pub mod issued;
pub mod names;
pub mod peer;
pub mod relay;
pub mod renewal;
pub mod revocations;
mod server_certificate;
mod tls;
pub mod token;
pub mod trust;
mod trust_files;
pub mod web_app;

#[cfg(test)]
mod tests;
