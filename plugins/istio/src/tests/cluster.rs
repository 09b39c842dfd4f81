//! The clusters in `tests/clusters`, with Istio's adapter before them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use meshery_plugin_api::message::expansion::{Expand, Expansion};
use meshery_plugin_api::message::facts::{ChartFact, Facts, Need, Readability};
use meshery_plugin_api::message::finding::{Finding, Installation, Severity};
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use meshery_plugin_api::{PluginError, testkit};
use serde_json::Value;

use crate::Istio;

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
    let path = folder("clusters").join(format!("{file}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cluster = testkit::Cluster::from_yaml(&format!("{text}\n{more}"));
    cluster.unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}

impl Cluster {
    pub fn of(file: &str) -> Self {
        Self(yaml(file))
    }

    pub fn with(file: &str, more: &str) -> Self {
        Self(with(file, more))
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

    /// A mirror with all charts of these versions.
    pub fn mirror(mut self, versions: &[&str]) -> Self {
        for version in versions {
            for name in ["base", "istiod", "cni", "ztunnel", "gateway"] {
                self = self.chart(name, version);
            }
        }
        self
    }

    /// A mirror with one chart.
    pub fn chart(self, name: &str, version: &str) -> Self {
        Self(self.0.chart(ChartFact {
            name: name.into(),
            version: version.into(),
            app_version: version.into(),
            sha256: format!("sha-of-{name}-{version}"),
            ..ChartFact::default()
        }))
    }

    /// An index that lists all charts of these versions.
    pub fn index(mut self, versions: &[&str]) -> Self {
        for version in versions {
            for name in ["base", "istiod", "cni", "ztunnel", "gateway"] {
                self.0 = self.0.listed(ChartFact {
                    name: name.into(),
                    version: (*version).into(),
                    sha256: format!("listed-{name}-{version}"),
                    repository: crate::versions::CATALOGUE.repository.into(),
                    ..ChartFact::default()
                });
            }
        }
        self
    }

    /// The moment.
    pub fn now(self, now: &str) -> Self {
        Self(self.0.now(now))
    }

    /// Changes the objects of a name.
    pub fn change(self, of_name: &str, change: impl Fn(&mut Value)) -> Self {
        Self(self.0.change(of_name, change))
    }

    pub fn facts(&self, needs: &[Need]) -> Facts {
        self.0.facts(needs).unwrap()
    }

    pub fn request(&self, operation: &str, given: Value) -> PlanRequest {
        self.0.request(&Istio, operation, given).unwrap()
    }

    pub fn plan(&self, operation: &str, given: Value) -> Result<Plan, PluginError> {
        self.0.plan(&Istio, operation, given)
    }

    pub fn expand(
        &self,
        operation: &str,
        expand: &Expand,
        outputs: BTreeMap<String, Value>,
    ) -> Result<Expansion, PluginError> {
        self.0.expand(&Istio, operation, expand, outputs)
    }

    pub fn check(&self, operation: &str, given: Value) -> Vec<Finding> {
        let findings = self.0.check(&Istio, operation, given).unwrap();
        let documented =
            |finding: &Finding| finding.severity == Severity::Info || finding.remedy.contains("https://");
        assert!(findings.iter().all(documented), "{findings:#?}");
        findings
    }

    pub fn detect(&self) -> Result<Vec<Installation>, PluginError> {
        self.0.detect(&Istio)
    }
}
