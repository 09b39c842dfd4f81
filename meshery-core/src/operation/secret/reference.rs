//! References to Secrets of the cluster in the place of parameters that may be secret.
//!
//! Who plans writes `{"secretRef": {"namespace": ..., "name": ..., "key": ...}}` where the operation's schema marks a value
//! as sensitive, at whatever depth. The adapter gets a placeholder for it: a text that nobody could have known when
//! the request was made, and that means something in this one operation only. So no other input can forge one, and an
//! adapter can have no Secret read but those that the user has named; all that it can do is to say where the text belongs.
//! What is stored, shown and exported is the reference. Reading the Secret is `values`' part.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use meshery_plugin_api::message::object_ref::ObjectRef;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::operation::plan::parameters::{Telling, place_in_words, telling};
use crate::problem::{Problem, ProblemKind};

/// The one field of a reference.
const FIELD: &str = "secretRef";
/// What placeholders begin with, for whoever meets one: lower-case letters, digits and dashes, short enough for a
/// label, so that it may stand wherever a text may.
const PREFIX: &str = "meshery-secret-";
/// Random bytes of a placeholder.
const RANDOM: usize = 16;
/// References in one request.
const MOST: usize = 100;

/// A value in a Secret of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRef {
    pub namespace: String,
    pub name: String,
    pub key: String,
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} of {}", self.key, self.object())
    }
}

impl SecretRef {
    /// The Secret.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new("v1", "Secret", &self.namespace, &self.name)
    }

    /// As a user writes it.
    fn written(&self) -> Value {
        json!({FIELD: self})
    }

    /// What somebody has written in the field.
    fn read(inner: &Value) -> Result<Self, String> {
        let takes = "it takes namespace, name and key, each a text, and nothing else";
        let read: Self = serde_json::from_value(inner.clone()).map_err(|_| takes.to_owned())?;
        let fits = |text: &str, longest: usize, others: &str| {
            let is_one_of =
                |byte: u8| byte.is_ascii_alphanumeric() || others.bytes().any(|other| other == byte);
            (1..=longest).contains(&text.len()) && text.bytes().all(is_one_of) && !text.starts_with('.')
        };
        for (what, fits) in [
            ("namespace", fits(&read.namespace, 63, "-")),
            ("name", fits(&read.name, 253, "-.")),
            ("key", fits(&read.key, 253, "-._")),
        ] {
            if !fits {
                return Err(format!("its {what} is none that a Secret can have"));
            }
        }
        Ok(read)
    }
}

/// The references of an operation, by the placeholders that the adapter was given for them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct References(BTreeMap<String, SecretRef>);

impl References {
    /// Puts a placeholder into the place of each reference.
    pub fn take(schema: &Value, parameters: &mut Map<String, Value>) -> Result<Self, Problem> {
        let mut references = Self::default();
        for (name, value) in parameters {
            references.take_from(schema, &mut vec![name.clone()], value)?;
        }
        Ok(references)
    }

    fn take_from(
        &mut self,
        schema: &Value,
        place: &mut Vec<String>,
        value: &mut Value,
    ) -> Result<(), Problem> {
        if let Some(reference) = found(schema, place, value)? {
            if self.0.len() >= MOST {
                return Err(malformed(
                    place,
                    &format!("there are more than {MOST} references"),
                ));
            }
            let placeholder = placeholder()?;
            *value = placeholder.as_str().into();
            self.0.insert(placeholder, reference);
            return Ok(());
        }
        let mut inside = |name: String, value: &mut Value| {
            place.push(name);
            let taken = self.take_from(schema, place, value);
            place.pop();
            taken
        };
        match value {
            Value::Object(fields) => fields
                .iter_mut()
                .try_for_each(|(name, value)| inside(name.clone(), value)),
            Value::Array(items) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(number, value)| inside(number.to_string(), value)),
            _ => Ok(()),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Placeholders, and what they stand for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretRef)> {
        self.0
            .iter()
            .map(|(placeholder, reference)| (placeholder.as_str(), reference))
    }

    /// The reference for a placeholder, as a user writes it.
    pub fn written(&self, placeholder: &str) -> Option<Value> {
        self.0.get(placeholder).map(SecretRef::written)
    }

