//! Applications that people drop beside the host.

use meshery_mesh_kit::contract::DroppedApplications;

use super::cluster::{folder, yaml};
use crate::Istio;

fn dropped(check: impl FnOnce(DroppedApplications<'_, Istio>)) {
    check(DroppedApplications {
        adapter: &Istio,
        name: "istio",
        empty: &yaml("empty"),
    });
}

#[test]
fn one_is_deployed_into_the_mesh_and_proven_like_a_sample() {
    dropped(|them| them.assert_deployed(&folder("snapshots").join("deploy-application.txt")));
}

#[test]
fn a_removal_takes_the_mark_back_that_this_application_has_set() {
    dropped(|them| them.assert_mark_taken_back());
}

#[test]
fn into_a_mesh_that_is_not_there_it_is_not_taken() {
    dropped(|them| them.assert_mesh_needed());
}
