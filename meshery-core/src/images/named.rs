//! Which images objects name: those of their pods, and those that injectors put into pods later, as far as objects
//! say so in the usual places.
//!
//! Such places are annotations and environment variables that are called after an image, and configuration: a `hub`
//! and a `tag` with `image`s beside or below them, or an `image` of a name and a version. What is a template there is
//! not read. So the list has every image of a pod; of others it has what could be recognised.

use std::collections::{BTreeMap, BTreeSet};

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pods::{CONTAINERS, pod};
use super::reference::Reference;

/// An image and what uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedImage {
    /// The image as it would be pulled.
    pub image: String,
    /// What names it.
    pub used_by: Vec<ImageUse>,
}

/// Where an image is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageUse {
    /// The object.
    #[serde(rename = "ref")]
    pub object: String,
    /// Where in it: `container app`, `data values`.
    pub place: String,
}

/// Deeper configuration is not looked into.
const DEPTH: usize = 24;
/// Longer texts in a ConfigMap are not configuration.
const LONGEST: usize = 1 << 20;

/// The images that objects name, sorted.
pub(crate) fn named<'a>(objects: impl Iterator<Item = &'a Value>) -> Vec<NamedImage> {
    let mut found: BTreeMap<String, BTreeSet<ImageUse>> = BTreeMap::new();
    for object in objects {
        let Some(reference) = ObjectRef::of(object) else {
            continue;
        };
        let reference = reference.to_string();
        let mut add = |image: &str, place: String| {
            let object = reference.clone();
            found
                .entry(image.to_owned())
                .or_default()
                .insert(ImageUse { object, place });
        };
        if let Some(pod) = pod(object) {
            of_pod(pod, &mut add);
        }
        if object["kind"] == "ConfigMap" && object["apiVersion"] == "v1" {
            for (key, text) in texts(object.get("data")) {
                of_text(text, &mut |image| add(image, format!("data {key}")));
            }
        }
    }
    found
        .into_iter()
        .map(|(image, used_by)| NamedImage {
            image,
            used_by: used_by.into_iter().collect(),
        })
        .collect()
}

fn of_pod(pod: &Value, add: &mut impl FnMut(&str, String)) {
    for (key, value) in texts(pod.pointer("/metadata/annotations")) {
        if is_about_an_image(key) && is_exact(value) {
            add(value, format!("annotation {key}"));
        }
    }
    for list in CONTAINERS {
        let containers = pod["spec"][list].as_array();
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            if let Some(image) = container["image"].as_str()
                && Reference::parse(image).is_none_or(|reference| !reference.is_placeholder())
                && !image.is_empty()
            {
                add(image, format!("container {name}"));
            }
            for variable in container["env"].as_array().into_iter().flatten() {
                let key = variable["name"].as_str().unwrap_or_default();
                let value = variable["value"].as_str().unwrap_or_default();
                if is_about_an_image(key) && is_exact(value) {
                    add(value, format!("variable {key} of container {name}"));
                }
            }
        }
    }
}

fn texts(map: Option<&Value>) -> impl Iterator<Item = (&String, &str)> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
}

fn is_about_an_image(key: &str) -> bool {
    key.to_ascii_lowercase().ends_with("image")
}

/// Whether this can only be an image: a path with a tag or a digest.
fn is_exact(text: &str) -> bool {
    Reference::parse(text).is_some_and(|reference| !reference.rest.is_empty() && !reference.is_placeholder())
}

/// Images in a text that is JSON or YAML.
fn of_text(text: &str, add: &mut impl FnMut(&str)) {
    if text.len() > LONGEST || !text.contains("mage") {
        return;
    }
    if let Some(Value::Object(map)) = crate::cluster::chart::configuration(text) {
        of_map(&map, None, 0, add);
    }
}

