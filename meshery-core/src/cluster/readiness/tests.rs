use serde_json::json;

use super::webhook::{ca_bundle, called, fails_closed, has_port};
use super::*;

fn deployment(spec: Value, status: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2}, "spec": spec, "status": status})
}

fn rolled_out() -> Value {
    json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2,
        "conditions": [{"type": "Available", "status": "True"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]})
}

fn with(mut value: Value, pointer: &str, to: Value) -> Value {
    *value.pointer_mut(pointer).unwrap() = to;
    value
}

fn reason_of(state: State) -> String {
    match state {
        State::Waiting(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deployment_is_ready_when_it_is_rolled_out() {
    let spec = json!({"replicas": 2});
    assert_eq!(ready(&deployment(spec.clone(), rolled_out())), State::Ready);
    for (counter, less, said) in [
        ("/updatedReplicas", 1, "Updated: 1/2"),
        ("/availableReplicas", 0, "Available: 0/2"),
        ("/readyReplicas", 1, "Ready: 1/2"),
        ("/replicas", 3, "1 old pods are still there"),
    ] {
        let status = with(rolled_out(), counter, json!(less));
        assert_eq!(reason_of(ready(&deployment(spec.clone(), status))), said);
    }
    let none = json!({"observedGeneration": 2, "conditions": [{"type": "Available", "status": "True"}]});
    assert_eq!(ready(&deployment(json!({"replicas": 0}), none)), State::Ready);
}

#[test]
fn a_perfect_status_of_an_older_generation_does_not_count() {
    let status = with(rolled_out(), "/observedGeneration", json!(1));
    assert!(reason_of(ready(&deployment(json!({"replicas": 2}), status))).contains("not seen the change"));
    let mut stale = with(rolled_out(), "/observedGeneration", json!(1));
    stale["conditions"][1] =
        json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
    assert!(matches!(
        ready(&deployment(json!({"replicas": 2}), stale)),
        State::Waiting(_)
    ));
    assert!(
        matches!(ready(&deployment(json!({}), json!({}))), State::Waiting(_)),
        "no status at all"
    );
}

#[test]
fn a_deployment_past_its_deadline_has_failed_and_one_whose_pods_are_refused_says_so() {
    let mut status = with(rolled_out(), "/updatedReplicas", json!(1));
    status["conditions"][1] = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"});
    assert_eq!(
        ready(&deployment(json!({"replicas": 2}), status)),
        State::Failed("ProgressDeadlineExceeded: timed out".into())
    );
    let status = json!({"observedGeneration": 2, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]});
    let said = reason_of(ready(&deployment(json!({}), status)));
    assert_eq!(said, "pods cannot be created: FailedCreate: exceeded quota");
}

#[test]
fn an_object_on_its_way_out_is_never_ready() {
    let mut object = deployment(json!({"replicas": 2}), rolled_out());
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(reason_of(ready(&object)), "it is being deleted");
}

#[test]
fn a_daemon_set_of_nought_pods_is_ready_only_when_it_was_seen() {
    let set = |status| json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"generation": 1}, "status": status});
    let zeros = json!({"desiredNumberScheduled": 0, "numberReady": 0});
    assert!(matches!(ready(&set(zeros)), State::Waiting(_)));
    assert_eq!(ready(&set(json!({"observedGeneration": 1}))), State::Ready);
    let short = json!({"observedGeneration": 1, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
        "updatedNumberScheduled": 3, "numberAvailable": 1});
    assert_eq!(reason_of(ready(&set(short))), "Available: 1/3");
}

#[test]
fn a_stateful_set_is_ready_in_its_new_revision() {
    let set = |status| {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"generation": 1},
        "spec": {"replicas": 2}, "status": status})
    };
    let done = json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2,
        "currentRevision": "b", "updateRevision": "b"});
    assert_eq!(ready(&set(done.clone())), State::Ready);
    let rolling = with(
        with(done, "/currentRevision", json!("a")),
        "/updatedReplicas",
        json!(1),
    );
    assert_eq!(reason_of(ready(&set(rolling))), "Updated: 1/2");
}

#[test]
fn a_job_is_ready_when_complete_and_failed_when_failed() {
    let job = |conditions| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {},
        "status": {"startTime": "x", "conditions": conditions}})
    };
    assert_eq!(reason_of(ready(&job(json!([])))), "Complete: 0/1");
    assert_eq!(
        ready(&job(json!([{"type": "Complete", "status": "True"}]))),
        State::Ready
    );
    let failed = json!([{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}]);
    assert_eq!(ready(&job(failed)), State::Failed("BackoffLimitExceeded".into()));
}

