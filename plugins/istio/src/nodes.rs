//! What of Istio is on the nodes, one for all control planes: the CNI plugin and, in ambient mode, the nodes' proxies. Which
//! control planes they may serve, now and on the way of an operation.

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{label, name, namespace};
use meshery_mesh_kit::ownership::chart_of;
use meshery_mesh_kit::workload::{image, image_version};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Installation, Severity};
use semver::Version;
use serde_json::Value;

use crate::control_plane::{CNI_NODE, Plane, ZTUNNEL, shown};
use crate::releases::{Part, PartRelease};
use crate::{MESH, skew};

/// Label with the name of what an object is, whatever it is called itself.
const NAME_LABEL: &str = "app.kubernetes.io/name";

/// What has to be read to know whether something is there. By name: the chart gives app=ztunnel to the pods alone.
pub fn need() -> Need {
    need::everywhere("apps", "DaemonSet", "", Detail::Metadata)
}

/// A part on every node, and its version.
struct OnNodes {
    part: Part,
    version: Version,
}

/// What is seen of a cluster before an operation on a control plane.
pub struct Seen<'a> {
    there: &'a [Installation],
    parts: Vec<OnNodes>,
    /// What has its release in the namespace of the control plane, and goes along with it.
    carried: Vec<Part>,
}

/// An operation that brings a control plane to a version.
struct Change<'a> {
    /// Namespace and revision of control planes that it is about: the one that it changes and, in a canary upgrade, the old one.
    about: &'a [(&'a str, &'a str)],
    /// The one of them that gets the version; what of the nodes goes along gets it after it.
    plane: (&'a str, &'a str),
    to: &'a Version,
}

/// A control plane that is there during the operation.
struct Served {
    namespace: String,
    revision: String,
    version: Version,
    /// The operation brings it to another minor version, or brings it.
    changes: bool,
}

impl<'a> Seen<'a> {
    /// By the releases in the namespace of the control plane.
    pub fn new(facts: &Facts, there: &'a [Installation], releases: &[PartRelease]) -> Self {
        let parts = releases.iter().map(|release| release.part);
        Self {
            there,
            parts: of(facts),
            carried: parts
                .filter(|part| matches!(part, Part::Cni | Part::Ztunnel))
                .collect(),
        }
    }

    /// What speaks against bringing a control plane to a version where it is, or where none is yet.
    pub fn in_place(&self, plane: Plane<'_>, to: &Version) -> Vec<Finding> {
        let plane = (plane.namespace, shown(plane.revision));
        self.unsupported(&Change {
            about: &[plane],
            plane,
            to,
        })
    }

    /// What speaks against a new one beside the old one: while namespaces move, the nodes serve both.
    pub fn beside(&self, old: Plane<'_>, revision: &str, to: &Version) -> Vec<Finding> {
        let plane = (old.namespace, revision);
        self.unsupported(&Change {
            about: &[(old.namespace, shown(old.revision)), plane],
            plane,
            to,
        })
    }

    /// What the nodes have would not go with one of the control planes at some moment of the operation. What does not go
    /// together already is left out: perhaps the operation mends it. Of control planes that it is not about nobody knows
    /// whether they use what is on the nodes.
    fn unsupported(&self, change: &Change<'_>) -> Vec<Finding> {
        let planes = served(self.there, change);
        let is_ambient = is_ambient(&self.parts);
        let mut findings = Vec::new();
        for on in &self.parts {
            let moves = self.carried.contains(&on.part);
            let after = moves.then(|| (change.to, !is_same_minor(&on.version, change.to)));
            for (version, moved) in [(&on.version, false)].into_iter().chain(after) {
                let beyond = planes
                    .iter()
                    .filter(|plane| moved || plane.changes)
                    .filter(|plane| !skew::serves(version, &plane.version, is_ambient));
                findings.extend(beyond.map(|plane| {
                    let about = (plane.namespace.as_str(), plane.revision.as_str());
                    let severity = if change.about.contains(&about) {
                        Severity::Error
                    } else {
                        Severity::Warning
                    };
                    let remedy = if moved {
                        format!(
                            "bring revision {} nearer to {version} first, one minor version at a time",
                            plane.revision
                        )
                    } else {
                        format!("bring the {} nearer to {} first", title(on.part), plane.version)
                    };
                    let with = (plane.revision.as_str(), &plane.version);
                    finding(severity, (on.part, version), with, is_ambient).remedy(remedy)
                }));
            }
        }
        findings
    }
}

