//! What does not pass.

use anyhow::{Context as _, ensure};
use http::{Method, StatusCode};
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, refusal};
use serde_json::json;

use super::{Scene, object, told};
use crate::invented::LIMIT;

/// What is answered, the code of the problem, words that are in it, and how often the request is sent.
type Lasting = (
    &'static str,
    fn() -> Action,
    &'static str,
    &'static [&'static str],
    Times,
);

enum Times {
    Once,
    More,
}

const LASTING: [Lasting; 25] = [
    (
        "400",
        || refusal::status(400, "BadRequest", "the object is not what the URL says"),
        "object-invalid",
        &["the object is not what the URL says"],
        Times::Once,
    ),
    (
        "401",
        || refusal::status(401, "Unauthorized", "Unauthorized"),
        "cluster-unauthorized",
        &["proxy"],
        // With credentials that were read again.
        Times::More,
    ),
    (
        "403",
        || {
            let message = "configmaps \"object-00001\" is forbidden: User \"u\" cannot patch resource \"configmaps\" \
                           in API group \"\" in the namespace \"ns\"";
            refusal::status(403, "Forbidden", message)
        },
        "forbidden",
        &["patch", "configmaps", "namespace ns", "Role"],
        Times::Once,
    ),
    (
        "404",
        || {
            let details = json!({"name": "elsewhere", "kind": "namespaces"});
            refusal::with_details(404, "NotFound", "namespaces \"elsewhere\" not found", &details)
        },
        "object-not-found",
        &["namespace elsewhere"],
        Times::Once,
    ),
    (
        "403 of a namespace that allows its pods less",
        || {
            let message = "pods \"object-00001\" is forbidden: violates PodSecurity \"restricted:latest\": \
                           allowPrivilegeEscalation != false";
            refusal::status(403, "Forbidden", message)
        },
        "webhook-denied",
        &[
            "object-00001",
            "refused by PodSecurity",
            "allowPrivilegeEscalation",
            "pod-security.kubernetes.io/enforce",
        ],
        Times::Once,
    ),
    (
        "403 of a definition that is going",
        || {
            let message = "create not allowed while custom resource definition is terminating";
            refusal::status(403, "Forbidden", message)
        },
        "being-deleted",
        &[
            "object-00001",
            "the definition of ConfigMap is being deleted",
            "wait until",
        ],
        Times::Once,
    ),
    (
        "405",
        || refusal::status(405, "MethodNotAllowed", "the server does not allow this method"),
        "cluster-answer",
        &["405", "object-00001", "PATCH"],
        Times::Once,
    ),
    (
        "406",
        || refusal::status(406, "NotAcceptable", "only other media types are served"),
        "cluster-answer",
        &["406", "object-00001", "media type"],
        Times::Once,
    ),
    (
        "409 of another manager",
        || {
            let details = json!({"causes": [{"reason": "FieldManagerConflict", "field": ".data.value",
                "message": "conflict with \"helm\""}]});
            refusal::with_details(409, "Conflict", "Apply failed with 1 conflict", &details)
        },
        "apply-conflict",
        &["object-00001", ".data.value by helm", "force"],
        Times::Once,
    ),
    (
        "409 of what is there",
        || refusal::status(409, "AlreadyExists", "configmaps \"object-00001\" already exists"),
        "object-exists",
        &["object-00001"],
        Times::Once,
    ),
    (
        "409 of what is never as it was seen",
        || refusal::status(409, "Conflict", "the object has been modified"),
        "object-changed",
        &["object-00001"],
        Times::More,
    ),
    (
        "410",
        || refusal::status(410, "Gone", "it was here once"),
        "cluster-answer",
        &["410", "object-00001", "it was here once"],
        Times::Once,
    ),
    (
        "413",
        || {
            let message = "Request entity too large: limit is 3145728";
            refusal::status(413, "RequestEntityTooLarge", message)
        },
        "object-too-large",
        &["object-00001", "3145728", "3 MiB"],
        Times::Once,
    ),
    (
        "415",
        || refusal::status(415, "UnsupportedMediaType", "415: Unsupported Media Type"),
        "cluster-answer",
        &["415", "object-00001"],
        Times::Once,
    ),
    (
        "422",
        || {
            let details = json!({"causes": [{"reason": "FieldValueInvalid", "field": "data.value",
                "message": "Invalid value: \"x\": must be y"}]});
            refusal::with_details(422, "Invalid", "ConfigMap \"object-00001\" is invalid", &details)
        },
        "object-invalid",
        &["object-00001", "data.value", "must be y"],
        Times::Once,
    ),
    (
        "422 of a policy",
        || {
            let message = "configmaps \"object-00001\" is forbidden: ValidatingAdmissionPolicy 'vp' with binding 'vp' \
                           denied request: no vapx here";
            let details =
                json!({"name": "object-00001", "kind": "configmaps", "causes": [{"message": message}]});
            refusal::with_details(422, "Invalid", message, &details)
        },
        "webhook-denied",
        &[
            "object-00001",
            "ValidatingAdmissionPolicy vp: no vapx here",
            "change the object",
        ],
        Times::Once,
    ),
    (
        "500 about its form",
        || {
            let message = "failed to create typed patch object (ns/object-00001; /v1, Kind=ConfigMap): .foo: field \
                           not declared in schema";
            refusal::without_reason(500, message)
        },
        "object-invalid",
        &["object-00001", ".foo: field not declared"],
        Times::Once,
    ),
    (
        "500 of an object that etcd does not take",
        || refusal::without_reason(500, "etcdserver: request is too large"),
        "object-too-large",
        &["object-00001", "1.5 MiB"],
        Times::Once,
    ),
    (
        "500 of an etcd that is full",
        || refusal::without_reason(500, "etcdserver: mvcc: database space exceeded"),
        "cluster-answer",
        &["object-00001", "etcd) is full", "defragment"],
        Times::Once,
    ),
    (
        "501",
        || refusal::text(501, "Not Implemented"),
        "cluster-answer",
        &["501", "object-00001"],
        Times::Once,
    ),
    (
        "503 of a server behind the API server",
        || refusal::text(503, "service unavailable\n"),
        "cluster-answer",
        &["503", "object-00001", "APIService"],
        Times::More,
    ),
    (
        "507",
        || refusal::text(507, "Insufficient Storage"),
        "cluster-answer",
        &["507", "object-00001", "room"],
        Times::Once,
    ),
    (
        "a webhook that says no",
        || {
            let message = "admission webhook \"guard.acme.io\" denied the request: policy says no";
            refusal::status(409, "Conflict", message)
        },
        "webhook-denied",
        &["object-00001", "guard.acme.io", "policy says no"],
        Times::Once,
    ),
    (
        "the page of a proxy that wants a login",
        || Action::reply(StatusCode::OK, "text/html", "<html>Who are you?</html>"),
        "cluster-answer",
        &["object-00001", "not JSON", "login"],
        Times::Once,
    ),
    (
        "a redirection",
        || refusal::text(302, "Found").with_header("location", "https://login.example/"),
        "cluster-answer",
        &["302", "object-00001", "login"],
        Times::Once,
    ),
];

pub fn told_and_undone() -> anyhow::Result<()> {
    let scene = Scene::new("lasting")?;
    for (what, make, code, words, times) in &LASTING {
        let attempt = || -> anyhow::Result<()> {
            let struck = object(1);
            let planned = scene.host.plan(&scene.many(2, 2))?;
            let strike = Strike::at(Method::PATCH, format!("/configmaps/{struck}"), make).always();
            scene.proxy.forget_mutations();
            scene.proxy.on(all(vec![strike.clone()]));
            let record = super::run(&scene.host, &planned, "undone", LIMIT)?;
            scene.proxy.clear();
            told(&record, code, words)?;
            match times {
                Times::Once => ensure!(strike.struck() == 1, "it was sent {} times", strike.struck()),
                Times::More => ensure!((2..20).contains(&strike.struck()), "{}", strike.struck()),
            }
            let first = scene.proxy.mutations();
            ensure!(
                first.iter().any(|mutation| mutation.path.ends_with(&object(0))),
                "nothing had to be taken back: {first:?}"
            );
            scene.nothing_is_left()
        };
        attempt().with_context(|| *what)?;
    }
    Ok(())
}
