//! `/api/v1/plans`: plans as documents, which are reviewed elsewhere and come back to be applied.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::IntoResponse;
use futures::StreamExt as _;
use http::{StatusCode, header};
use meshery_core::operation::{OperationRecord, PlanFile};
use meshery_core::problem::{Problem, ProblemKind};
use serde::Deserialize;

use crate::app::App;
use crate::body::{self, Asked, Bound};
use crate::failure::Result;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Where {
    context: Option<String>,
}

/// A previewed operation as a document.
pub async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<PlanFile>> {
    Ok(Json(app.meshery.operations()?.plan_file(&id).await?))
}

/// Makes ready to run what a document says, and nothing else.
pub async fn take(
    State(app): State<App>,
    Asked(at): Asked<Where>,
    request: Request,
) -> Result<impl IntoResponse> {
    let (parts, body) = request.into_parts();
    body::check_media_type(&parts.headers, "application/json")?;
    let limits = &app.settings.limits;
    // Larger than other bodies: every field of every object that changes is in it.
    let bound = Bound {
        bytes: limits.plan_bytes,
        setting: "plan_bytes",
        patience: limits.request(),
    };
    let mut pieces = std::pin::pin!(body::bounded(&parts.headers, body, bound)?);
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|what| {
            let message = format!("the plan did not come whole: {what}");
            Problem::new(ProblemKind::Invalid, "broken-body", message)
        })?;
        bytes.extend_from_slice(&piece);
    }
    let file: PlanFile = body::parse(&bytes)?;
    let record: OperationRecord = app.meshery.operations()?.take_plan_file(file, at.context).await?;
    let location = format!("/api/v1/operations/{}", record.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(record)))
}
