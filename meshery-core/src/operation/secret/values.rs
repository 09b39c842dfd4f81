//! What references lead to: read from the cluster when a chart is rendered or an object is written, kept in memory for
//! as long as that takes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::reference::{References, SecretRef};
use crate::cluster::{Cluster, ClusterError};
use crate::operation::plan::stored::is_secret;
use crate::operation::run::Run;
use crate::problem::{Problem, ProblemKind};

/// Values by their placeholders. There is no way to print them.
#[derive(Default)]
pub(crate) struct SecretValues(BTreeMap<String, String>);

impl References {
    /// Reads what these references lead to, those whose placeholders are wanted.
    pub async fn read(
        &self,
        cluster: &Cluster,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<SecretValues, Problem> {
        let mut secrets: BTreeMap<(&str, &str), Value> = BTreeMap::new();
        let mut values = BTreeMap::new();
        for (placeholder, reference) in self.iter().filter(|(placeholder, _)| wanted(placeholder)) {
            let key = (reference.namespace.as_str(), reference.name.as_str());
            let found = match secrets.entry(key) {
                Entry::Occupied(read) => read.into_mut(),
                Entry::Vacant(unread) => unread.insert(secret(cluster, reference).await?),
            };
            let value = text(reference, found)?;
            values.insert(placeholder.to_owned(), value);
        }
        Ok(SecretValues(values))
    }

    /// Reads what the objects need, and puts it there.
    pub async fn put_into(&self, cluster: &Cluster, objects: &mut [&mut Value]) -> Result<(), Problem> {
        if self.is_empty() {
            return Ok(());
        }
        let wanted: Vec<&str> = self
            .iter()
            .map(|(placeholder, _)| placeholder)
            .filter(|placeholder| objects.iter().any(|object| holds(object, placeholder)))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let values = self
            .read(cluster, |placeholder| wanted.contains(&placeholder))
            .await?;
        for object in objects {
            values.put_into_object(object);
        }
        Ok(())
    }
}

async fn secret(cluster: &Cluster, reference: &SecretRef) -> Result<Value, Problem> {
    match cluster.get(&reference.object()).await {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) | Err(ClusterError::NotFound { .. }) => Err(Problem::new(
            ProblemKind::NotFound,
            "secret-ref-not-found",
            format!(
                "a parameter refers to {reference}, but there is no such Secret in cluster {}",
                cluster.context()
            ),
        )
        .remedy("make the Secret, or correct the reference's namespace and name")),
        Err(error @ ClusterError::Forbidden { .. }) => Err(Problem::new(
            ProblemKind::Forbidden,
            "secret-ref-forbidden",
            format!("a parameter refers to {reference}, which may not be read: {error}"),
        )
        .cause("it is read with the rights of the kubeconfig's user")
        .remedy(format!(
            "give that user the right to get Secret {} in namespace {}",
            reference.name, reference.namespace
        ))),
        Err(error) => Err(error.into()),
    }
}

fn text(reference: &SecretRef, secret: &Value) -> Result<String, Problem> {
    let data = secret["data"].as_object();
    let Some(encoded) = data.and_then(|data| data.get(&reference.key)) else {
        let keys: Vec<&str> = data.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let has = match keys.as_slice() {
            [] => "it is empty".to_owned(),
            keys => format!("it has {}", keys.join(", ")),
        };
        return Err(Problem::new(
            ProblemKind::NotFound,
            "secret-ref-no-key",
            format!("a parameter refers to {reference}, which the Secret does not have"),
        )
        .remedy(format!("correct the reference's key, or the Secret; {has}")));
    };
    let bytes = encoded.as_str().and_then(|encoded| STANDARD.decode(encoded).ok());
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            Problem::new(
                ProblemKind::Invalid,
                "secret-ref-not-text",
                format!("a parameter refers to {reference}, which is not text in UTF-8"),
            )
            .cause("values of parameters and charts are text")
            .remedy(
                "put it into the Secret as text, base64 of it for example, if what takes it understands that",
            )
        })
}

impl SecretValues {
    /// Placeholders with what stands in their place.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(placeholder, value)| (placeholder.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the values into a value's texts.
    pub fn put(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(filled) = self.filled(text) {
                    *text = filled;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.put(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.put(field)),
            _ => {}
        }
    }

    /// Puts the values into a map's texts.
    pub fn put_into_map(&self, map: &mut Map<String, Value>) {
        map.values_mut().for_each(|value| self.put(value));
    }

