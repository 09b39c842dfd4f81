//! `/healthz`, `/readyz`, `/metrics`: whether the process works, whether it can be used, and how much it does.
//!
//! They need no token, so that they name no file, no user and nothing that was stored.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use meshery_core::cluster::ClusterError;
use meshery_core::operation::Selection;
use meshery_core::plugin::PluginState;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::App;
use crate::settings::Loopback;

/// How long the provider may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);

pub async fn alive() -> &'static str {
    "ok\n"
}

pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let mut reasons = Vec::new();
    let mut notes = Vec::new();
    if app.stopping.is_cancelled() {
        reasons.push("the host is stopping".to_owned());
    }
    match app.meshery.store() {
        Err(problem) => reasons.push(problem.message),
        Ok(store) if !*store.alive().borrow() => reasons.push("the provider is not running".to_owned()),
        Ok(store) => match timeout(PATIENCE, store.health()).await {
            Err(_) => reasons.push("the provider does not answer".to_owned()),
            Ok(Err(problem)) => reasons.push(problem.message),
            Ok(Ok(health)) if !health.writable => {
                reasons.push(format!("the provider cannot write: {}", health.message));
            }
            Ok(Ok(_)) => {}
        },
    }
    let mut loaded = 0;
    for plugin in app.meshery.plugins().list() {
        let code = || plugin.error.as_ref().map_or("unknown", |error| &error.code);
        match plugin.state {
            PluginState::Loaded => loaded += 1,
            PluginState::Stopped => {
                reasons.push(format!("the plugin {} has stopped: {}", plugin.name, code()));
            }
            PluginState::Refused => notes.push(format!("a plugin was refused: {}", code())),
        }
    }
    if app.meshery.plugins().adapters().next().is_none() {
        notes.push("no adapter is loaded".to_owned());
    }
    notes.extend(app.meshery.notices().iter().map(|notice| notice.message.clone()));
    // Which ones is for those who may ask for the list.
    match app.meshery.clusters().contexts() {
        Ok(contexts) => match contexts
            .iter()
            .filter(|context| context.problem.is_some())
            .count()
        {
            0 => {}
            unusable => notes.push(format!("uploaded clusters that cannot be used: {unusable}")),
        },
        // The host may be there for uploads that are to come.
        Err(ClusterError::NoKubeconfig { .. }) => {}
        Err(error) => notes.push(format!("the kubeconfig cannot be used: {}", error.code())),
    }
    if app.settings.auth.loopback == Loopback::Open {
        notes.push("callers on this machine need no token ([auth] loopback = \"open\")".to_owned());
    }
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "notes": notes,
        "plugins": loaded,
    });
    (status, Json(body))
}

pub async fn metrics(State(app): State<App>) -> impl IntoResponse {
    app.metrics.set_plugins(&app.meshery.plugins().list());
    if let Ok(operations) = app.meshery.operations() {
        let newest = Selection {
            limit: Some(500),
            ..Selection::default()
        };
        // The other numbers are worth having without these.
        if let Ok(Ok(page)) = timeout(PATIENCE, operations.list(newest)).await {
            app.metrics
                .set_operations(page.items.iter().map(|record| record.state.as_str()));
        }
    }
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text, app.metrics.text())
}
