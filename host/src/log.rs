//! The log: to standard error, as text or as JSON, because standard output is for what the user asked to see.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::settings::{Log, LogFormat};

/// Starts the log.
pub fn start(settings: &Log) {
    let filter = EnvFilter::new(&settings.level);
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would be reported on standard error, which is what has failed, and with a panic.
        .log_internal_errors(false);
    // Fails only when there is a log already, which is as good.
    let _ = match settings.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
