//! The sample applications: in any namespace, with or without proxies.

use meshery_mesh_kit::annotation::Annotation;
use meshery_mesh_kit::object::annotation;
use meshery_mesh_kit::sample::{self, Sample};
use meshery_mesh_kit::{application, namespace, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Need;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};

use crate::cni;
use crate::control_plane::INJECT;
use crate::injection::injector_needs;

/// A sample application in the mesh.
pub struct App {
    pub sample: &'static Sample,
    /// The annotation, set because this application wants it.
    annotation: Annotation<'static>,
}

const fn app(sample: &'static Sample, manager: &'static str, mark: &'static str) -> App {
    App {
        sample,
        annotation: Annotation {
            key: INJECT,
            manager,
            mark,
        },
    }
}

pub const BOOKINFO: App = app(
    &sample::BOOKINFO,
    "meshery-injection-bookinfo",
    "bookinfo.linkerd.meshery.io/injection",
);
pub const HTTPBIN: App = app(
    &sample::HTTPBIN,
    "meshery-injection-httpbin",
    "httpbin.linkerd.meshery.io/injection",
);
pub const IMAGE_HUB: App = app(
    &sample::IMAGE_HUB,
    "meshery-injection-imagehub",
    "imagehub.linkerd.meshery.io/injection",
);
pub const EMOJIVOTO: App = app(
    &sample::EMOJIVOTO,
    "meshery-injection-emojivoto",
    "emojivoto.linkerd.meshery.io/injection",
);

pub fn deploy_operation(app: &App) -> Operation {
    let sample = app.sample;
    Operation {
        name: format!("deploy-{}", sample.name),
        category: Category::SampleApplication,
        description: format!("Deploys the sample application {}", sample.title),
        parameters: schema::object(
            [
                sample.namespace_parameter("Namespace of the application; made if it is not there"),
                (
                    "inject",
                    schema::flag(
                        "Annotate the namespace first, so that the pods get proxies",
                        false,
                    ),
                ),
                application::deadline_parameter(),
            ],
            &[],
        ),
        needs: needs(sample),
    }
}

pub fn remove_operation(app: &App) -> Operation {
    app.sample.remove_operation(needs(app.sample))
}

fn needs(sample: &Sample) -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}"), cni::need()];
    needs.extend(injector_needs());
    needs.extend(sample.needs("{namespace}"));
    needs
}

pub fn deploy(request: &PlanRequest, app: &App) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", app.sample.name)?;
    let mut into_mesh = Vec::new();
    if parameter::flag(request, "inject", false)? {
        into_mesh.push(app.annotation.set("annotation", target, "enabled"));
    }
    application::deploy(request, &app.sample.in_namespace(target)?, into_mesh, Vec::new())
}

pub fn remove(request: &PlanRequest, app: &App) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", app.sample.name)?;
    let ours = namespace::find(&request.facts, target)
        .is_some_and(|object| annotation(object, app.annotation.mark).is_some());
    let out_of_mesh = ours.then(|| app.annotation.take_back("annotation", target));
    application::remove(
        request,
        &app.sample.in_namespace(target)?,
        Vec::new(),
        out_of_mesh.into_iter().collect(),
    )
}
