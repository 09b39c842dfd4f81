//! Who owns which fields of every object in a cluster, to be compared before and after.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::everything::listed;

/// The fields of each object by who owns them and how; but for those that are written by way of a subresource, which
/// controllers do at any time.
#[derive(Debug, Clone, PartialEq)]
pub struct Owners(BTreeMap<String, BTreeMap<String, String>>);

impl Owners {
    /// Reads them of every object that nobody makes for another one.
    pub fn take(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut objects = listed(cluster)?;
        objects.retain(|_, object| object["metadata"]["ownerReferences"].is_null());
        let owners = objects.into_iter().map(|(name, object)| (name, owners(&object)));
        Ok(Self(owners.collect()))
    }

    /// Those of a namespace only.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        let within = format!("/{namespace}/");
        self.0.retain(|name, _| name.contains(&within));
        self
    }

    /// What is owned otherwise now.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        names
            .into_iter()
            .filter(|name| self.0.get(*name) != now.0.get(*name))
            .map(|name| {
                let (before, now) = (self.0.get(name), now.0.get(name));
                format!("{name}\n    before {before:?}\n    now    {now:?}")
            })
            .collect()
    }

    /// The objects of which a manager owns fields.
    pub fn of<'a>(&'a self, manager: &'a str) -> impl Iterator<Item = &'a str> {
        let owns =
            move |owners: &BTreeMap<String, String>| owners.keys().any(|owner| owner.starts_with(manager));
        self.0
            .iter()
            .filter(move |(_, owners)| owns(owners))
            .map(|(name, _)| name.as_str())
    }
}

fn owners(object: &Value) -> BTreeMap<String, String> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none())
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default();
            let owner = format!("{} {} {}", text("manager"), text("operation"), text("apiVersion"));
            (owner, entry["fieldsV1"].to_string())
        })
        .collect()
}
