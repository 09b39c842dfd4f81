//! `/api/v1/applications`: what the host's owner has put down to be deployed.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::Result;

pub async fn list(State(app): State<App>) -> Result<Json<Value>> {
    let applications = app.meshery.applications();
    let items = applications.list().await?;
    Ok(Json(json!({ "folder": applications.folder(), "items": items })))
}