    /// A text for people, in which the references take the places of the placeholders.
    pub fn name_references(&self, text: &str) -> String {
        self.iter()
            .fold(text.to_owned(), |text, (placeholder, reference)| {
                if text.contains(placeholder) {
                    text.replace(placeholder, &format!("({reference})"))
                } else {
                    text
                }
            })
    }

    /// The same of a problem.
    pub fn name_references_in(&self, problem: Problem) -> Problem {
        if self.is_empty() {
            return problem;
        }
        Problem {
            message: self.name_references(&problem.message),
            cause: self.name_references(&problem.cause),
            remedy: self.name_references(&problem.remedy),
            ..problem
        }
    }
}

/// Whether a text is made to stand in the place of a secret, so that it tells nothing by itself.
pub(in crate::operation) fn is_placeholder(text: &str) -> bool {
    text.len() == PREFIX.len() + 2 * RANDOM && text.starts_with(PREFIX)
}

/// Whether something that is shown or exported is nothing but references, so that nothing secret is in it.
pub(in crate::operation) fn is_only_references(value: &Value) -> bool {
    match value {
        Value::Object(fields) if fields.len() == 1 && fields.contains_key(FIELD) => {
            SecretRef::read(&fields[FIELD]).is_ok()
        }
        Value::Object(fields) => !fields.is_empty() && fields.values().all(is_only_references),
        Value::Array(items) => !items.is_empty() && items.iter().all(is_only_references),
        _ => false,
    }
}

/// The reference at a place, if one is meant.
fn found(schema: &Value, place: &[String], value: &Value) -> Result<Option<SecretRef>, Problem> {
    let Some(fields) = value.as_object() else {
        return Ok(None);
    };
    let Some(inner) = fields.get(FIELD) else {
        return Ok(None);
    };
    let read = match SecretRef::read(inner) {
        Ok(_) if fields.len() > 1 => Err(format!("nothing else may stand beside {FIELD}")),
        read => read,
    };
    let names: Vec<&str> = place.iter().map(String::as_str).collect();
    match (telling(schema, &names), read) {
        (Telling::FaultAt(_), Ok(reference)) => Ok(Some(reference)),
        // A chart's own value of that name: `envFrom: [{secretRef: {name: x}}]` is Kubernetes' way to say something else.
        (Telling::FaultAt(depth), Err(_)) if depth < place.len() && is_of_pods(inner) => Ok(None),
        (Telling::FaultAt(_), Err(why)) => Err(malformed(place, &why)),
        (_, Ok(reference)) => Err(Problem::new(
            ProblemKind::Invalid,
            "secret-ref-not-allowed",
            format!(
                "{} refers to {reference}, but is no parameter that may be secret",
                place_in_words(place)
            ),
        )
        .cause("what stands there is shown and stored as it is; the operation's schema does not mark it writeOnly")
        .remedy("give the value itself, or put the reference where the operation takes something secret")),
        // Whatever it is, the schema says whether it fits.
        (_, Err(_)) => Ok(None),
    }
}

/// Whether it is what a container has in `envFrom`: the name of a Secret in the pod's own namespace.
fn is_of_pods(inner: &Value) -> bool {
    inner.as_object().is_some_and(|fields| {
        fields.contains_key("name")
            && fields
                .keys()
                .all(|key| matches!(key.as_str(), "name" | "optional"))
    })
}

fn malformed(place: &[String], why: &str) -> Problem {
    Problem::new(
        ProblemKind::Invalid,
        "secret-ref-malformed",
        format!(
            "{}: the reference to a Secret is none: {why}",
            place_in_words(place)
        ),
    )
    .remedy("write it as {\"secretRef\": {\"namespace\": \"...\", \"name\": \"...\", \"key\": \"...\"}}")
}

