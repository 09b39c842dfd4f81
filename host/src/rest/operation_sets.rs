//! `/api/v1/operation-sets`: one operation on several clusters.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use meshery_core::operation::{NewOperationSet, OperationSet, OperationSetPage, Selection};
use serde_json::{Value, json};

use crate::app::App;
use crate::body::{self, Asked};
use crate::failure::Result;
use crate::rest::once;

type Accepted = (StatusCode, Json<OperationSet>);

fn accepted(set: OperationSet) -> Accepted {
    (StatusCode::ACCEPTED, Json(set))
}

pub async fn plan(
    State(app): State<App>,
    headers: HeaderMap,
    body::Json(new): body::Json<NewOperationSet>,
) -> Result<impl IntoResponse> {
    let operations = app.meshery.operations()?;
    let (set, replayed) = match once::key(&headers) {
        None => (operations.plan_set(new).await?, false),
        Some(key) => operations.plan_set_once(&key, new).await?,
    };
    let location = format!("/api/v1/operation-sets/{}", set.id);
    Ok(once::made(location, set, replayed))
}

pub async fn list(
    State(app): State<App>,
    Asked(selection): Asked<Selection>,
) -> Result<Json<OperationSetPage>> {
    Ok(Json(app.meshery.operations()?.sets(selection).await?))
}

pub async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<OperationSet>> {
    Ok(Json(app.meshery.operations()?.set(&id).await?))
}

pub async fn preview(
    State(app): State<App>,
    Path(id): Path<String>,
    _: body::Nothing,
) -> Result<Json<Value>> {
    let previews = app.meshery.operations()?.preview_set(&id).await?;
    Ok(Json(json!({ "items": previews })))
}

pub async fn approve(State(app): State<App>, Path(id): Path<String>, _: body::Nothing) -> Result<Accepted> {
    Ok(accepted(app.meshery.operations()?.approve_set(&id).await?))
}

pub async fn run(State(app): State<App>, Path(id): Path<String>, _: body::Nothing) -> Result<Accepted> {
    Ok(accepted(app.meshery.operations()?.run_set(&id).await?))
}

pub async fn cancel(State(app): State<App>, Path(id): Path<String>, _: body::Nothing) -> Result<Accepted> {
    Ok(accepted(app.meshery.operations()?.cancel_set(&id).await?))
}

pub async fn undo(State(app): State<App>, Path(id): Path<String>, _: body::Nothing) -> Result<Accepted> {
    Ok(accepted(app.meshery.operations()?.undo_set(&id).await?))
}
