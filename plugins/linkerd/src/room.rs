//! Whether there is room for the pods of Linkerd, as its charts ask for it.

use meshery_mesh_kit::precheck::{self, Pods};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Finding;

use crate::control_plane::CNI;
use crate::install::{HA_REPLICAS, Wish};
use crate::{cni, detect};

/// The Deployments of the control plane.
const DEPLOYMENTS: u64 = 3;
/// What a pod of each asks for with high availability, its proxy included: thousandths of a processor, and MiB of memory. Without it the
/// chart says nothing of it.
const DESTINATION: (u64, u64) = (300, 120);
const IDENTITY: (u64, u64) = (200, 30);
const INJECTOR: (u64, u64) = (200, 70);

pub fn of_installation(facts: &Facts, wish: &Wish) -> Vec<Finding> {
    let there = detect::installations(facts)
        .is_ok_and(|found| found.iter().any(|found| found.namespace == wish.namespace));
    // One pod of each Deployment comes before an old one goes.
    let replicas = if wish.ha && !there { HA_REPLICAS as u64 } else { 1 };
    let (largest, all) = if wish.ha {
        let sum = |of: fn((u64, u64)) -> u64| [DESTINATION, IDENTITY, INJECTOR].map(of).iter().sum::<u64>();
        (
            DESTINATION,
            (sum(|(cpu_m, _)| cpu_m), sum(|(_, memory_mib)| memory_mib)),
        )
    } else {
        ((0, 0), (0, 0))
    };
    let mut pods = vec![Pods {
        namespace: &wish.namespace,
        count: replicas * DEPLOYMENTS,
        cpu_m: replicas * all.0,
        memory_mib: replicas * all.1,
    }];
    // Where it is already each of its pods is made anew in its own place.
    if wish.cni && !cni::is_there(facts) {
        pods.push(Pods {
            namespace: CNI,
            count: precheck::nodes(facts),
            ..Pods::default()
        });
    }
    precheck::findings(
        facts,
        &precheck::Wish {
            pods: &pods,
            cpu_m: largest.0,
            memory_mib: largest.1,
            uses_cni: wish.cni,
        },
    )
}
