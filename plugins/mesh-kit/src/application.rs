//! Deploying and removing applications, the same for every mesh: their objects with the mesh's own around them.
//!
//! A mesh adds how a namespace is taken in, and perhaps objects of its own kinds that lead to the application; all else is
//! here. What was there before, or was made by others, stays. Where the objects come from is not known here: see
//! [`crate::sample`] and [`crate::dropped`].

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Readiness, Rule, Step, Target};
use serde_json::Value;

use crate::namespace::{self, State};
use crate::object::{label, name, namespace as namespace_of, text};
use crate::ownership::is_ours;
use crate::readable::is_whole;
use crate::step::{apply, delete, holds, plan, wait};
use crate::{need, parameter, schema};

/// Seconds that an application has until it runs, unless somebody says otherwise.
const DEADLINE_S: u64 = 300;
const LONGEST_DEADLINE_S: u64 = 3600;

/// Of these, ready means that they have rolled out or run to their end.
const WORKLOADS: [(&str, &str); 4] = [
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("batch", "Job"),
];

/// An application as it is to be in one namespace.
#[derive(Debug, Clone)]
pub struct Application {
    /// For people, in the middle of a sentence.
    pub title: String,
    /// Where it is to be.
    pub namespace: String,
    /// Its objects, in their namespace.
    pub objects: Vec<Value>,
    /// Id of the step that applies it, and of the one that deletes it.
    pub step: String,
    /// Codes of what is said about it.
    pub codes: Codes,
    /// The label, and its value, of objects that it consisted of once, of whatever kinds that [`needs`] were asked for.
    pub mark: Option<(&'static str, String)>,
}

/// Stable codes of what is said about an application.
#[derive(Debug, Clone)]
pub struct Codes {
    /// There is nothing of it.
    pub not_deployed: String,
    /// Others have objects of the same names.
    pub of_others: &'static str,
}

/// The parameter that says how long to wait.
pub fn deadline_parameter() -> (&'static str, Value) {
    let description = "Seconds to wait until it runs; the host's own limit when 0";
    (
        "deadline",
        schema::count(description, DEADLINE_S, LONGEST_DEADLINE_S),
    )
}

/// The deadline of a request.
pub fn deadline(request: &PlanRequest) -> Result<u32, PluginError> {
    let deadline = parameter::count(request, "deadline", DEADLINE_S, LONGEST_DEADLINE_S)?;
    Ok(u32::try_from(deadline).unwrap_or(u32::MAX))
}

/// What must be read of these kinds, by group and kind, to know what of an application is there, and what of others has
/// the same names. `namespace` may have braces.
pub fn needs<'a>(namespace: &str, kinds: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Need> {
    let kinds = kinds.into_iter();
    kinds
        .map(|(group, kind)| need::within(namespace, group, kind, "", Detail::Metadata))
        .collect()
}

/// The plan that deploys an application: its namespace, what `into_mesh` says, its objects, and what else leads to it.
pub fn deploy(
    request: &PlanRequest,
    application: &Application,
    into_mesh: Vec<Step>,
    more: Vec<Step>,
) -> Result<Plan, PluginError> {
    let target = application.namespace.as_str();
    let home = namespace::reference(target);
    let (mut homes, objects): (Vec<Value>, Vec<Value>) = application
        .objects
        .iter()
        .cloned()
        .partition(|object| ObjectRef::of(object).as_ref() == Some(&home));
    if homes.is_empty() {
        homes = namespace::missing(&request.facts, &[target]);
    }
    let mut steps = Vec::new();
    if !homes.is_empty() {
        steps.push(apply("namespace", format!("namespace {target}"), homes));
    }
    steps.extend(into_mesh);
    if !objects.is_empty() {
        steps.push(apply(&application.step, "services and workloads", objects));
    }
    steps.extend(more);
    let ready = application.ready();
    let mut verify = Vec::new();
    if !ready.is_empty() {
        verify.push(wait(
            "ready",
            "every workload runs, every service answers",
            deadline(request)?,
            ready,
        ));
    }
    let left_over = application.left_over(&request.facts);
    let mut notes: Vec<String> = left_over
        .iter()
        .map(|object| {
            format!("{object} is of an earlier deployment and not of this one; it stays until it is removed.")
        })
        .collect();
    notes.extend(application.shared());
    Ok(plan(
        format!("Deploy {} in namespace {target}", application.title),
        steps,
        verify,
        notes,
    ))
}

