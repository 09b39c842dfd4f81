//! What users see when the API server, or the way to it, fails in the middle of an operation: what passes is ridden
//! out, what stays ends with a problem that says what and what to do, and nothing is written twice or left behind.
//!
//! The host goes through a proxy that speaks TLS and fails where it is told to. What the pieces below an operation do
//! with faults is in `cluster::faults`, `cluster::waiting` and `cluster::reading`.

mod admission;
mod credentials;
mod every_request;
mod half_there;
mod large;
mod lasting;
mod passing;
mod stuck;
mod undoing;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::proxy::FaultProxy;
use meshery_tests::proxy::identity::{Authority, Identity};
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::{Namespace, eventually};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "api_faults::what_passes_is_ridden_out_and_written_once",
            passing::ridden_out,
        ),
        trial(
            "api_faults::what_never_answers_is_asked_again",
            passing::asked_again,
        ),
        trial(
            "api_faults::a_write_that_was_refused_after_it_was_done_is_taken_back_to_what_was_before",
            passing::done_all_the_same,
        ),
        trial(
            "api_faults::what_stays_is_told_and_undone",
            lasting::told_and_undone,
        ),
        trial(
            "api_faults::the_first_try_of_every_request_may_fail",
            every_request::first_tries,
        ),
        trial(
            "api_faults::a_wait_goes_on_however_its_watches_end",
            watches::go_on,
        ),
        trial(
            "api_faults::a_token_file_is_read_again_when_its_token_is_refused",
            credentials::token_file,
        ),
        trial(
            "api_faults::certificates_are_replaced_under_a_running_operation",
            credentials::certificates,
        ),
        trial(
            "api_faults::a_dead_webhook_of_others_stops_or_lets_pass_as_it_says",
            admission::webhooks,
        ),
        trial(
            "api_faults::our_own_dead_webhook_does_not_keep_itself",
            admission::our_own,
        ),
        trial("api_faults::a_quota_that_is_used_up_is_named", admission::quota),
        trial(
            "api_faults::a_namespace_that_is_going_is_named",
            stuck::namespace_going,
        ),
        trial(
            "api_faults::a_finalizer_that_holds_a_removal_is_named_at_its_deadline",
            stuck::finalizer,
        ),
        trial(
            "api_faults::a_definition_whose_names_are_taken_is_told_and_undone",
            half_there::names_taken,
        ),
        trial(
            "api_faults::a_dead_api_service_hides_nothing",
            half_there::dead_group,
        ),
        trial(
            "api_faults::one_object_that_stays_keeps_no_other",
            undoing::one_object,
        ),
        trial(
            "api_faults::a_release_whose_records_cannot_be_listed_keeps_no_other",
            undoing::records,
        ),
        trial(
            "api_faults::a_server_that_fails_at_everything_has_its_undo_wait",
            undoing::every_object,
        ),
        trial(
            "api_faults::an_object_whose_deletion_a_dead_webhook_refuses_keeps_no_other",
            undoing::guarded,
        ),
        trial(
            "api_faults::a_removal_that_cannot_have_one_object_gives_back_the_others",
            undoing::removal,
        ),
        trial(
            "api_faults::a_large_object_is_taken_or_refused_clearly",
            large::taken_or_refused,
        ),
    ];
    // Minutes of asking again.
    if std::env::var_os("MESHERY_TEST_KILLS").is_some() {
        trials.push(trial(
            "api_faults::an_object_whose_deletion_is_never_answered_keeps_no_other",
            undoing::never_answered,
        ));
    }
    trials
}

/// A host whose way to the cluster is a proxy that speaks TLS, and a namespace that is there.
struct Scene {
    space: Namespace,
    cluster: Arc<Cluster>,
    proxy: FaultProxy,
    host: Host,
}

impl Scene {
    fn new(name: &str) -> anyhow::Result<Self> {
        let space = Namespace::new(name)?;
        let proxy = FaultProxy::start_tls(&space.cluster, Identity::new(&Authority::new()?)?)?;
        let host = invented_host(&space.cluster, &proxy.kubeconfig(space.cluster.dir()))?.start()?;
        Ok(Self {
            cluster: space.cluster.clone(),
            space,
            proxy,
            host,
        })
    }

    /// A request for so many ConfigMaps in the namespace.
    fn many(&self, objects: usize, steps: usize) -> Value {
        request(
            "many",
            json!({"namespace": self.space.name, "objects": objects, "steps": steps}),
        )
    }

    /// The names of the ConfigMaps that operations have made and nobody has removed.
    fn left(&self) -> anyhow::Result<Vec<String>> {
        let names = self.space.kubectl(&["get", "configmaps", "-o", "name"])?;
        Ok(names
            .lines()
            .filter(|name| !name.ends_with("/kube-root-ca.crt"))
            .map(str::to_owned)
            .collect())
    }

    fn nothing_is_left(&self) -> anyhow::Result<()> {
        let left = self.left()?;
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        given_back(&self.cluster);
    }
}

/// Waits until the host has given the cluster's Lease back, as it does after its last operation; else the host of the
/// next trial would wait for the end of its term.
fn given_back(cluster: &Cluster) {
    let holder = [
        "get",
        "lease",
        "meshery",
        "--namespace",
        "kube-system",
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ];
    let _ = eventually(|| {
        let held = cluster.kubectl(&holder).stdout;
        ensure!(held.is_empty(), "the lease is held");
        Ok(())
    });
}

fn id(record: &Value) -> anyhow::Result<&str> {
    record["id"].as_str().context("a record has an id")
}

/// The error of a record, if it has this code, these words, and says why or what to do.
fn told(record: &Value, code: &str, words: &[&str]) -> anyhow::Result<()> {
    let error = &record["error"];
    ensure!(error["code"] == code, "{code} was expected: {record:#}");
    for word in words {
        ensure!(error.to_string().contains(word), "no \"{word}\" in {error:#}");
    }
    let remedy = error["remedy"].as_str().unwrap_or_default();
    ensure!(!remedy.is_empty(), "no remedy: {error:#}");
    Ok(())
}

/// The name of the n-th ConfigMap of `many`.
fn object(number: usize) -> String {
    format!("object-{number:05}")
}

/// Runs an operation that was planned; it must end so.
fn run(host: &Host, planned: &str, state: &str, limit: Duration) -> anyhow::Result<Value> {
    host.order(planned, "run")?;
    let record = host.await_end(planned, limit)?;
    ensure!(
        record["state"] == state,
        "not {state}: {record:#}\n{}",
        host.story(planned)
    );
    Ok(record)
}

/// As [`run`], of a request.
fn perform(host: &Host, request: &Value, state: &str) -> anyhow::Result<Value> {
    let planned = host.plan(request)?;
    run(host, &planned, state, LIMIT)
}
