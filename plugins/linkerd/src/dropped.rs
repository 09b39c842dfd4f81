//! Applications that people have dropped beside the host, with or without proxies.

use meshery_mesh_kit::annotation::Annotation;
use meshery_mesh_kit::object::annotation;
use meshery_mesh_kit::{application, dropped, namespace, parameter};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::Operation;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};

use crate::cni;
use crate::control_plane::INJECT;
use crate::injection::injector_needs;

pub fn deploy_operation() -> Operation {
    dropped::deploy_operation(
        "Annotate the namespace first, so that the pods get proxies",
        injector_needs().into_iter().chain([cni::need()]).collect(),
    )
}

pub fn remove_operation() -> Operation {
    dropped::remove_operation(injector_needs().into())
}

/// In whose name the annotation is set: each application's own, so that none takes away what another wants.
struct Names {
    manager: String,
    mark: String,
}

impl Names {
    fn of(request: &PlanRequest) -> Result<Self, PluginError> {
        let name = dropped::name_of(request)?;
        Ok(Self {
            manager: format!("meshery-linkerd-injection-{name}"),
            mark: format!("{name}.application.linkerd.meshery.io/injection"),
        })
    }

    fn annotation(&self) -> Annotation<'_> {
        Annotation {
            key: INJECT,
            manager: &self.manager,
            mark: &self.mark,
        }
    }
}

pub fn deploy(request: &PlanRequest) -> Result<Plan, PluginError> {
    let application = dropped::read(request)?;
    let mut into_mesh = Vec::new();
    if parameter::flag(request, "inject", false)? {
        let names = Names::of(request)?;
        let annotate = names
            .annotation()
            .set("annotation", &application.namespace, "enabled");
        into_mesh.push(annotate);
    }
    application::deploy(request, &application, into_mesh, Vec::new())
}

pub fn remove(request: &PlanRequest) -> Result<Plan, PluginError> {
    let application = dropped::read(request)?;
    let names = Names::of(request)?;
    let target = application.namespace.as_str();
    let annotated = namespace::find(&request.facts, target)
        .is_some_and(|object| annotation(object, &names.mark).is_some());
    let out_of_mesh = annotated.then(|| names.annotation().take_back("annotation", target));
    application::remove(
        request,
        &application,
        Vec::new(),
        out_of_mesh.into_iter().collect(),
    )
}
