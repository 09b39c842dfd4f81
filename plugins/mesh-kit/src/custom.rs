//! Objects that people bring themselves: any YAML, previewed, applied and taken back like everything else. Given a name,
//! they are a set: what of it is not in the YAML any more goes, and the set can be removed without the YAML.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Readiness, Rule, Step, Target};
use serde_json::Value;

use crate::application::{deadline, deadline_parameter};
use crate::operation_table::{Entry, nothing_more};
use crate::step::{apply, apply_set, delete, delete_set, holds, plan, wait};
use crate::{manifest, namespace, need, parameter, schema};

/// The most that a text may have, in bytes.
const LONGEST: usize = 1 << 20;
/// The most characters of a set's name.
const LONGEST_SET: usize = 40;
/// Kinds of which ready means something.
const WORKLOADS: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "Job"];

/// Both operations, the same of every mesh.
pub const ENTRIES: [Entry; 2] = [
    Entry {
        name: "apply-custom",
        describe: apply_operation,
        plan: apply_plan,
        check: nothing_more,
    },
    Entry {
        name: "remove-custom",
        describe: remove_operation,
        plan: remove_plan,
        check: nothing_more,
    },
];

fn parameters(deploy: bool) -> Value {
    let mut yaml = schema::text(
        "Kubernetes objects as YAML, any number of documents; {namespace} stands for the namespace",
    );
    yaml["maxLength"] = LONGEST.into();
    // Whoever applies a Secret so does not want it in a record.
    yaml["writeOnly"] = true.into();
    let mut properties = vec![
        ("yaml", yaml),
        (
            "namespace",
            schema::namespace(
                "Namespace of objects that name none; made if it is not there",
                "default",
            ),
        ),
    ];
    let mut set = schema::text(if deploy {
        "Name of the set that the objects make up; applied again, it loses what is not among them any more"
    } else {
        "Name of a set; everything of it is removed, in the place of what \"yaml\" would name"
    });
    set["pattern"] = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$".into();
    set["maxLength"] = LONGEST_SET.into();
    properties.push(("set", set));
    if deploy {
        let description = "With \"set\": delete what of it is not among the objects any more";
        properties.push(("prune", schema::flag(description, true)));
    }
    properties.extend(deploy.then(deadline_parameter));
    schema::object(properties, if deploy { &["yaml"] } else { &[] })
}

/// The operation that applies them.
fn apply_operation() -> Operation {
    Operation {
        name: "apply-custom".into(),
        category: Category::Configure,
        description: "Applies objects that are given as YAML, and waits until their workloads run".into(),
        parameters: parameters(true),
        needs: vec![need::namespace("{namespace}")],
    }
}

/// The operation that removes them.
fn remove_operation() -> Operation {
    Operation {
        name: "remove-custom".into(),
        category: Category::Configure,
        description: "Removes objects that are given as YAML, or a set of them, as far as Meshery made them"
            .into(),
        parameters: parameters(false),
        needs: vec![need::namespace("{namespace}")],
    }
}

fn objects(request: &PlanRequest) -> Result<(Vec<Value>, &str), PluginError> {
    let target = parameter::namespace(request, "namespace", "default")?;
    let text = parameter::text(request, "yaml", "")?;
    if text.len() > LONGEST {
        return Err(PluginError::new(
            "bad-parameter",
            format!(
                "parameter \"yaml\" has {} bytes; {LONGEST} is the limit",
                text.len()
            ),
        )
        .remedy("apply it in parts"));
    }
    let objects = manifest::read("parameter \"yaml\"", text)?;
    if objects.is_empty() {
        return Err(
            PluginError::new("bad-manifest", "parameter \"yaml\" has no object in it")
                .remedy("give at least one object"),
        );
    }
    Ok((
        objects
            .into_iter()
            .map(|object| manifest::placed(object, target))
            .collect(),
        target,
    ))
}

/// The plan that applies them.
fn apply_plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let (mut objects, target) = objects(request)?;
    let ready = objects.iter().filter_map(readiness).collect::<Vec<_>>();
    let brought = objects
        .iter()
        .any(|object| ObjectRef::of(object) == Some(namespace::reference(target)));
    let used = objects
        .iter()
        .any(|object| object["metadata"]["namespace"] == target);
    let missing = if used && !brought {
        namespace::missing(&request.facts, &[target])
    } else {
        Vec::new()
    };
    let set = parameter::text(request, "set", "")?;
    let mut steps = Vec::new();
    let count = objects.len() + missing.len();
    if set.is_empty() {
        objects.splice(0..0, missing);
        steps.push(apply("custom", format!("{count} objects"), objects));
    } else {
        // It outlives the set: others may come to use it.
        if !missing.is_empty() {
            steps.push(apply("namespace", format!("namespace {target}"), missing));
        }
        let prune = parameter::flag(request, "prune", true)?;
        let title = format!("{} objects of set {set}", objects.len());
        steps.push(apply_set("custom", title, objects, (set, prune)));
    }
    let mut verify = Vec::new();
    if !ready.is_empty() {
        verify.push(wait("ready", "the workloads run", deadline(request)?, ready));
    }
    Ok(plan(
        format!("Apply {count} objects, in namespace {target} where they name none"),
        steps,
        verify,
        Vec::new(),
    ))
}

