//! The command line of `muster-server`: each flag has an environment variable, and its comment is its help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Parser, Subcommand, ValueEnum};
use muster_proto::{DEFAULT_DATA_DIR, DEFAULT_LISTEN};

use crate::identity::relay::{RelayName, SerialPrefix};

/// The register of auth clients of a FortiToken-Cloud-style service.
#[derive(Debug, Parser)]
#[command(name = "muster-server", version, about, args_conflicts_with_subcommands = false)]
#[deny(missing_docs)]
pub struct Args {
    /// Where the server keeps its database, certificates and first admin token; made if it is not there.
    #[arg(long, env = "MUSTER_DATA_DIR", default_value = DEFAULT_DATA_DIR, global = true)]
    pub data_dir: PathBuf,

    /// The address to listen on; port 0 takes a free one, and the address is printed.
    #[arg(long, env = "MUSTER_LISTEN", default_value = DEFAULT_LISTEN)]
    pub listen: SocketAddr,

    /// The database: a SQLite file [default: muster.db in the data directory].
    #[arg(long, env = "MUSTER_DATABASE", value_name = "FILE", hide_env_values = true)]
    pub database: Option<String>,

    /// The certificate of the server, PEM, with its intermediates [default: one that the first start makes].
    #[arg(long, env = "MUSTER_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The key of that certificate, PEM.
    #[arg(long, env = "MUSTER_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// The CAs that devices are trusted by, PEM [default: a factory CA for stand-ins, which the first start makes].
    #[arg(long, env = "MUSTER_DEVICE_CA", value_name = "FILE")]
    pub device_ca: Option<PathBuf>,

    /// Speak plain HTTP/2 without TLS, and so without devices; only on a loopback address.
    #[arg(long, env = "MUSTER_INSECURE_PLAINTEXT")]
    pub insecure_plaintext: bool,

    /// How long calls in flight may take to end once the server is told to stop.
    #[arg(long, env = "MUSTER_GRACE", value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: Duration,

    /// How the log on stderr is written.
    #[arg(long, env = "MUSTER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, or a list such as "info,sqlx=debug".
    #[arg(long, env = "MUSTER_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How much memory the debug feed may take for past events.
    #[arg(long, env = "MUSTER_FEED_MEMORY", value_name = "BYTES", default_value = "64MiB")]
    pub feed_memory: ByteSize,

    /// How often a device says on its channel that it is alive; proxies cut what is quiet for a minute.
    #[arg(long, env = "MUSTER_CHANNEL_HEARTBEAT", value_name = "TIME", default_value = "20s", value_parser = humantime::parse_duration)]
    pub channel_heartbeat: Duration,

    /// How long a device whose channel broke may take to come back before it is offline.
    #[arg(long, env = "MUSTER_CHANNEL_GRACE", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub channel_grace: Duration,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of text for each entry.
    Text,
    /// A JSON object for each entry.
    Json,
}

/// What `muster-server` does besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Issues a client certificate for a relay: a proxy or a manager that speaks for devices. The server may be running.
    RelayCert {
        /// The name of the relay, as audit log and debug feed show it.
        #[arg(long)]
        name: RelayName,
        /// Speak only for serial numbers that begin so; may be given several times [default: all devices].
        #[arg(long = "prefix")]
        prefixes: Vec<SerialPrefix>,
        /// Where to write NAME.pem and NAME.key.
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Makes a new first admin token and revokes the one before. The server must not be running.
    RotateAdminToken,
}

/// What the command line asks for, or one line that says what is wrong with it.
pub fn parse() -> Result<Args, clap::Error> {
    let args = Args::try_parse()?;
    args.check().map_err(|message| clap::Error::raw(clap::error::ErrorKind::ValueValidation, message))?;
    Ok(args)
}

impl Args {
    fn check(&self) -> Result<(), String> {
        if self.insecure_plaintext && !self.listen.ip().is_loopback() {
            return Err(format!(
                "--insecure-plaintext is only for loopback, and --listen is {}: drop the flag, or listen on 127.0.0.1",
                self.listen
            ));
        }
        if let Some(database) = &self.database
            && database.contains("://")
        {
            return Err("--database must be the path of a SQLite file: this version knows no other database".to_owned());
        }
        if self.feed_memory < ByteSize::kib(64) {
            return Err("--feed-memory must be at least 64KiB".to_owned());
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(25)).contains(&self.channel_heartbeat) {
            return Err("--channel-heartbeat must be 1s to 25s".to_owned());
        }
        tracing_subscriber::EnvFilter::try_new(&self.log).map(drop).map_err(|error| format!("--log: {error}"))
    }

    /// The path of the database.
    #[must_use]
    pub fn database_path(&self) -> Option<PathBuf> {
        let database = self.database.as_deref()?;
        Some(PathBuf::from(database.strip_prefix("sqlite:").unwrap_or(database)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(args: &[&str]) -> String {
        let args = Args::try_parse_from([&["muster-server"], args].concat()).unwrap();
        args.check().unwrap_err()
    }

    #[test]
    fn plain_text_is_refused_off_loopback() {
        assert!(refusal(&["--insecure-plaintext", "--listen", "0.0.0.0:7443"]).contains("only for loopback"));
    }

    #[test]
    fn a_flag_that_cannot_be_honoured_is_refused_before_anything_is_made() {
        assert!(refusal(&["--database", "postgres://localhost/muster"]).contains("SQLite"));
        assert!(refusal(&["--feed-memory", "1"]).contains("64KiB"));
        assert!(refusal(&["--log", "muster=loud"]).contains("--log"));
        assert!(refusal(&["--channel-heartbeat", "60s"]).contains("1s to 25s"));
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_help() {
        use clap::CommandFactory as _;
        for argument in Args::command()
            .get_arguments()
            .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        {
            let variable = argument.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            assert!(variable.starts_with("MUSTER_"), "{}", argument.get_id());
            assert!(argument.get_help().is_some(), "{}", argument.get_id());
        }
    }
}
