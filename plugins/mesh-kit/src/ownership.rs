//! Who made an object: by the marks that Meshery and Helm leave on it.

use std::collections::BTreeMap;

use meshery_plugin_api::message::facts::Facts;
use semver::Version;
use serde_json::Value;

use crate::object::{annotation, label};

/// The word for what Meshery has installed, or has taken over.
pub const OURS: &str = "meshery";
/// The word for what Helm has installed.
pub const HELM: &str = "helm";

/// Labels and annotations that the core puts on what it creates, or takes over, begin with this.
const OUR_MARKS: &str = "meshery.io/";
/// The one of them that says from whom.
const ADOPTED_FROM: &str = "meshery.io/adopted-from";

/// Whether Meshery created the object, or has taken it over.
pub fn is_ours(object: &Value) -> bool {
    ["/metadata/labels", "/metadata/annotations"]
        .iter()
        .filter_map(|pointer| object.pointer(pointer)?.as_object())
        .any(|map| map.keys().any(|key| key.starts_with(OUR_MARKS)))
}

/// Who made the object: `meshery`, `helm` or `unknown`. An adapter that knows its mesh's own installer asks first.
pub fn installed_by(object: &Value) -> &'static str {
    if is_ours(object) {
        OURS
    } else if release_of(object).is_some() {
        HELM
    } else {
        "unknown"
    }
}

/// Who had made an object before it was taken over; "" when it was not.
pub fn adopted_from(object: &Value) -> &str {
    annotation(object, ADOPTED_FROM).unwrap_or_default()
}

/// A Helm release: its name and namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseId {
    /// Namespace of the release.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ReleaseId {
    /// The release of a name in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// The release an object belongs to. Helm demands all three marks, and so do we: a chart may write the label itself.
pub fn release_of(object: &Value) -> Option<ReleaseId> {
    if label(object, "app.kubernetes.io/managed-by") != Some("Helm") {
        return None;
    }
    Some(ReleaseId {
        namespace: annotation(object, "meta.helm.sh/release-namespace")?.into(),
        name: annotation(object, "meta.helm.sh/release-name")?.into(),
    })
}

/// Name and version of the chart that an object was rendered from, by its `helm.sh/chart` label (older charts: `chart`).
pub fn chart_of(object: &Value) -> Option<(&str, Version)> {
    let chart = label(object, "helm.sh/chart").or_else(|| label(object, "chart"))?;
    chart.match_indices('-').find_map(|(at, _)| {
        let version = chart[at + 1..].replace('_', "+");
        let version = Version::parse(version.strip_prefix('v').unwrap_or(&version)).ok()?;
        Some((&chart[..at], version))
    })
}

/// A release as facts show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenRelease {
    /// Name of its chart, empty if no object says so.
    pub chart: String,
    /// Version of its chart.
    pub version: Option<Version>,
    /// Whether Meshery created at least one of its objects, or has taken it over.
    pub ours: bool,
}

/// The releases that facts show, without those of which only objects are left that their chart wants to be kept.
pub fn releases(facts: &Facts) -> BTreeMap<ReleaseId, SeenRelease> {
    let mut seen = BTreeMap::<ReleaseId, SeenRelease>::new();
    for object in facts.kinds.iter().flat_map(|kind| &kind.objects) {
        let kept = annotation(object, "helm.sh/resource-policy") == Some("keep");
        let Some(id) = release_of(object).filter(|_| !kept) else {
            continue;
        };
        let release = seen.entry(id).or_default();
        release.ours |= is_ours(object);
        if let Some((chart, version)) = chart_of(object) {
            release.chart = chart.into();
            release.version = Some(version);
        }
    }
    seen
}

/// A release of a part of a mesh.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartRelease<P> {
    /// What it is for.
    pub part: P,
    /// The release.
    pub id: ReleaseId,
    /// Whether Meshery made it.
    pub ours: bool,
}

/// The releases that facts show of a mesh's parts, ordered by part. `part` tells it by the names of chart and release; the
/// chart is "" where no object says.
pub fn part_releases<P: Ord>(facts: &Facts, part: impl Fn(&str, &str) -> Option<P>) -> Vec<PartRelease<P>> {
    let mut found: Vec<PartRelease<P>> = releases(facts)
        .into_iter()
        .filter_map(|(id, seen)| {
            Some(PartRelease {
                part: part(&seen.chart, &id.name)?,
                ours: seen.ours,
                id,
            })
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::KindFacts;
    use serde_json::json;

    use super::*;

    fn labelled(labels: &Value, annotations: &Value) -> Value {
        json!({"metadata": {"name": "x", "labels": labels, "annotations": annotations}})
    }

    #[test]
    fn a_chart_label_is_split_where_its_version_begins() {
        let chart = |text: &str| {
            chart_of(&labelled(&json!({"helm.sh/chart": text}), &json!({})))
                .map(|(name, version)| (name.to_owned(), version.to_string()))
        };
        assert_eq!(chart("istiod-1.30.3"), Some(("istiod".into(), "1.30.3".into())));
        assert_eq!(
            chart("linkerd-control-plane-2026.8.3"),
            Some(("linkerd-control-plane".into(), "2026.8.3".into()))
        );
        assert_eq!(
            chart("base-1.31.0-rc.0_build"),
            Some(("base".into(), "1.31.0-rc.0+build".into()))
        );
        assert_eq!(chart("base"), None);
    }

    #[test]
    fn the_label_alone_does_not_make_a_release_because_charts_write_it_themselves() {
        let rendered = labelled(&json!({"app.kubernetes.io/managed-by": "Helm"}), &json!({}));
        assert_eq!(
            (release_of(&rendered), installed_by(&rendered)),
            (None, "unknown")
        );
    }

    #[test]
    fn what_meshery_made_is_told_from_what_helm_made() {
        let labels = json!({"app.kubernetes.io/managed-by": "Helm"});
        let mut annotations =
            json!({"meta.helm.sh/release-name": "a", "meta.helm.sh/release-namespace": "b"});
        assert_eq!(installed_by(&labelled(&labels, &annotations)), "helm");
        annotations["meshery.io/operation"] = json!("01J");
        assert_eq!(installed_by(&labelled(&labels, &annotations)), "meshery");
    }

    #[test]
    fn what_was_taken_over_is_ours_and_says_from_whom() {
        let taken = labelled(&json!({}), &json!({"meshery.io/adopted-from": "its installer"}));
        assert_eq!(
            (installed_by(&taken), adopted_from(&taken)),
            (OURS, "its installer")
        );
        assert_eq!(adopted_from(&labelled(&json!({}), &json!({}))), "");
    }

    #[test]
    fn a_release_of_which_only_kept_objects_are_left_is_gone() {
        let labels = json!({"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "base-1.0.0"});
        let annotations = json!({"meta.helm.sh/release-name": "a", "meta.helm.sh/release-namespace": "b",
            "helm.sh/resource-policy": "keep"});
        let facts = |objects: Vec<Value>| {
            let mut facts = Facts::default();
            facts.kinds.push(KindFacts::default());
            facts.kinds[0].objects = objects;
            facts
        };
        assert!(releases(&facts(vec![labelled(&labels, &annotations)])).is_empty());

        let mut unkept = annotations.clone();
        unkept["helm.sh/resource-policy"] = Value::Null;
        let seen = releases(&facts(vec![labelled(&labels, &unkept)]));
        assert_eq!(seen.values().next().map(|r| r.chart.as_str()), Some("base"));
    }
}
