//! The Linkerd adapter: installs, upgrades and removes Linkerd from its Helm charts, takes namespaces and workloads into the
//! mesh, deploys applications, and recognises installations, whoever made them.
//!
//! It is pure: everything it knows comes with the request, and all it returns is data. `trust` says what is known of the
//! trust anchors and the issuer, which are apart from the charts; `versions` tells the lines edge and stable apart.
#![deny(missing_docs)]

mod bundle;
mod check;
mod cli;
mod cni;
mod component;
mod config;
mod control_plane;
mod detect;
mod dropped;
mod extension;
mod gateway_api;
mod identity;
mod injection;
mod install;
mod ip_families;
mod issuer_secret;
mod membership;
mod networks;
mod pages;
mod prospect;
mod recovery;
mod releases;
mod remove;
mod restart;
mod rollback;
mod room;
mod rotation;
mod sample;
#[cfg(test)]
mod tests;
mod trust;
mod trust_owner;
mod values;
mod versions;
mod webhook_certificate;

use meshery_mesh_kit::operation_table::{Entry, OperationTable, nothing_more};
use meshery_mesh_kit::step::plan;
use meshery_mesh_kit::{adoption, custom, deploy_and_remove, documentation, of_releases};
use meshery_plugin_api::message::descriptor::{AdapterDescriptor, RbacScope, Rights};
use meshery_plugin_api::message::expansion::{ExpandRequest, Expansion};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Installation};
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use meshery_plugin_api::{MeshAdapter, PluginError, export_adapter};

use crate::rollback::RELEASES;

export_adapter! {
    name: "linkerd",
    adapter: Linkerd,
}

/// Name of the mesh for people.
const MESH: &str = "Linkerd";

/// The adapter.
struct Linkerd;

/// Installing and removing an extension.
macro_rules! extension {
    ($extension:expr, $install:literal, $remove:literal) => {
        [
            Entry {
                name: $install,
                describe: || extension::install_operation(&$extension),
                plan: |request| extension::install(request, &$extension),
                check: |request| extension::check_install(request, &$extension),
            },
            Entry {
                name: $remove,
                describe: || extension::remove_operation(&$extension),
                plan: |request| extension::remove(request, &$extension),
                check: |request| check::remove_extension(request, &$extension),
            },
        ]
    };
}

const OPERATIONS: OperationTable = OperationTable {
    mesh: MESH,
    groups: GROUPS,
};

/// The operations, by what they are about.
const GROUPS: &[&[Entry]] = &[
    &[
        Entry {
            name: "install",
            describe: install::operation,
            plan: install::plan,
            check: check::install,
        },
        Entry {
            name: "upgrade",
            describe: install::upgrade_operation,
            plan: install::upgrade,
            check: check::upgrade,
        },
    ],
    &of_releases!(RELEASES),
    &[
        Entry {
            name: "remove",
            describe: remove::operation,
            plan: remove::plan,
            check: check::remove,
        },
        Entry {
            name: "make-trust",
            describe: identity::make_operation,
            plan: identity::make,
            check: nothing_more,
        },
        Entry {
            name: "renew-issuer",
            describe: identity::renew_operation,
            plan: identity::renew,
            check: nothing_more,
        },
        Entry {
            name: rotation::ROTATE,
            describe: rotation::operation,
            plan: rotation::plan,
            check: check::rotate,
        },
        Entry {
            name: recovery::REPLACE,
            describe: recovery::operation,
            plan: recovery::plan,
            check: recovery::check,
        },
        Entry {
            name: "inject",
            describe: injection::inject_operation,
            plan: injection::inject,
            check: check::inject,
        },
        Entry {
            name: "uninject",
            describe: injection::uninject_operation,
            plan: injection::uninject,
            check: nothing_more,
        },
        Entry {
            name: "restart",
            describe: restart::operation,
            plan: restart::plan,
            check: check::restart,
        },
        Entry {
            name: "restart-all",
            describe: restart::all_operation,
            plan: restart::all,
            check: check::restart_all,
        },
    ],
    &extension!(extension::VIZ, "install-viz", "remove-viz"),
    &extension!(
        extension::MULTICLUSTER,
        "install-multicluster",
        "remove-multicluster"
    ),
    &extension!(extension::SMI, "install-smi", "remove-smi"),
    &[Entry {
        name: "jaeger-addon",
        describe: extension::jaeger_operation,
        plan: extension::jaeger,
        check: nothing_more,
    }],
    &deploy_and_remove!("deploy", "bookinfo", sample::BOOKINFO, check::deploy_sample),
    &deploy_and_remove!("deploy", "httpbin", sample::HTTPBIN, check::deploy_sample),
    &deploy_and_remove!("deploy", "imagehub", sample::IMAGE_HUB, check::deploy_sample),
    &deploy_and_remove!("deploy", "emojivoto", sample::EMOJIVOTO, check::deploy_sample),
    &[
        Entry {
            name: "deploy-application",
            describe: dropped::deploy_operation,
            plan: dropped::deploy,
            check: check::deploy_application,
        },
        Entry {
            name: "remove-application",
            describe: dropped::remove_operation,
            plan: dropped::remove,
            check: nothing_more,
        },
    ],
    &custom::ENTRIES,
];

impl MeshAdapter for Linkerd {
    fn describe(&self) -> AdapterDescriptor {
        AdapterDescriptor {
            mesh: MESH.into(),
            port: 10001,
            versions: versions::all(),
            repositories: versions::repositories(),
            support_ends: versions::STABLE.support_ends(),
            operations: OPERATIONS.describe(),
            analyze_needs: Vec::new(),
            detect_needs: [
                detect::needs(),
                vec![detect::endpoints(), component::need()],
                webhook_certificate::needs().into(),
            ]
            .concat(),
            rights: Rights {
                namespaces: vec!["*".into()],
                create_namespaces: true,
                // What people bring themselves; the extension viz serves an API of its own.
                cluster_groups: vec!["*".into()],
                crds: true,
                rbac: RbacScope::Cluster,
                webhooks: true,
                // The CNI plugin writes to paths of its nodes.
                privileged_pods: true,
                // Certificates of the webhooks, which the chart makes.
                secrets: true,
            },
        }
    }

    fn plan(&self, request: PlanRequest) -> Result<Plan, PluginError> {
        let plan = OPERATIONS.plan(&request)?;
        adoption::remembered(&request, plan, install::maker_there)
    }

    fn expand(&self, request: ExpandRequest) -> Result<Expansion, PluginError> {
        if request.operation == rotation::ROTATE {
            return rotation::expanded(&request);
        }
        Err(request.unknown())
    }

    fn check(&self, request: PlanRequest) -> Result<Vec<Finding>, PluginError> {
        let findings = OPERATIONS.check(&request)?;
        Ok(documentation::added(findings, pages::PAGES, pages::PAGE))
    }

    fn detect(&self, facts: Facts) -> Result<Vec<Installation>, PluginError> {
        let mut installations = detect::installations(&facts)?;
        for found in &mut installations {
            found.prospects = prospect::of(&facts, found);
        }
        documentation::added_to(&mut installations, pages::PAGES, pages::PAGE);
        Ok(installations)
    }
}
