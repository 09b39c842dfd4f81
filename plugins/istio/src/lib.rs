//! The Istio adapter: installs and removes Istio from its Helm charts, takes namespaces into the mesh, deploys
//! applications, and recognises installations, whoever made them.
//!
//! It is pure: everything it knows comes with the request, and all it returns is data. `install` and `remove`
//! say what a whole operation does; `control_plane` knows Istio's names for things; `detect` reads facts.
#![deny(missing_docs)]

mod addon;
mod ambient;
mod authority;
mod canary;
mod canary_expansion;
mod check;
mod control_plane;
mod default_validator;
mod detect;
mod dropped;
mod envoy_filter;
mod gateway;
mod gateway_workload;
mod injection;
mod install;
mod istioctl;
mod maker;
mod membership;
mod nodes;
mod parts;
mod plain_text;
mod plane_values;
mod pod_security;
mod policy;
mod profile;
mod proof;
mod prospect;
mod proxies;
mod releases;
mod remove;
mod rollback;
mod room;
mod sample;
mod skew;
mod tag;
#[cfg(test)]
mod tests;
mod upgrade;
mod values;
mod versions;
mod vet;

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
    name: "istio",
    adapter: Istio,
}

/// Name of the mesh for people.
const MESH: &str = "Istio";

/// The adapter.
struct Istio;

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
            name: "remove",
            describe: remove::operation,
            plan: remove::plan,
            check: check::remove,
        },
        Entry {
            name: "upgrade",
            describe: upgrade::operation,
            plan: upgrade::plan,
            check: upgrade::check,
        },
    ],
    &of_releases!(RELEASES),
    &[
        Entry {
            name: canary::CANARY,
            describe: canary::operation,
            plan: canary::plan,
            check: canary::check,
        },
        Entry {
            name: "add-gateway",
            describe: gateway::add_operation,
            plan: gateway::add,
            check: gateway::check_add,
        },
        Entry {
            name: "remove-gateway",
            describe: gateway::remove_operation,
            plan: gateway::remove,
            check: gateway::check_remove,
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
    ],
    &[
        Entry {
            name: "set-policy",
            describe: policy::set_operation,
            plan: policy::set,
            check: policy::check,
        },
        Entry {
            name: "remove-policy",
            describe: policy::remove_operation,
            plan: policy::remove,
            check: nothing_more,
        },
        Entry {
            name: "add-imagehub-filter",
            describe: envoy_filter::add_operation,
            plan: envoy_filter::add,
            check: envoy_filter::check,
        },
        Entry {
            name: "remove-imagehub-filter",
            describe: envoy_filter::remove_operation,
            plan: envoy_filter::remove,
            check: nothing_more,
        },
    ],
    &custom::ENTRIES,
    &deploy_and_remove!("add", "prometheus", addon::PROMETHEUS, addon::check),
    &deploy_and_remove!("add", "grafana", addon::GRAFANA, addon::check),
    &deploy_and_remove!("add", "kiali", addon::KIALI, addon::check),
    &deploy_and_remove!("add", "jaeger", addon::JAEGER, addon::check),
    &deploy_and_remove!("add", "zipkin", addon::ZIPKIN, addon::check),
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
];

impl MeshAdapter for Istio {
    fn describe(&self) -> AdapterDescriptor {
        AdapterDescriptor {
            mesh: MESH.into(),
            port: 10000,
            versions: versions::CATALOGUE.versions(),
            repositories: vec![
                versions::CATALOGUE.chart_repository(&["base", "istiod"], &["cni", "ztunnel", "gateway"]),
            ],
            support_ends: versions::CATALOGUE.support_ends(),
            operations: OPERATIONS.describe(),
            detect_needs: [
                detect::needs(),
                vec![
                    detect::endpoints(),
                    authority::need(""),
                    membership::need_of_namespaces(),
                ],
                addon::needs_everywhere(),
            ]
            .concat(),
            analyze_needs: vet::needs(),
            rights: Rights {
                namespaces: vec!["*".into()],
                create_namespaces: true,
                // What people bring themselves.
                cluster_groups: vec!["*".into()],
                crds: true,
                rbac: RbacScope::Cluster,
                webhooks: true,
                // Ambient mode: the CNI plugin and the nodes' proxies.
                privileged_pods: true,
                // `remove` with `purge`: istiod's CA Secret; and what people bring themselves.
                secrets: true,
            },
        }
    }

    fn plan(&self, request: PlanRequest) -> Result<Plan, PluginError> {
        let plan = OPERATIONS.plan(&request)?;
        adoption::remembered(&request, plan, upgrade::maker_there)
    }

    fn expand(&self, request: ExpandRequest) -> Result<Expansion, PluginError> {
        canary_expansion::expanded(&request)
    }

    fn check(&self, request: PlanRequest) -> Result<Vec<Finding>, PluginError> {
        let findings = OPERATIONS.check(&request)?;
        Ok(documentation::added(findings, check::PAGES, check::PAGE))
    }

    fn detect(&self, facts: Facts) -> Result<Vec<Installation>, PluginError> {
        let mut installations = detect::installations(&facts)?;
        let prospects: Vec<_> = installations
            .iter()
            .map(|found| prospect::of(&facts, found, &installations))
            .collect();
        for (found, prospects) in installations.iter_mut().zip(prospects) {
            found.prospects = prospects;
        }
        documentation::added_to(&mut installations, check::PAGES, check::PAGE);
        Ok(installations)
    }

    fn analyze(&self, facts: Facts) -> Result<Vec<Finding>, PluginError> {
        Ok(vet::analyze(&facts))
    }
}
