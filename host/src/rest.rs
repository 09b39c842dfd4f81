//! The REST interface: every route is in the table below, each resource in a file of its own.

mod adapters;
mod clusters;
mod documents;
mod events;
mod health;
mod operations;
mod plugins;
mod version;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use http::{Method, Uri};

use crate::app::App;
use crate::failure::Failure;
use crate::{access, request};

/// All routes with their layers.
pub fn router(app: &App) -> Router {
    let limits = &app.settings.limits;
    let quick = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/version", get(version::show))
        .route("/api/v1/plugins", get(plugins::list))
        .route("/api/v1/adapters", get(adapters::list))
        .route("/api/v1/adapters/{name}", get(adapters::show))
        .route("/api/v1/clusters", get(clusters::list).post(clusters::add))
        .route(
            "/api/v1/clusters/{context}",
            get(clusters::show).delete(clusters::remove),
        )
        .route("/api/v1/operations/{id}", get(operations::show))
        .route("/api/v1/operations/{id}/approve", post(operations::approve))
        .route("/api/v1/operations/{id}/run", post(operations::run))
        .route("/api/v1/operations/{id}/cancel", post(operations::cancel))
        .route("/api/v1/operations/{id}/undo", post(operations::undo))
        .route("/api/v1/operations/{id}/resume", post(operations::resume))
        .route("/api/v1/operations/{id}/record", get(operations::record))
        .route("/api/v1/operations/{id}/events", get(events::listen))
        .route("/api/v1/documents/{kind}", get(documents::list))
        .route(
            "/api/v1/documents/{kind}/{id}",
            get(documents::show).put(documents::put).delete(documents::delete),
        )
        .route_layer(from_fn_with_state(limits.request(), request::deadline));
    let slow = Router::new()
        .route("/api/v1/clusters/{context}/facts", get(clusters::facts))
        .route("/api/v1/clusters/{context}/detect", get(clusters::detect))
        .route("/api/v1/operations", get(operations::list).post(operations::plan))
        .route(
            "/api/v1/operations/{id}/preview",
            get(operations::stored_preview).post(operations::preview),
        )
        .route_layer(from_fn_with_state(limits.plan(), request::deadline));
    layered(quick.merge(slow), app)
}

/// What every request goes through, whatever its route.
fn layered(routes: Router<App>, app: &App) -> Router {
    routes
        .fallback(async |method: Method, uri: Uri| Failure::unknown_route(&method, uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Failure::method_not_allowed(&method, uri.path())
        })
        .layer(from_fn_with_state(app.clone(), access::check))
        .layer(from_fn_with_state(app.clone(), request::handle))
        .with_state(app.clone())
}