/// The plan that removes an application as far as we made it: `more` first, then its objects, then what `out_of_mesh`
/// says, and the namespace when it is ours and empty.
pub fn remove(
    request: &PlanRequest,
    application: &Application,
    more: Vec<Target>,
    out_of_mesh: Vec<Step>,
) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = application.namespace.as_str();
    let mut targets = more;
    targets.extend(application.targets(facts));
    if targets.is_empty() && out_of_mesh.is_empty() {
        return Err(PluginError::new(
            application.codes.not_deployed.as_str(),
            format!(
                "there is nothing of {} in namespace \"{target}\"",
                application.title
            ),
        )
        .remedy("name the namespace it is in, if there is another"));
    }
    let mut steps = Vec::new();
    if !targets.is_empty() {
        steps.push(delete(&application.step, "what Meshery made of it", targets));
    }
    steps.extend(out_of_mesh);
    if namespace::state(facts, target) != State::Absent {
        steps.push(delete(
            "namespace",
            "the namespace, if it is ours and empty",
            vec![namespace::removal(target)],
        ));
    }
    let of_others = application.of_others(facts);
    let mut notes: Vec<String> = of_others
        .iter()
        .map(|object| format!("{object} was made by somebody else and stays."))
        .collect();
    notes.extend(application.shared());
    Ok(plan(
        format!("Remove {} from namespace {target}", application.title),
        steps,
        Vec::new(),
        notes,
    ))
}

/// What of others has the names that an application's objects get.
pub fn clashes(facts: &Facts, application: &Application) -> Vec<Finding> {
    let clash = |object| {
        Finding::warning(
            application.codes.of_others,
            format!("{object} is there already, made by somebody else"),
        )
        .about(object)
        .remedy("choose another namespace, or its fields may conflict")
    };
    application.of_others(facts).into_iter().map(clash).collect()
}

impl Application {
    /// What must hold once it is deployed: every workload ready, every Service that selects pods with an endpoint.
    pub fn ready(&self) -> Vec<Readiness> {
        let workloads = self
            .of_kinds(&WORKLOADS)
            .map(|(_, object)| holds(Rule::Ready, object));
        let services = self
            .of_kinds(&[("", "Service")])
            .filter(|(service, _)| self.is_served(service))
            .map(|(_, object)| holds(Rule::Endpoints, object));
        workloads.chain(services).collect()
    }

    fn of_kinds(&self, kinds: &[(&str, &str)]) -> impl Iterator<Item = (&Value, ObjectRef)> {
        self.objects.iter().filter_map(move |object| {
            let reference = ObjectRef::of(object)?;
            kinds
                .contains(&(reference.group.as_str(), reference.kind.as_str()))
                .then_some((object, reference))
        })
    }

    /// Whether a Service is to have endpoints: it selects pods, and not only such as are scaled to none.
    fn is_served(&self, service: &Value) -> bool {
        let selector = service.pointer("/spec/selector").and_then(Value::as_object);
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            return false;
        };
        if text(service, "/spec/type") == "ExternalName" {
            return false;
        }
        let selected = |workload: &&Value| {
            let labels = &workload["spec"]["template"]["metadata"]["labels"];
            selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let mut behind = self.objects.iter().filter(selected).peekable();
        behind.peek().is_none() || behind.any(|workload| workload["spec"]["replicas"] != 0)
    }