/// The control planes as the operation leaves them.
fn served(there: &[Installation], change: &Change<'_>) -> Vec<Served> {
    let is_it = |found: &Installation| (found.namespace.as_str(), found.revision.as_str()) == change.plane;
    let version = |found: &Installation| Version::parse(&found.version).ok();
    let before = there.iter().find(|found| is_it(found)).and_then(version);
    let (in_namespace, revision) = change.plane;
    let others = there.iter().filter(|found| !is_it(found)).filter_map(|found| {
        Some(Served {
            namespace: found.namespace.clone(),
            revision: found.revision.clone(),
            version: version(found)?,
            changes: false,
        })
    });
    let it = Served {
        namespace: in_namespace.into(),
        revision: revision.into(),
        version: change.to.clone(),
        changes: !before.is_some_and(|before| is_same_minor(&before, change.to)),
    };
    others.chain([it]).collect()
}

fn is_same_minor(a: &Version, b: &Version) -> bool {
    (a.major, a.minor) == (b.major, b.minor)
}

/// What the nodes have and a control plane that is there does not go with, as things are now.
pub fn unsupported(facts: &Facts, revision: &str, plane: &Version) -> Vec<Finding> {
    let parts = of(facts);
    let is_ambient = is_ambient(&parts);
    let beyond = parts
        .iter()
        .filter(|on| !skew::serves(&on.version, plane, is_ambient));
    beyond
        .map(|on| {
            let (part, with) = ((on.part, &on.version), (revision, plane));
            finding(Severity::Warning, part, with, is_ambient)
                .remedy("upgrade what is older, if this control plane uses it")
        })
        .collect()
}

fn of(facts: &Facts) -> Vec<OnNodes> {
    facts.objects("apps", "DaemonSet").filter_map(on_nodes).collect()
}

/// Whether the CNI plugin on the nodes sets up the network of pods with a sidecar. In ambient mode the charts have sidecars do that by
/// themselves still.
pub fn redirect_for_sidecars(facts: &Facts) -> bool {
    let of_nodes = |part: fn(&Value) -> bool| facts.objects("apps", "DaemonSet").any(part);
    of_nodes(|object| name(object) == CNI_NODE) && !of_nodes(is_ztunnel)
}

/// The name of the nodes' proxies in a namespace.
pub fn ztunnel<'a>(facts: &'a Facts, in_namespace: &str) -> Option<&'a str> {
    let mut all = facts
        .objects("apps", "DaemonSet")
        .filter(|object| is_ztunnel(object));
    all.find(|object| namespace(object) == in_namespace).map(name)
}

fn is_ztunnel(object: &Value) -> bool {
    name(object) == ZTUNNEL || label(object, NAME_LABEL) == Some(ZTUNNEL)
}

fn on_nodes(object: &Value) -> Option<OnNodes> {
    let (part, container) = if name(object) == CNI_NODE {
        (Part::Cni, "install-cni")
    } else if is_ztunnel(object) {
        (Part::Ztunnel, "istio-proxy")
    } else {
        return None;
    };
    let of_image = image(object, container).and_then(image_version);
    let version = of_image.or_else(|| Some(chart_of(object)?.1))?;
    Some(OnNodes { part, version })
}

fn is_ambient(parts: &[OnNodes]) -> bool {
    parts.iter().any(|on| on.part == Part::Ztunnel)
}

fn title(part: Part) -> &'static str {
    match part {
        Part::Ztunnel => "nodes' proxies",
        _ => "CNI plugin",
    }
}

fn finding(
    severity: Severity,
    (part, version): (Part, &Version),
    (revision, plane): (&str, &Version),
    is_ambient: bool,
) -> Finding {
    let rule = if is_ambient {
        "control planes of its own minor version and the next"
    } else {
        "control planes at most one minor version away"
    };
    Finding::new(
        severity,
        "istio-nodes-unsupported",
        format!(
            "{} {version} with revision {revision} of {MESH} {plane}: what is on the nodes serves {rule}",
            title(part)
        ),
    )
}
