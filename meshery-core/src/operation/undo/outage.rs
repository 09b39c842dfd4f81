//! Whether a problem with one object is an outage, and so one with all of them. An undo leaves the one object and goes on; in
//! an outage it waits as a whole.
//!
//! A request that was not answered in time says neither: one object may hang (a webhook, a finalizer's controller, a proxy that
//! does not pass it), and a server that hangs answers nobody. So the server is asked for something else.

use crate::cluster::error::{CLUSTER_ANSWER, CLUSTER_TIMEOUT, WEBHOOK_FAILED};
use crate::cluster::{Cluster, ClusterError};
use crate::problem::{Problem, ProblemKind};

/// Whether it is one with all objects: there is no way to the cluster, another host has it, or the provider is away.
pub(super) async fn is_outage(cluster: &Cluster, problem: &Problem) -> bool {
    match judged(problem) {
        Some(is_outage) => is_outage,
        None => !cluster.answers().await,
    }
}

/// What the problem says by itself; nothing where it depends on whether the server answers anything else.
fn judged(problem: &Problem) -> Option<bool> {
    match problem.code.as_str() {
        WEBHOOK_FAILED => Some(false),
        CLUSTER_ANSWER | CLUSTER_TIMEOUT => (!problem.retryable).then_some(false),
        code => Some(
            ClusterError::is_no_way(code)
                || matches!(problem.kind, ProblemKind::Unavailable) && problem.retryable,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meshery_plugin_api::message::object_ref::ObjectRef;

    use super::*;

    #[test]
    fn what_one_object_says_of_the_others_depends_on_the_problem() {
        let timeout = ClusterError::Timeout {
            what: "deleting it".into(),
            after: Duration::from_secs(30),
        };
        let answer = |status| ClusterError::Server {
            what: "it".into(),
            status,
            message: "no".into(),
        };
        let unreachable = ClusterError::Unreachable {
            server: "https://127.0.0.1".into(),
            reason: "refused".into(),
        };
        let gone = ClusterError::NotGone {
            object: ObjectRef::new("v1", "Pod", "a", "b"),
            reason: "a finalizer".into(),
        };
        for (error, expected) in [
            (timeout, None),
            (answer(503), None),
            (answer(418), Some(false)),
            (unreachable, Some(true)),
            (gone, Some(false)),
        ] {
            let problem = Problem::from(error);
            assert_eq!(judged(&problem), expected, "{problem:?}");
        }
    }
}
