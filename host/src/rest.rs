//! The REST interface: every route is in the table below, each resource in a file of its own.

mod adapters;
mod applications;
mod bundle;
mod clusters;
mod documents;
mod events;
mod health;
mod once;
mod operation_sets;
mod operations;
mod plans;
mod plugins;
mod provider;
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
        .route("/api/v1/applications", get(applications::list))
        .route("/api/v1/clusters", get(clusters::list).post(clusters::add))
        .route(
            "/api/v1/clusters/{context}",
            get(clusters::show).delete(clusters::remove),
        )
        .route("/api/v1/operations/prune", post(operations::prune))
        .route("/api/v1/operations/{id}", get(operations::show))
        .route("/api/v1/operations/{id}/forget", post(operations::forget))
        .route("/api/v1/operations/{id}/approve", post(operations::approve))
        .route("/api/v1/operations/{id}/run", post(operations::run))
        .route("/api/v1/operations/{id}/cancel", post(operations::cancel))
        .route("/api/v1/operations/{id}/undo", post(operations::undo))
        .route("/api/v1/operations/{id}/resume", post(operations::resume))
        .route("/api/v1/operations/{id}/record", get(operations::record))
        .route("/api/v1/operations/{id}/events", get(events::listen))
        .route("/api/v1/operations/{id}/images", get(operations::images))
        .route("/api/v1/operation-sets/{id}", get(operation_sets::show))
        .route(
            "/api/v1/operation-sets/{id}/approve",
            post(operation_sets::approve),
        )
        .route("/api/v1/operation-sets/{id}/run", post(operation_sets::run))
        .route("/api/v1/operation-sets/{id}/cancel", post(operation_sets::cancel))
        .route("/api/v1/operation-sets/{id}/undo", post(operation_sets::undo))
        .route("/api/v1/provider", get(provider::show))
        .route("/api/v1/documents/{kind}", get(documents::list))
        .route(
            "/api/v1/documents/{kind}/{id}",
            get(documents::show).put(documents::put).delete(documents::delete),
        )
        .route_layer(from_fn_with_state(limits.request(), request::deadline));
    let slow = Router::new()
        .route("/api/v1/clusters/{context}/facts", get(clusters::facts))
        .route("/api/v1/clusters/{context}/detect", get(clusters::detect))
        .route("/api/v1/clusters/{context}/analyze", get(clusters::analyze))
        .route("/api/v1/operations/{id}/plan", get(plans::show))
        .route("/api/v1/plans", post(plans::take))
        .route("/api/v1/images", post(bundle::images))
        .route("/api/v1/adapters/{name}/versions", get(adapters::versions))
        .route(
            "/api/v1/adapters/{name}/versions/refresh",
            post(adapters::refresh_versions),
        )
        .route("/api/v1/operations", get(operations::list).post(operations::plan))
        .route(
            "/api/v1/operations/{id}/undo-preview",
            get(operations::preview_undo),
        )
        .route(
            "/api/v1/operation-sets",
            get(operation_sets::list).post(operation_sets::plan),
        )
        .route(
            "/api/v1/operation-sets/{id}/preview",
            post(operation_sets::preview),
        )
        .route(
            "/api/v1/operations/{id}/preview",
            get(operations::stored_preview).post(operations::preview),
        )
        .route_layer(from_fn_with_state(limits.plan(), request::deadline));
    // As long as they have bytes to move.
    let streams = Router::new()
        .route("/api/v1/bundle", post(bundle::create))
        .route("/api/v1/bundle/load", post(bundle::load))
        .route("/api/v1/provider/backup", get(provider::backup))
        .route(
            "/api/v1/provider/restore",
            get(provider::restorable).post(provider::restore),
        );
    layered(quick.merge(slow).merge(streams), app)
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use meshery_core::Meshery;
    use serde_json::Value;
    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt as _;

    use super::*;
    use crate::access::{Access, Peer};
    use crate::settings::{Loopback, Settings};
    use crate::token::Token;

    async fn app(folder: &TempDir) -> App {
        let mut settings = Settings::default();
        settings.auth.loopback = Loopback::Open;
        let meshery = Meshery::builder(folder.path()).build().await.unwrap();
        let access = Access::new(Token::open(folder.path()).unwrap(), &settings);
        App::new(meshery, settings, access, CancellationToken::new())
    }

    async fn ask(router: &Router, path: &str) -> (u16, Value) {
        let mut request = Request::get(path)
            .header("host", "localhost")
            .body(Body::empty())
            .unwrap();
        let peer: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        request.extensions_mut().insert(Peer(peer));
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        let routes = Router::new()
            .route("/panics", get(async || -> &'static str { panic!("on purpose") }))
            .route("/works", get(async || "well"));
        let router = layered(routes, &app);
        let (status, problem) = ask(&router, "/panics").await;
        assert_eq!((status, problem["code"].as_str()), (500, Some("host-panicked")));
        assert_eq!(ask(&router, "/works").await.0, 200);
        let metrics = app.metrics.text();
        assert!(
            metrics.contains("route=\"/panics\",status=\"500\"} 1"),
            "{metrics}"
        );
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        let routes = Router::new()
            .route("/hangs", get(async || std::future::pending::<()>().await))
            .route_layer(from_fn_with_state(Duration::from_millis(50), request::deadline));
        let (status, problem) = ask(&layered(routes, &app), "/hangs").await;
        assert_eq!((status, problem["code"].as_str()), (504, Some("request-timeout")));
        assert_eq!(problem["retryable"], true);
    }

    #[tokio::test]
    async fn without_a_provider_the_host_says_that_it_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let router = router(&app(&folder).await);
        let (status, ready) = ask(&router, "/readyz").await;
        assert_eq!(status, 503);
        assert!(
            ready["reasons"][0].as_str().unwrap().contains("no provider"),
            "{ready}"
        );
        assert_eq!(ask(&router, "/healthz").await.0, 200);
        let (status, problem) = ask(&router, "/api/v1/operations").await;
        assert_eq!((status, problem["code"].as_str()), (503, Some("no-provider")));
    }
}
