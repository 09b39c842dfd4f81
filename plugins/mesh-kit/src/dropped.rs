//! Applications that people drop as a folder of YAML beside the host: read from the request, for any namespace.
//!
//! They are deployed and removed like samples. Their files are as their authors wrote them, so what is said here is what
//! has to change for another namespace, and what cannot be an application.

use std::collections::HashMap;

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Need;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{APPLICATION, PlanRequest};
use serde_json::Value;

use crate::application::{self, Application, Codes, deadline_parameter};
use crate::manifest::{self, fill, is_cluster_wide};
use crate::object::{name, text};
use crate::sample::SAMPLES;
use crate::{need, parameter, schema};

/// The most objects that one may have.
const OBJECTS: usize = 2_000;

/// Label of all objects of such an application: its name.
const LABEL: &str = "application.meshery.io/name";

/// The kinds of which is looked what is there, by group and kind. Not Secrets: few may list them.
const KINDS: [(&str, &str); 9] = [
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("", "ConfigMap"),
    ("networking.k8s.io", "Ingress"),
];

/// The operation that deploys one. `inject` says of the mesh what that parameter does; `needs` is what the mesh has to
/// see besides.
pub fn deploy_operation(inject: &str, needs: Vec<Need>) -> Operation {
    Operation {
        name: "deploy-application".into(),
        category: Category::SampleApplication,
        description:
            "Deploys an application of the host's own: a folder of YAML files among its applications".into(),
        parameters: schema::object(
            [
                application_parameter(),
                (
                    "namespace",
                    schema::namespace("Namespace of the application; made if it is not there", ""),
                ),
                ("inject", schema::flag(inject, false)),
                deadline_parameter(),
            ],
            &["application", "namespace"],
        ),
        needs: with_own(needs),
    }
}

/// The operation that removes one.
pub fn remove_operation(needs: Vec<Need>) -> Operation {
    Operation {
        name: "remove-application".into(),
        category: Category::SampleApplication,
        description: "Removes an application of the host's own, as far as Meshery made it".into(),
        parameters: schema::object(
            [
                application_parameter(),
                ("namespace", schema::namespace("Namespace of the application", "")),
            ],
            &["application", "namespace"],
        ),
        needs: with_own(needs),
    }
}

fn application_parameter() -> (&'static str, Value) {
    let mut parameter = schema::namespace("Name of the folder", "");
    parameter["format"] = APPLICATION.into();
    ("application", parameter)
}

fn with_own(mut needs: Vec<Need>) -> Vec<Need> {
    needs.push(need::namespace("{namespace}"));
    needs.extend(application::needs("{namespace}", KINDS));
    needs
}

/// The name of the application that a request is about.
pub fn name_of(request: &PlanRequest) -> Result<&str, PluginError> {
    let name = parameter::text(request, "application", "")?;
    if !parameter::is_dns_label(name) {
        return Err(PluginError::new(
            "bad-parameter",
            format!("parameter \"application\" is \"{name}\", not the name of an application"),
        )
        .remedy("name a folder among the host's applications"));
    }
    if SAMPLES.iter().any(|sample| sample.name == name) {
        return Err(PluginError::new(
            "application-name-taken",
            format!("the folder \"{name}\" is called like a sample application"),
        )
        .cause("of the two, one could be taken for the other")
        .remedy(format!(
            "rename the folder; the sample itself is deployed by deploy-{name}"
        )));
    }
    Ok(name)
}

/// The application of a request, for the namespace that it names.
pub fn read(request: &PlanRequest) -> Result<Application, PluginError> {
    let app = name_of(request)?;
    let target = parameter::namespace(request, "namespace", "")?;
    let mut objects = Vec::new();
    let mut places: HashMap<ObjectRef, String> = HashMap::new();
    for file in &request.files {
        for read in manifest::read_with_lines(&file.name, &file.text)? {
            let place = format!("{}, line {}", file.name, read.line);
            let object = placed(read.object, app, target).ok_or_else(|| no_labels(&place))?;
            if let Some(reference) = ObjectRef::of(&object) {
                let whatever_version = ObjectRef {
                    version: String::new(),
                    ..reference.clone()
                };
                if let Some(before) = places.get(&whatever_version) {
                    return Err(twice(&reference, before, &place));
                }
                places.insert(whatever_version, place);
            }
            objects.push(object);
        }
    }
    if objects.len() > OBJECTS {
        let message = format!(
            "application \"{app}\" has {} objects; {OBJECTS} is the limit",
            objects.len()
        );
        return Err(PluginError::new("application-too-large", message)
            .cause("what is applied at once has a bound")
            .remedy("make several applications of it"));
    }
    if objects.is_empty() {
        return Err(PluginError::new(
            "application-empty",
            format!("application \"{app}\" has no object in its files"),
        )
        .cause(format!("{} files were read", request.files.len()))
        .remedy("put the application's objects into its folder as YAML"));
    }
    follow_accounts(&mut objects, target);
    Ok(Application {
        title: format!("application {app}"),
        namespace: target.into(),
        objects,
        step: "application".into(),
        codes: Codes {
            not_deployed: "application-not-deployed".into(),
            of_others: "application-of-others",
        },
        mark: Some((LABEL, app.into())),
    })
}

/// An object of the application in its namespace, whatever namespace it was written for; nothing when it has labels that
/// are none.
fn placed(mut object: Value, app: &str, target: &str) -> Option<Value> {
    fill(&mut object, target);
    let cluster_wide = is_cluster_wide(text(&object, "/kind"));
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    if cluster_wide {
        metadata.remove("namespace");
    } else {
        metadata.insert("namespace".into(), target.into());
    }
    let labels = metadata.entry("labels").or_insert(Value::Null);
    if labels.is_null() {
        *labels = Value::Object(serde_json::Map::new());
    }
    labels.as_object_mut()?.insert(LABEL.into(), app.into());
    Some(object)
}

/// Rights that are granted to the application's own accounts are granted to them where they are now.
fn follow_accounts(objects: &mut [Value], target: &str) {
    let accounts = objects.iter().filter(|object| object["kind"] == "ServiceAccount");
    let accounts: Vec<String> = accounts.map(|account| name(account).to_owned()).collect();
    for object in objects {
        if !["RoleBinding", "ClusterRoleBinding"].contains(&text(object, "/kind")) {
            continue;
        }
        let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
        for subject in subjects.into_iter().flatten() {
            if subject["kind"] == "ServiceAccount"
                && accounts.iter().any(|account| subject["name"] == account.as_str())
            {
                subject["namespace"] = target.into();
            }
        }
    }
}

fn no_labels(place: &str) -> PluginError {
    PluginError::new(
        "bad-manifest",
        format!("{place}: metadata.labels is no set of labels"),
    )
    .cause("labels are fields with texts")
    .remedy("mend them, or take them away")
}

fn twice(object: &ObjectRef, before: &str, place: &str) -> PluginError {
    PluginError::new(
        "duplicate-object",
        format!("{object} is there twice: {before}, and {place}"),
    )
    .cause("all objects go to one namespace, whichever they were written for")
    .remedy("take one of the two away, or give it another name")
}

#[cfg(test)]
mod tests;
