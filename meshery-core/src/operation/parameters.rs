//! The parameters of a request, held against the operation's JSON Schema, its defaults filled in.
//!
//! Adapters never see parameters that do not fit what they have declared.

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use crate::problem::{Problem, ProblemKind};

/// How many faults one answer names.
const NAMED: usize = 10;

/// Fills in defaults and checks.
pub(super) fn check(
    adapter: &str,
    operation: &str,
    schema: &Value,
    mut parameters: Map<String, Value>,
) -> Result<Map<String, Value>, Problem> {
    // An operation without a schema takes no parameters.
    let none = serde_json::json!({"type": "object", "additionalProperties": false});
    let schema = if schema.is_null() { &none } else { schema };
    let validator = Validator::new(schema).map_err(|error| {
        Problem::new(
            ProblemKind::Internal,
            "bad-descriptor",
            format!("the schema of operation {operation} of adapter {adapter} is not a JSON Schema: {error}"),
        )
        .remedy("report this to the adapter's author")
    })?;
    fill(schema, &mut parameters);
    let whole = Value::Object(parameters);
    let faults: Vec<String> = validator
        .iter_errors(&whole)
        .take(NAMED)
        .map(|error| fault(&error, schema))
        .collect();
    if !faults.is_empty() {
        return Err(Problem::new(
            ProblemKind::Invalid,
            "bad-parameter",
            format!("operation {operation} of {adapter}: {}", faults.join("; ")),
        )
        .remedy(format!(
            "correct the parameters; the adapter's description says what {operation} takes"
        )));
    }
    match whole {
        Value::Object(parameters) => Ok(parameters),
        _ => Ok(Map::new()),
    }
}

/// Where, what was found, what is expected.
fn fault(error: &jsonschema::ValidationError<'_>, schema: &Value) -> String {
    let path = error.instance_path().to_string();
    let place = if path.is_empty() {
        "parameters".to_owned()
    } else {
        format!("parameters{path}")
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known: Vec<&str> = schema
                .get("properties")
                .and_then(Value::as_object)
                .map(|properties| properties.keys().map(String::as_str).collect())
                .unwrap_or_default();
            let known = if known.is_empty() {
                "it takes none".to_owned()
            } else {
                format!("it takes {}", known.join(", "))
            };
            format!("{place} has unknown {}; {known}", unexpected.join(", "))
        }
        _ => format!("{place}: {error}"),
    }
}

/// Sets what was not given to its default.
fn fill(schema: &Value, parameters: &mut Map<String, Value>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, property) in properties {
        if let Some(default) = property.get("default")
            && !parameters.contains_key(name)
        {
            parameters.insert(name.clone(), default.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(parameters: Value) -> Result<Map<String, Value>, Problem> {
        let schema = json!({"type": "object", "additionalProperties": false, "properties": {
            "version": {"type": "string", "pattern": "^[0-9.]+$"},
            "profile": {"type": "string", "enum": ["default", "minimal"], "default": "default"},
        }});
        let Value::Object(parameters) = parameters else {
            panic!("a test's parameters are an object")
        };
        check("demo", "install", &schema, parameters)
    }

    #[test]
    fn defaults_are_filled_in_and_what_was_given_stays() {
        assert_eq!(checked(json!({})).unwrap()["profile"], "default");
        assert_eq!(
            checked(json!({"profile": "minimal"})).unwrap()["profile"],
            "minimal"
        );
    }

    #[test]
    fn a_fault_names_the_place_the_value_and_what_is_expected() {
        for (parameters, words) in [
            (
                json!({"profile": "huge"}),
                ["parameters/profile", "\"huge\"", "minimal"],
            ),
            (json!({"version": 3}), ["parameters/version", "3", "string"]),
            (
                json!({"version": "../x"}),
                ["parameters/version", "../x", "match"],
            ),
            (json!({"colour": 1}), ["unknown colour", "profile", "version"]),
        ] {
            let problem = checked(parameters).unwrap_err();
            assert_eq!(problem.code, "bad-parameter");
            for word in words {
                assert!(problem.message.contains(word), "{word}: {problem}");
            }
        }
    }

    #[test]
    fn an_operation_without_a_schema_takes_nothing() {
        let mut given = Map::new();
        check("demo", "x", &Value::Null, given.clone()).unwrap();
        given.insert("a".into(), json!(1));
        assert!(check("demo", "x", &Value::Null, given).is_err());
    }
}