fn placeholder() -> Result<String, Problem> {
    let mut random = [0_u8; RANDOM];
    SystemRandom::new().fill(&mut random).map_err(|_| {
        Problem::new(
            ProblemKind::Internal,
            "no-random-numbers",
            "the system has no random numbers",
        )
    })?;
    let mut text = PREFIX.to_owned();
    for byte in random {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "password": {"type": "string", "writeOnly": true},
            "values": {"type": "object", "properties": {"chart": {"type": "object", "writeOnly": true}}},
            "plain": {},
        }})
    }

    fn taken(parameters: Value) -> Result<(References, Value), Problem> {
        let Value::Object(mut parameters) = parameters else {
            panic!("a test's parameters are an object")
        };
        let references = References::take(&schema(), &mut parameters)?;
        Ok((references, Value::Object(parameters)))
    }

    fn reference(key: &str) -> Value {
        json!({FIELD: {"namespace": "vault", "name": "db", "key": key}})
    }

    #[test]
    fn each_reference_in_a_sensitive_place_becomes_a_placeholder_of_its_own() {
        let (references, parameters) = taken(json!({
            "password": reference("a"),
            "values": {"chart": {"list": [{"token": reference("b")}], "open": "text"}},
        }))
        .unwrap();
        let first = parameters["password"].as_str().unwrap();
        let second = parameters["values"]["chart"]["list"][0]["token"]
            .as_str()
            .unwrap();
        assert!(first != second && first.starts_with(PREFIX) && first.len() <= 63);
        assert_eq!(references.written(first), Some(reference("a")));
        assert_eq!(references.written(second), Some(reference("b")));
        assert_eq!(parameters["values"]["chart"]["open"], "text");
        assert_eq!(
            references.name_references(&format!("no user:{second}@host")),
            "no user:(key b of v1/Secret/vault/db)@host"
        );
    }

    #[test]
    fn placeholders_of_one_operation_mean_nothing_in_another() {
        let (of_one, parameters) = taken(json!({"password": reference("a")})).unwrap();
        let placeholder = parameters["password"].as_str().unwrap();
        let (of_another, again) = taken(json!({"password": placeholder})).unwrap();
        assert!(of_one.written(placeholder).is_some());
        assert!(of_another.is_empty());
        assert_eq!(again["password"], placeholder);
    }

    #[test]
    fn a_reference_in_an_open_place_is_refused_by_name() {
        for parameters in [
            json!({"plain": reference("a")}),
            json!({"plain": {"deep": [reference("a")]}}),
            json!({"values": reference("a")}),
        ] {
            let problem = taken(parameters).unwrap_err();
            assert_eq!(problem.code, "secret-ref-not-allowed");
            assert!(problem.message.contains("parameters/"), "{problem}");
            assert!(!problem.remedy.is_empty());
        }
    }

    #[test]
    fn what_is_meant_as_a_reference_and_is_none_is_refused_without_its_value() {
        for inner in [
            json!("hunter2"),
            json!({"name": "hunter2", "key": "k"}),
            json!({"namespace": "n", "name": "x", "key": "hunter2", "more": 1}),
            json!({"namespace": "n", "name": "../hunter2", "key": "k"}),
            json!({"namespace": "", "name": "hunter2", "key": "k"}),
            json!({"namespace": "n", "name": 7, "key": "hunter2"}),
            json!({"name": "hunter2"}),
        ] {
            let problem = taken(json!({"password": {FIELD: inner}})).unwrap_err();
            assert_eq!(problem.code, "secret-ref-malformed");
            let told = format!("{problem:?}");
            assert!(
                told.contains("parameters/password") && !told.contains("hunter2"),
                "{told}"
            );
        }
        let mut beside = reference("a");
        beside["other"] = 1.into();
        let problem = taken(json!({"values": {"chart": {"a": beside}}})).unwrap_err();
        assert_eq!(problem.code, "secret-ref-malformed");
    }

    #[test]
    fn the_reference_of_a_container_to_a_secret_is_a_value_like_any_other() {
        let given = json!({"values": {"chart": {"envFrom": [
            {"secretRef": {"name": "env"}}, {"secretRef": {"name": "env", "optional": true}}]}}});
        let (references, parameters) = taken(given.clone()).unwrap();
        assert!(references.is_empty());
        assert_eq!(parameters, given);
    }

    #[test]
    fn only_what_is_nothing_but_references_is_open() {
        for (value, is_open) in [
            (reference("a"), true),
            (json!({"a": {"b": [reference("a")]}}), true),
            (json!({"a": reference("a"), "b": "text"}), false),
            (json!({}), false),
            (json!({FIELD: {"name": "x"}}), false),
            (json!("text"), false),
        ] {
            assert_eq!(is_only_references(&value), is_open, "{value}");
        }
    }
}
