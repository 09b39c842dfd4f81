//! Whether a plan makes sense as a plan, before anything is looked up, rendered or run.

mod outputs;
mod sets;

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::error::PluginError;
use crate::message::descriptor::Rights;
use crate::message::expansion::{Expand, Expansion};
use crate::message::facts::Detail;
use crate::message::material::{Material, MaterialEntry};
use crate::message::object_ref::ObjectRef;
use crate::message::plan::{
    Action, Condition, Plan, Readiness, RemoveRelease, RollbackRelease, Rule, Step, TestRelease,
};
use crate::rights;

pub use outputs::KnownOutputs;

/// The most steps that a plan may have.
const STEPS: usize = 500;
/// Hours that a certificate may be valid: up to a hundred years.
const LIFETIMES_H: RangeInclusive<u32> = 1..=876_600;
const RANDOM_BYTES: RangeInclusive<u16> = 16..=512;
/// The most objects that the steps of a plan may write out.
const OBJECTS: usize = 20_000;

/// Checks a plan: ids, order, step kinds, manifests, and that the objects it writes out lie within the rights.
pub fn check(plan: &Plan, rights: &Rights) -> Result<(), PluginError> {
    let steps: Vec<&Step> = plan.steps.iter().chain(&plan.verify).collect();
    if steps.is_empty() {
        return Err(fault("the plan has no steps"));
    }
    check_all(&steps, rights, &KnownOutputs::new())?;
    let verify: HashSet<&str> = plan.verify.iter().map(|step| step.id.as_str()).collect();
    for step in &plan.steps {
        if let Some(other) = step.after.iter().find(|other| verify.contains(other.as_str())) {
            return Err(fault(format!(
                "step {} comes after {other}, which only proves the result",
                step.id
            )));
        }
    }
    for step in &plan.verify {
        if !matches!(step.action, Action::Wait(_) | Action::Probe(_) | Action::Unknown) {
            return Err(fault(format!(
                "step {} is to prove the result, but changes something",
                step.id
            )));
        }
    }
    Ok(())
}

/// Checks the steps that an `expand` of a plan has become: as a plan, and that they stay within what it said they would.
/// `known` are the outputs of the steps before it.
pub fn check_expansion(
    expand: &Expand,
    expansion: &Expansion,
    rights: &Rights,
    known: &KnownOutputs,
) -> Result<(), PluginError> {
    let steps: Vec<&Step> = expansion.steps.iter().collect();
    if let Some(step) = steps.iter().find(|step| matches!(step.action, Action::Expand(_))) {
        return Err(fault(format!(
            "step {} of an expansion is to be expanded",
            step.id
        )));
    }
    sets::check_expansion(&steps)?;
    check_all(&steps, rights, known)?;
    for step in &steps {
        check_step(step, &expand.within).map_err(|error| match error.code.as_str() {
            "beyond-rights" => PluginError {
                cause: "the plan said that this part of it would stay within narrower bounds".into(),
                ..error
            },
            _ => error,
        })?;
    }
    Ok(())
}

fn check_all(steps: &[&Step], rights: &Rights, known: &KnownOutputs) -> Result<(), PluginError> {
    if steps.len() > STEPS {
        return Err(fault(format!(
            "the plan has {} steps; {STEPS} is the limit",
            steps.len()
        )));
    }
    let mut ids = HashSet::new();
    for step in steps {
        check_id(&step.id)?;
        if !ids.insert(step.id.as_str()) {
            return Err(fault(format!("two steps have the id \"{}\"", step.id)));
        }
    }
    for step in steps {
        if let Some(other) = step.after.iter().find(|other| !ids.contains(other.as_str())) {
            return Err(fault(format!(
                "step {} comes after \"{other}\", which is not there",
                step.id
            )));
        }
    }
    check_order(steps)?;
    outputs::check(steps, known)?;
    sets::check(steps)?;
    let mut objects = 0;
    for step in steps {
        objects += check_step(step, rights)?;
    }
    if objects > OBJECTS {
        return Err(fault(format!(
            "the plan writes {objects} objects; {OBJECTS} is the limit"
        )));
    }
    Ok(())
}

fn check_id(id: &str) -> Result<(), PluginError> {
    let fits = !id.is_empty()
        && id.len() <= 63
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        return Ok(());
    }
    Err(fault(format!(
        "\"{}\" is no id of a step: lower-case letters, digits and dashes, at most 63",
        id.escape_debug()
    )))
}

