//! The log: to standard error, as text or as JSON, because standard output is for what the user asked to see.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::settings::{Log, LogFormat};

/// The Kubernetes client's own word on a connection that fails, at the level of errors and without an address. Our own
/// errors have it with the address.
const CONNECTIONS: &str = "kube_client::client::builder";

/// Starts the log.
pub fn start(settings: &Log) {
    let filter = EnvFilter::new(directives(&settings.level));
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

/// The filter: without [`CONNECTIONS`], unless the settings name the client.
fn directives(level: &str) -> String {
    if level.contains("kube_client") {
        return level.to_owned();
    }
    format!("{},{CONNECTIONS}=off", level.trim_end_matches(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_word_on_connections_is_left_out_unless_the_client_is_named() {
        for (level, expected) in [
            ("info", "info,kube_client::client::builder=off"),
            (
                "warn,meshery_core=debug",
                "warn,meshery_core=debug,kube_client::client::builder=off",
            ),
            ("warn,", "warn,kube_client::client::builder=off"),
            ("info,kube_client=debug", "info,kube_client=debug"),
        ] {
            assert_eq!(directives(level), expected);
            assert!(directives(level).parse::<EnvFilter>().is_ok(), "{level}");
        }
    }
}
