//! What a need gets of a cluster.

use serde_json::{Map, Value, json};

use super::Cluster;
use crate::error::PluginError;
use crate::message::facts::{Detail, KindFacts, Need, Readability};
use crate::message::object_ref::ObjectRef;
use crate::message::withheld::withhold;

/// A need with its braces filled in.
pub(super) fn fill(need: &Need, parameters: &Map<String, Value>) -> Result<Need, PluginError> {
    let fill = |text: &str| {
        let texts = parameters
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_str()?)));
        let filled = texts.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        });
        if filled.contains('{') {
            return Err(PluginError::new(
                "bad-descriptor",
                format!(
                    "a need for {} names \"{filled}\", and there is no such parameter",
                    need.kind
                ),
            ));
        }
        Ok(filled)
    };
    Ok(Need {
        namespace: fill(&need.namespace)?,
        name: fill(&need.name)?,
        ..need.clone()
    })
}

pub(super) fn read(cluster: &Cluster, need: &Need) -> Result<KindFacts, PluginError> {
    let state = cluster
        .unreadable
        .iter()
        .find(|(group, kind, _)| (group, kind) == (&need.group, &need.kind))
        .map(|(_, _, state)| *state);
    let mut objects = Vec::new();
    for object in &cluster.objects {
        if is_asked_for(object, need)? {
            objects.push(shown(object, need.detail));
        }
    }
    let (state, reason) = match state {
        Some(Readability::Truncated) => {
            objects.truncate(1);
            (Readability::Truncated, "there are more than 1".to_owned())
        }
        Some(Readability::Forbidden) => {
            objects.clear();
            let place = if need.namespace.is_empty() {
                "in all namespaces".to_owned()
            } else {
                format!("in namespace {}", need.namespace)
            };
            (
                Readability::Forbidden,
                format!("the user may not list {} {place}", need.kind),
            )
        }
        Some(state @ (Readability::NotServed | Readability::Unknown)) => {
            objects.clear();
            (state, format!("the server has no kind {}", need.kind))
        }
        Some(Readability::Present | Readability::Absent) | None if objects.is_empty() => {
            (Readability::Absent, String::new())
        }
        Some(Readability::Present | Readability::Absent) | None => (Readability::Present, String::new()),
    };
    Ok(KindFacts {
        need: need.clone(),
        state,
        reason,
        objects,
    })
}

fn is_asked_for(object: &Value, need: &Need) -> Result<bool, PluginError> {
    let Some(reference) = ObjectRef::of(object) else {
        return Ok(false);
    };
    let named = reference.group == need.group
        && reference.kind == need.kind
        && (need.namespace.is_empty() || reference.namespace == need.namespace)
        && (need.name.is_empty() || reference.name == need.name);
    Ok(named && is_selected(object, &need.selector)?)
}

/// Equality and existence; the notation with `in` and `notin` is not read here.
fn is_selected(object: &Value, selector: &str) -> Result<bool, PluginError> {
    if selector.contains(['(', ')']) {
        return Err(PluginError::new(
            "bad-selector",
            format!("the test kit does not read the selector \"{selector}\", only =, != and names of labels"),
        ));
    }
    let label = |name: &str| {
        let labels = object.pointer("/metadata/labels");
        labels.and_then(|labels| labels.get(name)).and_then(Value::as_str)
    };
    let parts = selector.split(',').map(str::trim).filter(|part| !part.is_empty());
    Ok(parts.into_iter().all(|part| {
        if let Some((name, value)) = part.split_once("!=") {
            label(name.trim()) != Some(value.trim())
        } else if let Some((name, value)) = part.split_once('=') {
            label(name.trim()) == Some(value.trim_start_matches('=').trim())
        } else if let Some(name) = part.strip_prefix('!') {
            label(name.trim()).is_none()
        } else {
            label(part).is_some()
        }
    }))
}

/// The object as a host shows it.
fn shown(object: &Value, detail: Detail) -> Value {
    let mut shown = if detail == Detail::Full {
        object.clone()
    } else {
        let metadata = object["metadata"].clone();
        json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": metadata})
    };
    if let Some(metadata) = shown["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    if shown["kind"] == "Secret" && shown["apiVersion"] == "v1" {
        withhold(&mut shown);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: web, tier: front}}, spec: {nodeName: n}}