    /// Its objects as the facts show them, to be deleted if we made them, and what is left of it from before. What was
    /// not read is taken to be there.
    pub fn targets(&self, facts: &Facts) -> Vec<Target> {
        let home = namespace::reference(&self.namespace);
        let own = self.objects.iter().filter_map(ObjectRef::of);
        let mut objects: Vec<ObjectRef> = own
            .filter(|object| *object != home && !is_absent(facts, object))
            .chain(self.left_over(facts))
            .collect();
        objects.sort_by_key(turn);
        objects
            .into_iter()
            .map(|object| Target {
                when: match object.kind.as_str() {
                    "Namespace" | "CustomResourceDefinition" => Condition::OursAndEmpty,
                    _ => Condition::Ours,
                },
                object,
            })
            .collect()
    }

    /// Objects of its names that somebody else made.
    pub fn of_others(&self, facts: &Facts) -> Vec<ObjectRef> {
        let references = self.objects.iter().filter_map(ObjectRef::of);
        references
            .filter(|object| object.kind != "Namespace")
            .filter(|object| find(facts, object).is_some_and(|found| !is_ours(found)))
            .collect()
    }

    /// For whoever has it in more than one namespace.
    fn shared(&self) -> Option<String> {
        let references = self.objects.iter().filter_map(ObjectRef::of);
        let shared: Vec<String> = references
            .filter(|object| object.namespace.is_empty() && object.kind != "Namespace")
            .map(|object| format!("{} {}", object.kind, object.name))
            .collect();
        (!shared.is_empty()).then(|| {
            format!(
                "Cluster-wide, and so the same for this application in every namespace that it is in: {}.",
                shared.join(", ")
            )
        })
    }

    /// Objects that we made of it and that it does not consist of any more.
    fn left_over(&self, facts: &Facts) -> Vec<ObjectRef> {
        let Some((key, value)) = &self.mark else {
            return Vec::new();
        };
        let own: Vec<ObjectRef> = self.objects.iter().filter_map(ObjectRef::of).collect();
        let mut left = Vec::new();
        for kind in facts
            .kinds
            .iter()
            .filter(|kind| kind.need.namespace == self.namespace)
        {
            for object in &kind.objects {
                let api_version = match kind.need.group.as_str() {
                    "" => "v1".to_owned(),
                    group => format!("{group}/v1"),
                };
                let object_ref =
                    ObjectRef::new(&api_version, &kind.need.kind, namespace_of(object), name(object));
                if label(object, key) == Some(value.as_str())
                    && is_ours(object)
                    && !own
                        .iter()
                        .chain(&left)
                        .any(|other| other.same_object(&object_ref))
                {
                    left.push(object_ref);
                }
            }
        }
        left
    }
}

/// The turn of an object in a removal: what may stop others first, what others live in or are made of last.
fn turn(object: &ObjectRef) -> u8 {
    match (object.group.as_str(), object.kind.as_str()) {
        ("admissionregistration.k8s.io", _) => 0,
        ("", "Namespace") => 6,
        ("apiextensions.k8s.io", _) => 5,
        ("apps" | "batch" | "autoscaling" | "policy", _) | ("", "Pod") => 2,
        ("", "Service") => 3,
        // Whoever has finalizers on them must still run.
        (group, _) if group.contains('.') && !group.ends_with(".k8s.io") => 1,
        _ => 4,
    }
}

/// Whether some need would have shown the object, and did not.
fn is_absent(facts: &Facts, object: &ObjectRef) -> bool {
    let shows = |need: &Need| {
        (need.group.as_str(), need.kind.as_str()) == (object.group.as_str(), object.kind.as_str())
            && (need.namespace.is_empty() || need.namespace == object.namespace)
            && (need.name.is_empty() || need.name == object.name)
            && need.selector.is_empty()
    };
    find(facts, object).is_none() && facts.kinds.iter().any(|kind| shows(&kind.need) && is_whole(kind))
}

fn find<'a>(facts: &'a Facts, wanted: &'a ObjectRef) -> Option<&'a Value> {
    facts
        .objects(&wanted.group, &wanted.kind)
        .find(|object| namespace_of(object) == wanted.namespace && name(object) == wanted.name)
}
