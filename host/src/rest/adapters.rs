//! `/api/v1/adapters`: what the loaded adapters offer.

use axum::Json;
use axum::extract::{Path, State};
use meshery_core::plugin::Adapter;
use meshery_plugin_api::message::descriptor::{AdapterDescriptor, Manifest};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::body;
use crate::failure::Result;

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    manifest: &'a Manifest,
    #[serde(flatten)]
    descriptor: &'a AdapterDescriptor,
}

fn shown(adapter: &Adapter) -> Shown<'_> {
    Shown {
        manifest: adapter.handle().manifest(),
        descriptor: adapter.descriptor(),
    }
}

pub async fn list(State(app): State<App>) -> Json<Value> {
    let adapters: Vec<_> = app
        .meshery
        .plugins()
        .adapters()
        .map(|adapter| shown(adapter))
        .collect();
    Json(json!({ "items": adapters }))
}

pub async fn show(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>> {
    let adapter = app.meshery.adapter(&name)?;
    Ok(Json(json!(shown(&adapter))))
}

pub async fn versions(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>> {
    Ok(Json(json!(app.meshery.versions(&name).await?)))
}

pub async fn refresh_versions(
    State(app): State<App>,
    Path(name): Path<String>,
    _: body::Nothing,
) -> Result<Json<Value>> {
    Ok(Json(json!(app.meshery.refresh_versions(&name).await?)))
}
