//! The parameters of a request, held against the operation's JSON Schema, its defaults filled in.
//!
//! Adapters never see parameters that do not fit what they have declared. What is said of a parameter that does not
//! fit has its value in it, so that who asked finds it; but never the value of one that may be a secret.

mod sensitive;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

pub(in crate::operation) use self::sensitive::{Telling, telling};
use crate::confidential::{Confidential, HIDDEN};
use crate::operation::secret::reference::{References, is_only_references, is_placeholder};
use crate::problem::{Problem, ProblemKind};

/// Longest part of a value, or of a list of names, that is repeated to who sent it; in characters.
const SHOWN: usize = 200;

/// How many faults one answer names.
const NAMED: usize = 10;

/// Of parameters as they are shown, those of which something is not: it may be secret. A reference to a Secret is none.
pub(crate) fn withheld(schema: &Value, shown: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = shown
        .iter()
        .filter(|(name, value)| is_withheld(schema, &mut vec![(*name).clone()], value))
        .map(|(name, _)| name.clone())
        .collect();
    names.sort();
    names
}

fn is_withheld(schema: &Value, place: &mut Vec<String>, value: &Value) -> bool {
    let names: Vec<&str> = place.iter().map(String::as_str).collect();
    let telling = telling(schema, &names);
    let mut inside = |name: String, value: &Value| {
        place.push(name);
        let is_withheld = is_withheld(schema, place, value);
        place.pop();
        is_withheld
    };
    match (telling, value) {
        (Telling::Value, _) => false,
        (Telling::FaultAt(_), value) => !is_only_references(value),
        (Telling::Fault, Value::Object(fields)) => {
            fields.iter().any(|(name, value)| inside(name.clone(), value))
        }
        (Telling::Fault, Value::Array(items)) => items
            .iter()
            .enumerate()
            .any(|(number, value)| inside(number.to_string(), value)),
        (Telling::Fault, _) => true,
    }
}

/// The parameters with the defaults of those that were not given.
pub(in crate::operation) fn filled(schema: &Value, mut parameters: Map<String, Value>) -> Map<String, Value> {
    fill(schema, &mut parameters);
    parameters
}

/// A place, for people.
pub(in crate::operation) fn place_in_words(place: &[String]) -> String {
    let names: Vec<&str> = place.iter().map(String::as_str).collect();
    brief(&path_of(&names))
}

/// Fills in defaults and checks.
pub(crate) fn check(
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
        .map(|error| fault(&error, schema, &whole))
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
fn fault(error: &jsonschema::ValidationError<'_>, schema: &Value, whole: &Value) -> String {
    let path = error.instance_path().to_string();
    let names: Vec<String> = path
        .split('/')
        .skip(1)
        .map(|name| name.replace("~1", "/").replace("~0", "~"))
        .collect();
    let place: Vec<&str> = names.iter().map(String::as_str).collect();
    let telling = telling(schema, &place);
    if let Telling::FaultAt(depth) = telling {
        let place = brief(&path_of(&place[..depth]));
        let keyword = error.kind().keyword();
        // The names inside a secret are a part of it.
        return if depth < names.len() || names_what_is_inside(error.kind()) {
            format!("{place}: the value (not shown) does not fit its schema's {keyword}")
        } else {
            format!("{place}: {}", error.masked_with("the value (not shown)"))
        };
    }
    let place = brief(&path_of(&place));
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let holder = error.schema_path().as_str().strip_suffix("/additionalProperties");
            let known = holder.and_then(|holder| schema.pointer(holder)).map(|holder| {
                let properties = holder.get("properties").and_then(Value::as_object);
                let names: Vec<&str> = properties
                    .into_iter()
                    .flat_map(Map::keys)
                    .map(String::as_str)
                    .collect();
                names.join(", ")
            });
            let known = match known.as_deref() {
                Some("") => "; it takes none".to_owned(),
                Some(known) => format!("; it takes {known}"),
                None => String::new(),
            };
            format!("{place} has unknown {}{known}", brief(&unexpected.join(", ")))
        }
        ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            format!("{place} has unknown {}", brief(&unexpected.join(", ")))
        }
        ValidationErrorKind::PropertyNames { error } => {
            let name = brief(&error.instance().to_string());
            format!(
                "{place} has a name that does not fit: {}",
                error.masked_with(name)
            )
        }
        // A schema that takes no properties at all: then the library has the first one's value and not its name.
        ValidationErrorKind::FalseSchema
            if error.schema_path().as_str().ends_with("/additionalProperties") =>
        {
            let names = whole.pointer(&path).and_then(Value::as_object);
            let names: Vec<&str> = names
                .into_iter()
                .flat_map(Map::keys)
                .map(String::as_str)
                .collect();
            format!("{place} has unknown {}; it takes none", brief(&names.join(", ")))
        }
        ValidationErrorKind::FalseSchema => format!("{place}: nothing is allowed there"),
        _ if telling == Telling::Fault => format!("{place}: {}", error.masked_with("the value (not shown)")),
        _ => format!(
            "{place}: {}",
            error.masked_with(brief(&error.instance().to_string()))
        ),
    }
}

