//! An adapter's operations in one table, from which follows what the adapter describes, plans and checks: an operation
//! cannot be offered without a plan, nor planned without being offered.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::Operation;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};

use crate::{parameter, readable};

/// One of the adapter's operations: what it offers, and what it does.
#[derive(Debug)]
pub struct Entry {
    /// The name it is asked for by, the same as that of the description.
    pub name: &'static str,
    /// What it offers.
    pub describe: fn() -> Operation,
    /// What it does.
    pub plan: fn(&PlanRequest) -> Result<Plan, PluginError>,
    /// What speaks against it.
    pub check: fn(&PlanRequest) -> Result<Vec<Finding>, PluginError>,
}

/// The entries of both operations on one thing of several alike, a sample application say: `VERB-NAME` deploys it, and
/// `remove-NAME` takes it away. Its module has `deploy_operation`, `deploy`, `remove_operation` and `remove`, each for any
/// of these things, and the check is that of the deployment.
#[macro_export]
macro_rules! deploy_and_remove {
    ($verb:literal, $name:literal, $module:ident::$thing:ident, $check:path) => {
        [
            $crate::operation_table::Entry {
                name: concat!($verb, "-", $name),
                describe: || $module::deploy_operation(&$module::$thing),
                plan: |request| $module::deploy(request, &$module::$thing),
                check: |request| $check(request, &$module::$thing),
            },
            $crate::operation_table::Entry {
                name: concat!("remove-", $name),
                describe: || $module::remove_operation(&$module::$thing),
                plan: |request| $module::remove(request, &$module::$thing),
                check: $crate::operation_table::nothing_more,
            },
        ]
    };
}

/// The entries of the operations on a mesh's Helm releases (a [`MeshReleases`](crate::mesh_releases::MeshReleases)):
/// `rollback` and `test`.
#[macro_export]
macro_rules! of_releases {
    ($releases:path) => {
        [
            $crate::operation_table::Entry {
                name: "rollback",
                describe: || $crate::rollback::operation(&$releases),
                plan: |request| $crate::rollback::plan(&$releases, request),
                check: |request| $crate::rollback::check(&$releases, request),
            },
            $crate::operation_table::Entry {
                name: "test",
                describe: || $crate::chart_tests::operation(&$releases),
                plan: |request| $crate::chart_tests::plan(&$releases, request),
                check: |request| $crate::chart_tests::check(&$releases, request),
            },
        ]
    };
}

/// All operations of an adapter.
#[derive(Debug)]
pub struct OperationTable {
    /// Name of the mesh for people.
    pub mesh: &'static str,
    /// The operations, in the order in which they are listed; in groups, since some are made together.
    pub groups: &'static [&'static [Entry]],
}

impl OperationTable {
    /// The operations in their order.
    pub fn entries(&self) -> impl Iterator<Item = &'static Entry> + use<> {
        self.groups.iter().copied().flatten()
    }

    /// What each offers.
    pub fn describe(&self) -> Vec<Operation> {
        self.entries().map(|entry| (entry.describe)()).collect()
    }

    /// What the operation of the request does.
    pub fn plan(&self, request: &PlanRequest) -> Result<Plan, PluginError> {
        (self.find(&request.operation)?.plan)(request)
    }

    /// What speaks against the operation of the request.
    pub fn check(&self, request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
        (self.find(&request.operation)?.check)(request)
    }

    fn find(&self, operation: &str) -> Result<&'static Entry, PluginError> {
        self.entries()
            .find(|entry| entry.name == operation)
            .ok_or_else(|| {
                let names: Vec<&str> = self.entries().map(|entry| entry.name).collect();
                PluginError::new(
                    "unknown-operation",
                    format!("{} has no operation \"{operation}\"", self.mesh),
                )
                .remedy(format!("choose one of {}", names.join(", ")))
            })
    }
}

/// The check of an operation that nothing speaks against: only what could not be read.
pub fn nothing_more(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    parameter::text(request, "namespace", "")?;
    Ok(readable::gaps(&request.facts))
}
