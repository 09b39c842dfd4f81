//! What passes by itself.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use meshery_core::cluster::ClusterSettings;
use meshery_core::cluster::object::{Deletion, Preconditions};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, FaultProxy, Mutation, refusal};
use serde_json::{Value, json};

use super::{Scene, id, object, perform};
use crate::cluster as plane;
use crate::invented::{LIMIT, request};
use crate::namespace::Namespace;

const WRITTEN: &[Method] = &[Method::PATCH, Method::DELETE];
const ALL: &[Method] = &[Method::GET, Method::PATCH, Method::DELETE];

/// What strikes, how often, and which requests.
type Passing = (&'static str, usize, &'static [Method], fn() -> Action);

const MODIFIED: &str = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply \
                        your changes to the latest version and try again";
const STARTING: &str =
    "the request has been made before all known HTTP paths have been installed, please try again";

/// Each strikes an object of its own.
const PASSING: [Passing; 20] = [
    ("429 that says when", 1, ALL, || refusal::too_many(Some(1))),
    ("429 that does not", 2, ALL, || refusal::too_many(None)),
    ("429 of a kind that is being made ready", 2, ALL, || {
        refusal::status(429, "TooManyRequests", "storage is (re)initializing").with_header("retry-after", "1")
    }),
    ("500 of etcd", 2, ALL, || {
        refusal::without_reason(500, "etcdserver: leader changed")
    }),
    ("500 within", 2, ALL, || {
        refusal::status(500, "InternalError", "Internal error occurred: something broke")
    }),
    ("502 of something before it", 2, ALL, || {
        refusal::text(502, "Bad Gateway")
    }),
    ("503 at the start", 2, ALL, || {
        refusal::status(503, "ServiceUnavailable", STARTING)
    }),
    ("503 that says when", 1, ALL, || {
        refusal::text(503, "apiserver is shutting down").with_header("retry-after", "1")
    }),
    ("504 of its own", 2, ALL, refusal::timed_out),
    ("504 of a server that has not come as far", 2, ALL, || {
        let message = "Too large resource version: 99999999, current: 2865";
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        let details = json!({"causes": [cause], "retryAfterSeconds": 1});
        refusal::with_details(504, "Timeout", message, &details).with_header("retry-after", "1")
    }),
    ("504 of something before it", 2, ALL, || {
        refusal::text(504, "<html>Gateway Time-out</html>")
    }),
    ("409, somebody was faster", 2, WRITTEN, || {
        refusal::status(409, "Conflict", MODIFIED)
    }),
    (
        "404 of a kind that is not served yet",
        2,
        &[Method::PATCH],
        || {
            refusal::status(
                404,
                "NotFound",
                "the server could not find the requested resource",
            )
        },
    ),
    ("a token that has just expired", 1, ALL, || {
        refusal::status(401, "Unauthorized", "Unauthorized")
    }),
    ("cut before", 2, ALL, || Action::DropBefore),
    ("cut after", 2, ALL, || Action::DropAfter),
    ("cut in the middle", 2, ALL, || Action::CutAnswer),
    ("slow", 2, ALL, || Action::Slow(Duration::from_millis(200))),
    ("504 although it was done", 1, WRITTEN, || {
        refusal::timed_out().after_all()
    }),
    ("502 although it was done", 1, WRITTEN, || {
        refusal::text(502, "Bad Gateway").after_all()
    }),
];

pub fn ridden_out() -> anyhow::Result<()> {
    let scene = Scene::new("passing")?;
    let strikes: Vec<(&str, Method, usize, Strike)> = PASSING
        .iter()
        .enumerate()
        .flat_map(|(number, (what, times, methods, make))| {
            methods.iter().map(move |method| {
                let path = format!("/configmaps/{}", object(number));
                let strike = Strike::at(method.clone(), path, make).times(*times);
                (*what, method.clone(), number, strike)
            })
        })
        .collect();
    let planned = scene.host.plan(&scene.many(PASSING.len(), 1))?;
    scene.proxy.forget_mutations();
    scene
        .proxy
        .on(all(strikes.iter().map(|(.., strike)| strike.clone()).collect()));
    let record = super::run(&scene.host, &planned, "succeeded", LIMIT)?;
    let listed = scene
        .space
        .kubectl(&["get", "configmaps", "-o", "json", "--show-managed-fields"])?;
    let listed: Value = serde_json::from_str(&listed)?;
    for (number, (what, ..)) in PASSING.iter().enumerate() {
        let name = object(number);
        let made = listed["items"]
            .as_array()
            .and_then(|items| {
                items
                    .iter()
                    .find(|item| item["metadata"]["name"] == name.as_str())
            })
            .with_context(|| format!("{what}: {name} is not there"))?;
        written_once(&scene.proxy.mutations(), &name, &made["metadata"]).with_context(|| *what)?;
    }
    scene.host.take_back(id(&record)?, "undone", LIMIT)?;
    for (what, method, _, strike) in &strikes {
        // What is read is read by the run and by its undo; each write comes once.
        ensure!(strike.struck() > 0, "{what} has not struck any {method}");
    }
    scene.nothing_is_left()
}

