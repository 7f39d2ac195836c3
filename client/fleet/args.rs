//! The command line of `fortigate fleet`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use muster_proto::DEFAULT_DATA_DIR;

use super::serials::{Part, Run};

const SCENARIOS: &str = "\
Scenarios:
  steady        boxes come up at an even rate and report, over and over
  storm         the server restarts under the whole fleet while boxes go on to report, and every box comes back
  churn         VDOMs and users come and go, and connections with them
  failover      HA pairs change their primary, and no auth client changes its id
  clones        boxes exist twice under one serial number
  slow-viewers  some viewers of the debug feed read nothing for long

A file may be named instead: it holds steps as those in client/fleet/scenarios do.

Exit status: 0 if everything that must hold did; 1 if something did not, or an operation was given up.";

/// A fleet.
#[derive(Args, Clone, Debug)]
#[command(after_help = SCENARIOS, args_conflicts_with_subcommands = true)]
pub struct Fleet {
    /// What to do instead of driving boxes.
    #[command(subcommand)]
    pub command: Option<FleetCommand>,
    /// How many boxes the whole run has.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub devices: u32,
    /// How many VDOMs each box has at first, "root" among them.
    #[arg(long, value_name = "M", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=400))]
    pub vdoms: u32,
    /// How many users each box has at first, spread over its VDOMs.
    #[arg(long, value_name = "U", default_value_t = 0)]
    pub users: u32,
    /// What the fleet does: the name of a scenario, or a file.
    #[arg(long, value_name = "NAME", default_value = "steady")]
    pub scenario: String,
    /// How many operations a second the whole run is to make, where the scenario does not say [default: a tenth of the boxes].
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// How long boxes report, where the scenario does not say.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long an operation may take with all its retries before it is given up.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// Keeps the boxes of two runs apart: 0 to 1295. The same run has the same boxes.
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub run: Run,
    /// Makes chance repeatable: which box reports when, and how long each waits.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// The share of this process in the run, as in 2/4: several processes drive one fleet.
    #[arg(long, value_name = "NUMBER/OF", default_value = "1/1")]
    pub part: Part,
    /// Restarts the server, for the steps that want that; without it the fleet waits until somebody else does.
    #[arg(long, value_name = "COMMAND")]
    pub restart_command: Option<String>,
    /// The data directory of the server, which has the factory CA for stand-ins, the CA of the server and the admin token.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    pub muster_data: PathBuf,
    /// The admin token, if it is not that of the data directory.
    #[arg(long, value_name = "FILE")]
    pub admin_token: Option<PathBuf>,
    /// Writes the report as JSON, for `fleet report`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes the report as a page with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// What a fleet does besides running.
#[derive(Clone, Debug, Subcommand)]
pub enum FleetCommand {
    /// Shows the reports of several processes, or of one, as one.
    Report {
        /// What `--json` wrote.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Writes the page with plots.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Writes the merged report as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}