fn of_map(map: &Map<String, Value>, above: Option<(&str, &str)>, depth: usize, add: &mut impl FnMut(&str)) {
    if depth > DEPTH {
        return;
    }
    let text = |key: &str| {
        map.get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let place = match (text("hub"), text("tag")) {
        (Some(hub), Some(tag)) => Some((hub, tag)),
        (hub, tag) => above.map(|(above, of)| (hub.unwrap_or(above), tag.unwrap_or(of))),
    };
    for (key, value) in map {
        match value {
            Value::String(image) if key == "image" || key.ends_with("Image") => {
                if is_exact(image) {
                    add(image);
                } else if let Some((hub, tag)) = place
                    && Reference::parse(image).is_some_and(|image| image.is_placeholder())
                {
                    let image = format!("{hub}/{image}:{tag}");
                    if is_exact(&image) {
                        add(&image);
                    }
                }
            }
            Value::Object(inner) => {
                let part = |keys: [&str; 2]| {
                    keys.iter()
                        .find_map(|key| inner.get(*key)?.as_str())
                        .filter(|text| !text.is_empty())
                };
                if key == "image"
                    && let (Some(name), Some(version)) =
                        (part(["name", "repository"]), part(["version", "tag"]))
                {
                    let registry = part(["registry", "hub"]).map_or(String::new(), |host| format!("{host}/"));
                    let image = format!("{registry}{name}:{version}");
                    if is_exact(&image) {
                        add(&image);
                    }
                }
                of_map(inner, place, depth + 1, add);
            }
            Value::Array(items) => {
                for item in items {
                    if let Value::Object(inner) = item {
                        of_map(inner, place, depth + 1, add);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(objects: &[Value]) -> Vec<(String, Vec<String>)> {
        let named = named(objects.iter());
        let places = |uses: Vec<ImageUse>| {
            uses.into_iter()
                .map(|u| format!("{} {}", u.object, u.place))
                .collect()
        };
        named.into_iter().map(|n| (n.image, places(n.used_by))).collect()
    }

    #[test]
    fn every_image_of_a_pod_is_there_once_with_all_that_use_it() {
        let deployment = |name: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"template": {
                "metadata": {"annotations": {"x.io/proxyImage": "r.io/p:1", "x.io/image": "none", "other": "a/b:1"}},
                "spec": {"containers": [{"name": "app", "image": "r.io/app:2",
                        "env": [{"name": "SIDE_IMAGE", "value": "r.io/side@sha256:0f"}, {"name": "X", "value": "a/b:1"}]},
                        {"name": "proxy", "image": "auto"}],
                    "initContainers": [{"name": "init", "image": "r.io/init:1"}]}}}})
        };
        let listed = list(&[deployment("b"), deployment("a")]);
        let images: Vec<&str> = listed.iter().map(|(image, _)| image.as_str()).collect();
        assert_eq!(
            images,
            ["r.io/app:2", "r.io/init:1", "r.io/p:1", "r.io/side@sha256:0f"]
        );
        assert_eq!(
            listed[0].1,
            [
                "apps/v1/Deployment/shop/a container app",
                "apps/v1/Deployment/shop/b container app"
            ]
        );
    }

    #[test]
    fn images_of_injectors_are_found_in_their_configuration() {
        let values = json!({"global": {"hub": "r.io/release", "tag": "1.30", "proxy": {"image": "proxy"},
            "proxy_init": {"image": "q.io/init:7"}}, "pilot": {"image": "{{ x }}"}})
        .to_string();
        let yaml = "proxy:\n  image:\n    name: cr.io/l/proxy\n    version: v2\ncontrollerImage: cr.io/l/controller:v3\n";
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "injector", "namespace": "s"},
            "data": {"values": values, "more": yaml, "template": "{{ if }}\nimage: {{ .hub }}", "broken": "image: [",
                "list": "- image: a/b:1"}});
        let images: Vec<String> = list(&[config]).into_iter().map(|(image, _)| image).collect();
        assert_eq!(
            images,
            [
                "cr.io/l/controller:v3",
                "cr.io/l/proxy:v2",
                "q.io/init:7",
                "r.io/release/proxy:1.30"
            ]
        );
    }

    #[test]
    fn deep_and_odd_objects_do_no_harm() {
        let deep = (0..200)
            .fold(json!({"image": "a/b:1"}), |inner, _| json!({"x": inner}))
            .to_string();
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "s"},
            "data": {"deep": deep}});
        let odd = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "annotations": 3},
            "spec": {"containers": [3, {"image": 5}, {"env": {}}], "initContainers": {}}});
        assert!(list(&[config, odd, json!(null)]).is_empty());
    }
}
