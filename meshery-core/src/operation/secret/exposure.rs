//! Where a secret that was referred to would come to stand in the open: in an object that is no Secret, or in a part of
//! a Secret that is not its data.
//!
//! A chart is rendered twice, with the secrets and with their placeholders. A placeholder is like no other text, so where
//! it comes out, the secret does; and where the secret itself is found although its placeholder is not, the chart has
//! decided by its value. What a chart makes of a secret by computing (a checksum, say) is not the secret.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use super::reference::References;
use crate::confidential::forms;
use crate::operation::consent::{Consent, NeededConsent};
use crate::operation::plan::stored::is_secret;

/// How many places are named.
const NAMED: usize = 3;

/// A text that must not be in the open.
pub(in crate::operation) struct Sought {
    forms: Vec<String>,
    any_case: bool,
}

impl Sought {
    /// A placeholder: nothing else is like it, whatever letters it is written in.
    pub fn placeholder(text: &str) -> Self {
        Self {
            any_case: true,
            ..Self::secret(text)
        }
    }

    /// A secret.
    pub fn secret(text: &str) -> Self {
        Self {
            forms: forms(text),
            any_case: false,
        }
    }

    /// Whether it is in a text in another form than its own, in which nobody would recognise a placeholder.
    pub fn is_encoded_in(&self, text: &str) -> bool {
        self.forms.iter().skip(1).any(|form| text.contains(form.as_str()))
    }

    fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form.as_str()))
            || self.any_case && text.to_lowercase().contains(&self.forms[0])
    }
}

/// An object in which secrets would be in the open.
#[derive(Debug)]
pub(in crate::operation) struct Exposure {
    pub object: ObjectRef,
    places: Vec<String>,
}

impl Exposure {
    /// Where the texts are in an object, if they are.
    pub fn of(object: &Value, sought: &[Sought]) -> Option<Self> {
        let fields = object.as_object()?;
        let is_secret = is_secret(object);
        let mut places = Vec::new();
        for (name, value) in fields {
            let is_data = is_secret && matches!(name.as_str(), "data" | "stringData");
            search(value, &mut name.clone(), is_data, sought, &mut places);
        }
        if places.is_empty() {
            return None;
        }
        let object = ObjectRef::of(object)?;
        Some(Self { object, places })
    }

    /// Adds what another rendering has shown.
    pub fn join(all: &mut Vec<Self>, more: Self) {
        let Some(known) = all.iter_mut().find(|known| known.object == more.object) else {
            all.push(more);
            return;
        };
        for place in more.places {
            if !known.places.contains(&place) {
                known.places.push(place);
            }
        }
    }

    /// What has to be agreed to.
    pub fn needed(self, by: &str, references: &References) -> NeededConsent {
        let more = self.places.len().saturating_sub(NAMED);
        let mut places: Vec<String> = self.places.into_iter().take(NAMED).collect();
        if more > 0 {
            places.push(format!("{more} more places"));
        }
        NeededConsent {
            consent: Consent::ExposedSecret,
            why: references.name_references(&format!(
                "{}: {by} puts a secret that a parameter refers to into {}, where everybody reads it who may read the \
                 object; only the data of a Secret is a place for it",
                self.object,
                places.join(", ")
            )),
        }
    }
}

/// Names are open everywhere, texts where it is not the data of a Secret.
fn search(value: &Value, path: &mut String, is_data: bool, sought: &[Sought], places: &mut Vec<String>) {
    let found = |text: &str| sought.iter().any(|sought| sought.is_in(text));
    match value {
        Value::String(text) if !is_data && found(text) => places.push(path.clone()),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                inside(path, &number.to_string(), |path| {
                    search(item, path, is_data, sought, places);
                });
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if found(name) {
                    places.push(format!("a name in {path}"));
                    continue;
                }
                inside(path, name, |path| search(field, path, is_data, sought, places));
            }
        }
        _ => {}
    }
}

fn inside(path: &mut String, name: &str, search: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('.');
    path.push_str(name);
    search(path);
    path.truncate(length);
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    const HOLDER: &str = "meshery-secret-00112233445566778899aabbccddeeff";

    fn places(object: &Value) -> Vec<String> {
        let sought = [Sought::placeholder(HOLDER)];
        Exposure::of(object, &sought).map_or(Vec::new(), |exposure| exposure.places)
    }

    fn named(kind: &str, rest: Value) -> Value {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}});
        for (key, value) in rest.as_object().unwrap() {
            object[key] = value.clone();
        }
        object
    }

    #[test]
    fn the_data_of_a_secret_is_the_only_place_that_is_not_open() {
        let data = json!({"data": {"a": STANDARD.encode(HOLDER)}, "stringData": {"b": HOLDER}});
        assert!(places(&named("Secret", data.clone())).is_empty());
        assert_eq!(places(&named("ConfigMap", data)), ["data.a", "stringData.b"]);
        let other =
            json!({"metadata": {"name": "x", "annotations": {"a": HOLDER}}, "stringData": {HOLDER: "x"}});
        assert_eq!(
            places(&named("Secret", other)),
            ["metadata.annotations.a", "a name in stringData"]
        );
    }

    #[test]
    fn it_is_found_inside_of_texts_and_in_other_forms() {
        for text in [
            format!("user:{HOLDER}@host"),
            HOLDER.to_uppercase(),
            STANDARD.encode(format!("1{HOLDER}2")),
            STANDARD.encode(format!("12{HOLDER}")),
        ] {
            let pod = named(
                "Pod",
                json!({"spec": {"containers": [{"env": [{"value": text}]}]}}),
            );
            assert_eq!(places(&pod), ["spec.containers.0.env.0.value"], "{text}");
        }
        assert!(places(&named("Pod", json!({"spec": {"checksum": "00112233"}}))).is_empty());
    }

    #[test]
    fn who_has_to_agree_is_told_the_object_the_place_and_not_the_secret() {
        let sought = [Sought::secret("hunter2hunter2")];
        let map = named("ConfigMap", json!({"data": {"a": "hunter2hunter2"}}));
        let exposure = Exposure::of(&map, &sought).unwrap();
        let needed = exposure.needed("chart demo", &References::default());
        assert_eq!(needed.consent, Consent::ExposedSecret);
        assert!(
            needed.why.contains("ConfigMap") && needed.why.contains("data.a"),
            "{}",
            needed.why
        );
        assert!(!needed.why.contains("hunter2"));
    }
}
