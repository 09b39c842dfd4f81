//! Releases that go back to an earlier revision.

use meshery_mesh_kit::review::plan_text;
use serde_json::json;

use super::cluster::Cluster;

#[test]
fn what_goes_back_with_a_release_and_what_does_not_is_said() {
    let cluster = Cluster::of("installed");
    let given = json!({"release": "linkerd-control-plane", "revision": 1});
    let findings = cluster.check("rollback", given.clone());
    let said = findings
        .iter()
        .find(|found| found.code == "rollback-of-control-plane");
    let message = &said.unwrap().message;
    assert!(message.contains("certificates of the webhooks"), "{message}");
    let text = plan_text(&cluster.plan("rollback", given).unwrap());
    assert!(
        text.contains("workloads of the revision of step rollback")
            && text.contains("linkerd-proxy-injector-webhook-config: serving"),
        "{text}"
    );
    // What it has now is not what that revision has, whatever it is called.
    assert!(!text.contains("Deployment"), "{text}");
}
