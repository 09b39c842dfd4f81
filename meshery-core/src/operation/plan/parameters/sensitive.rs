//! Which parameters may hold secrets: those that the operation's schema marks with `"writeOnly": true` or
//! `"format": "password"`, wherever in it.
//!
//! A schema can say the same in many ways, so that in doubt a value counts as sensitive: a reference that cannot be
//! followed here hides what it refers to, and so does a branch (`anyOf`, `if`, ...) that need not be the one that
//! applies.

use serde_json::{Map, Value};

/// Keywords with one schema that applies to the same value.
const SAME: [&str; 4] = ["if", "then", "else", "not"];
/// Keywords with a list of such schemas.
const SAME_OF_LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords with such schemas by name.
const SAME_BY_NAME: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords with a schema, or a list of schemas, for what is inside the value.
const INSIDE: [&str; 7] = [
    "additionalProperties",
    "unevaluatedProperties",
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
];
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What may be told of the value at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operation) enum Telling {
    /// The value.
    Value,
    /// Only what is wrong with it: something inside it is sensitive.
    Fault,
    /// Only what is wrong with the value whose place has this many parts: it is sensitive as a whole, the names
    /// inside it included.
    FaultAt(usize),
}

/// What may be told of the value at `place`, the names and numbers that lead to it.
pub(in crate::operation) fn telling(root: &Value, place: &[&str]) -> Telling {
    let mut schemas = applying(root, vec![root]);
    for (depth, name) in place.iter().enumerate() {
        if schemas.iter().any(|schema| is_sensitive(root, schema)) {
            return Telling::FaultAt(depth);
        }
        let inside = schemas.iter().flat_map(|schema| inside(schema, name)).collect();
        schemas = applying(root, inside);
    }
    if schemas.iter().any(|schema| is_sensitive(root, schema)) {
        Telling::FaultAt(place.len())
    } else if schemas
        .iter()
        .any(|schema| holds_sensitive(root, schema, &mut Vec::new()))
    {
        Telling::Fault
    } else {
        Telling::Value
    }
}

/// The schemas and all that apply to the same value because of them, each once.
fn applying<'a>(root: &'a Value, mut schemas: Vec<&'a Value>) -> Vec<&'a Value> {
    let mut seen: Vec<&Value> = Vec::new();
    while let Some(schema) = schemas.pop() {
        if seen.iter().any(|known| std::ptr::eq(*known, schema)) {
            continue;
        }
        seen.push(schema);
        let Some(schema) = schema.as_object() else {
            continue;
        };
        schemas.extend(SAME.iter().filter_map(|keyword| schema.get(*keyword)));
        let listed = SAME_OF_LIST.iter().filter_map(|keyword| schema.get(*keyword));
        schemas.extend(listed.filter_map(Value::as_array).flatten());
        let named = SAME_BY_NAME.iter().filter_map(|keyword| schema.get(*keyword));
        schemas.extend(named.filter_map(Value::as_object).flat_map(Map::values));
        schemas.extend(references(schema).filter_map(|reference| followed(root, reference)));
    }
    seen
}

/// The schemas for the value of this name, or number, inside of one that `schema` applies to.
fn inside<'a>(schema: &'a Value, name: &str) -> Vec<&'a Value> {
    let by_name = schema["properties"].get(name).into_iter();
    // Whether the pattern fits the name is not looked at.
    let by_pattern = schema["patternProperties"].as_object().into_iter();
    let others = INSIDE.iter().filter_map(|keyword| schema.get(*keyword));
    let others = others.flat_map(|schema| {
        schema
            .as_array()
            .map_or(std::slice::from_ref(schema), Vec::as_slice)
    });
    by_name
        .chain(by_pattern.flat_map(Map::values))
        .chain(others)
        .collect()
}

fn is_sensitive(root: &Value, schema: &Value) -> bool {
    schema["writeOnly"] == Value::Bool(true)
        || schema["format"] == "password"
        || schema
            .as_object()
            .is_some_and(|schema| references(schema).any(|reference| followed(root, reference).is_none()))
}

/// Whether it, or anything in it or that it refers to, is sensitive.
fn holds_sensitive<'a>(root: &'a Value, value: &'a Value, seen: &mut Vec<&'a Value>) -> bool {
    match value {
        Value::Object(fields) => {
            if seen.iter().any(|known| std::ptr::eq(*known, value)) {
                return false;
            }
            seen.push(value);
            is_sensitive(root, value)
                || fields
                    .values()
                    .chain(references(fields).filter_map(|reference| followed(root, reference)))
                    .any(|inner| holds_sensitive(root, inner, seen))
        }
        Value::Array(items) => items.iter().any(|item| holds_sensitive(root, item, seen)),
        _ => false,
    }
}

fn references(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    REFERENCES
        .iter()
        .filter_map(|keyword| schema.get(*keyword)?.as_str())
}

/// Where a reference leads within the same document.
fn followed<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mark_is_found_wherever_the_schema_has_it() {
        let secret = json!({"type": "string", "writeOnly": true});
        let password = json!({"type": "string", "format": "password"});
        for (schema, place, expected) in [
            (
                json!({"properties": {"a": secret}}),
                &["a"][..],
                Telling::FaultAt(1),
            ),
            (json!({"properties": {"a": secret}}), &["b"], Telling::Value),
            (json!({"properties": {"a": secret}}), &[], Telling::Fault),
            (
                json!({"properties": {"a": {"writeOnly": true}}}),
                &["a", "b", "0"],
                Telling::FaultAt(1),
            ),
            (
                json!({"properties": {"a": {"items": {"properties": {"b": password}}}}}),
                &["a", "3", "b"],
                Telling::FaultAt(3),
            ),
            (
                json!({"properties": {"a": {"anyOf": [{"type": "null"}, {"additionalProperties": secret}]}}}),
                &["a", "x"],
                Telling::FaultAt(2),
            ),
            (
                json!({"properties": {"a": {"$ref": "#/$defs/s"}}, "$defs": {"s": password}}),
                &["a"],
                Telling::FaultAt(1),
            ),
            (
                json!({"properties": {"a": {"$ref": "#elsewhere"}}}),
                &["a"],
                Telling::FaultAt(1),
            ),
            (
                json!({"properties": {"a": {"$ref": "#"}, "b": secret}}),
                &["a", "a", "b"],
                Telling::FaultAt(3),
            ),
            (
                json!({"if": {"properties": {"k": {"const": 1}}}, "then": {"properties": {"a": secret}}}),
                &["a"],
                Telling::FaultAt(1),
            ),
            (
                json!({"properties": {"writeOnly": {"type": "boolean"}}}),
                &["writeOnly"],
                Telling::Value,
            ),
            (
                json!({"properties": {"a": {"$ref": "#"}}}),
                &["a", "a"],
                Telling::Value,
            ),
        ] {
            assert_eq!(telling(&schema, place), expected, "{schema} at {place:?}");
        }
    }
}
