//! What a run changed in an object that was there before, and giving it back.
//!
//! Fields are compared three ways: before the run, after it, and now. A field goes back to what it was before only
//! if it still is what the run made it; what somebody else has changed since is theirs. A list counts as one field, for
//! what became of its elements cannot be told from positions; one whose elements have names of their own, the same ones
//! before and after (containers, webhooks), is compared element by element.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cluster::manifest::OF_THE_SERVER;

/// A field that differs between two versions of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::operation) struct Field {
    /// The keys that lead to it; through a list, the name of the element.
    pub path: Vec<String>,
    /// Its value before; nothing when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    pub before: Option<Value>,
    /// Its value after; nothing when it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    pub after: Option<Value>,
}

/// A field that is there and null is not the same as one that is not there.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    #[expect(clippy::ref_option, reason = "the signature serde asks for")]
    pub fn serialize<S: Serializer>(value: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
        Value::deserialize(deserializer).map(Some)
    }
}

/// The object without what the server keeps for itself.
pub(in crate::operation) fn own_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| !OF_THE_SERVER.contains(&key.as_str()));
        }
    }
    object
}

/// The fields in which two versions of an object differ, leaving out what the server keeps for itself.
pub(in crate::operation) fn changed(before: &Value, after: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    compare(
        &mut Vec::new(),
        &own_fields(before),
        &own_fields(after),
        &mut fields,
    );
    fields
}

fn compare(path: &mut Vec<String>, before: &Value, after: &Value, fields: &mut Vec<Field>) {
    if let (Some(old), Some(new)) = (named(before), named(after))
        && old
            .iter()
            .map(|(name, _)| name)
            .eq(new.iter().map(|(name, _)| name))
    {
        for ((name, before), (_, after)) in old.into_iter().zip(new) {
            path.push(name.to_owned());
            compare(path, before, after, fields);
            path.pop();
        }
        return;
    }
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        if before != after {
            fields.push(Field {
                path: path.clone(),
                before: Some(before.clone()),
                after: Some(after.clone()),
            });
        }
        return;
    };
    for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
        path.push(key.clone());
        match (old.get(key), new.get(key)) {
            (Some(before), Some(after)) => compare(path, before, after, fields),
            (before, after) => fields.push(Field {
                path: path.clone(),
                before: before.cloned(),
                after: after.cloned(),
            }),
        }
        path.pop();
    }
}

/// The elements of a list by their names, if each has one of its own.
fn named(list: &Value) -> Option<Vec<(&str, &Value)>> {
    let elements: Option<Vec<_>> = list
        .as_array()?
        .iter()
        .map(|element| Some((name(element)?, element)))
        .collect();
    let elements = elements.filter(|elements| !elements.is_empty())?;
    let names: HashSet<&str> = elements.iter().map(|(name, _)| *name).collect();
    (names.len() == elements.len()).then_some(elements)
}

fn name(element: &Value) -> Option<&str> {
    element.get("name")?.as_str()
}

/// What has to be done to an object to give it back its fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::operation) struct Restoration {
    /// A JSON patch (RFC 6902); empty when there is nothing to do.
    pub patch: Vec<Value>,
    /// Fields that somebody else has changed since, which stay.
    pub taken: Vec<String>,
}

/// How to give an object, as it is now, what a run changed in it.
pub(in crate::operation) fn restore(fields: &[Field], now: &Value) -> Restoration {
    let is_secret = now["kind"] == "Secret" && now["apiVersion"] == "v1";
    let is_data = |field: &&Field| is_secret && field.path.first().is_some_and(|key| key == "data");
    let mut restoration = Restoration::default();
    for field in fields.iter().filter(|field| !is_data(field)) {
        restore_field(field, now, &mut restoration);
    }
    // A certificate, its key, who has signed it and what annotations say of that belong together: all of the data goes
    // back, or nothing at all.
    let mut data = Restoration::default();
    for field in fields.iter().filter(is_data) {
        restore_field(field, now, &mut data);
    }
    if data.taken.is_empty() {
        restoration.patch.append(&mut data.patch);
    } else {
        restoration.patch.clear();
    }
    restoration.taken.append(&mut data.taken);
    restoration
}

fn restore_field(field: &Field, now: &Value, restoration: &mut Restoration) {
    let current = at(now, &field.path);
    if current == field.before.as_ref() {
        return;
    }
    // A map that the run made as a whole may have got keys of others since: those stay.
    if field.before.is_none()
        && let (Some(Value::Object(made)), Some(Value::Object(found))) = (&field.after, current)
        && made != found
    {
        for (key, value) in made {
            let mut path = field.path.clone();
            path.push(key.clone());
            let inner = Field {
                path,
                before: None,
                after: Some(value.clone()),
            };
            restore_field(&inner, now, restoration);
        }
        return;
    }
    if current != field.after.as_ref() {
        restoration.taken.push(field.path.join("."));
        return;
    }
    let Some(pointer) = pointer(now, &field.path) else {
        // The element that it was in is gone.
        restoration.taken.push(field.path.join("."));
        return;
    };
    match (&field.before, current) {
        (Some(before), Some(_)) => restoration
            .patch
            .push(json!({"op": "replace", "path": pointer, "value": before})),
        (None, Some(_)) => restoration.patch.push(json!({"op": "remove", "path": pointer})),
        (Some(before), None) => add(field, before, now, pointer, restoration),
        (None, None) => {}
    }
}

