//! The one error type that plugins return: what happened, probably why, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error as it crosses the boundary and, unchanged, reaches the user.
///
/// ```
/// use meshery_plugin_api::PluginError;
/// let error = PluginError::new("unknown-version", "Istio has no version \"1.99.0\"")
///     .cause("the catalogue knows 1.30.2 and 1.30.3")
///     .remedy("choose one of those, or add a mirror that holds the charts of 1.99.0");
/// assert_eq!(error.code, "unknown-version");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PluginError {
    /// Stable code: lower-case words joined by dashes.
    pub code: String,
    /// What happened, with the value and the place.
    pub message: String,
    /// Probable cause.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Whether the same call may succeed later without anybody doing anything.
    pub retryable: bool,
}

impl PluginError {
    /// An error with its code and what happened.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            ..Self::default()
        }
    }

    /// Adds the probable cause.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    /// Adds what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Says that the same call may succeed later.
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.cause.is_empty() {
            write!(f, " ({})", self.cause)?;
        }
        Ok(())
    }
}

impl std::error::Error for PluginError {}
