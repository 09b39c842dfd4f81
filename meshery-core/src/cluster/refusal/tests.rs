//! The server's own words, as they were met.

use serde_json::{Value, json};

use super::*;
use crate::cluster::discovery::ResourceType;

fn subject(verb: &'static str, group: &str, kind: &str, plural: &str) -> Subject {
    let kind = ResourceType {
        group: group.into(),
        version: "v1".into(),
        kind: kind.into(),
        plural: plural.into(),
        namespaced: true,
        verbs: vec![],
    };
    Subject::of(verb, &kind, "ns", "a")
}

fn error(status: u16, body: &Value) -> ClusterError {
    error_of(&subject("patch", "", "ConfigMap", "configmaps"), status, body)
}

fn error_of(subject: &Subject, status: u16, body: &Value) -> ClusterError {
    let status = StatusCode::from_u16(status).unwrap();
    Refusal::read(status, body.to_string().as_bytes()).into_error(subject, "test")
}

fn text(status: u16, body: &str) -> ClusterError {
    let status = StatusCode::from_u16(status).unwrap();
    Refusal::read(status, body.as_bytes())
        .into_error(&subject("patch", "example.org", "Thing", "things"), "test")
}

#[test]
fn a_refusal_by_rbac_names_verb_resource_and_namespace() {
    let message = r#"deployments.apps "a" is forbidden: User "limited" cannot create resource "deployments" in API group "apps" in the namespace "ns""#;
    let error = error_of(
        &subject("patch", "apps", "Deployment", "deployments"),
        403,
        &json!({"reason": "Forbidden", "message": message, "details": {"name": "a", "group": "apps", "kind": "deployments"}}),
    );
    assert_eq!(
        error,
        ClusterError::Forbidden {
            verb: "create".into(),
            resource: "deployments.apps".into(),
            namespace: "ns".into(),
            name: "a".into(),
            message: message.into(),
        }
    );
    assert_eq!(
        error.to_string(),
        r#"not allowed to create deployments.apps "a" in namespace ns"#
    );
}

#[test]
fn granting_more_than_one_has_is_an_escalation() {
    let error = error(
        403,
        &json!({"reason": "Forbidden", "message":
        "roles.rbac.authorization.k8s.io \"a\" is forbidden: user \"limited\" (groups=[\"devs\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"}),
    );
    assert!(
        matches!(&error, ClusterError::Forbidden { verb, .. } if verb == "escalate"),
        "{error:?}"
    );
}

#[test]
fn four_conflicts_are_told_apart() {
    let owned = error(
        409,
        &json!({"reason": "Conflict", "message": "Apply failed with 2 conflicts", "details": {"causes": [
            {"reason": "FieldManagerConflict", "message": "conflict with \"helm\"", "field": ".data.x"},
            {"reason": "FieldManagerConflict", "message": "conflict with \"hpa\" with subresource \"scale\" using apps/v1", "field": ".data.y"}]}}),
    );
    let ClusterError::ApplyConflict { conflicts, .. } = &owned else {
        panic!("{owned:?}");
    };
    assert_eq!(conflicts[0].to_string(), ".data.x by helm");
    assert_eq!(conflicts[1].manager, "hpa with subresource scale using apps/v1");

    let modified = error(
        409,
        &json!({"reason": "Conflict", "message": "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"}),
    );
    assert!(
        matches!(&modified, ClusterError::ObjectChanged { reason, .. } if reason == "somebody wrote to it")
    );

    let replaced = error(
        409,
        &json!({"reason": "Conflict", "message": "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid x, and no existing object was found"}),
    );
    assert!(
        matches!(&replaced, ClusterError::ObjectChanged { reason, .. } if reason.contains("deleted")),
        "{replaced:?}"
    );

    let exists = error(
        409,
        &json!({"reason": "AlreadyExists", "message": "configmaps \"a\" already exists"}),
    );
    assert!(matches!(exists, ClusterError::AlreadyExists { .. }));
    let going = error(
        409,
        &json!({"reason": "AlreadyExists", "message": "object is being deleted: configmaps \"a\" already exists"}),
    );
    assert!(matches!(going, ClusterError::Terminating { .. }));
}

#[test]
fn a_webhook_that_denies_is_recognised_whatever_code_it_chose() {
    let error = error(
        409,
        &json!({"reason": "Conflict", "message": "admission webhook \"wh.acme.io\" denied the request: policy says no"}),
    );
    assert_eq!(error.code(), "webhook-denied");
    assert!(
        error
            .to_string()
            .ends_with("refused by the webhook wh.acme.io: policy says no")
    );
}