/// Whether all writes of an object that the server carried out came to the same.
fn written_once(mutations: &[Mutation], name: &str, metadata: &Value) -> anyhow::Result<()> {
    let version = metadata["resourceVersion"].as_str().unwrap_or_default();
    let uid = metadata["uid"].as_str().unwrap_or_default();
    let is = (uid.to_owned(), version.to_owned());
    let done: Vec<&Mutation> = mutations
        .iter()
        .filter(|mutation| mutation.path.ends_with(&format!("/{name}")))
        .filter(|mutation| mutation.status.is_some_and(|status| status.is_success()))
        .collect();
    ensure!(!done.is_empty(), "nobody has written it");
    ensure!(
        done.iter().all(|mutation| mutation.object.as_ref() == Some(&is)),
        "it is {is:?} and was written as {done:#?}"
    );
    let managers = metadata["managedFields"].as_array().context("managed fields")?;
    ensure!(
        managers.len() == 1 && managers[0]["manager"] == "meshery" && managers[0]["operation"] == "Apply",
        "{managers:?}"
    );
    Ok(())
}

/// The deadline of a request is half a minute in a host; here it is shorter.
pub fn asked_again() -> anyhow::Result<()> {
    let space = Namespace::new("stalls")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    plane::run(async {
        let settings = ClusterSettings {
            request: Duration::from_millis(700),
            ..ClusterSettings::default()
        };
        let cluster = plane::connect_with(&proxy.kubeconfig(space.cluster.dir()), settings).await?;
        let manifest = plane::config_map(&space.name, "stalls", &json!({"a": "b"}));
        let target = ObjectRef::of(&manifest).context("a reference")?;
        let strikes: Vec<Strike> = [Method::PATCH, Method::GET, Method::DELETE]
            .map(|method| Strike::at(method, "/configmaps/stalls", || Action::Stall))
            .to_vec();
        proxy.on(all(strikes.clone()));
        let made = cluster.apply(&manifest, &plane::by("eng")).await?;
        ensure!(cluster.get(&target).await?.is_some());
        let this = Preconditions {
            uid: made.object["metadata"]["uid"].as_str().map(str::to_owned),
            resource_version: None,
        };
        ensure!(cluster.delete(&target, &this, false).await? == Deletion::Gone);
        ensure!(strikes.iter().all(|strike| strike.struck() == 1));
        Ok(())
    })
}

/// A gateway that gives up says nothing about what the server does with the request meanwhile. What was there before
/// the write must not be mistaken for what the write itself has made of it.
pub fn done_all_the_same() -> anyhow::Result<()> {
    let scene = Scene::new("done")?;
    let value = || {
        scene
            .space
            .kubectl(&["get", "configmap", "contested", "-o", "jsonpath={.data.value}"])
    };
    let change = |value: &str| request("conflict", json!({"namespace": scene.space.name, "value": value}));
    perform(&scene.host, &change("first"), "succeeded")?;
    let answers: [fn() -> Action; 5] = [
        || refusal::timed_out().after_all(),
        || refusal::text(502, "Bad Gateway").after_all(),
        || refusal::without_reason(500, "etcdserver: request timed out").after_all(),
        || Action::DropAfter,
        || Action::CutAnswer,
    ];
    for answer in answers {
        let strike = Strike::at(Method::PATCH, "/configmaps/contested", answer);
        // The run's write, and what its undo writes.
        let taken_back = Strike::at(Method::PATCH, "/configmaps/contested", answer);
        scene.proxy.on(all(vec![strike.clone()]));
        let record = perform(&scene.host, &change("second"), "succeeded")?;
        ensure!(value()? == "second" && strike.struck() == 1);
        scene.proxy.on(all(vec![taken_back.clone()]));
        scene.host.take_back(id(&record)?, "undone", LIMIT)?;
        ensure!(taken_back.struck() == 1, "the undo has written nothing");
        ensure!(value()? == "first", "{:?} left {}", answer(), value()?);
    }
    Ok(())
}
