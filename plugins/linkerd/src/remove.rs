//! Removing Linkerd: extensions, control plane, definitions, CNI plugin, then namespaces that are ours and empty.

use meshery_mesh_kit::object::{annotation, name, namespace as namespace_of};
use meshery_mesh_kit::step::{apply, delete, managed_by, remove_release};
use meshery_mesh_kit::{adoption, namespace, need, parameter, schema, unreleased};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Target};

use crate::control_plane::NAMESPACE;
use crate::install::{NAMESPACE_MANAGER, NAMESPACE_MARK};
use crate::releases::{Part, PartRelease, of_linkerd};
use crate::{MESH, cli, detect};

/// What the controllers hold so that one of their replicas leads.
const LOCKS: [&str; 2] = ["policy-controller-write", "linkerd-destination-endpoint-write"];

pub fn operation() -> Operation {
    let mut needs = vec![need::namespace("{namespace}")];
    needs.extend(detect::needs());
    needs.push(need::within(
        "{namespace}",
        "coordination.k8s.io",
        "Lease",
        "",
        Detail::Metadata,
    ));
    needs.extend(cli::needs());
    Operation {
        name: "remove".into(),
        category: Category::Remove,
        description: "Removes Linkerd: extensions, control plane, definitions; keeps the trust anchors, the issuer, and \
                      definitions that have resources"
            .into(),
        parameters: schema::object(
            [
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                adoption::removal_parameter(),
                (
                    "custom-resources",
                    schema::flag(
                        "Also delete all custom resources of Linkerd's definitions, whoever made them, so that the \
                         definitions can go; an undo brings them back",
                        false,
                    ),
                ),
            ],
            &[],
        ),
        needs,
    }
}

/// The releases that go: those in the control plane's namespace, and what is of ours elsewhere.
pub fn going(facts: &Facts, in_namespace: &str) -> Vec<PartRelease> {
    of_linkerd(facts)
        .into_iter()
        .filter(|release| release.id.namespace == in_namespace || release.ours)
        .collect()
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let in_namespace = parameter::namespace(request, "namespace", NAMESPACE)?;
    detect::demand_whole(facts)?;
    let going = going(facts, in_namespace);
    let made = if adoption::takes_others(request)? {
        cli::made(facts, in_namespace)
    } else {
        Vec::new()
    };
    if made.is_empty() && !going.iter().any(|release| release.id.namespace == in_namespace) {
        return Err(nothing_to_remove(facts, in_namespace)?);
    }
    let mut steps = Vec::new();
    let with_resources = parameter::flag(request, "custom-resources", false)?;
    let with_resources_step = || {
        let definitions = definitions(facts);
        let title = "definitions, with all their custom resources";
        (!definitions.is_empty()).then(|| delete("custom-resources", title, definitions))
    };
    let of_release = going.iter().any(|release| release.part == Part::Crds);
    for release in &going {
        if release.part == Part::Crds && with_resources {
            steps.extend(with_resources_step());
        }
        let (namespace, name) = (&release.id.namespace, &release.id.name);
        let before = going
            .iter()
            .take_while(|other| *other != release)
            .filter(|other| other.part == release.part)
            .count();
        let id = match before {
            0 => release.part.step().to_owned(),
            others => format!("{}-{}", release.part.step(), others + 1),
        };
        let title = format!("release {name} in {namespace}");
        steps.push(remove_release(&id, title, (namespace, name)));
    }
    let control_plane_goes =
        going.iter().any(|release| release.part == Part::ControlPlane) || !made.is_empty();
    if !made.is_empty() {
        let title = format!("what {} has made", cli::INSTALLER);
        steps.push(delete("made-by-cli", title, unreleased::targets(made)));
    }
    if with_resources && !of_release {
        steps.extend(with_resources_step());
    }
    let locks: Vec<Target> = facts
        .objects("coordination.k8s.io", "Lease")
        .filter(|lease| namespace_of(lease) == in_namespace && LOCKS.contains(&name(lease)))
        .map(|lease| Target {
            object: ObjectRef::new("coordination.k8s.io/v1", "Lease", in_namespace, name(lease)),
            when: Condition::Always,
        })
        .collect();
    if !locks.is_empty() && control_plane_goes {
        steps.push(delete("locks", "what the controllers made by themselves", locks));
    }
    let marked = namespace::find(facts, in_namespace)
        .is_some_and(|object| annotation(object, NAMESPACE_MARK).is_some());
    if marked {
        steps.push(managed_by(
            apply(
                "marks",
                format!("no marks of a control plane on namespace {in_namespace}"),
                vec![namespace::manifest(in_namespace)],
            ),
            NAMESPACE_MANAGER,
        ));
    }
    let of_releases = going.iter().map(|release| release.id.namespace.as_str());
    let mut namespaces: Vec<&str> = of_releases.chain([in_namespace]).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    steps.push(delete(
        "namespaces",
        "namespaces of ours that are empty",
        namespaces
            .into_iter()
            .filter(|of_release| *of_release != "default")
            .map(namespace::removal)
            .collect(),
    ));
    let mut notes = vec![
        "Linkerd's definitions go with it, but those that have custom resources stay and are listed; so does the namespace, with \
         the trust anchors and the issuer of others in it."
            .to_owned(),
    ];
    let injected = injected(facts);
    if !injected.is_empty() {
        notes.insert(
            0,
            format!(
                "Pods in {} keep the proxies they have until they are restarted, and are cut off when their certificates end.",
                injected.join(", ")
            ),
        );
    }
    Ok(crate::plan(
        format!("Remove {MESH} from namespace {in_namespace}"),
        steps,
        Vec::new(),
        notes,
    ))
}

fn definitions(facts: &Facts) -> Vec<Target> {
    facts
        .objects("apiextensions.k8s.io", "CustomResourceDefinition")
        .map(name)
        .filter(|name| name.ends_with(".linkerd.io"))
        .map(|name| Target {
            object: ObjectRef::new("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name),
            when: Condition::WithInstances,
        })
        .collect()
}

/// Namespaces in the mesh.
pub fn injected(facts: &Facts) -> Vec<String> {
    let mut names: Vec<String> = detect::installations(facts)
        .unwrap_or_default()
        .into_iter()
        .flat_map(|found| found.namespaces)
        .collect();
    names.sort();
    names.dedup();
    names
}

pub fn nothing_to_remove(facts: &Facts, in_namespace: &str) -> Result<PluginError, PluginError> {
    let installations = detect::installations(facts)?;
    let here = installations.iter().find(|found| found.namespace == in_namespace);
    Ok(match here {
        Some(found) if found.installed_by == "linkerd" => PluginError::new(
            "linkerd-of-cli",
            format!("{MESH} in namespace \"{in_namespace}\" was installed by its CLI, not as Helm releases"),
        )
        .cause("what others have installed goes on explicit word only")
        .remedy(
            "say that it is to go (parameter of-others), or remove it with `linkerd uninstall | kubectl delete -f -`",
        ),
        Some(found) => PluginError::new(
            "linkerd-of-others",
            format!("{MESH} in namespace \"{in_namespace}\" is of no Helm release"),
        )
        .cause(format!("it was installed by: {}", found.installed_by))
        .remedy("remove it with what installed it"),
        None => detect::not_installed(&installations, in_namespace),
    })
}
