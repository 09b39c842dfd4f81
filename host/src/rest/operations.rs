//! `/api/v1/operations`: planned, looked at, run, stopped, taken back.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use meshery_core::operation::{NewOperation, OperationPage, OperationRecord, Preview, Pruned, Selection};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::body::{self, Asked};
use crate::failure::Result;
use crate::rest::once;

type Accepted = (StatusCode, Json<OperationRecord>);

fn accepted(record: OperationRecord) -> Accepted {
    (StatusCode::ACCEPTED, Json(record))
}

pub async fn plan(
    State(app): State<App>,
    headers: HeaderMap,
    body::Json(new): body::Json<NewOperation>,
) -> Result<impl IntoResponse> {
    let operations = app.meshery.operations()?;
    let (record, replayed) = match once::key(&headers) {
        None => (operations.plan(new).await?, false),
        Some(key) => operations.plan_once(&key, new).await?,
    };
    let location = format!("/api/v1/operations/{}", record.id);
    Ok(once::made(location, record, replayed))
}

/// What is asked of an operation that is to be given up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivingUp {
    /// That it leaves behind what it has done is understood.
    #[serde(default)]
    leave_behind: bool,
}

pub async fn forget(
    State(app): State<App>,
    Path(id): Path<String>,
    Asked(asked): Asked<GivingUp>,
    _: body::Nothing,
) -> Result<Json<OperationRecord>> {
    Ok(Json(
        app.meshery.operations()?.forget(&id, asked.leave_behind).await?,
    ))
}

/// Removes operations that are older than the settings want them kept.
pub async fn prune(State(app): State<App>, _: body::Nothing) -> Result<Json<Pruned>> {
    Ok(Json(app.meshery.operations()?.prune().await?))
}

pub async fn list(State(app): State<App>, Asked(selection): Asked<Selection>) -> Result<Json<OperationPage>> {
    Ok(Json(app.meshery.operations()?.list(selection).await?))
}

pub async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<OperationRecord>> {
    Ok(Json(app.meshery.operations()?.get(&id).await?))
}

pub async fn preview(
    State(app): State<App>,
    Path(id): Path<String>,
    _: body::Nothing,
) -> Result<Json<Preview>> {
    Ok(Json(app.meshery.operations()?.preview(&id).await?))
}

pub async fn stored_preview(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Preview>> {
    Ok(Json(app.meshery.operations()?.stored_preview(&id).await?))
}

pub async fn preview_undo(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Preview>> {
    Ok(Json(app.meshery.operations()?.preview_undo(&id).await?))
}

/// Which gate is approved.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Nothing for the operation as a whole, or the only gate at which it waits for an approval.
    #[serde(default)]
    gate: Option<String>,
}

pub async fn approve(
    State(app): State<App>,
    Path(id): Path<String>,
    Asked(approval): Asked<Approval>,
    _: body::Nothing,
) -> Result<Accepted> {
    let operations = app.meshery.operations()?;
    Ok(accepted(operations.approve(&id, approval.gate.as_deref()).await?))
}

pub async fn run(State(app): State<App>, Path(id): Path<String>, _: body::Nothing) -> Result<Accepted> {
    Ok(accepted(app.meshery.operations()?.run(&id).await?))
}

pub async fn cancel(State(app): State<App>, Path(id): Path<String>, _: body::Nothing) -> Result<Accepted> {
    Ok(accepted(app.meshery.operations()?.cancel(&id).await?))
}

pub async fn undo(State(app): State<App>, Path(id): Path<String>, _: body::Nothing) -> Result<Accepted> {
    Ok(accepted(app.meshery.operations()?.undo(&id).await?))
}

pub async fn resume(State(app): State<App>, Path(id): Path<String>, _: body::Nothing) -> Result<Accepted> {
    Ok(accepted(app.meshery.operations()?.resume(&id).await?))
}

/// The images that its pods would pull.
pub async fn images(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>> {
    let images = app.meshery.operations()?.images(&id).await?;
    Ok(Json(json!({ "items": images })))
}

/// Everything that is kept of an operation, in one document.
pub async fn record(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>> {
    let operations = app.meshery.operations()?;
    let operation = operations.get(&id).await?;
    let events = operations.events_so_far(&id, 0).await?;
    Ok(Json(json!({ "operation": operation, "events": events })))
}
