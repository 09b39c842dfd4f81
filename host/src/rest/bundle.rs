//! `/api/v1/bundle` and `/api/v1/images`: what installations take, as one file to carry to where there is no internet,
//! such a file loaded, and the images alone.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header;
use meshery_core::Wanted;
use meshery_core::bundle::Loaded;
use meshery_core::problem::Problem;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use crate::app::App;
use crate::body::{self, Bound};
use crate::failure::{Failure, Result};

const TAR: &str = "application/x-tar";
const PIECE: usize = 256 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    meshes: Vec<Wanted>,
}

/// Collected first, so that what fails is a problem with a status of its own, then sent with its length.
pub async fn create(State(app): State<App>, body::Json(new): body::Json<New>) -> Result<Response> {
    let limit = app.settings.limits.plan();
    let made = tokio::time::timeout(limit, app.meshery.bundle(&new.meshes)).await;
    let bundle = made.map_err(|_| Failure::too_slow(limit.as_secs()))??;
    let most = app.settings.limits.bundle_bytes;
    if bundle.size > most {
        let message = format!("the bundle has {} bytes, the limit is {most} bytes", bundle.size);
        return Err(Problem::new(
            meshery_core::problem::ProblemKind::TooLarge,
            "bundle-too-large",
            message,
        )
        .remedy("name fewer meshes, or raise `bundle_bytes` under [limits] in the settings")
        .into());
    }
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(bundle.file), PIECE);
    let headers = [
        (header::CONTENT_TYPE, TAR.to_owned()),
        (header::CONTENT_LENGTH, bundle.size.to_string()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

pub async fn load(State(app): State<App>, request: Request) -> Result<Json<Loaded>> {
    let (parts, body) = request.into_parts();
    body::check_media_type(&parts.headers, TAR)?;
    let limits = &app.settings.limits;
    let bound = Bound {
        bytes: limits.bundle_bytes,
        setting: "bundle_bytes",
        patience: limits.request(),
    };
    let bundle = body::bounded(&parts.headers, body, bound)?;
    Ok(Json(app.meshery.load_bundle(bundle).await?))
}

pub async fn images(State(app): State<App>, body::Json(wanted): body::Json<Wanted>) -> Result<Json<Value>> {
    let supplies = app.meshery.supplies(&wanted).await?;
    Ok(Json(
        json!({ "summary": supplies.summary, "items": supplies.images }),
    ))
}
