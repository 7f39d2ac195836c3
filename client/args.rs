//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use muster_proto::{DEFAULT_DATA_DIR, SerialNumber, Text, VdomName};

use crate::components::Components;
use crate::conformance::Conformance;
use crate::fleet::args::Fleet;
use crate::server_url::ServerUrl;

/// Where a box is if nobody says otherwise.
pub const DEFAULT_DEVICE: &str = "fortigate";

const EXIT_CODES: &str = "\
Exit status:
   0  done
   1  the command failed, or some item of it was refused
   2  the server could not be reached: DNS, connect, TLS or timeout, or it is not available
   3  the server does not accept this box, or what it asked for
  64  the command line or the FortiOS command cannot be understood

What FortiOS would print goes to standard output; the explanation of a failure, and its fix, to standard error.";

const EVERYWHERE: &str = "Options of every command";

const LINES: &str = "\
Lines (FortiOS does not document its own, so these are ours; what has nothing to say is left out):
  [COMPONENT] STEP VDOM: MESSAGE (REASON); FIELD \"BEFORE\" -> \"AFTER\"; by CALLER => CODE, operation ID
  --- 12 events missed (slow viewer) ---

The caller is named if it is not this box; code and operation id stand at the end of an operation.";

/// A stand-in for a FortiGate with several VDOMs.
#[derive(Clone, Debug, Parser)]
#[command(name = "fortigate", version, after_help = EXIT_CODES, arg_required_else_help = false)]
pub struct Arguments {
    /// The directory that holds the box.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", default_value = DEFAULT_DEVICE)]
    pub device: PathBuf,
    /// Where the server is; `init` remembers it in the box, and takes port 7443 of this machine if it is not given.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "https://HOST:PORT")]
    pub server: Option<ServerUrl>,
    /// The CA that the certificate of the server is from; `init` keeps a copy in the box.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How long name, TCP and TLS may take together.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub connect_timeout: Duration,
    /// How long an update may take with all its retries, and how long the server may take to open the feed.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Makes a box, with a certificate from the factory CA.
    Init(Init),
    /// Shows the box.
    Show,
    /// Adds, deletes or lists the VDOMs of the box; `exec "execute fortitoken-cloud update"` then tells the server.
    #[command(subcommand, arg_required_else_help = false)]
    Vdom(Vdom),
    /// The FortiOS command line of the box: history, Tab, "?". Without a terminal, commands are read from standard input.
    Console,
    /// Runs the FortiOS commands of a file, one a line, as if they were typed.
    Run(Script),
    /// Runs one FortiOS command in "config global": `execute fortitoken-cloud update`. Every word may be abbreviated.
    Exec {
        /// The command, in one argument or in several.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        words: Vec<String>,
    },
    /// Keeps the channel of the box open until it is interrupted, and tells what happens on it. A console at a terminal does so, too.
    Channel,
    /// Shows the debug feed of this box; without --follow it ends when it has caught up.
    #[command(after_help = LINES)]
    Debug(Debug),
    /// Drives thousands of boxes, measures, and checks what must hold.
    Fleet(Box<Fleet>),
    /// Checks the device protocol of any server, and says what does not hold.
    Conformance(Conformance),
}

/// The new box.
#[derive(Clone, Debug, Args)]
pub struct Init {
    /// The serial number: 16 characters of A-Z and 0-9. Made up to suit the model if it is not given.
    #[arg(long)]
    pub serial: Option<SerialNumber>,
    /// The model, as in FortiGate-101F or 101F. That of the serial number if it is not given.
    #[arg(long)]
    pub model: Option<Text>,
    /// The host name. The serial number if it is not given, as on a new FortiGate.
    #[arg(long)]
    pub hostname: Option<Text>,
    /// The firmware.
    #[arg(long, default_value = "v7.4.8,build2795")]
    pub firmware: Text,
    /// A VDOM besides "root"; may be given several times.
    #[arg(long = "vdom", value_name = "NAME")]
    pub vdoms: Vec<VdomName>,
    /// The data directory of the server, which has the factory CA for stand-ins and the CA of the server.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    pub muster_data: PathBuf,
    /// The certificate of another factory CA, in PEM.
    #[arg(long, value_name = "FILE", requires = "factory_key")]
    pub factory_ca: Option<PathBuf>,
    /// Its private key, in PEM (PKCS#8).
    #[arg(long, value_name = "FILE", requires = "factory_ca")]
    pub factory_key: Option<PathBuf>,
}

/// What to do with the VDOMs.
#[derive(Clone, Debug, Subcommand)]
pub enum Vdom {
    /// Adds VDOMs: all of them or, if one cannot be added, none.
    Add {
        /// Their names: 1 to 31 characters of A-Z, a-z, 0-9, '-', '_' and '.'.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<VdomName>,
    },
    /// Deletes VDOMs: all of them or, if one cannot be deleted, none.
    Delete {
        /// Their names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<VdomName>,
    },
    /// Lists the VDOMs, one on each line.
    List,
}

/// Commands to run.
#[derive(Clone, Debug, Default, Args)]
pub struct Script {
    /// The file; "-" is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub file: Option<PathBuf>,
    /// Show each command behind its prompt, as on a terminal.
    #[arg(long)]
    pub echo: bool,
    /// If debug is on when the file is over, go on to show its messages until its duration is over.
    #[arg(long)]
    pub stay: bool,
}

/// What to show of the debug feed.
#[derive(Clone, Debug, Args)]
pub struct Debug {
    /// Components with their levels, as FortiOS has them: -1 or 255 for everything, 0 for nothing. Every component if it is not given.
    #[arg(long, value_name = "NAME=LEVEL,...")]
    pub components: Option<Components>,
    /// Begin each line with its time, in UTC.
    #[arg(long)]
    pub timestamps: bool,
    /// Start with the last N events.
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Go on with new events, across reconnects, until interrupted. Starts now unless --tail is given.
    #[arg(long, short)]
    pub follow: bool,
}