#[test]
fn policies_and_pod_security_deny_as_webhooks_do_and_are_named() {
    let policy = error(
        422,
        &json!({"reason": "Invalid", "message": "configmaps \"vapx\" is forbidden: ValidatingAdmissionPolicy 'vp' with binding 'vb' denied request: no vapx here",
            "details": {"name": "vapx", "kind": "configmaps", "causes": [{"message": "ValidatingAdmissionPolicy 'vp' with binding 'vb' denied request: no vapx here"}]}}),
    );
    assert_eq!(policy.code(), "webhook-denied");
    assert_eq!(
        policy.to_string(),
        "v1/ConfigMap/ns/a was refused by the ValidatingAdmissionPolicy vp: no vapx here"
    );
    let pods = error_of(
        &subject("patch", "", "Pod", "pods"),
        403,
        &json!({"reason": "Forbidden", "message": "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)",
            "details": {"name": "a", "kind": "pods"}}),
    );
    assert_eq!(pods.code(), "webhook-denied");
    let said = pods.to_string();
    assert!(
        said.starts_with(
            "v1/Pod/ns/a was refused by PodSecurity: \"restricted:latest\": allowPrivilegeEscalation"
        ),
        "{said}"
    );
    let problem = crate::problem::Problem::from(pods);
    assert!(
        problem.remedy.contains("pod-security.kubernetes.io/enforce"),
        "{problem:?}"
    );
}

#[test]
fn a_denial_without_explanation_says_that_there_is_none() {
    let error = error(
        400,
        &json!({"message": "admission webhook \"wh.acme.io\" denied the request without explanation"}),
    );
    assert_eq!(error.code(), "webhook-denied");
    assert!(
        error
            .to_string()
            .ends_with("refused by the webhook wh.acme.io: without explanation"),
        "{error}"
    );
}

#[test]
fn every_way_in_which_a_webhook_fails_is_told_with_cause_and_remedy() {
    for (rest, cause) in [
        (
            "failed to call webhook: Post \"https://s.wht.svc:443/?timeout=3s\": dial tcp 127.96.68.163:443: connect: connection refused",
            "not running",
        ),
        (
            "failed to call webhook: Post \"https://nosvc.wht.svc:443/?timeout=3s\": service \"nosvc\" not found",
            "Service",
        ),
        (
            "failed to call webhook: Post \"https://s.wht.svc:444/?timeout=3s\": no service port 444 found for service \"s\"",
            "port",
        ),
        (
            "failed to call webhook: Post \"https://s.wht.svc:443/?timeout=3s\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "caBundle",
        ),
        (
            "failed to call webhook: Post \"https://s.wht.svc:443/?timeout=3s\": context deadline exceeded",
            "timeoutSeconds",
        ),
        (
            "failed to call webhook: an error on the server (\"unknown\") has prevented the request from succeeding",
            "an error",
        ),
        (
            "failed to call webhook: couldn't get version/kind; json parse error: invalid character 'g' looking for beginning of value",
            "another version",
        ),
        (
            "received invalid webhook response: expected response.uid=\"5e\", got \"zz\"",
            "another version",
        ),
    ] {
        let message = format!("Internal error occurred: failed calling webhook \"wh.acme.io\": {rest}");
        let error = error(
            500,
            &json!({"reason": "InternalError", "message": message,
            "details": {"causes": [{"message": message}]}}),
        );
        let problem = crate::problem::Problem::from(error);
        assert_eq!(problem.code, "webhook-failed", "{rest}");
        let said = problem.message.as_str();
        assert!(
            said.starts_with("v1/ConfigMap/ns/a ") && said.contains("the webhook wh.acme.io "),
            "{said}"
        );
        assert!(problem.cause.contains(cause), "{rest}: {problem:?}");
        assert!(problem.remedy.contains("the webhook wh.acme.io"), "{problem:?}");
    }
}