/// Whether the fault's text has names in it that stand inside the value.
fn names_what_is_inside(kind: &ValidationErrorKind) -> bool {
    matches!(
        kind,
        ValidationErrorKind::AdditionalProperties { .. }
            | ValidationErrorKind::UnevaluatedProperties { .. }
            | ValidationErrorKind::PropertyNames { .. }
    )
}

fn path_of(names: &[&str]) -> String {
    let parts = std::iter::once("parameters").chain(names.iter().copied());
    parts.collect::<Vec<_>>().join("/")
}

/// A text that callers sent, cut where it gets too long to be of use.
fn brief(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
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

/// The parameters as they may be shown and kept: of sensitive ones, only that they were given, and what they refer to.
pub(crate) fn shown(
    schema: &Value,
    parameters: &Map<String, Value>,
    references: &References,
) -> Map<String, Value> {
    let mut shown = parameters.clone();
    for (name, value) in &mut shown {
        hide(schema, &mut vec![name.clone()], value, references);
    }
    shown
}

/// The texts of the parameters that may be secret, but for those that are the value of an open one too.
pub(crate) fn confidential(schema: &Value, parameters: &Map<String, Value>) -> Confidential {
    let (mut texts, mut open) = (Confidential::default(), Vec::new());
    for (name, value) in parameters {
        part(schema, &mut vec![name.clone()], value, &mut texts, &mut open);
    }
    for value in open {
        texts.leave_out(value);
    }
    texts.retain(|text| !is_placeholder(text));
    texts
}

fn part<'a>(
    schema: &Value,
    place: &mut Vec<String>,
    value: &'a Value,
    texts: &mut Confidential,
    open: &mut Vec<&'a Value>,
) {
    let names: Vec<&str> = place.iter().map(String::as_str).collect();
    let telling = telling(schema, &names);
    let mut inside = |name: String, value: &'a Value| {
        place.push(name);
        part(schema, place, value, texts, open);
        place.pop();
    };
    match (telling, value) {
        (Telling::Value, value) => open.push(value),
        (Telling::Fault, Value::Object(fields)) => fields
            .iter()
            .for_each(|(name, value)| inside(name.clone(), value)),
        (Telling::Fault, Value::Array(items)) => items
            .iter()
            .enumerate()
            .for_each(|(number, value)| inside(number.to_string(), value)),
        (Telling::Fault | Telling::FaultAt(_), value) => texts.add(value),
    }
}

/// A sensitive value of which only the references are shown, and the way to them.
fn only_references(value: &Value, references: &References) -> Value {
    let hidden = Value::from(HIDDEN);
    match value {
        Value::String(text) => references.written(text).unwrap_or(hidden),
        Value::Array(items) => {
            let shown: Vec<Value> = items
                .iter()
                .map(|item| only_references(item, references))
                .collect();
            if shown.iter().all(|item| *item == hidden) {
                return hidden;
            }
            Value::Array(shown)
        }
        Value::Object(fields) => {
            let mut shown: Map<String, Value> = fields
                .iter()
                .map(|(name, field)| (name.clone(), only_references(field, references)))
                .collect();
            // The names of what is secret are a part of it.
            let all = shown.len();
            shown.retain(|_, field| *field != hidden);
            if shown.is_empty() {
                return hidden;
            }
            if shown.len() < all {
                shown.insert(HIDDEN.into(), hidden);
            }
            Value::Object(shown)
        }
        _ => hidden,
    }
}

