//! Waits, whose watches end in every way there is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::ensure;
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, RequestInfo, refusal};
use serde_json::json;

use super::{Scene, id, perform};
use crate::invented::{LIMIT, request};

/// In this order, one after the other.
const ENDS: [fn() -> Action; 6] = [
    || refusal::status(410, "Expired", "too old resource version: 1 (2600)"),
    refusal::expired_event,
    || Action::reply(http::StatusCode::OK, "application/json", "this is no event\n"),
    || refusal::too_many(Some(1)),
    // As those of a server that is being stopped: open, and silent.
    || Action::Stall,
    // In the middle of the first event: that it is ready.
    || Action::CutAnswer,
];

pub fn go_on() -> anyhow::Result<()> {
    let scene = Scene::new("watches")?;
    let of_deployments = |request: &RequestInfo| request.path.ends_with("/deployments");
    let is_list = move |request: &RequestInfo| !request.is_watch() && of_deployments(request);
    let mut strikes: Vec<Strike> = ENDS
        .iter()
        .map(|end| Strike::on(move |request| request.is_watch() && of_deployments(request), end))
        .collect();
    // A server that has not come as far as the state to go on from, as after its store was restored: it says nothing to
    // that, as often as it is asked, until somebody lists again. (It takes its time; here it ends at once.)
    let lists = Arc::new(AtomicUsize::new(0));
    let (listed, before) = (lists.clone(), OnceLock::new());
    let behind = move |request: &RequestInfo| {
        let now = listed.load(Ordering::SeqCst);
        request.is_watch() && of_deployments(request) && now == *before.get_or_init(|| now)
    };
    let nothing = || Action::reply(http::StatusCode::OK, "application/json", "");
    strikes.insert(0, Strike::on(behind, nothing).always());
    // A list may be forgotten too, and refused.
    strikes.push(Strike::on(is_list, || refusal::too_many(Some(1))));
    strikes.push(Strike::on(is_list, || Action::CutAnswer).from_the(2));
    // Why it is not ready is asked every other second: then it shows that nobody is there.
    let asked = AtomicUsize::new(0);
    let pods = move |request: &RequestInfo| {
        request.path.ends_with("/pods") && asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
    };
    strikes.push(Strike::on(pods, || Action::DropBefore).always());
    let rule = all(strikes.clone());
    scene.proxy.on(move |request| {
        if is_list(request) {
            lists.fetch_add(1, Ordering::SeqCst);
        }
        rule(request)
    });
    let install = json!({"namespace": scene.space.name, "chart": false, "ready": "after-7s", "deadline": 25});
    let record = perform(&scene.host, &request("install", install), "succeeded")?;
    for (number, strike) in strikes.iter().enumerate() {
        ensure!(strike.struck() > 0, "end {number} was never met");
    }
    scene.proxy.clear();
    scene.host.take_back(id(&record)?, "undone", LIMIT)?;
    Ok(())
}