#[test]
fn a_webhook_that_cannot_be_called_is_named_with_the_reason() {
    let error = error(
        500,
        &json!({"reason": "InternalError", "message": "Internal error occurred: failed calling webhook \"wh.acme.io\": failed to call webhook: Post \"https://s.wht.svc:443/?timeout=3s\": dial tcp 127.96.68.163:443: connect: connection refused"}),
    );
    let ClusterError::WebhookFailed { webhook, reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(webhook, "wh.acme.io");
    assert!(
        reason.starts_with("Post \"https://s.wht.svc") && reason.ends_with("connection refused"),
        "{reason}"
    );
}

#[test]
fn a_broken_conversion_is_a_broken_webhook_also_behind_429() {
    let error = error(
        429,
        &json!({"reason": "TooManyRequests", "message": "storage is (re)initializing: failed to list cv.io/v2, Kind=Cv: conversion webhook for cv.io/v1, Kind=Cv failed: Post \"https://x.svc:443/?timeout=30s\": connect: connection refused"}),
    );
    assert!(
        matches!(&error, ClusterError::WebhookFailed { webhook, .. } if webhook == "that converts cv.io/v1, Kind=Cv"),
        "{error:?}"
    );
}

#[test]
fn a_conversion_that_fails_says_for_which_kind_and_why() {
    let refused =
        "Post \"https://x.svc:443/?timeout=30s\": dial tcp 10.0.0.1:443: connect: connection refused";
    for (said, why) in [
        (format!("failed: {refused}"), refused),
        (
            "returned 0 objects, expected 1".to_owned(),
            "returned 0 objects, expected 1",
        ),
    ] {
        let message = format!("conversion webhook for cv.io/v1, Kind=Cv {said}");
        let error = error_of(
            &subject("patch", "cv.io", "Cv", "cvs"),
            500,
            &json!({"message": message}),
        );
        let ClusterError::WebhookFailed { webhook, reason, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(
            (webhook.as_str(), reason.as_str()),
            ("that converts cv.io/v1, Kind=Cv", why)
        );
        let problem = crate::problem::Problem::from(error);
        assert!(problem.remedy.contains("spec.conversion"), "{problem:?}");
    }
}

#[test]
fn a_definition_that_is_going_is_not_a_missing_right() {
    let error = error_of(
        &subject("patch", "cv.io", "Cv", "cvs"),
        403,
        &json!({"reason": "Forbidden", "message": "cvs.cv.io \"a\" is forbidden: create not allowed while custom resource definition is terminating",
            "details": {"name": "a", "group": "cv.io", "kind": "cvs"}}),
    );
    assert_eq!(error.code(), "being-deleted");
    assert_eq!(
        error.to_string(),
        "cv.io/v1/Cv/ns/a cannot be made because the definition of Cv is being deleted"
    );
}

#[test]
fn a_server_that_has_not_come_as_far_leaves_open_what_was_done() {
    let error = error(
        504,
        &json!({"reason": "Timeout", "message": "Too large resource version: 99999999, current: 2865",
            "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}}),
    );
    assert!(
        error.code() == "cluster-answer" && error.leaves_open(),
        "{error:?}"
    );
    let problem = crate::problem::Problem::from(error);
    assert!(
        problem.message.contains("99999999") && problem.cause.contains("not come as far"),
        "{problem:?}"
    );
}

#[test]
fn an_unknown_kind_a_missing_namespace_and_a_missing_object_are_three_things() {
    assert_eq!(text(404, "404 page not found\n").code(), "kind-not-served");
    let version = error(
        404,
        &json!({"reason": "NotFound", "message": "the server could not find the requested resource", "details": {}}),
    );
    assert_eq!(version.to_string(), "the cluster does not serve ConfigMap of v1");
    let namespace = error(
        404,
        &json!({"reason": "NotFound", "message": "namespaces \"nope\" not found", "details": {"name": "nope", "kind": "namespaces"}}),
    );
    assert_eq!(namespace.to_string(), "namespace nope is not there");
    let object = error(
        404,
        &json!({"reason": "NotFound", "message": "configmaps \"a\" not found", "details": {"name": "a", "kind": "configmaps"}}),
    );
    assert_eq!(object.to_string(), "v1/ConfigMap/ns/a is not there");
}

#[test]
fn a_namespace_on_its_way_out_and_a_quota_are_not_missing_rights() {
    let leaving = error(
        403,
        &json!({"reason": "Forbidden", "message": "configmaps \"a\" is forbidden: unable to create new content in namespace full because it is being terminated",
        "details": {"causes": [{"reason": "NamespaceTerminating", "message": "namespace full is being terminated", "field": "metadata.namespace"}]}}),
    );
    assert!(matches!(&leaving, ClusterError::Terminating { what, .. } if what == "namespace full"));
    let quota = error(
        403,
        &json!({"reason": "Forbidden", "message": "secrets \"q1\" is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=4, limited: count/secrets=3"}),
    );
    assert_eq!(quota.code(), "quota-exceeded");
}

#[test]
fn invalid_fields_are_listed_once_and_long_texts_are_cut() {
    let long = format!(
        "Invalid value: core.PodTemplateSpec{{{}}}: field is immutable",
        "x".repeat(3000)
    );
    let cause = json!({"reason": "FieldValueInvalid", "message": long, "field": "spec.template"});
    let error = error(
        422,
        &json!({"reason": "Invalid", "message": long, "details": {"causes": [cause, cause]}}),
    );
    let ClusterError::Invalid { causes, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(causes.len(), 1);
    assert!(causes[0].message.len() < 700 && causes[0].message.ends_with("field is immutable"));
    assert!(error.is_immutable());
}

#[test]
fn an_unknown_field_is_a_fault_of_the_manifest() {
    let refusal = Refusal::read(
        StatusCode::INTERNAL_SERVER_ERROR,
        br#"{"kind":"Status","message":"failed to create typed patch object (/a; /v1, Kind=ConfigMap): .foo: field not declared in schema","code":500}"#,
    );
    assert!(refusal.is_undeclared_field() && !refusal.is_passing());
    let error = refusal.into_error(&subject("patch", "", "ConfigMap", "configmaps"), "test");
    assert_eq!(error.code(), "object-invalid");
}

#[test]
fn what_the_server_says_of_a_secret_does_not_leak_its_data() {
    let error = error_of(
        &subject("patch", "", "Secret", "secrets"),
        422,
        &json!({"reason": "Invalid", "message": "Secret \"a\" is invalid: data[x]: Invalid value: \"hunter2\"",
            "details": {"causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: \"hunter2\": bad", "field": "data[x]"}]}}),
    );
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    assert!(error.to_string().contains("data[x]"));
}

#[test]
fn sizes_are_not_mistaken_for_passing_trouble() {
    for message in [
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2200478 vs. 2097152)",
    ] {
        let refusal = Refusal::read(
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({"kind": "Status", "message": message, "code": 500})
                .to_string()
                .as_bytes(),
        );
        assert!(!refusal.is_passing());
        assert_eq!(
            refusal
                .into_error(&subject("patch", "", "ConfigMap", "configmaps"), "test")
                .code(),
            "object-too-large"
        );
    }
}

#[test]
fn a_store_that_is_full_does_not_pass_and_its_remedy_is_about_the_store() {
    let body = json!({"message": "etcdserver: mvcc: database space exceeded"});
    let refusal = Refusal::read(StatusCode::INTERNAL_SERVER_ERROR, body.to_string().as_bytes());
    assert!(!refusal.is_passing());
    let problem = crate::problem::Problem::from(error(500, &body));
    assert!(problem.remedy.contains("defragment"), "{problem:?}");
    let leader = json!({"message": "etcdserver: leader changed"}).to_string();
    assert!(Refusal::read(StatusCode::INTERNAL_SERVER_ERROR, leader.as_bytes()).is_passing());
}

#[test]
fn every_answer_without_a_name_of_its_own_has_a_cause_and_a_remedy() {
    for status in [
        302, 405, 406, 407, 410, 415, 418, 429, 500, 501, 502, 503, 504, 507,
    ] {
        let error = text(status, "no");
        assert_eq!(error.code(), "cluster-answer", "{status}");
        let problem = crate::problem::Problem::from(error);
        assert!(!problem.remedy.is_empty(), "{status}");
        assert!(status == 418 || !problem.cause.is_empty(), "{status}");
    }
}

#[test]
fn a_gateway_that_gave_up_leaves_open_what_was_done_and_a_refusal_does_not() {
    for status in [500, 502, 503, 504] {
        assert!(text(status, "no").leaves_open(), "{status}");
    }
    for status in [302, 400, 403, 405, 409, 413, 422, 501, 507] {
        assert!(!text(status, "no").leaves_open(), "{status}");
    }
}

#[test]
fn what_can_never_be_changed_is_told_from_what_is_wrong_by_each_kinds_own_words() {
    for words in [
        "Invalid value: {\"app\":\"b\"}: field is immutable",
        "Forbidden: spec is immutable after creation except resources.requests for bound claims",
        "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals' are forbidden",
        "Forbidden: updates to provisioner are forbidden.",
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`",
        "Invalid value: [\"None\"]: may not change once set",
        "Invalid value: null: primary clusterIP can not be unset",
        "Invalid value: {}: cannot change roleRef",
        "Forbidden: may not be changed in an update.",
        "Invalid value: \"object\": failed rule: self == oldSelf",
    ] {
        assert!(says_immutable(words), "{words}");
    }
    for words in [
        "Required value",
        "Forbidden: may not be used when `type` is 'ExternalName'",
        "Invalid value: \"x\": must be no more than 63 characters",
        "Unsupported value: \"x\": supported values: \"a\", \"b\"",
    ] {
        assert!(!says_immutable(words), "{words}");
    }
}

#[test]
fn a_secret_that_cannot_be_changed_says_so_and_not_what_it_holds() {
    let body = json!({"kind": "Status", "reason": "Invalid", "message": "Secret \"b\" is invalid",
        "details": {"causes": [{"reason": "FieldValueInvalid", "field": "type",
            "message": "Invalid value: \"hunter2\": field is immutable"}]}});
    let error = error_of(&subject("patch", "", "Secret", "secrets"), 422, &body);
    assert!(
        error.is_immutable() && !format!("{error:?}").contains("hunter2"),
        "{error:?}"
    );
}