/// Steps that wait for each other in a circle would never begin.
fn check_order(steps: &[&Step]) -> Result<(), PluginError> {
    let mut open: HashMap<&str, usize> = steps
        .iter()
        .map(|step| (step.id.as_str(), step.after.iter().collect::<HashSet<_>>().len()))
        .collect();
    let mut done: Vec<&str> = Vec::new();
    loop {
        let ready: Vec<&str> = open
            .iter()
            .filter(|(_, waits)| **waits == 0)
            .map(|(id, _)| *id)
            .collect();
        if ready.is_empty() {
            break;
        }
        for id in ready {
            open.remove(id);
            done.push(id);
            for step in steps
                .iter()
                .filter(|step| step.after.iter().any(|after| after == id))
            {
                if let Some(waits) = open.get_mut(step.id.as_str()) {
                    *waits -= 1;
                }
            }
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let mut circle: Vec<&str> = open.into_keys().collect();
    circle.sort_unstable();
    Err(fault(format!(
        "these steps wait for each other: {}",
        circle.join(", ")
    )))
}

/// How many objects the step writes.
fn check_step(step: &Step, rights: &Rights) -> Result<usize, PluginError> {
    let within = |reference: &ObjectRef, object: &Value| match rights::missing(reference, object, rights) {
        None => Ok(()),
        Some(right) => Err(PluginError::new(
            "beyond-rights",
            format!("step {} would write {reference}, which needs {right}", step.id),
        )
        .cause("the adapter has not declared that right in its descriptor")
        .remedy("nothing was changed; report this to the adapter's author")),
    };
    match &step.action {
        Action::Apply(apply) => {
            for object in &apply.objects {
                let reference = ObjectRef::of(object).ok_or_else(|| nameless(step, object))?;
                within(&reference, object)?;
            }
            Ok(apply.objects.len())
        }
        Action::Delete(delete) => {
            for target in &delete.targets {
                if target.when == Condition::Unknown {
                    return Err(newer(step, "a condition"));
                }
                within(&target.object, &Value::Null)?;
            }
            Ok(delete.targets.len())
        }
        Action::Release(release) => {
            for (what, value) in [
                ("a release name", &release.name),
                ("a namespace", &release.namespace),
                ("a chart", &release.chart.name),
                ("a chart version", &release.chart.version),
            ] {
                if value.is_empty() {
                    return Err(fault(format!("step {} names no {}", step.id, &what[2..])));
                }
            }
            Ok(0)
        }
        Action::RemoveRelease(RemoveRelease { name, namespace })
        | Action::RollbackRelease(RollbackRelease { name, namespace, .. })
        | Action::TestRelease(TestRelease { name, namespace }) => {
            if name.is_empty() || namespace.is_empty() {
                return Err(fault(format!(
                    "step {} does not say which release it means",
                    step.id
                )));
            }
            Ok(0)
        }
        Action::Wait(wait) => {
            check_rules(step, &wait.conditions)?;
            Ok(0)
        }
        Action::Probe(probe) => {
            if ObjectRef::of(&probe.object).is_none() {
                return Err(nameless(step, &probe.object));
            }
            Ok(0)
        }
        Action::Restart(restart) => {
            for workload in &restart.workloads {
                within(workload, &Value::Null)?;
            }
            Ok(0)
        }
        Action::Gate(gate) => {
            if !gate.approval && gate.conditions.is_empty() && gate.not_before.is_empty() {
                return Err(fault(format!(
                    "step {} is a gate that waits for nothing",
                    step.id
                )));
            }
            if gate.reason.is_empty() {
                return Err(fault(format!("step {} does not say why it is a gate", step.id)));
            }
            check_rules(step, &gate.conditions)?;
            Ok(0)
        }
        Action::Material(material) => check_material(step, material, &within),
        Action::Expand(expand) => {
            if expand.what.is_empty() {
                return Err(fault(format!(
                    "step {} does not say what is to be expanded",
                    step.id
                )));
            }
            if expand.needs.iter().any(|need| need.detail == Detail::Unknown) {
                return Err(newer(step, "a need"));
            }
            Ok(0)
        }
        Action::Unknown => Err(newer(step, "a kind of step")),
    }
}

fn check_material(
    step: &Step,
    material: &Material,
    within: &dyn Fn(&ObjectRef, &Value) -> Result<(), PluginError>,
) -> Result<usize, PluginError> {
    for item in &material.items {
        let object = &item.object;
        let is_secret = object.kind == "Secret";
        if object.api_version() != "v1" || !(is_secret || object.kind == "ConfigMap") {
            return Err(fault(format!(
                "step {} makes material in {object}, which is neither a Secret nor a ConfigMap",
                step.id
            )));
        }
        let is_public = item
            .entries
            .values()
            .all(|entry| !matches!(entry, MaterialEntry::Random { .. } | MaterialEntry::SameAs { .. }));
        if !is_secret && (item.certificate.is_some() || !is_public) {
            return Err(fault(format!(
                "step {} would make {object} hold a secret",
                step.id
            )));
        }
        if let Some(certificate) = &item.certificate
            && (certificate.common_name.is_empty() || !LIFETIMES_H.contains(&certificate.lifetime_h))
        {
            return Err(fault(format!(
                "step {}: the certificate of {object} has no name, or a lifetime outside of {} to {} hours",
                step.id,
                LIFETIMES_H.start(),
                LIFETIMES_H.end()
            )));
        }
        for (key, entry) in &item.entries {
            match entry {
                MaterialEntry::Random { bytes } if !RANDOM_BYTES.contains(bytes) => {
                    return Err(fault(format!(
                        "step {}: {key} of {object} is to have {bytes} random bytes; 16 to 512 are possible",
                        step.id
                    )));
                }
                MaterialEntry::Bundle { of } if of.is_empty() => {
                    return Err(fault(format!(
                        "step {}: {key} of {object} is a bundle of nothing",
                        step.id
                    )));
                }
                MaterialEntry::Bundle { of } => {
                    let strange = of.iter().find(|source| {
                        source.api_version() != "v1"
                            || !matches!(source.kind.as_str(), "Secret" | "ConfigMap")
                    });
                    if let Some(strange) = strange {
                        return Err(fault(format!(
                            "step {}: {key} of {object} is to have certificates of {strange}, which is neither a Secret nor a \
                             ConfigMap",
                            step.id
                        )));
                    }
                }
                MaterialEntry::Unknown => return Err(newer(step, "a kind of material")),
                MaterialEntry::SameAs { key: same } if !item.replace || same == key => {
                    return Err(fault(format!(
                        "step {}: {key} of {object} is to be the same as {same}, of a Secret that is not there or stays as it is",
                        step.id
                    )));
                }
                MaterialEntry::Random { .. } | MaterialEntry::SameAs { .. } => {}
            }
        }
        within(object, &Value::Null)?;
    }
    Ok(material.items.len())
}

fn check_rules(step: &Step, conditions: &[Readiness]) -> Result<(), PluginError> {
    if conditions.iter().any(|condition| condition.rule == Rule::Unknown) {
        return Err(newer(step, "a rule"));
    }
    Ok(())
}

fn nameless(step: &Step, object: &Value) -> PluginError {
    // Not what is in them: that may be secret.
    let fields: Vec<&str> = object
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys().map(String::as_str))
        .take(10)
        .collect();
    fault(format!(
        "step {} has an object without apiVersion, kind or name; its fields: {}",
        step.id,
        fields.join(", ")
    ))
}

fn newer(step: &Step, what: &str) -> PluginError {
    PluginError::new(
        "bad-plan",
        format!("step {} has {what} that this host does not know", step.id),
    )
    .cause("the adapter is newer than the host")
    .remedy("update the host, or use an older version of the adapter")
}

fn fault(message: impl Into<String>) -> PluginError {
    PluginError::new("bad-plan", message)
        .cause("a fault in the adapter")
        .remedy("nothing was changed; report this to the adapter's author")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(steps: Value) -> Result<(), PluginError> {
        let plan: Plan = serde_json::from_value(json!({"steps": steps})).unwrap();
        let rights = Rights {
            namespaces: vec!["mesh".into()],
            ..Rights::default()
        };
        check(&plan, &rights)
    }

    fn wait(id: &str, after: &[&str]) -> Value {
        json!({"id": id, "kind": "wait", "after": after, "for": []})
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused_and_says_where() {
        for (steps, word) in [
            (json!([]), "no steps"),
            (json!([wait("Upper", &[])]), "\"Upper\""),
            (
                json!([wait("a", &[]), wait("a", &[])]),
                "two steps have the id \"a\"",
            ),
            (json!([wait("a", &["b"])]), "\"b\", which is not there"),
            (
                json!([wait("a", &["b"]), wait("b", &["a"]), wait("c", &[])]),
                "each other: a, b",
            ),
            (
                json!([{"id": "x", "kind": "teleport"}]),
                "step x has a kind of step",
            ),
            (
                json!([{"id": "x", "kind": "apply", "objects": [{"kind": "Pod"}]}]),
                "without apiVersion",
            ),
            (
                json!([{"id": "x", "kind": "release", "name": "a", "namespace": "mesh"}]),
                "names no chart",
            ),
            (
                json!([{"id": "x", "kind": "delete", "targets": [{"ref": "v1/Pod/kube-system/a"}]}]),
                "the namespace kube-system",
            ),
            (
                json!([{"id": "x", "kind": "material", "items": [{"ref": "v1/ConfigMap/mesh/a",
                    "entries": {"ca.crt": {"make": "bundle", "of": ["v1/Service/mesh/b"]}}}]}]),
                "v1/Service/mesh/b, which is neither",
            ),
            (
                json!([{"id": "x", "kind": "material", "items": [{"ref": "v1/ConfigMap/mesh/a", "replace": true,
                    "entries": {"a": {"make": "same-as", "key": "b"}}}]}]),
                "hold a secret",
            ),
            (
                json!([{"id": "x", "kind": "material", "items": [{"ref": "v1/Secret/mesh/a",
                    "entries": {"a": {"make": "same-as", "key": "b"}}}]}]),
                "not there or stays",
            ),
        ] {
            let error = checked(steps).unwrap_err();
            assert!(error.message.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn what_proves_the_result_changes_nothing_and_nothing_waits_for_it() {
        let apply = json!({"id": "x", "kind": "apply", "objects": []});
        let plan: Plan =
            serde_json::from_value(json!({"steps": [wait("a", &[])], "verify": [apply]})).unwrap();
        assert!(
            check(&plan, &Rights::default())
                .unwrap_err()
                .message
                .contains("changes something")
        );
        let plan: Plan =
            serde_json::from_value(json!({"steps": [wait("a", &["v"])], "verify": [wait("v", &[])]}))
                .unwrap();
        assert!(
            check(&plan, &Rights::default())
                .unwrap_err()
                .message
                .contains("only proves")
        );
    }

    #[test]
    fn what_a_step_uses_is_left_by_one_before_it_and_a_secret_stays_one() {
        let leaves = |object: &str| {
            json!({"id": "a", "kind": "wait", "for": [],
                "outputs": {"ip": {"ref": object, "path": "/spec/clusterIP"}}})
        };
        let uses = |after: &[&str], uses: &str| {
            json!({"id": "b", "kind": "apply", "after": after, "uses": [uses], "objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "mesh"},
                 "data": {"ip": "${a.ip}"}}]})
        };
        let service = "v1/Service/mesh/a";
        checked(json!([leaves(service), uses(&["a"], "a.ip")])).unwrap();
        let between = wait("c", &["a"]);
        checked(json!([leaves(service), between, uses(&["c"], "a.ip")])).unwrap();
        for (steps, word) in [
            (
                json!([leaves(service), uses(&[], "a.ip")]),
                "no step before it leaves",
            ),
            (
                json!([leaves(service), uses(&["a"], "a.port")]),
                "no step before it leaves",
            ),
            (
                json!([leaves("v1/Secret/mesh/a"), uses(&["a"], "a.ip")]),
                "comes from a Secret",
            ),
        ] {
            let error = checked(steps).unwrap_err();
            assert!(error.message.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn an_expansion_stays_within_what_its_plan_said_it_would() {
        let rights = Rights {
            namespaces: vec!["*".into()],
            ..Rights::default()
        };
        let expand = |namespace: &str| Expand {
            within: Rights {
                namespaces: vec![namespace.into()],
                ..Rights::default()
            },
            ..Expand::default()
        };
        let expansion: Expansion = serde_json::from_value(json!({"steps": [
            {"id": "web", "kind": "restart", "workloads": ["apps/v1/Deployment/shop/web"]}]}))
        .unwrap();
        let known = KnownOutputs::new();
        check_expansion(&expand("shop"), &expansion, &rights, &known).unwrap();
        let error = check_expansion(&expand("mesh"), &expansion, &rights, &known).unwrap_err();
        assert!(
            error.code == "beyond-rights" && error.message.contains("shop"),
            "{error}"
        );

        let again: Expansion =
            serde_json::from_value(json!({"steps": [{"id": "x", "kind": "expand", "what": "y"}]})).unwrap();
        assert!(check_expansion(&expand("shop"), &again, &rights, &known).is_err());
    }

    #[test]
    fn a_sound_plan_passes() {
        checked(json!([
            {"id": "x", "kind": "material", "items": [{"ref": "v1/ConfigMap/mesh/a", "entries": {
                "ca.crt": {"make": "bundle", "of": ["v1/ConfigMap/mesh/a", "v1/Secret/mesh/b"]}}}]},
            wait("a", &[]),
            wait("b", &["a", "a"]),
            wait("c", &["a", "b"])
        ]))
        .unwrap();
    }
}
