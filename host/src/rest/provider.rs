//! `/api/v1/provider`: how the store is, its backup as a stream, and such a stream back into it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use http::header;
use meshery_core::Restored;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::body::{self, Asked, Bound};
use crate::failure::Result;

const BACKUP: &str = "application/x-ndjson";

pub async fn show(State(app): State<App>) -> Result<Json<Value>> {
    let store = app.meshery.store()?;
    let (health, user) = (store.health().await?, store.user().await?);
    Ok(Json(json!({ "health": health, "user": user })))
}

/// The answer breaks off when the provider fails on the way: without its last line it is no backup.
pub async fn backup(State(app): State<App>) -> Result<Response> {
    let mut backup = app.meshery.store()?.backup().await?;
    // What cannot be begun is a problem with a status of its own.
    let first = backup.next().await.unwrap_or_else(|| Ok(Vec::new()))?;
    let rest = stream::unfold(backup, async |mut backup| {
        let piece = backup.next().await?;
        if let Err(problem) = &piece {
            tracing::warn!(code = %problem.code, "the backup broke off: {problem}");
        }
        Some((piece, backup))
    });
    let all = stream::iter([Ok(first)]).chain(rest);
    let headers = [
        (header::CONTENT_TYPE, BACKUP),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(all)).into_response())
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct How {
    replace: bool,
}

/// Whether a restore could begin now. A client that sends a large body first would not hear why it is refused.
pub async fn restorable(State(app): State<App>) -> Result<Json<Value>> {
    app.meshery.check_restore().await?;
    Ok(Json(json!({})))
}

pub async fn restore(
    State(app): State<App>,
    Asked(how): Asked<How>,
    request: Request,
) -> Result<Json<Value>> {
    let (parts, body) = request.into_parts();
    body::check_media_type(&parts.headers, BACKUP)?;
    let limits = &app.settings.limits;
    let bound = Bound {
        bytes: limits.backup_bytes,
        setting: "backup_bytes",
        patience: limits.request(),
    };
    let backup = body::bounded(&parts.headers, body, bound)?;
    let Restored { backup, notices } = app.meshery.restore(backup, how.replace).await?;
    tracing::warn!(
        records = backup.records,
        replace = how.replace,
        "a backup was restored"
    );
    let notices: Vec<Value> = notices
        .into_iter()
        .map(|notice| json!({"code": notice.code, "message": notice.to_string(), "remedy": notice.remedy}))
        .collect();
    Ok(Json(json!({
        "records": backup.records,
        "damage": backup.damage,
        "sha256": backup.sha256,
        "notices": notices,
    })))
}
