//! Sample applications: manifests that are part of the library, for any namespace.
//!
//! They are compiled in, so that a failed download can never look like an application that was deployed. What is
//! common to all their objects (namespace, labels) is added here and not repeated in each file.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Readiness, Target};
use serde_json::Value;

use crate::object::{name, namespace};
use crate::ownership::is_ours;
use crate::readable::kind_is_whole;
use crate::workload::{deployments_ready, services_answer};

/// Label that all objects of a sample carry.
const PART_OF: &str = "app.kubernetes.io/part-of";

/// The kinds that samples consist of, by group, version and kind, in the order of their removal.
const KINDS: [(&str, &str, &str); 3] = [
    ("apps", "apps/v1", "Deployment"),
    ("", "v1", "Service"),
    ("", "v1", "ServiceAccount"),
];

/// A sample application.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Its name, and the value of its label.
    pub name: &'static str,
    /// File names and their content, for messages and for reading.
    files: &'static [(&'static str, &'static str)],
}

/// Bookinfo: four services, one of them in three versions.
pub const BOOKINFO: Sample = Sample {
    name: "bookinfo",
    files: &[
        ("details.yaml", include_str!("../samples/bookinfo/details.yaml")),
        ("ratings.yaml", include_str!("../samples/bookinfo/ratings.yaml")),
        ("reviews.yaml", include_str!("../samples/bookinfo/reviews.yaml")),
        (
            "productpage.yaml",
            include_str!("../samples/bookinfo/productpage.yaml"),
        ),
    ],
};

impl Sample {
    /// Its manifests for a namespace.
    pub fn manifests(&self, namespace: &str) -> Result<Vec<Value>, PluginError> {
        let mut manifests = Vec::new();
        for (file, text) in self.files {
            let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
                PluginError::new("sample-broken", format!("{}/{file}: {error}", self.name))
                    .cause("the plugin was built with a manifest that is not YAML")
            })?;
            for mut document in documents {
                document["metadata"]["namespace"] = namespace.into();
                document["metadata"]["labels"][PART_OF] = self.name.into();
                manifests.push(document);
            }
        }
        Ok(manifests)
    }

    /// What must hold once it is deployed: every Deployment ready, every Service with an endpoint.
    pub fn ready(&self, namespace: &str) -> Result<Vec<Readiness>, PluginError> {
        let manifests = self.manifests(namespace)?;
        let of = |kind: &'static str| {
            let of_kind = manifests.iter().filter(move |object| object["kind"] == kind);
            of_kind.map(name)
        };
        let mut ready = deployments_ready(namespace, of("Deployment"));
        ready.extend(services_answer(namespace, of("Service")));
        Ok(ready)
    }

    /// What must be read to know what of it is there, and what of others has the same names. `namespace` may have
    /// braces.
    pub fn needs(&self, namespace: &str) -> Vec<Need> {
        KINDS
            .iter()
            .map(|(group, _, kind)| Need {
                group: (*group).into(),
                kind: (*kind).into(),
                namespace: namespace.into(),
                name: String::new(),
                selector: String::new(),
                detail: Detail::Metadata,
            })
            .collect()
    }

    /// Its objects in a namespace as the facts show them, to be deleted if we made them. Of a kind that was not
    /// read as a whole, all objects are taken to be there.
    pub fn targets(&self, facts: &Facts, in_namespace: &str) -> Result<Vec<Target>, PluginError> {
        let manifests = self.manifests(in_namespace)?;
        let mut targets = Vec::new();
        for (group, api_version, kind) in KINDS {
            let whole = kind_is_whole(facts, group, kind);
            for object in manifests.iter().filter(|object| object["kind"] == kind) {
                if !whole || find(facts, (group, kind), in_namespace, name(object)).is_some() {
                    targets.push(Target {
                        object: ObjectRef::new(api_version, kind, in_namespace, name(object)),
                        when: Condition::Ours,
                    });
                }
            }
        }
        Ok(targets)
    }

    /// Its objects in a namespace that somebody else made.
    pub fn of_others(&self, facts: &Facts, in_namespace: &str) -> Result<Vec<ObjectRef>, PluginError> {
        let manifests = self.manifests(in_namespace)?;
        let mut others = Vec::new();
        for (group, api_version, kind) in KINDS {
            for object in manifests.iter().filter(|object| object["kind"] == kind) {
                let found = find(facts, (group, kind), in_namespace, name(object));
                if found.is_some_and(|object| !is_ours(object)) {
                    others.push(ObjectRef::new(api_version, kind, in_namespace, name(object)));
                }
            }
        }
        Ok(others)
    }
}

fn find<'a>(
    facts: &'a Facts,
    (group, kind): (&'a str, &'a str),
    in_namespace: &str,
    wanted: &str,
) -> Option<&'a Value> {
    facts
        .objects(group, kind)
        .find(|object| namespace(object) == in_namespace && name(object) == wanted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn named(kind: &str) -> BTreeSet<String> {
        BOOKINFO
            .manifests("shop")
            .unwrap()
            .iter()
            .filter(|object| object["kind"] == kind)
            .map(|object| name(object).to_owned())
            .collect()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn bookinfo_is_four_services_and_six_deployments_each_with_an_account() {
        let services = set(&["details", "ratings", "reviews", "productpage"]);
        assert_eq!(named("Service"), services);
        assert_eq!(
            named("Deployment"),
            set(&[
                "details-v1",
                "ratings-v1",
                "reviews-v1",
                "reviews-v2",
                "reviews-v3",
                "productpage-v1"
            ])
        );
        let accounts = services.iter().map(|s| format!("bookinfo-{s}")).collect();
        assert_eq!(named("ServiceAccount"), accounts);
    }

    #[test]
    fn every_object_is_in_the_namespace_and_every_selector_finds_its_pods() {
        let manifests = BOOKINFO.manifests("shop").unwrap();
        let text = |object: &Value, pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
        for object in &manifests {
            assert_eq!(namespace(object), "shop");
            assert_eq!(object["metadata"]["labels"][PART_OF], "bookinfo");
            if object["kind"] != "Deployment" {
                continue;
            }
            let labels = text(object, "/spec/template/metadata/labels");
            assert_eq!(text(object, "/spec/selector/matchLabels"), labels);
            let account = text(object, "/spec/template/spec/serviceAccountName");
            assert_eq!(account, format!("bookinfo-{}", labels["app"].as_str().unwrap()));
            let image = text(object, "/spec/template/spec/containers/0/image");
            let expected = format!(
                "registry.istio.io/release/examples-bookinfo-{}:1.20.3",
                name(object)
            );
            assert_eq!(image, expected);
            assert_eq!(
                text(object, "/spec/template/spec/containers/0/ports/0/containerPort"),
                9080
            );
        }
        let services = manifests.iter().filter(|object| object["kind"] == "Service");
        for service in services {
            assert_eq!(service["spec"]["ports"][0]["port"], 9080);
            let wanted = &service["spec"]["selector"]["app"];
            assert!(
                manifests
                    .iter()
                    .any(|o| &text(o, "/spec/template/metadata/labels")["app"] == wanted),
                "{wanted}"
            );
        }
    }

    #[test]
    fn of_a_kind_that_was_not_read_all_objects_are_targets() {
        let targets = BOOKINFO.targets(&Facts::default(), "shop").unwrap();
        assert_eq!(targets.len(), 14);
        assert!(targets.iter().all(|target| target.when == Condition::Ours));
    }
}
