//! The arguments of the provider's methods as they cross the boundary, for the methods that take more than one.

use meshery_plugin_api::message::document::{Blob, Write};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Get {
    pub kind: String,
    pub id: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub batch: Vec<Write>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PutBlobs {
    pub owner: String,
    pub blobs: Vec<Blob>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GetBlobs {
    pub sha256: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Forget {
    pub stream: String,
}
