//! What an adapter noticed, and what is risky about a plan: one shape for both.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::console::{Paint, plain};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Finding {
    pub severity: String,
    pub code: String,
    pub message: String,
    #[serde(rename = "ref")]
    pub object: Option<String>,
    pub remedy: String,
}

impl Finding {
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }

    pub fn lines(&self, paint: Paint) -> String {
        let label = format!("{}[{}]", plain(&self.severity), plain(&self.code));
        let label = match self.severity.as_str() {
            "error" => paint.bad(&label),
            "warning" => paint.notable(&label),
            _ => paint.dim(&label),
        };
        let mut text = format!("{label}: {}", plain(&self.message));
        if let Some(object) = self
            .object
            .as_ref()
            .filter(|object| !self.message.contains(object.as_str()))
        {
            let _ = write!(text, " {}", paint.dim(&format!("({})", plain(object))));
        }
        if !self.remedy.is_empty() {
            let _ = write!(text, "\n  {}: {}", paint.dim("remedy"), plain(&self.remedy));
        }
        text
    }
}