    /// Puts the values into an object; into the data of a Secret in the form that data has.
    fn put_into_object(&self, object: &mut Value) {
        for encoded in encoded_data(object) {
            if let Some(filled) = decoded(encoded).and_then(|text| self.filled(&text)) {
                *encoded = STANDARD.encode(filled).into();
            }
        }
        self.put(object);
    }

    /// All at once, so that nothing in one value is taken for the placeholder of another.
    fn filled(&self, text: &str) -> Option<String> {
        let mut rest = text;
        let mut filled = String::new();
        let next = |rest: &str| {
            let places = self.iter().filter_map(|(placeholder, value)| {
                let at = rest.find(placeholder)?;
                Some((at, at + placeholder.len(), value.to_owned()))
            });
            places.min_by_key(|(at, ..)| *at)
        };
        while let Some((at, end, value)) = next(rest) {
            filled.push_str(&rest[..at]);
            filled.push_str(&value);
            rest = &rest[end..];
        }
        if rest.len() == text.len() {
            return None;
        }
        filled.push_str(rest);
        Some(filled)
    }
}

/// Whether a placeholder is in an object, in one of the forms in which it is understood.
pub(in crate::operation) fn holds(object: &Value, placeholder: &str) -> bool {
    let in_data = is_secret(object)
        && object["data"].as_object().is_some_and(|data| {
            data.values()
                .filter_map(decoded)
                .any(|text| text.contains(placeholder))
        });
    in_data || holds_text(object, placeholder)
}

/// Whether a placeholder is in one of a value's texts.
pub(in crate::operation) fn holds_text(value: &Value, placeholder: &str) -> bool {
    match value {
        Value::String(text) => text.contains(placeholder),
        Value::Array(items) => items.iter().any(|item| holds_text(item, placeholder)),
        Value::Object(fields) => fields.values().any(|field| holds_text(field, placeholder)),
        _ => false,
    }
}

fn encoded_data(object: &mut Value) -> impl Iterator<Item = &mut Value> {
    let is_secret = is_secret(object);
    let data = object.get_mut("data").and_then(Value::as_object_mut);
    data.filter(|_| is_secret).into_iter().flat_map(Map::values_mut)
}

fn decoded(encoded: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(encoded.as_str()?).ok()?).ok()
}

impl Run {
    /// Puts what references lead to into the objects of a step, as it is now.
    pub async fn put_secrets(&self, waves: &mut [Vec<Value>]) -> Result<(), Problem> {
        let mut objects: Vec<&mut Value> = waves.iter_mut().flatten().collect();
        self.plan.references.put_into(&self.cluster, &mut objects).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> SecretValues {
        SecretValues(BTreeMap::from([
            ("holder-1".to_owned(), "one holder-2".to_owned()),
            ("holder-2".to_owned(), "two".to_owned()),
        ]))
    }

    #[test]
    fn values_take_the_places_of_placeholders_in_texts_and_in_the_data_of_secrets() {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret",
            "data": {"plain": STANDARD.encode("a"), "url": STANDARD.encode("x:holder-2@y")},
            "stringData": {"both": "holder-1 and holder-2"}});
        assert!(holds(&object, "holder-2") && holds(&object, "holder-1") && !holds(&object, "holder-3"));
        values().put_into_object(&mut object);
        assert_eq!(object["data"]["plain"], STANDARD.encode("a"));
        assert_eq!(object["data"]["url"], STANDARD.encode("x:two@y"));
        assert_eq!(object["stringData"]["both"], "one holder-2 and two");
    }

    #[test]
    fn what_is_no_secret_has_no_encoded_data() {
        let given =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": STANDARD.encode("holder-1")}});
        let mut object = given.clone();
        assert!(!holds(&object, "holder-1"));
        values().put_into_object(&mut object);
        assert_eq!(object, given);
    }

    #[test]
    fn a_key_that_is_not_there_and_one_that_is_no_text_are_told_apart() {
        let reference = |key: &str| SecretRef {
            namespace: "n".into(),
            name: "s".into(),
            key: key.into(),
        };
        let secret =
            json!({"data": {"text": STANDARD.encode("hello"), "bytes": STANDARD.encode([0xff, 0xfe])}});
        assert_eq!(text(&reference("text"), &secret).unwrap(), "hello");
        let missing = text(&reference("other"), &secret).unwrap_err();
        assert_eq!(missing.code, "secret-ref-no-key");
        assert!(missing.remedy.contains("bytes, text"), "{missing:?}");
        let bytes = text(&reference("bytes"), &secret).unwrap_err();
        assert_eq!(bytes.code, "secret-ref-not-text");
        let empty = text(&reference("other"), &json!({})).unwrap_err();
        assert!(empty.remedy.contains("empty"), "{empty:?}");
    }
}