- {apiVersion: v1, kind: Pod, metadata: {name: b, namespace: y, labels: {app: db}}}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: x, managedFields: [1]}
data: {password: aHVudGVyMg==}
";

    fn names(cluster: &Cluster, need: Need) -> (Readability, Vec<String>) {
        let facts = read(cluster, &need).unwrap();
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        (facts.state, facts.objects.iter().map(name).collect())
    }

    fn pods() -> Need {
        Need {
            kind: "Pod".into(),
            ..Need::default()
        }
    }

    #[test]
    fn a_need_gets_what_it_asks_for_and_nothing_else() {
        let cluster = Cluster::from_yaml(OBJECTS).unwrap();
        for (selector, expected) in [
            ("", vec!["a", "b"]),
            ("app=web", vec!["a"]),
            ("app==db", vec!["b"]),
            ("app!=web", vec!["b"]),
            ("tier", vec!["a"]),
            ("!tier", vec!["b"]),
            ("app=web, tier=front", vec!["a"]),
            ("app=web,tier=back", vec![]),
        ] {
            let selector = selector.to_owned();
            assert_eq!(
                names(
                    &cluster,
                    Need {
                        selector: selector.clone(),
                        ..pods()
                    }
                )
                .1,
                expected,
                "{selector}"
            );
        }
        let elsewhere = Need {
            namespace: "z".into(),
            ..pods()
        };
        assert_eq!(names(&cluster, elsewhere), (Readability::Absent, vec![]));
        let of_a_group = Need {
            group: "apps".into(),
            ..pods()
        };
        assert_eq!(names(&cluster, of_a_group), (Readability::Absent, vec![]));
        let set = Need {
            selector: "app in (web)".into(),
            ..pods()
        };
        assert_eq!(read(&cluster, &set).unwrap_err().code, "bad-selector");
    }

    #[test]
    fn metadata_is_all_there_is_unless_more_is_asked_for_and_secrets_stay_secret() {
        let cluster = Cluster::from_yaml(OBJECTS).unwrap();
        assert!(read(&cluster, &pods()).unwrap().objects[0].get("spec").is_none());
        let detail = Detail::Full;
        assert!(
            read(&cluster, &Need { detail, ..pods() }).unwrap().objects[0]
                .get("spec")
                .is_some()
        );
        let secrets = Need {
            kind: "Secret".into(),
            detail,
            ..Need::default()
        };
        let secret = &read(&cluster, &secrets).unwrap().objects[0];
        assert_eq!(secret["data"], json!({"password": ""}));
        assert!(secret["metadata"].get("managedFields").is_none());
    }

    #[test]
    fn what_cannot_be_read_does_not_look_empty() {
        let cluster = Cluster::from_yaml(OBJECTS).unwrap();
        let read_as = |state| names(&cluster.clone().readable("", "Pod", state), pods());
        assert_eq!(read_as(Readability::Forbidden), (Readability::Forbidden, vec![]));
        assert_eq!(read_as(Readability::NotServed), (Readability::NotServed, vec![]));
        assert_eq!(
            read_as(Readability::Truncated),
            (Readability::Truncated, vec!["a".to_owned()])
        );
    }

    #[test]
    fn text_that_is_no_objects_is_an_error_with_its_place() {
        let error = Cluster::from_yaml("- a: 1\n  b: [").unwrap_err();
        assert!(error.message.contains("line 2"), "{error}");
        let error = Cluster::from_yaml("- {kind: Pod, apiVersion: v1}").unwrap_err();
        assert!(error.message.contains("object 1"), "{error}");
    }

    #[test]
    fn braces_that_name_no_parameter_are_an_error() {
        let need = Need {
            namespace: "{where}".into(),
            ..pods()
        };
        let parameters = json!({"where": "x"}).as_object().cloned().unwrap();
        assert_eq!(fill(&need, &parameters).unwrap().namespace, "x");
        assert!(fill(&need, &Map::new()).unwrap_err().message.contains("{where}"));
    }
}
