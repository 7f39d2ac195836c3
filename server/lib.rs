//! The server of Muster: the register of auth clients, behind gRPC.

pub mod clock;
pub mod feed;
pub mod identity;
pub mod operation;
pub mod registry;
pub mod store;