/// Adds a field again, with the maps that lead to it when they are gone too.
fn add(field: &Field, before: &Value, now: &Value, to: String, restoration: &mut Restoration) {
    let present = (0..field.path.len())
        .rev()
        .find(|&length| at(now, &field.path[..length]).is_some_and(Value::is_object))
        .unwrap_or(0);
    let made: Vec<String> = restoration
        .patch
        .iter()
        .filter(|operation| operation["op"] == "add")
        .filter_map(|operation| operation["path"].as_str().map(str::to_owned))
        .collect();
    for length in present + 1..field.path.len() {
        let parent = pointer(now, &field.path[..length]);
        if let Some(parent) = parent.filter(|parent| !made.contains(parent)) {
            restoration
                .patch
                .push(json!({"op": "add", "path": parent, "value": Map::new()}));
        }
    }
    restoration
        .patch
        .push(json!({"op": "add", "path": to, "value": before}));
}

/// What is in an object at a path.
pub(in crate::operation) fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| match value.as_array() {
        Some(elements) => elements.iter().find(|element| name(element) == Some(key)),
        None => value.get(key),
    })
}

/// The path as a JSON pointer (RFC 6901) into an object; none when it leads through an element that is not there.
fn pointer(object: &Value, path: &[String]) -> Option<String> {
    let mut text = String::new();
    let mut inside = Some(object);
    for key in path {
        text.push('/');
        if let Some(elements) = inside.and_then(Value::as_array) {
            let place = elements.iter().position(|element| name(element) == Some(key))?;
            text.push_str(&place.to_string());
            inside = elements.get(place);
        } else {
            text.push_str(&key.replace('~', "~0").replace('/', "~1"));
            inside = inside.and_then(|inside| inside.get(key));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(labels: Value) -> Value {
        json!({"metadata": {"name": "demo", "resourceVersion": "1", "labels": labels}})
    }

    #[test]
    fn of_a_secret_all_data_goes_back_or_none() {
        let field = |key: &str| Field {
            path: vec!["data".into(), key.into()],
            before: Some(json!("old")),
            after: Some(json!("new")),
        };
        let fields = [field("ca.crt"), field("tls.crt")];
        let object = |kind: &str, certificate: &str| json!({"apiVersion": "v1", "kind": kind, "data": {"ca.crt": "new", "tls.crt": certificate}});
        let paths = |kind: &str, certificate: &str| {
            let restoration = restore(&fields, &object(kind, certificate));
            (restoration.patch.len(), restoration.taken)
        };
        assert_eq!(paths("Secret", "new"), (2, Vec::new()));
        assert_eq!(paths("Secret", "theirs"), (0, vec!["data.tls.crt".to_owned()]));
        assert_eq!(paths("ConfigMap", "theirs"), (1, vec!["data.tls.crt".to_owned()]));
    }

    #[test]
    fn what_annotations_say_of_data_that_stays_stays_too() {
        let before =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {"tls.crt": "old"}});
        let mut after = before.clone();
        after["metadata"]["annotations"] = json!({"signed-by": "new"});
        after["data"]["tls.crt"] = json!("new");
        let fields = changed(&before, &after);
        assert_eq!(restore(&fields, &after).patch.len(), 2);
        after["data"]["tls.crt"] = json!("renewed");
        let restoration = restore(&fields, &after);
        assert!(restoration.patch.is_empty(), "{restoration:?}");
        assert_eq!(restoration.taken, ["data.tls.crt"]);
    }

    #[test]
    fn what_the_server_keeps_for_itself_is_no_change() {
        let before =
            json!({"metadata": {"resourceVersion": "1", "uid": "a"}, "spec": {"n": 1}, "status": {"x": 1}});
        let after = json!({"metadata": {"resourceVersion": "2", "uid": "a"}, "spec": {"n": 1}});
        assert_eq!(changed(&before, &after), []);
    }

    #[test]
    fn a_field_goes_back_when_it_is_as_the_run_made_it() {
        let (before, after) = (
            labelled(json!({"a": "1", "gone": "x"})),
            labelled(json!({"a": "2", "mesh.io/new": "y"})),
        );
        let restoration = restore(&changed(&before, &after), &after);
        assert_eq!(restoration.taken, Vec::<String>::new());
        assert_eq!(
            restoration.patch,
            [
                json!({"op": "replace", "path": "/metadata/labels/a", "value": "1"}),
                json!({"op": "add", "path": "/metadata/labels/gone", "value": "x"}),
                json!({"op": "remove", "path": "/metadata/labels/mesh.io~1new"}),
            ]
        );
    }

    #[test]
    fn a_field_that_somebody_changed_since_stays_and_is_named() {
        let (before, after, now) = (
            labelled(json!({"a": "1"})),
            labelled(json!({"a": "2"})),
            labelled(json!({"a": "3"})),
        );
        let restoration = restore(&changed(&before, &after), &now);
        assert!(restoration.patch.is_empty());
        assert_eq!(restoration.taken, ["metadata.labels.a"]);
    }

    #[test]
    fn a_map_that_the_run_made_loses_only_the_keys_it_was_made_with() {
        let before = json!({"metadata": {"name": "demo"}});
        let (after, now) = (
            labelled(json!({"ours": "1"})),
            labelled(json!({"ours": "1", "theirs": "2"})),
        );
        let restoration = restore(&changed(&before, &after), &now);
        assert_eq!(
            restoration.patch,
            [json!({"op": "remove", "path": "/metadata/labels/ours"})]
        );
        assert!(restoration.taken.is_empty());
    }

    #[test]
    fn restoring_twice_does_nothing_the_second_time() {
        let (before, after) = (labelled(json!({"a": "1"})), labelled(json!({"a": "2"})));
        assert_eq!(
            restore(&changed(&before, &after), &before),
            Restoration::default()
        );
    }

    #[test]
    fn a_field_below_maps_that_are_gone_gets_its_maps_again() {
        let before = json!({"spec": {"a": {"b": {"c": 1, "d": 2}}}});
        let after = json!({"spec": {"a": {"b": {}}}});
        let now = json!({"spec": {}});
        let restoration = restore(&changed(&before, &after), &now);
        assert_eq!(
            restoration.patch,
            [
                json!({"op": "add", "path": "/spec/a", "value": {}}),
                json!({"op": "add", "path": "/spec/a/b", "value": {}}),
                json!({"op": "add", "path": "/spec/a/b/c", "value": 1}),
                json!({"op": "add", "path": "/spec/a/b/d", "value": 2}),
            ]
        );
    }

    #[test]
    fn elements_with_names_are_compared_one_by_one_wherever_they_have_come_to() {
        let hooks = |first: Value, second: Value| json!({"webhooks": [first, second]});
        let hook = |name: &str, service: &str, ca: Option<&str>| match ca {
            Some(ca) => json!({"name": name, "clientConfig": {"service": service, "ca": ca}}),
            None => json!({"name": name, "clientConfig": {"service": service}}),
        };
        let before = hooks(hook("a", "old", None), hook("b", "other", None));
        let after = hooks(hook("a", "new", None), hook("b", "other", None));
        let fields = changed(&before, &after);
        assert_eq!(fields.len(), 1);
        assert_eq!(fields[0].path, ["webhooks", "a", "clientConfig", "service"]);
        // Somebody has filled in another field since, and put them in another order.
        let now = hooks(hook("b", "other", Some("y")), hook("a", "new", Some("x")));
        let restoration = restore(&fields, &now);
        assert_eq!(
            restoration.patch,
            [json!({"op": "replace", "path": "/webhooks/1/clientConfig/service", "value": "old"})]
        );
        assert!(restoration.taken.is_empty());
        let lost = json!({"webhooks": [hook("b", "other", None)]});
        assert_eq!(restore(&fields, &lost).taken, ["webhooks.a.clientConfig.service"]);
    }

    #[test]
    fn what_an_element_that_is_gone_had_is_not_made_without_it() {
        let before = json!({"spec": [{"name": "a", "x": 1}]});
        let after = json!({"spec": [{"name": "a"}]});
        let fields = changed(&before, &after);
        let restoration = restore(&fields, &json!({"spec": [{"name": "b"}]}));
        assert!(restoration.patch.is_empty());
        assert_eq!(restoration.taken, ["spec.a.x"]);
    }

    #[test]
    fn a_list_whose_elements_come_and_go_or_have_no_names_is_one_field() {
        for (before, after) in [
            (json!({"l": [{"name": "a"}]}), json!({"l": [{"name": "b"}]})),
            (json!({"l": [1, 2]}), json!({"l": [2]})),
            (
                json!({"l": [{"name": "a", "n": 1}, {"name": "a", "n": 2}]}),
                json!({"l": [{"name": "a", "n": 1}, {"name": "a", "n": 3}]}),
            ),
        ] {
            let fields = changed(&before, &after);
            assert_eq!(fields.len(), 1);
            assert_eq!(fields[0].path, ["l"]);
        }
    }
}
