//! JSON Schemas of parameters, in the few forms that operations use.

use serde_json::{Map, Value, json};

/// An object with these properties and no others.
pub fn object<'a>(properties: impl IntoIterator<Item = (&'a str, Value)>, required: &[&str]) -> Value {
    let properties: Map<String, Value> = properties
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A text without a default.
pub fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// The name of a namespace; required where the default is empty.
pub fn namespace(description: &str, default: &str) -> Value {
    let mut schema = json!({
        "type": "string",
        "description": description,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "maxLength": 63,
    });
    if !default.is_empty() {
        schema["default"] = default.into();
    }
    schema
}

/// One of several words; the first is the default.
pub fn choice(description: &str, words: &[&str]) -> Value {
    json!({"type": "string", "description": description, "enum": words, "default": words.first()})
}

/// Yes or no.
pub fn flag(description: &str, default: bool) -> Value {
    json!({"type": "boolean", "description": description, "default": default})
}

/// A whole number from 0 to a limit.
pub fn count(description: &str, default: u64, limit: u64) -> Value {
    json!({"type": "integer", "description": description, "default": default, "minimum": 0, "maximum": limit})
}