#[test]
fn a_definition_whose_names_clash_has_failed() {
    let crd = |conditions| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {}, "status": {"conditions": conditions}})
    };
    assert!(
        matches!(ready(&crd(Value::Null)), State::Waiting(_)),
        "conditions may be null"
    );
    assert_eq!(
        ready(&crd(json!([{"type": "Established", "status": "True"}]))),
        State::Ready
    );
    let clash = json!([{"type": "NamesAccepted", "status": "False", "reason": "ListKindConflict",
        "message": "\"SameList\" is already in use"}]);
    assert!(matches!(ready(&crd(clash)), State::Failed(reason) if reason.contains("already in use")));
}

#[test]
fn a_pod_says_why_it_does_not_run() {
    let pod = |status| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "status": status});
    let pulling = json!({"phase": "Pending", "containerStatuses": [
        {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]});
    assert_eq!(
        reason_of(ready(&pod(pulling))),
        "container main: ImagePullBackOff: no such image"
    );
    let unplaced = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
    assert_eq!(reason_of(ready(&pod(unplaced))), "Unschedulable: 0/3 nodes");
    assert!(matches!(
        ready(&pod(json!({"phase": "Failed"}))),
        State::Failed(_)
    ));
    let running = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    assert_eq!(ready(&pod(running)), State::Ready);
}

#[test]
fn conditions_of_an_older_generation_do_not_count() {
    let gateway = |observed| {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"generation": 2}, "status": {"conditions": [
            {"type": "Accepted", "status": "True", "observedGeneration": observed},
            {"type": "Programmed", "status": "True", "observedGeneration": observed}]}})
    };
    assert_eq!(ready(&gateway(2)), State::Ready);
    assert!(matches!(ready(&gateway(1)), State::Waiting(_)));
}

#[test]
fn kinds_without_a_rule_are_ready_unless_they_say_otherwise() {
    assert_eq!(
        ready(&json!({"apiVersion": "v1", "kind": "ConfigMap"})),
        State::Ready
    );
    let thing = |status: &str| {
        json!({"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {},
        "status": {"conditions": [{"type": "Ready", "status": status, "reason": "Because"}]}})
    };
    assert_eq!(ready(&thing("True")), State::Ready);
    assert_eq!(reason_of(ready(&thing("False"))), "not Ready: Because");
}

#[test]
fn webhooks_need_a_bundle_each_and_may_fail_open() {
    let configuration = |bundle: &str| {
        json!({"webhooks": [
        {"name": "a", "failurePolicy": "Fail", "clientConfig": {"service": {"namespace": "ns", "name": "s"}, "caBundle": bundle}},
        {"name": "b", "failurePolicy": "Ignore", "clientConfig": {"url": "https://x"}}]})
    };
    assert_eq!(reason_of(ca_bundle(&configuration(""))), "no CA bundle in a");
    assert_eq!(ca_bundle(&configuration("YQ==")), State::Ready);
    assert!(reason_of(fails_closed(&configuration("YQ=="))).starts_with('b'));
    let services = called(&configuration(""));
    assert_eq!((services.len(), services[0].port), (1, 443));
    assert!(has_port(&json!({"spec": {"ports": [{"port": 443}]}}), 443));
}

#[test]
fn addresses_and_endpoints() {
    let service = |kind: &str, status| json!({"kind": "Service", "metadata": {}, "spec": {"type": kind}, "status": status});
    assert!(matches!(
        address(&service("LoadBalancer", json!({"loadBalancer": {}}))),
        State::Waiting(_)
    ));
    assert_eq!(
        address(&service(
            "LoadBalancer",
            json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}})
        )),
        State::Ready
    );
    assert!(matches!(
        address(&service("ClusterIP", json!({}))),
        State::Failed(_)
    ));
    let slice = |ready| json!({"endpoints": [{"conditions": {"ready": ready}}]});
    assert_eq!(reason_of(endpoints(&[])), "it has no endpoints");
    assert_eq!(
        reason_of(endpoints(&[slice(false)])),
        "none of its 1 endpoints is ready"
    );
    assert_eq!(endpoints(&[slice(false), slice(true)]), State::Ready);
}
