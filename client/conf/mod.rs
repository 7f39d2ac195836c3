//! The configuration of a box, in the syntax of FortiOS: the text as a tree, the tables that are modelled, and views of both.

pub mod configuration;
mod edit;
#[cfg(test)]
mod round_trip;
pub mod schema;
pub mod tables;
pub mod tree;
pub mod users;
mod vdoms;
pub mod words;
