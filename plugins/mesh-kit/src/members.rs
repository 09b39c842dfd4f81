//! Which workloads of which namespaces are in a mesh: pods, put together by what they are of.
//!
//! A workload that has no pods shows nothing, and is in neither list.

use std::collections::{BTreeMap, BTreeSet};

use meshery_plugin_api::message::member::{Joined, Members, NamespaceMembers, Workloads};
use serde_json::Value;

use crate::object::namespace;
use crate::owner::{self, Owner};

/// How many namespaces are listed, and how many workloads in all of them together: an answer has to stay one that can be sent.
const NAMESPACES: usize = 1000;
const NAMED: usize = 5000;

/// Where a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the mesh, with a proxy of the control plane's version, or one whose version is not known.
    Inside,
    /// In the mesh, with a proxy of another version.
    Behind,
    /// Out of it.
    Out,
    /// In another mesh or installation, or over: it does not count.
    Elsewhere,
}

#[derive(Default)]
struct Found<'a> {
    joined: Joined,
    pods: usize,
    inside: BTreeSet<Owner<'a>>,
    behind: BTreeSet<Owner<'a>>,
    out: BTreeSet<Owner<'a>>,
}

/// The members of an installation whose control plane is in a namespace: the namespaces of the cluster, whether each asks for
/// its pods to be taken in, and the pods.
pub fn of<'a>(
    control_plane: &str,
    namespaces: impl Iterator<Item = (&'a str, bool)>,
    pods: impl Iterator<Item = (&'a Value, Place)>,
) -> Members {
    let mut found = BTreeMap::<&str, Found<'_>>::new();
    for (name, asks) in namespaces {
        let entry = found.entry(name).or_default();
        if asks {
            entry.joined = Joined::ByNamespace;
        }
    }
    for (pod, place) in pods {
        let entry = found.entry(namespace(pod)).or_default();
        entry.pods += 1;
        match place {
            Place::Elsewhere => continue,
            Place::Out => entry.out.insert(owner::of(pod)),
            Place::Inside => entry.inside.insert(owner::of(pod)),
            Place::Behind => {
                entry.behind.insert(owner::of(pod));
                entry.inside.insert(owner::of(pod))
            }
        };
        if place != Place::Out && entry.joined == Joined::Nothing {
            entry.joined = Joined::ByWorkload;
        }
    }
    // One whose pods are all elsewhere is no matter of this installation's.
    found.retain(|name, found| {
        let is_elsewhere = found.pods > 0 && found.joined == Joined::Nothing && found.out.is_empty();
        *name != control_plane && !is_elsewhere
    });
    let mut all: Vec<_> = found.into_iter().collect();
    all.sort_by_key(|(_, found)| found.joined);
    let rest = all.len().saturating_sub(NAMESPACES);
    all.truncate(NAMESPACES);
    let mut left = NAMED;
    let namespaces = all
        .into_iter()
        .map(|(name, found)| NamespaceMembers {
            namespace: name.into(),
            joined: found.joined,
            inside: named(&found.inside, &mut left),
            out: named(&found.out, &mut left),
            behind: named(&found.behind, &mut left),
        })
        .collect();
    Members { namespaces, rest }
}

fn named(workloads: &BTreeSet<Owner<'_>>, left: &mut usize) -> Workloads {
    let names: Vec<String> = workloads
        .iter()
        .take(*left)
        .map(|of| format!("{}/{}", of.kind, of.name))
        .collect();
    *left -= names.len();
    Workloads {
        count: workloads.len(),
        names,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, workload: &str, name: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": namespace,
            "ownerReferences": [{"kind": "StatefulSet", "name": workload, "controller": true}]}})
    }

    #[test]
    fn workloads_are_told_by_namespace_in_the_mesh_and_out_of_it() {
        let pods = [
            (pod("shop", "web", "web-0"), Place::Inside),
            (pod("shop", "web", "web-1"), Place::Behind),
            (pod("shop", "db", "db-0"), Place::Out),
            (pod("bank", "till", "till-0"), Place::Inside),
            (pod("bank", "vault", "vault-0"), Place::Out),
            (pod("other", "canary", "canary-0"), Place::Elsewhere),
            (pod("alone", "batch", "batch-0"), Place::Out),
            (pod("mesh", "brain", "brain-0"), Place::Out),
        ];
        let namespaces = [
            ("shop", true),
            ("mesh", false),
            ("empty", false),
            ("other", false),
        ];
        let found = of(
            "mesh",
            namespaces.into_iter(),
            pods.iter().map(|(pod, place)| (pod, *place)),
        );
        let told: Vec<_> = found
            .namespaces
            .iter()
            .map(|of| {
                let names = |workloads: &Workloads| workloads.names.join(" ");
                (
                    of.namespace.as_str(),
                    of.joined,
                    [names(&of.inside), names(&of.out), names(&of.behind)],
                )
            })
            .collect();
        let is = |names: [&str; 3]| names.map(str::to_owned);
        assert_eq!(
            told,
            [
                (
                    "shop",
                    Joined::ByNamespace,
                    is(["StatefulSet/web", "StatefulSet/db", "StatefulSet/web"])
                ),
                (
                    "bank",
                    Joined::ByWorkload,
                    is(["StatefulSet/till", "StatefulSet/vault", ""])
                ),
                ("alone", Joined::Nothing, is(["", "StatefulSet/batch", ""])),
                ("empty", Joined::Nothing, is(["", "", ""])),
            ]
        );
        assert_eq!(found.rest, 0);
    }

    #[test]
    fn what_is_too_much_to_be_listed_is_counted() {
        let pods: Vec<Value> = (0..NAMED + 7)
            .map(|at| pod("shop", &format!("web-{at}"), "x"))
            .collect();
        let names: Vec<String> = (0..NAMESPACES + 2).map(|at| format!("n{at}")).collect();
        let found = of(
            "mesh",
            names.iter().map(|name| (name.as_str(), false)),
            pods.iter().map(|pod| (pod, Place::Inside)),
        );
        assert_eq!((found.namespaces.len(), found.rest), (NAMESPACES, 3));
        let shop = &found.namespaces[0];
        assert_eq!(
            (
                shop.namespace.as_str(),
                shop.inside.count,
                shop.inside.names.len()
            ),
            ("shop", NAMED + 7, NAMED)
        );
    }
}
