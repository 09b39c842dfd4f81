//! Another registry, digests and Secrets to pull with, put into the pods' templates of objects.
//!
//! The rule: the registry's host is replaced by the one of the settings, with its path before the image's own; tag and
//! digest stay. An image of Docker Hub with a short name gets the path that it has there (`nginx` is `library/nginx`).
//! A bare word without registry, path, tag and digest stays: injectors put their own image in its place. An image for which
//! there is a digest gets it behind its tag.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ImageSource;
use super::pins::Pins;
use super::pods::{CONTAINERS, pod_mut};
use super::reference::Reference;

/// More are counted, not listed.
const LISTED: usize = 40;

/// Changes objects, and remembers what it changed.
pub(crate) struct Mover<'a> {
    source: &'a ImageSource,
    pins: Pins<'a>,
    moved: BTreeMap<String, String>,
    stayed: BTreeSet<String>,
    /// Those for which there is no digest, though others have one.
    unpinned: BTreeSet<String>,
    pods: usize,
}

impl<'a> Mover<'a> {
    pub(crate) fn new(source: &'a ImageSource) -> Self {
        Self {
            source,
            // A source that was not checked pins nothing it cannot read.
            pins: Pins::of(&source.digests).unwrap_or_default(),
            moved: BTreeMap::new(),
            stayed: BTreeSet::new(),
            unpinned: BTreeSet::new(),
            pods: 0,
        }
    }

    /// Whether there is nothing to change.
    pub(crate) fn is_idle(&self) -> bool {
        self.source.is_usual()
    }

