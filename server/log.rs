//! The log: where it goes, and how it is written.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::LogFormat;

/// Starts the log of this process; a second start does nothing. A filter that cannot be read lets errors alone through.
pub fn start(
    format: LogFormat,
    filter: &str,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
    colours: bool,
) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter).unwrap_or_default())
        .with_writer(writer)
        .with_target(false);
    // Only a second start fails.
    let _ = match format {
        LogFormat::Text => log.with_ansi(colours).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
