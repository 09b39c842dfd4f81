//! `/api/v1/version`

use axum::Json;
use serde_json::{Value, json};

pub async fn show() -> Json<Value> {
    Json(json!({
        "name": "meshery",
        "version": env!("CARGO_PKG_VERSION"),
        "api": "v1",
        "plugin_api": meshery_plugin_api::VERSION,
    }))
}
