//! Black-box tests over real gRPC, in one program: each suite starts the servers that it needs.

#![expect(clippy::unwrap_used, reason = "what the helpers cannot do fails the test")]

mod admin;
mod bad_input;
mod channel;
mod clones;
mod cluster_users;
mod clusters;
mod debug_feed;
mod deleting;
mod devices;
mod explain;
mod guard;
mod identity;
mod licenses;
mod lobby;
mod operations;
mod realms;
mod roles;
mod settings;
mod tokens;
mod transfer;
mod user_rules;
mod users;
mod web_app_feed;
mod web_app_syncs;
mod web_apps;
