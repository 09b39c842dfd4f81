//! What is left inside something that we made: a reason to keep it.

use std::time::Duration;

use meshery_plugin_api::message::object_ref::ObjectRef;
use std::time::Instant;

use tokio::time::sleep;

use crate::cluster::contents::PartialObject;
use crate::cluster::{Cluster, ClusterError};
use crate::operation::object::mark::OPERATION;
use crate::problem::Problem;

/// How long what is on its way out, or goes with its owner, is given to be gone.
const GOING: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(500);
/// How many objects a reason names.
const NAMED: usize = 5;

/// Why a namespace or a definition must stay: what is still in it, or that nobody can tell. Nothing when it may go.
/// Whatever of it was this operation's to remove is gone by now.
pub(in crate::operation) async fn left_inside(
    cluster: &Cluster,
    object: &ObjectRef,
    operation: &str,
    deadline: Instant,
) -> Result<Option<String>, Problem> {
    let end = deadline.min(Instant::now() + GOING);
    loop {
        let inside = match (object.group.as_str(), object.kind.as_str()) {
            ("", "Namespace") => {
                let found = cluster.contents_of_namespace(&object.name).await?;
                if let Some(kind) = found.unreadable.first() {
                    return Ok(Some(format!(
                        "what is in it cannot be told: {} of {} could not be listed ({})",
                        kind.kind, kind.api_version, kind.reason
                    )));
                }
                found.objects
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                match cluster.custom_resources_of(object).await {
                    Err(error @ ClusterError::InstancesUnknown { .. }) => return Ok(Some(error.to_string())),
                    inside => inside?,
                }
            }
            _ => return Ok(None),
        };
        if inside.is_empty() {
            return Ok(None);
        }
        let staying: Vec<&PartialObject> = inside.iter().filter(|object| !is_going(object)).collect();
        if !staying.is_empty() {
            return Ok(Some(reason(&staying, operation)));
        }
        if Instant::now() >= end {
            return Ok(Some(reason(&inside.iter().collect::<Vec<_>>(), operation)));
        }
        sleep(PAUSE).await;
    }
}

fn is_going(object: &PartialObject) -> bool {
    object.deleting || object.owners.iter().any(|owner| owner.controller)
}

fn reason(objects: &[&PartialObject], operation: &str) -> String {
    let mut named: Vec<String> = objects
        .iter()
        .take(NAMED)
        .map(|object| match object.annotations.get(OPERATION) {
            Some(maker) if maker != operation => {
                format!("{} (made by another operation here)", object.object)
            }
            _ => object.object.to_string(),
        })
        .collect();
    if objects.len() > NAMED {
        named.push(format!("and {} more", objects.len() - NAMED));
    }
    format!(
        "it holds what this operation does not remove: {}",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_another_operation_has_made_is_named_as_such() {
        let object = |name: &str, maker: Option<&str>| PartialObject {
            object: format!("v1/ConfigMap/shop/{name}").parse().unwrap(),
            uid: String::new(),
            resource_version: String::new(),
            labels: BTreeMap::new(),
            annotations: maker
                .map(|maker| (OPERATION.to_owned(), maker.to_owned()))
                .into_iter()
                .collect(),
            owners: Vec::new(),
            finalizers: Vec::new(),
            deleting: false,
        };
        let (theirs, other, own) = (
            object("theirs", None),
            object("other", Some("op-1")),
            object("own", Some("op-2")),
        );
        assert_eq!(
            reason(&[&theirs, &other, &own], "op-2"),
            "it holds what this operation does not remove: v1/ConfigMap/shop/theirs, \
             v1/ConfigMap/shop/other (made by another operation here), v1/ConfigMap/shop/own"
        );
    }
}
