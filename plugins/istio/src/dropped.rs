//! Applications that people have dropped beside the host, with or without sidecars.

use meshery_mesh_kit::injection::Injection;
use meshery_mesh_kit::object::annotation;
use meshery_mesh_kit::{application, dropped, namespace, parameter};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::Operation;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use serde_json::Value;

use crate::control_plane::INJECTION_LABEL;
use crate::injection::injector_needs;

pub fn deploy_operation() -> Operation {
    dropped::deploy_operation(
        "Label the namespace first, so that the pods get sidecars",
        injector_needs().into(),
    )
}

pub fn remove_operation() -> Operation {
    dropped::remove_operation(injector_needs().into())
}

/// What follows the name of the application in the key of its mark.
const MARK: &str = ".application.istio.meshery.io/injection";

/// In whose name the label is set: each application's own, so that none takes away what another wants.
pub struct Names {
    manager: String,
    mark: String,
}

impl Names {
    fn of(name: &str) -> Self {
        Self {
            manager: format!("meshery-istio-injection-{name}"),
            mark: format!("{name}{MARK}"),
        }
    }

    pub fn injection(&self) -> Injection<'_> {
        Injection {
            key: INJECTION_LABEL,
            value: "enabled",
            manager: &self.manager,
            mark: &self.mark,
        }
    }
}

/// Of the applications that want a namespace to have the label.
pub fn wanting(namespace: &Value) -> Vec<Names> {
    let annotations = namespace
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let marks = annotations.into_iter().flat_map(|annotations| annotations.keys());
    marks
        .filter_map(|mark| Some(Names::of(mark.strip_suffix(MARK)?)))
        .collect()
}

pub fn deploy(request: &PlanRequest) -> Result<Plan, PluginError> {
    let application = dropped::read(request)?;
    let mut into_mesh = Vec::new();
    if parameter::flag(request, "inject", false)? {
        let names = Names::of(dropped::name_of(request)?);
        into_mesh.push(names.injection().enable("label", &application.namespace));
    }
    application::deploy(request, &application, into_mesh, Vec::new())
}

pub fn remove(request: &PlanRequest) -> Result<Plan, PluginError> {
    let application = dropped::read(request)?;
    let names = Names::of(dropped::name_of(request)?);
    let target = application.namespace.as_str();
    let labelled = namespace::find(&request.facts, target)
        .is_some_and(|object| annotation(object, &names.mark).is_some());
    let out_of_mesh = labelled.then(|| names.injection().take_back("label", target));
    application::remove(
        request,
        &application,
        Vec::new(),
        out_of_mesh.into_iter().collect(),
    )
}
