//! A cluster whose rules refuse the pod by which injection is proved: that is told before anything is changed.

use anyhow::ensure;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, LIMIT};
use crate::namespace::eventually;

const POLICY: &str = "pods-have-a-team";

/// While a policy refuses such pods, nothing is installed, and who refuses it is named with the remedy.
pub fn refused_at_first(bench: &Bench, install: &Value) -> anyhow::Result<()> {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            },
            "validations": [{"expression": "has(object.metadata.labels) && 'team' in object.metadata.labels",
                "message": "a pod is of a team"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY}, "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
    });
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]}).to_string();
    let ordinary = [
        "run",
        "ordinary",
        "--image=example.org/none:1",
        "--dry-run=server",
    ];
    let before = Snapshot::take(&bench.cluster)?;
    let file = bench.cluster.dir().join("policies.json");
    std::fs::write(&file, both)?;
    bench.kubectl(&["apply", "--filename", &file.to_string_lossy()])?;
    eventually(|| {
        ensure!(bench.kubectl(&ordinary).is_err(), "the policy does not hold yet");
        Ok(())
    })?;
    let result = refused(bench, install);
    let kinds = "validatingadmissionpolicy,validatingadmissionpolicybinding";
    bench.kubectl(&["delete", kinds, POLICY])?;
    result?;
    before.await_same(&bench.cluster)?;
    eventually(|| bench.kubectl(&ordinary).map(drop))
}

fn refused(bench: &Bench, install: &Value) -> anyhow::Result<()> {
    let record = bench.host.perform(install, "failed", LIMIT)?;
    let error = &record["error"];
    ensure!(error["code"] == "webhook-denied", "{record:#}");
    for said in [
        "meshery-injection-probe",
        POLICY,
        "a pod is of a team",
        "make an exception in",
    ] {
        ensure!(error.to_string().contains(said), "{said}: {record:#}");
    }
    let mut steps = record["steps"].as_array().into_iter().flatten();
    let begun = steps.find(|step| step["id"] != "pod-taken" && step["state"] != "skipped");
    ensure!(begun.is_none(), "something was changed: {record:#}");
    Ok(())
}
