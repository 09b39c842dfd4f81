//! Which values of Linkerd's charts people may give.
//!
//! Of the trust anchors and the issuer they may say that they come from outside, and, while a chart has made them, which ones
//! it is to have. Otherwise neither is in a chart's values: a release's record keeps what was in them, keys included.

use meshery_mesh_kit::parameter;
use meshery_mesh_kit::values::{ChartValues, Values, sets};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::plan::PlanRequest;
use serde_json::Value;

use crate::control_plane::{CNI_CHART, CONTROL_PLANE, CRDS, NAMESPACE};
use crate::{MESH, trust};

/// The charts, and what parameters of the operations stand for.
pub const VALUES: ChartValues = ChartValues {
    mesh: MESH,
    charts: &[
        CRDS,
        CONTROL_PLANE,
        CNI_CHART,
        "linkerd-viz",
        "linkerd-multicluster",
        "linkerd-smi",
    ],
    parameters: &[
        ("/linkerdVersion", "version"),
        ("/linkerdNamespace", "control_plane"),
        ("/highAvailability", "ha"),
        ("/cniEnabled", "cni"),
        ("/proxyInit/runAsRoot", "init_as_root"),
        ("/installGatewayAPI", "gateway_api"),
        ("/enableHttpRoutes", "gateway_api"),
        ("/enableTlsRoutes", "gateway_api"),
        ("/enableTcpRoutes", "gateway_api"),
        ("/gateway/serviceType", "service_type"),
    ],
    example: "{\"linkerd-control-plane\": {\"controllerLogLevel\": \"debug\"}}",
};

/// That the anchors come from outside.
const EXTERNAL: &str = "/identity/externalCA";
/// The anchors and the issuer themselves.
const TRUST: [&str; 2] = ["/identityTrustAnchorsPEM", "/identity/issuer/tls"];

/// Those of an installation or an upgrade.
pub fn read(request: &PlanRequest) -> Result<Values<'_>, PluginError> {
    let values = VALUES.read(request)?;
    let of_plane = |path: &str| values.get(CONTROL_PLANE, path);
    if of_plane(EXTERNAL).is_some_and(|value| *value != Value::Bool(true)) {
        return Err(sets(CONTROL_PLANE, EXTERNAL).remedy(
            "leave it out: anchors of a chart stay with it until this is true, and no others are given to a chart",
        ));
    }
    if of_plane("/identity/issuer/scheme").is_some() {
        let remedy = "leave it out: it follows identity.externalCA";
        return Err(sets(CONTROL_PLANE, "/identity/issuer/scheme").remedy(remedy));
    }
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let of_chart =
        request.operation == "upgrade" && trust::is_of_chart(&request.facts, target) && !takes_out(&values);
    if let Some(path) = TRUST
        .into_iter()
        .find(|path| !of_chart && of_plane(path).is_some())
    {
        return Err(sets(CONTROL_PLANE, path)
            .cause("a release's record keeps its values, keys included")
            .remedy("make anchors and issuer apart from the chart: operations make-trust, renew-issuer, rotate-anchor"));
    }
    Ok(values)
}

/// Whether anchors and issuer are taken out of the chart's hands.
pub fn takes_out(values: &Values<'_>) -> bool {
    values.get(CONTROL_PLANE, EXTERNAL).is_some()
}