    /// Changes an object if it has pods; whether it is another one now.
    pub(crate) fn change(&mut self, object: &mut Value) -> bool {
        if self.is_idle() {
            return false;
        }
        let Some(spec) = pod_mut(object).and_then(|pod| pod.get_mut("spec")) else {
            return false;
        };
        let mut changed = false;
        for list in CONTAINERS {
            for container in spec
                .get_mut(list)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Some(image) = container.get_mut("image")
                    && let Some(elsewhere) = image.as_str().and_then(|image| self.elsewhere(image))
                {
                    *image = elsewhere.into();
                    changed = true;
                }
            }
        }
        changed | self.add_secrets(spec)
    }

    fn elsewhere(&mut self, image: &str) -> Option<String> {
        let registry = &self.source.registry;
        let is_there = image
            .strip_prefix(registry.as_str())
            .is_some_and(|rest| rest.starts_with('/'));
        let moves = !registry.is_empty() && !is_there;
        if !moves && self.pins.is_empty() {
            return None;
        }
        let Some(reference) = Reference::parse(image).filter(|reference| !reference.is_placeholder()) else {
            self.stayed.insert(image.to_owned());
            return None;
        };
        let mut elsewhere = if moves {
            reference.moved_to(registry)
        } else {
            image.to_owned()
        };
        if let Some(digest) = self.pins.digest(&reference) {
            elsewhere.push('@');
            elsewhere.push_str(digest);
        } else if !self.pins.is_empty() && !reference.rest.contains('@') {
            self.unpinned.insert(image.to_owned());
        }
        if elsewhere == image {
            return None;
        }
        self.moved.insert(image.to_owned(), elsewhere.clone());
        Some(elsewhere)
    }

    fn add_secrets(&mut self, spec: &mut Value) -> bool {
        let Some(spec) = spec
            .as_object_mut()
            .filter(|_| !self.source.pull_secrets.is_empty())
        else {
            return false;
        };
        let list = spec.entry("imagePullSecrets").or_insert_with(|| json!([]));
        if list.is_null() {
            *list = json!([]);
        }
        let Some(list) = list.as_array_mut() else {
            return false;
        };
        let before = list.len();
        for name in &self.source.pull_secrets {
            if !list.iter().any(|secret| secret["name"] == name.as_str()) {
                list.push(json!({"name": name}));
            }
        }
        self.pods += 1;
        list.len() > before
    }

    /// What people should know of it.
    pub(crate) fn notes(self) -> Vec<String> {
        let mut notes: Vec<String> = self
            .moved
            .iter()
            .take(LISTED)
            .map(|(from, to)| format!("Image {from} is pulled as {to}."))
            .collect();
        if self.moved.len() > LISTED {
            notes.push(format!(
                "And {} more images are pulled otherwise.",
                self.moved.len() - LISTED
            ));
        }
        for image in self.stayed {
            notes.push(format!(
                "Image \"{}\" stays as it is: it names no registry and no tag, as what an injector fills in later.",
                image.escape_debug()
            ));
        }
        for image in self.unpinned.iter().take(LISTED) {
            notes.push(format!(
                "Image {image} is pulled by its tag: no digest is given for it."
            ));
        }
        if self.unpinned.len() > LISTED {
            notes.push(format!(
                "And so are {} more images.",
                self.unpinned.len() - LISTED
            ));
        }
        if self.pods > 0 {
            notes.push(format!(
                "Pods pull with {}, which must be in their namespaces.",
                self.source.pull_secrets.join(", ")
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> ImageSource {
        ImageSource {
            registry: "registry.corp/mirror".into(),
            pull_secrets: vec!["regcred".into()],
            digests: Vec::new(),
        }
    }

    fn pod() -> Value {
        json!({"metadata": {"annotations": {"image": "docker.io/a/b:1"}}, "spec": {
            "initContainers": [{"name": "i", "image": "docker.io/a/init:1"}],
            "containers": [{"name": "c", "image": "quay.io/a/b@sha256:0f", "args": ["quay.io/a/b"]},
                {"name": "proxy", "image": "auto"}, {"name": "none"}],
            "imagePullSecrets": [{"name": "own"}]}})
    }

    #[test]
    fn all_pods_are_changed_and_nothing_but_their_images_and_pull_secrets() {
        for (api, kind, place) in [
            ("v1", "Pod", ""),
            ("v1", "PodTemplate", "/template"),
            ("v1", "ReplicationController", "/spec/template"),
            ("apps/v1", "Deployment", "/spec/template"),
            ("apps/v1", "StatefulSet", "/spec/template"),
            ("apps/v1", "DaemonSet", "/spec/template"),
            ("batch/v1", "Job", "/spec/template"),
            ("batch/v1", "CronJob", "/spec/jobTemplate/spec/template"),
        ] {
            let mut object = place
                .split('/')
                .filter(|part| !part.is_empty())
                .rev()
                .fold(pod(), |inner, part| json!({ part: inner }));
            object["apiVersion"] = api.into();
            object["kind"] = kind.into();
            let before = object.clone();
            let source = source();
            let mut mover = Mover::new(&source);
            assert!(mover.change(&mut object), "{kind}");
            let spec = &object.pointer(place).unwrap()["spec"];
            assert_eq!(
                spec["initContainers"][0]["image"],
                "registry.corp/mirror/a/init:1"
            );
            assert_eq!(
                spec["containers"][0]["image"],
                "registry.corp/mirror/a/b@sha256:0f"
            );
            assert_eq!(spec["containers"][1]["image"], "auto");
            assert_eq!(
                spec["imagePullSecrets"],
                json!([{"name": "own"}, {"name": "regcred"}])
            );
            let mut again = object.clone();
            assert!(!mover.change(&mut again), "{kind}: it is there already");
            for part in ["initContainers", "containers", "imagePullSecrets"] {
                let old = before.pointer(place).unwrap()["spec"][part].clone();
                let new = &mut object.pointer_mut(place).unwrap()["spec"][part];
                if part == "containers" {
                    new[0]["image"] = old[0]["image"].clone();
                    assert_eq!(*new, old);
                }
                *new = old;
            }
            assert_eq!(object, before, "{kind}: nothing else");
            let notes = mover.notes();
            assert!(notes[0].contains("registry.corp/mirror/a/init:1"), "{notes:?}");
            assert!(notes.iter().any(|note| note.contains("\"auto\"")), "{notes:?}");
            assert!(notes.iter().any(|note| note.contains("regcred")), "{notes:?}");
        }
    }

    #[test]
    fn images_with_a_digest_get_it_and_others_are_named() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let of = |registry: &str| ImageSource {
            registry: registry.into(),
            digests: vec![format!("docker.io/a/init:1@{digest}")],
            ..ImageSource::default()
        };
        for (source, expected) in [
            (of("r.corp/m"), "r.corp/m/a/init:1"),
            (of(""), "docker.io/a/init:1"),
        ] {
            let mut object = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [
                {"image": "docker.io/a/init:1"}, {"image": "docker.io/a/other:1"}, {"image": "a/b@sha256:0f"}]}});
            let mut mover = Mover::new(&source);
            assert!(mover.change(&mut object));
            assert_eq!(
                object["spec"]["containers"][0]["image"],
                format!("{expected}@{digest}")
            );
            assert!(!mover.change(&mut object), "it has it already");
            let notes = mover.notes();
            let named: Vec<&String> = notes.iter().filter(|note| note.contains("by its tag")).collect();
            assert!(
                !named.is_empty() && named.iter().all(|note| note.contains("a/other:1")),
                "{notes:?}"
            );
        }
    }

    #[test]
    fn objects_without_pods_and_a_source_that_is_usual_change_nothing() {
        let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"},
            "data": {"image": "docker.io/a/b:1"}});
        let before = config.clone();
        let source = source();
        assert!(!Mover::new(&source).change(&mut config));
        assert_eq!(config, before);
        let mut object = pod();
        object["apiVersion"] = "v1".into();
        object["kind"] = "Pod".into();
        let usual = ImageSource::default();
        assert!(!Mover::new(&usual).change(&mut object));
        // A kind of somebody else's that is called like one of Kubernetes' own.
        object["apiVersion"] = "example.org/v1".into();
        assert!(!Mover::new(&source).change(&mut object));
    }
}
