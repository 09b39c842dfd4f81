//! Waits, whose watches end in every way there is.

use std::sync::atomic::{AtomicUsize, Ordering};

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
    let mut strikes: Vec<Strike> = ENDS
        .iter()
        .map(|end| Strike::on(move |request| request.is_watch() && of_deployments(request), end))
        .collect();
    // A list may be forgotten too, and refused.
    let lists = move |request: &RequestInfo| !request.is_watch() && of_deployments(request);
    strikes.push(Strike::on(lists, || refusal::too_many(Some(1))));
    strikes.push(Strike::on(lists, || Action::CutAnswer).from_the(2));
    // Why it is not ready is asked every other second: then it shows that nobody is there.
    let asked = AtomicUsize::new(0);
    let pods = move |request: &RequestInfo| {
        request.path.ends_with("/pods") && asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
    };
    strikes.push(Strike::on(pods, || Action::DropBefore).always());
    scene.proxy.on(all(strikes.clone()));
    let install = json!({"namespace": scene.space.name, "chart": false, "ready": "after-7s", "deadline": 25});
    let record = perform(&scene.host, &request("install", install), "succeeded")?;
    for (number, strike) in strikes.iter().enumerate() {
        ensure!(strike.struck() > 0, "end {number} was never met");
    }
    scene.proxy.clear();
    scene.host.take_back(id(&record)?, "undone", LIMIT)?;
    Ok(())
}
