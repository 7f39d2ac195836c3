//! Compiles `proto/` with protox, so that no protoc is needed, and keeps the descriptor set for server reflection.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use prost::Message as _;

const PROTO_ROOT: &str = "proto";
const PROTO_FILES: &[&str] = &[
    "muster/v1/common.proto",
    "muster/v1/channel.proto",
    "muster/v1/device_service.proto",
    "muster/v1/device_users.proto",
    "muster/v1/user_sync.proto",
    "muster/v1/auth_client_service.proto",
    "muster/v1/device_admin_service.proto",
    "muster/v1/clone_service.proto",
    "muster/v1/cluster_service.proto",
    "muster/v1/audit_service.proto",
    "muster/v1/explain_service.proto",
    "muster/v1/license_service.proto",
    "muster/v1/debug_log_service.proto",
    "muster/v1/realm_service.proto",
    "muster/v1/settings_service.proto",
    "muster/v1/user_service.proto",
    "muster/v1/admin_token_service.proto",
    "muster/v1/web_app_service.proto",
    "muster/v1/lobby_service.proto",
    "muster/v1/admission_rule_service.proto",
    "muster/v1/held_removal_service.proto",
];
const FEED_FILE: &str = "muster/v1/debug_log_service.proto";

fn main() -> Result<(), Box<dyn Error>> {
    for file in PROTO_FILES {
        println!("cargo::rerun-if-changed={PROTO_ROOT}/{file}");
    }
    let out_dir = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let out_dir = Path::new(&out_dir);

    let descriptors = protox::compile(PROTO_FILES, [PROTO_ROOT])?;
    // Server reflection answers from the very descriptors the code is generated from.
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;

    // The feed encodes each event once, however many viewers it has: its server is generated a second time, with responses that are
    // bytes already (see `encoded.rs`).
    let encoded_dir = out_dir.join("encoded");
    fs::create_dir_all(&encoded_dir)?;
    tonic_prost_build::configure()
        .build_client(false)
        .out_dir(encoded_dir)
        .extern_path(".muster.v1", "crate::v1")
        .extern_path(".muster.v1.StreamDebugLogsResponse", "crate::encoded::EncodedResponse")
        .compile_fds(protox::compile([FEED_FILE], [PROTO_ROOT])?)?;
    Ok(())
}