fn readiness(object: &Value) -> Option<Readiness> {
    let reference = ObjectRef::of(object)?;
    WORKLOADS
        .contains(&reference.kind.as_str())
        .then(|| holds(Rule::Ready, reference))
}

fn last(target: &str) -> Step {
    delete(
        "namespace",
        "the namespace, if it is ours and empty",
        vec![namespace::removal(target)],
    )
}

/// The plan that removes them, the last first.
fn remove_plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let set = parameter::text(request, "set", "")?;
    let yaml = parameter::text(request, "yaml", "")?;
    if set.is_empty() == yaml.is_empty() {
        let code = if set.is_empty() {
            "bad-manifest"
        } else {
            "bad-parameter"
        };
        return Err(PluginError::new(
            code,
            "what is to be removed is said by one of the parameters \"yaml\" and \"set\"",
        )
        .remedy("give the YAML that was applied, or the name of the set"));
    }
    if !set.is_empty() {
        let target = parameter::namespace(request, "namespace", "default")?;
        let steps = vec![
            delete_set(
                "custom",
                format!("everything of set {set}, as far as Meshery made it"),
                set,
            ),
            last(target),
        ];
        return Ok(plan(format!("Remove set {set}"), steps, Vec::new(), Vec::new()));
    }
    let (objects, target) = objects(request)?;
    let mut targets: Vec<Target> = objects
        .iter()
        .rev()
        .filter_map(ObjectRef::of)
        .filter(|object| *object != namespace::reference(target))
        .map(|object| Target {
            when: match object.kind.as_str() {
                "Namespace" | "CustomResourceDefinition" => Condition::OursAndEmpty,
                _ => Condition::Ours,
            },
            object,
        })
        .collect();
    let count = targets.len();
    targets.retain(|target| !target.object.name.is_empty());
    let steps = vec![
        delete(
            "custom",
            format!("{count} objects, as far as Meshery made them"),
            targets,
        ),
        last(target),
    ];
    Ok(plan(
        format!("Remove {count} objects, from namespace {target} where they name none"),
        steps,
        Vec::new(),
        Vec::new(),
    ))
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::plan::Action;
    use serde_json::json;

    use super::*;

    const TEXT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {host: 'a.{namespace}'}\n---\n\
                        apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b, namespace: other}\n";

    fn request(parameters: &Value) -> PlanRequest {
        PlanRequest {
            parameters: parameters.as_object().cloned().unwrap(),
            ..PlanRequest::default()
        }
    }

    #[test]
    fn what_is_brought_is_applied_awaited_and_removed_in_reverse() {
        let given = request(&json!({"yaml": TEXT, "namespace": "shop"}));
        let plan = apply_plan(&given).unwrap();
        let Action::Apply(apply) = &plan.steps[0].action else {
            panic!()
        };
        assert_eq!(apply.objects[1]["data"]["host"], "a.shop");
        assert_eq!(apply.objects[2]["metadata"]["namespace"], "other");
        assert_eq!(plan.verify.len(), 1);
        let Action::Delete(delete) = &remove_plan(&given).unwrap().steps[0].action.clone() else {
            panic!()
        };
        let names: Vec<&str> = delete
            .targets
            .iter()
            .map(|target| target.object.name.as_str())
            .collect();
        assert_eq!(names, ["b", "a"]);
        assert!(delete.targets.iter().all(|target| target.when == Condition::Ours));
    }

    #[test]
    fn a_set_is_pruned_unless_told_otherwise_and_does_not_own_the_namespace_it_needs() {
        let mut given = request(&json!({"yaml": TEXT, "namespace": "shop", "set": "web"}));
        let plan = apply_plan(&given).unwrap();
        let [namespace, custom] = plan.steps.as_slice() else {
            panic!("{:?}", plan.steps)
        };
        assert!(matches!(&namespace.action, Action::Apply(apply) if apply.set.is_empty()));
        assert!(
            matches!(&custom.action, Action::Apply(apply) if apply.set == "web" && apply.prune && apply.objects.len() == 2)
        );
        given.parameters.insert("prune".into(), false.into());
        let plan = apply_plan(&given).unwrap();
        assert!(matches!(&plan.steps[1].action, Action::Apply(apply) if !apply.prune));
    }

    #[test]
    fn what_is_removed_is_a_set_or_what_the_yaml_names_and_not_both() {
        let plan = remove_plan(&request(&json!({"set": "web"}))).unwrap();
        assert!(
            matches!(&plan.steps[0].action, Action::Delete(delete) if delete.set == "web" && delete.targets.is_empty())
        );
        for (parameters, code) in [
            (json!({}), "bad-manifest"),
            (json!({"set": "web", "yaml": TEXT}), "bad-parameter"),
        ] {
            let error = remove_plan(&request(&parameters)).unwrap_err();
            assert_eq!(error.code, code);
            assert!(error.message.contains("\"set\""), "{error:?}");
        }
    }

    #[test]
    fn nothing_and_nonsense_are_errors() {
        for yaml in ["", "---\n", "text", "kind: Pod"] {
            let error = apply_plan(&request(&json!({"yaml": yaml}))).unwrap_err();
            assert_eq!(error.code, "bad-manifest", "{yaml}: {error:?}");
        }
    }
}