fn hide(schema: &Value, place: &mut Vec<String>, value: &mut Value, references: &References) {
    let names: Vec<&str> = place.iter().map(String::as_str).collect();
    match telling(schema, &names) {
        Telling::Value => {}
        Telling::FaultAt(_) => *value = only_references(value, references),
        Telling::Fault => {
            let mut inside = |name: String, value: &mut Value| {
                place.push(name);
                hide(schema, place, value, references);
                place.pop();
            };
            match value {
                Value::Object(fields) => fields
                    .iter_mut()
                    .for_each(|(name, value)| inside(name.clone(), value)),
                Value::Array(items) => items
                    .iter_mut()
                    .enumerate()
                    .for_each(|(number, value)| inside(number.to_string(), value)),
                _ => *value = HIDDEN.into(),
            }
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
    fn parameters_that_may_be_secret_are_not_written_into_files() {
        let schema = json!({"type": "object", "properties": {
            "password": {"type": "string", "writeOnly": true},
            "registry": {"type": "object", "properties": {"token": {"type": "string", "format": "password"}}},
            "namespace": {"type": "string"}}});
        let given = json!({"password": "x", "registry": {"token": "y"}, "namespace": "z"});
        let given = given.as_object().cloned().unwrap();
        let shown = shown(&schema, &given, &References::default());
        assert_eq!(withheld(&schema, &shown), ["password", "registry"]);
    }

    #[test]
    fn references_are_shown_and_exported_and_what_is_beside_them_is_not() {
        let schema = json!({"type": "object", "properties": {
            "password": {"type": "string", "writeOnly": true},
            "values": {"properties": {"a": {"writeOnly": true}, "b": {"writeOnly": true}}, "default": {}}}});
        let reference = json!({"secretRef": {"namespace": "n", "name": "s", "key": "k"}});
        let given = json!({"password": reference, "values": {
            "a": {"deep": [{"token": reference}]}, "b": {"token": reference, "open": "marker", "list": [1]}}});
        let Value::Object(mut given) = given.clone() else {
            unreachable!()
        };
        let wanted = given.clone();
        let references = References::take(&schema, &mut given).unwrap();
        assert_ne!(given, wanted);
        let mut shown = shown(&schema, &given, &references);
        assert_eq!(shown["password"], reference);
        assert_eq!(shown["values"]["a"], wanted["values"]["a"]);
        assert_eq!(shown["values"]["b"], json!({"token": reference, HIDDEN: HIDDEN}));
        assert_eq!(withheld(&schema, &shown), ["values"]);
        shown["values"].as_object_mut().unwrap().remove("b");
        assert!(withheld(&schema, &shown).is_empty());
        assert!(withheld(&schema, json!({"values": {}}).as_object().unwrap()).is_empty());
    }

    #[test]
    fn the_value_of_a_sensitive_parameter_is_in_no_error() {
        let schema = json!({"type": "object", "additionalProperties": false, "maxProperties": 2, "properties": {
            "password": {"type": "string", "minLength": 12, "pattern": "^[a-z]+$", "format": "password"},
            "tls": {"type": "object", "required": ["cert"], "properties": {
                "key": {"type": "string", "writeOnly": true, "enum": ["never"]}}},
            "data": {"writeOnly": true, "additionalProperties": false, "properties": {
                "a": {"propertyNames": {"maxLength": 3}}}},
            "either": {"oneOf": [{"type": "array", "items": {"format": "password", "type": "string"}}]},
            "plain": {"type": "integer"},
        }});
        for (parameters, place) in [
            (json!({"password": "hunter2"}), "parameters/password: "),
            (json!({"password": ["hunter2"]}), "parameters/password: "),
            (json!({"password": {"hunter2": 1}}), "parameters/password: "),
            (
                json!({"tls": {"key": "hunter2", "cert": 1}}),
                "parameters/tls/key: ",
            ),
            (
                json!({"tls": {"key": "hunter2"}}),
                "\"cert\" is a required property",
            ),
            (json!({"tls": "hunter2"}), "parameters/tls: "),
            (json!({"data": {"hunter2": 1}}), "parameters/data: "),
            (json!({"data": {"a": {"hunter2": 1}}}), "parameters/data: "),
            (json!({"either": "hunter2"}), "parameters/either: "),
            (json!({"either": [["hunter2"]]}), "parameters/either"),
            (
                json!({"password": "hunter2hunter", "plain": 1, "tls": 2}),
                "2 properties",
            ),
            (
                json!({"password": "hunter2", "plain": "four"}),
                "\"four\" is not of type",
            ),
        ] {
            let Value::Object(given) = parameters.clone() else {
                unreachable!()
            };
            let problem = check("demo", "install", &schema, given).unwrap_err();
            let told = format!("{problem:?}");
            assert!(!told.contains("hunter2"), "{told}");
            assert!(
                told.contains(place) || problem.message.contains(place),
                "{place}: {told}"
            );
        }
    }

    #[test]
    fn a_long_value_is_cut() {
        let long = "x".repeat(100_000);
        let nested = json!({"type": "object", "additionalProperties": false, "properties": {"inner": {
            "type": "object", "additionalProperties": false, "properties": {"known": {}}}}});
        for (schema, parameters, words) in [
            (
                json!({"properties": {"a": {"type": "integer"}}}),
                json!({"a": long}),
                "100002 bytes",
            ),
            (
                json!({"additionalProperties": false}),
                json!({&long: 1}),
                "has unknown xxx",
            ),
            (
                json!({"additionalProperties": {"type": "null"}}),
                json!({&long: 1}),
                "parameters/xxx",
            ),
            (
                json!({"propertyNames": {"maxLength": 3}}),
                json!({&long: 1}),
                "longer than 3",
            ),
            (
                nested,
                json!({"inner": {"other": 1}}),
                "parameters/inner has unknown other; it takes known",
            ),
        ] {
            let Value::Object(given) = parameters else {
                unreachable!()
            };
            let problem = check("demo", "install", &schema, given).unwrap_err();
            assert!(problem.message.len() < 700, "{} bytes", problem.message.len());
            assert!(problem.message.contains(words), "{words}: {problem}");
        }
    }

    #[test]
    fn an_operation_without_a_schema_takes_nothing() {
        let mut given = Map::new();
        check("demo", "x", &Value::Null, given.clone()).unwrap();
        given.insert("a".into(), json!("hunter2"));
        let problem = check("demo", "x", &Value::Null, given).unwrap_err();
        assert!(
            problem
                .message
                .contains("parameters has unknown a; it takes none"),
            "{problem}"
        );
        assert!(!problem.message.contains("hunter2"), "{problem}");
    }

    #[test]
    fn of_sensitive_parameters_only_that_they_were_given_is_kept() {
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string"},
            "token": {"type": "string", "writeOnly": true},
            "registry": {"type": "object", "properties": {
                "user": {"type": "string"}, "password": {"type": "string", "format": "password"}}},
            "keys": {"type": "array", "items": {"type": "string", "writeOnly": true}},
        }});
        let Value::Object(given) = json!({"name": "a", "token": "marker", "keys": ["marker"],
            "registry": {"user": "u", "password": "marker"}})
        else {
            panic!("parameters are an object")
        };
        let shown = Value::Object(shown(&schema, &given, &References::default()));
        assert!(!shown.to_string().contains("marker"), "{shown}");
        assert_eq!(shown["name"], "a");
        assert_eq!(shown["registry"], json!({"user": "u", "password": HIDDEN}));
        assert_eq!(shown["token"], HIDDEN);
    }
}
