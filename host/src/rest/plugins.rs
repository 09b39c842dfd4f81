//! `/api/v1/plugins`: every file that was looked at, loaded or refused.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;

pub async fn list(State(app): State<App>) -> Json<Value> {
    Json(json!({ "items": app.meshery.plugins().list() }))
}
