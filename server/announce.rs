//! What the server prints when it is ready: where it listens, and what to try next.

use std::net::SocketAddr;
use std::path::Path;

use crate::args::Args;
use crate::serve::url;

/// The text, with the exact lines to type in another terminal.
#[must_use]
pub fn text(args: &Args, address: SocketAddr) -> String {
    let url = url(address, args.insecure_plaintext);
    let data = args.data_dir.display();
    let version = env!("CARGO_PKG_VERSION");
    let ready = format!("muster-server {version} listens on {url}, data in {data}");
    let (secure, target) = if args.insecure_plaintext {
        ("-plaintext".to_owned(), address.to_string())
    } else {
        (format!("-cacert {data}/ca.pem"), address.to_string())
    };
    let grpcurl = format!("grpcurl {secure} -H \"authorization: Bearer $(cat {data}/admin-token)\"");
    let fortigate = fortigate(std::env::current_exe().ok().as_deref());
    let devices = if args.insecure_plaintext {
        "  (no devices without TLS: they are known by their certificates)\n".to_owned()
    } else {
        format!(
            "  {fortigate} --device branch-7 init --muster-data {data} --server {url} --vdom sales --vdom dmz --vdom guests\n  \
             {fortigate} --device branch-7 exec \"execute fortitoken-cloud update\"\n  \
             {fortigate} --device branch-7 debug --follow\n"
        )
    };
    format!(
        "{ready}\n\nTry next, in another terminal:\n{devices}  \
         {grpcurl} {target} muster.v1.AuthClientService/ListAuthClients\n  \
         {grpcurl} -d '{{\"follow\": true}}' {target} muster.v1.DebugLogService/StreamDebugLogs\n"
    )
}

/// How to call the stand-in from here: beside this program if it is there, else by cargo if cargo started this program.
fn fortigate(this: Option<&Path>) -> String {
    let Some(this) = this else { return "fortigate".to_owned() };
    let beside = this.with_file_name("fortigate");
    let by_cargo = this.components().any(|part| part.as_os_str() == "target");
    match (by_cargo, this.components().any(|part| part.as_os_str() == "release")) {
        (true, true) => "cargo run --release --bin fortigate --".to_owned(),
        (true, false) => "cargo run --bin fortigate --".to_owned(),
        (false, _) if beside.exists() => beside.display().to_string(),
        (false, _) => "fortigate".to_owned(),
    }
}
