//! The clusters in `tests/clusters`, with Linkerd's adapter before them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshery_plugin_api::message::expansion::{Expand, Expansion};
use meshery_plugin_api::message::facts::{ChartFact, Readability};
use meshery_plugin_api::message::finding::{Finding, Installation, Severity};
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use meshery_plugin_api::{PluginError, testkit};
use serde_json::Value;

use crate::Linkerd;

/// An anchor other than that of the clusters.
pub const NEWER: &str = include_str!("../../../mesh-kit/src/certificate/p256-newer.pem");

pub struct Cluster(testkit::Cluster);

/// A folder beside the sources.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// A cluster of that folder.
pub fn yaml(file: &str) -> testkit::Cluster {
    with(file, "")
}

/// The same with further objects, in YAML.
fn with(file: &str, more: &str) -> testkit::Cluster {
    read(file, |text| format!("{text}\n{more}"))
}

/// The file's text as it is, or changed.
fn read(file: &str, change: impl Fn(&str) -> String) -> testkit::Cluster {
    let path = folder("clusters").join(format!("{file}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cluster = testkit::Cluster::from_yaml(&change(&text));
    cluster.unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}

impl Cluster {
    pub fn of(file: &str) -> Self {
        Self(yaml(file))
    }

    pub fn with(file: &str, more: &str) -> Self {
        Self(with(file, more))
    }

    /// With the control plane in another namespace than it usually has.
    pub fn in_namespace(file: &str, namespace: &str) -> Self {
        let places = [
            "namespace: ",
            "control-plane-ns: ",
            "kind: Namespace\n  metadata: {name: ",
        ];
        let moved = |text: &str| {
            places.iter().fold(text.to_owned(), |text, place| {
                text.replace(&format!("{place}linkerd"), &format!("{place}{namespace}"))
            })
        };
        Self(read(file, moved))
    }

    /// Where both anchors are believed, and the Secret of the new one is there.
    pub fn in_rotation() -> Self {
        let secret = format!(
            "- apiVersion: v1\n  kind: Secret\n  metadata: {{name: linkerd-trust-anchor-2, namespace: linkerd}}\n  \
             data: {{tls.crt: {}}}\n",
            STANDARD.encode(NEWER)
        );
        Self::with("installed", &secret).change("linkerd-identity-trust-roots", |roots| {
            let old = roots["data"]["ca-bundle.crt"].as_str().unwrap_or_default();
            roots["data"]["ca-bundle.crt"] = format!("{old}{NEWER}").into();
        })
    }

    pub fn forbid(self, kinds: &[(&str, &str)]) -> Self {
        let forbid = |cluster: testkit::Cluster, (group, kind): &(&str, &str)| {
            cluster.readable(group, kind, Readability::Forbidden)
        };
        Self(kinds.iter().fold(self.0, forbid))
    }

    pub fn version(self, version: &str) -> Self {
        Self(self.0.version(version))
    }

    /// On a platform, by what gives it away.
    pub fn on(self, platform: &str) -> Self {
        match platform {
            "openshift" => Self(self.0.api("config.openshift.io/v1/ClusterVersion")),
            "gke" => self.version("v1.34.2-gke.1080000"),
            "k3s" => self.version("v1.34.2+k3s1"),
            other => panic!("{other}"),
        }
    }

    /// The moment.
    pub fn now(self, now: &str) -> Self {
        Self(self.0.now(now))
    }

    /// A mirror with charts of a version.
    pub fn mirror(mut self, version: &str, app_version: &str, charts: &[&str]) -> Self {
        for name in charts {
            self.0 = self.0.chart(ChartFact {
                name: (*name).into(),
                version: version.into(),
                app_version: app_version.into(),
                sha256: format!("sha-of-{name}-{version}"),
                ..ChartFact::default()
            });
        }
        self
    }

    /// Changes the objects of a name.
    pub fn change(self, of_name: &str, change: impl Fn(&mut Value)) -> Self {
        Self(self.0.change(of_name, change))
    }

    /// The control plane's objects changed, by which detection tells who has made it.
    pub fn maker(self, change: impl Fn(&mut Value)) -> Self {
        let parts = [
            "linkerd-identity",
            "linkerd-destination",
            "linkerd-proxy-injector",
            "linkerd-proxy-injector-webhook-config",
            "linkerd-sp-validator-webhook-config",
            "linkerd-policy-validator-webhook-config",
            "servers.policy.linkerd.io",
        ];
        parts
            .into_iter()
            .fold(self, |cluster, part| cluster.change(part, &change))
    }

    pub fn request(&self, operation: &str, given: Value) -> PlanRequest {
        self.0.request(&Linkerd, operation, given).unwrap()
    }

    pub fn plan(&self, operation: &str, given: Value) -> Result<Plan, PluginError> {
        self.0.plan(&Linkerd, operation, given)
    }

    pub fn expand(
        &self,
        operation: &str,
        expand: &Expand,
        outputs: BTreeMap<String, Value>,
    ) -> Result<Expansion, PluginError> {
        self.0.expand(&Linkerd, operation, expand, outputs)
    }

    pub fn check(&self, operation: &str, given: Value) -> Vec<Finding> {
        let findings = self.0.check(&Linkerd, operation, given).unwrap();
        let documented =
            |finding: &Finding| finding.severity == Severity::Info || finding.remedy.contains("https://");
        assert!(findings.iter().all(documented), "{findings:#?}");
        findings
    }

    pub fn detect(&self) -> Result<Vec<Installation>, PluginError> {
        self.0.detect(&Linkerd)
    }
}
