//! `/api/v1/clusters`: contexts of kubeconfigs, and what is in the clusters behind them.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use meshery_core::cluster::ClusterError;
use meshery_core::cluster::clusters::Uploaded;
use meshery_core::problem::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::body::{self, Asked};
use crate::failure::Result;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCluster {
    name: String,
    /// The text of a kubeconfig, YAML or JSON.
    kubeconfig: String,
    /// Whether it may take the place of one of the same name.
    #[serde(default)]
    replace: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Of {
    adapter: String,
}

/// A query that must be empty: `?replace=true`, say, would be taken for granted by who writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// `-` stands for the current context.
fn named(context: &str) -> Option<&str> {
    (context != "-").then_some(context)
}

pub async fn list(State(app): State<App>, _: Asked<Nothing>) -> Result<Json<Value>> {
    let contexts = match app.meshery.clusters().contexts() {
        Ok(contexts) => contexts,
        // Nobody asked for one in particular.
        Err(ClusterError::NoKubeconfig { .. }) => Vec::new(),
        Err(error) => return Err(Problem::from(error).into()),
    };
    Ok(Json(json!({ "items": contexts })))
}

pub async fn add(
    State(app): State<App>,
    _: Asked<Nothing>,
    body::Json(new): body::Json<NewCluster>,
) -> Result<(StatusCode, Json<Uploaded>)> {
    let added = if new.replace {
        app.meshery.replace_cluster(&new.name, &new.kubeconfig).await?
    } else {
        app.meshery.add_cluster(&new.name, &new.kubeconfig).await?
    };
    Ok((StatusCode::CREATED, Json(added)))
}

pub async fn show(State(app): State<App>, Path(context): Path<String>) -> Result<Json<Value>> {
    let info = app.meshery.context(named(&context))?;
    let cluster = app
        .meshery
        .clusters()
        .connect(Some(&info.context))
        .await
        .map_err(Problem::from)?;
    let mut shown = json!(info);
    shown["uid"] = cluster.uid().into();
    shown["version"] = cluster.version().into();
    Ok(Json(shown))
}

pub async fn remove(State(app): State<App>, Path(context): Path<String>) -> Result<StatusCode> {
    app.meshery.remove_cluster(&context).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn facts(
    State(app): State<App>,
    Path(context): Path<String>,
    Asked(of): Asked<Of>,
) -> Result<Json<Value>> {
    let facts = app.meshery.facts(named(&context), &of.adapter).await?;
    Ok(Json(json!(facts)))
}

pub async fn detect(
    State(app): State<App>,
    Path(context): Path<String>,
    Asked(of): Asked<Of>,
) -> Result<Json<Value>> {
    let found = app.meshery.detect(named(&context), &of.adapter).await?;
    Ok(Json(json!({ "items": found })))
}

pub async fn analyze(
    State(app): State<App>,
    Path(context): Path<String>,
    Asked(of): Asked<Of>,
) -> Result<Json<Value>> {
    let found = app.meshery.analyze(named(&context), &of.adapter).await?;
    Ok(Json(json!({ "items": found })))
}
