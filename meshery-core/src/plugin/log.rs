//! A plugin's log events as part of the host's log.
//!
//! They have the target `plugin`; which plugin and which of its modules are fields. They land in whatever span is
//! current, so the caller enters that of the call.

use meshery_plugin_api::frame::Log;
use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, trace, warn};

use crate::confidential::untold;

/// How much plugins are to log, 0 to 5, as the host's own log is set.
pub(super) fn level() -> u8 {
    match LevelFilter::current() {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        LevelFilter::TRACE => 5,
    }
}

/// Whether an event of this level would be written.
pub(super) fn is_enabled(level: u8) -> bool {
    match level {
        1 => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        2 => tracing::enabled!(target: "plugin", tracing::Level::WARN),
        3 => tracing::enabled!(target: "plugin", tracing::Level::INFO),
        4 => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
        _ => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
    }
}

/// Writes an event.
pub(super) fn write(plugin: &str, log: &Log) {
    let Log {
        level,
        line,
        target: module,
        file,
        message,
        fields,
        spans,
        op: _,
    } = log;
    let [message, fields, spans] = [message, fields, spans].map(|text| untold(text));
    let (fields, spans) = (&*fields, &*spans);
    match level {
        1 => error!(target: "plugin", plugin, module, file, line, fields, spans, "{message}"),
        2 => warn!(target: "plugin", plugin, module, file, line, fields, spans, "{message}"),
        3 => info!(target: "plugin", plugin, module, file, line, fields, spans, "{message}"),
        4 => debug!(target: "plugin", plugin, module, file, line, fields, spans, "{message}"),
        _ => trace!(target: "plugin", plugin, module, file, line, fields, spans, "{message}"),
    }
}
