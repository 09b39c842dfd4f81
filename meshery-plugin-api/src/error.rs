//! The one error type that plugins return: what happened, probably why, and what to do.

use std::fmt;

use crate::abi::AbiError;
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

/// What does not fit the frozen part of the ABI error.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Detail {
    cause: String,
    remedy: String,
    retryable: bool,
}

impl From<PluginError> for AbiError {
    fn from(error: PluginError) -> Self {
        let detail = Detail {
            cause: error.cause,
            remedy: error.remedy,
            retryable: error.retryable,
        };
        Self {
            code: error.code.into(),
            message: error.message.into(),
            detail: serde_json::to_vec(&detail).unwrap_or_default().into(),
        }
    }
}

impl From<AbiError> for PluginError {
    fn from(error: AbiError) -> Self {
        let detail: Detail = serde_json::from_slice(&error.detail).unwrap_or_default();
        Self {
            code: error.code.into(),
            message: error.message.into(),
            cause: detail.cause,
            remedy: detail.remedy,
            retryable: detail.retryable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_the_boundary_whole_and_a_garbled_detail_costs_only_the_detail() {
        let error = PluginError::new("a", "b").cause("c").remedy("d").retryable();
        assert_eq!(PluginError::from(AbiError::from(error.clone())), error);

        let mut garbled = AbiError::from(error);
        garbled.detail = vec![0xff].into();
        assert_eq!(PluginError::from(garbled), PluginError::new("a", "b"));
    }
}
