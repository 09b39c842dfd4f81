//! Turns `--set key=value` and `--set-file key=file` into JSON by the operation's own schema, so that a word means
//! what the adapter means.
//!
//! The host checks parameters as well; what is caught here is caught before anything is sent.

mod file;

use serde_json::{Map, Value};

use crate::adapter::Operation;
use crate::arguments::Parameters;
use crate::console::brief;
use crate::failure::Failure;

/// Longest part of a word that is repeated, in characters.
const SHOWN: usize = 200;

/// Parameters by name, from what the user wrote.
pub fn read(operation: &Operation, words: &[(String, String)]) -> Result<Map<String, Value>, Failure> {
    let mut parameters = Map::new();
    for (name, word) in words {
        let Some(schema) = operation.property(name) else {
            if operation.is_open() {
                parameters.insert(name.clone(), guess(word));
                continue;
            }
            return Err(Failure::usage(
                "unknown-parameter",
                format!(
                    "operation {} has no parameter \"{}\"",
                    operation.name,
                    brief(name, SHOWN)
                ),
                match operation.parameter_names().join(", ") {
                    names if names.is_empty() => "it takes none".to_owned(),
                    names => format!("it takes {names}"),
                },
            ));
        };
        if parameters
            .insert(name.clone(), value(name, word, schema)?)
            .is_some()
        {
            let message = format!("parameter \"{name}\" is given twice");
            return Err(Failure::usage("repeated-parameter", message, "give it once"));
        }
    }
    Ok(parameters)
}

impl Parameters {
    /// Names and values as they were given; files are read.
    pub fn words(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut words: Vec<(String, String)> = Vec::new();
        for text in &self.values {
            words.push(split(text, "--set", "value")?);
        }
        let mut input_is_used = false;
        for text in &self.files {
            let (name, path) = split(text, "--set-file", "file")?;
            if path == file::STANDARD_INPUT && std::mem::replace(&mut input_is_used, true) {
                return Err(Failure::usage(
                    "bad-parameter",
                    "--set-file names standard input twice",
                    "give one of them as a file",
                ));
            }
            let text = file::read(&name, &path)?;
            words.push((name, text));
        }
        Ok(words)
    }
}

/// Splits `key=value`.
fn split(text: &str, option: &str, value: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(Failure::usage(
            "bad-parameter",
            format!(
                "{option} \"{}\" is not of the form key={value}",
                brief(text, SHOWN)
            ),
            format!("write it as {option} key={value}"),
        )),
    }
}

fn value(name: &str, word: &str, schema: &Value) -> Result<Value, Failure> {
    let kind = schema["type"].as_str().unwrap_or("");
    let is_secret = schema["writeOnly"] == true || schema["format"] == "password";
    let refused = |expected: &str| {
        Err(Failure::usage(
            "bad-parameter",
            if is_secret {
                format!("parameter \"{name}\" (not shown) is not {expected}")
            } else {
                format!(
                    "parameter \"{name}\" is \"{}\", not {expected}",
                    brief(word, SHOWN)
                )
            },
            match schema["description"].as_str() {
                Some(description) => format!("it means: {description}"),
                None => "see `mesheryctl adapter view`".to_owned(),
            },
        ))
    };
    let value = match kind {
        "string" if is_secret => reference(word).unwrap_or_else(|| word.into()),
        "string" => Value::from(word),
        "boolean" => match word {
            "true" | "yes" => Value::from(true),
            "false" | "no" => Value::from(false),
            _ => return refused("true or false"),
        },
        "integer" => match word.parse::<i64>() {
            Ok(number) => Value::from(number),
            Err(_) => return refused("a whole number"),
        },
        "number" => match word.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) => Value::from(number),
            None => return refused("a number"),
        },
        "array" if !word.trim_start().starts_with('[') => word
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect(),
        "array" | "object" => match serde_json::from_str(word) {
            Ok(value) => value,
            Err(_) => return refused("JSON"),
        },
        _ => guess(word),
    };
    if let Some(allowed) = schema["enum"]
        .as_array()
        .filter(|allowed| !allowed.contains(&value))
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return refused(&format!("one of {}", allowed.join(", ")));
    }
    Ok(value)
}

/// A reference to a Secret in the place of a text that may be secret.
fn reference(word: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(word).ok()?;
    let fields = value.as_object()?;
    (fields.len() == 1 && fields.contains_key("secretRef")).then_some(value)
}

/// Without a schema: JSON if it reads as such, else a text.
fn guess(word: &str) -> Value {
    serde_json::from_str(word).unwrap_or_else(|_| Value::from(word))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    fn operation() -> Operation {
        Operation::deserialize(json!({"name": "install", "parameters": {
            "type": "object", "additionalProperties": false,
            "properties": {
                "version": {"type": "string"},
                "profile": {"type": "string", "enum": ["default", "minimal"]},
                "wait": {"type": "boolean"},
                "password": {"type": "string", "writeOnly": true},
                "replicas": {"type": "integer"},
                "namespaces": {"type": "array"}}}}))
        .unwrap()
    }

    fn read_one(text: &str) -> Result<Value, String> {
        let words = [split(text, "--set", "value").map_err(|e| e.to_string())?];
        let read = read(&operation(), &words).map_err(|e| e.to_string())?;
        Ok(Value::Object(read))
    }

    #[test]
    fn the_schema_decides_what_a_word_is() {
        for (text, expected) in [
            ("version=1.30", json!({"version": "1.30"})),
            ("wait=true", json!({"wait": true})),
            ("replicas=3", json!({"replicas": 3})),
            ("namespaces=a, b", json!({"namespaces": ["a", "b"]})),
            ("version=a=b", json!({"version": "a=b"})),
            ("password={\"a\": 1}", json!({"password": "{\"a\": 1}"})),
            (
                "password={\"secretRef\": {\"name\": \"x\"}}",
                json!({"password": {"secretRef": {"name": "x"}}}),
            ),
        ] {
            assert_eq!(read_one(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_the_schema_does_not_take_is_refused_and_what_it_takes_is_said() {
        for (text, said) in [
            ("wait=perhaps", "true or false"),
            ("replicas=1.5", "a whole number"),
            ("profile=demo", "\"minimal\""),
            (
                "verison=1",
                "it takes namespaces, password, profile, replicas, version, wait",
            ),
            ("=1", "key=value"),
            ("version", "key=value"),
        ] {
            let error = read_one(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
