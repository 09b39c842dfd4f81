//! From a method's name and bytes to the traits, and back: what makes a narrow ABI wide.
//!
//! | method | takes | returns |
//! |---|---|---|
//! | `adapter.describe` | `{}` | `AdapterDescriptor` |
//! | `adapter.plan`, `adapter.check` | `PlanRequest` | `Plan`, `[Finding]` |
//! | `adapter.expand` | `ExpandRequest` | `Expansion` |
//! | `adapter.detect`, `adapter.analyze` | `Facts` | `[Installation]`, `[Finding]` |
//! | `provider.user`, `provider.health` | `{}` | `User`, `StoreHealth` |
//! | `provider.get` | [`GetDocument`] | `Document` or null |
//! | `provider.write` | [`WriteBatch`] | `[revision]` |
//! | `provider.list` | `Query` | `Page` |
//! | `provider.put_blobs`, `provider.get_blobs` | [`PutBlobs`], [`GetBlobs`] | null, `[Blob]` |
//! | `provider.append`, `provider.read` | `Append`, `Read` | sequence number, `[Entry]` |
//! | `provider.reserve`, `provider.forget` | `Reserve`, [`Forget`] | null |
//! | `provider.backup`, `provider.restore` | `ReadBackup`, `WriteBackup` | `BackupPart`, `Restoring` |

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::adapter::MeshAdapter;
use crate::error::PluginError;
use crate::message::document::{Blob, Write};
use crate::provider::Provider;

/// Argument of `provider.get`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GetDocument {
    /// Kind of the document.
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// Argument of `provider.write`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WriteBatch {
    /// The writes, all or none of which happen.
    pub batch: Vec<Write>,
}

/// Argument of `provider.put_blobs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PutBlobs {
    /// Name of the stream they belong to.
    pub owner: String,
    /// The blobs.
    pub blobs: Vec<Blob>,
}

/// Argument of `provider.get_blobs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GetBlobs {
    /// Their hashes.
    pub sha256: Vec<String>,
}

/// Argument of `provider.forget`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Forget {
    /// The stream to remove.
    pub stream: String,
}

/// Calls a method of an adapter.
pub fn adapter<A: MeshAdapter>(adapter: &A, method: &str, payload: &[u8]) -> Result<Vec<u8>, PluginError> {
    match method {
        "adapter.describe" => write(method, &adapter.describe()),
        "adapter.plan" => write(method, &adapter.plan(read(method, payload)?)?),
        "adapter.expand" => write(method, &adapter.expand(read(method, payload)?)?),
        "adapter.check" => write(method, &adapter.check(read(method, payload)?)?),
        "adapter.detect" => write(method, &adapter.detect(read(method, payload)?)?),
        "adapter.analyze" => write(method, &adapter.analyze(read(method, payload)?)?),
        other => Err(unknown(other)),
    }
}

/// Calls a method of a provider.
pub async fn provider<P: Provider>(
    provider: &P,
    method: &str,
    payload: &[u8],
) -> Result<Vec<u8>, PluginError> {
    match method {
        "provider.user" => write(method, &provider.user().await?),
        "provider.get" => {
            let GetDocument { kind, id } = read(method, payload)?;
            write(method, &provider.get(&kind, &id).await?)
        }
        "provider.write" => {
            let WriteBatch { batch } = read(method, payload)?;
            write(method, &provider.write(batch).await?)
        }
        "provider.list" => write(method, &provider.list(read(method, payload)?).await?),
        "provider.put_blobs" => {
            let PutBlobs { owner, blobs } = read(method, payload)?;
            write(method, &provider.put_blobs(&owner, blobs).await?)
        }
        "provider.get_blobs" => {
            let GetBlobs { sha256 } = read(method, payload)?;
            write(method, &provider.get_blobs(sha256).await?)
        }
        "provider.append" => write(method, &provider.append(read(method, payload)?).await?),
        "provider.read" => write(method, &provider.read(read(method, payload)?).await?),
        "provider.reserve" => write(method, &provider.reserve(read(method, payload)?).await?),
        "provider.forget" => {
            let Forget { stream } = read(method, payload)?;
            write(method, &provider.forget(&stream).await?)
        }
        "provider.backup" => write(method, &provider.backup(read(method, payload)?).await?),
        "provider.restore" => write(method, &provider.restore(read(method, payload)?).await?),
        "provider.health" => write(method, &provider.health().await?),
        other => Err(unknown(other)),
    }
}

fn read<T: DeserializeOwned>(method: &str, payload: &[u8]) -> Result<T, PluginError> {
    serde_json::from_slice(payload).map_err(|error| {
        PluginError::new(
            "plugin-protocol",
            format!("{method}: the argument cannot be read: {error}"),
        )
        .cause("host and plugin disagree about the message's schema")
    })
}

fn write<T: Serialize>(method: &str, value: &T) -> Result<Vec<u8>, PluginError> {
    serde_json::to_vec(value).map_err(|error| {
        PluginError::new(
            "plugin-protocol",
            format!("{method}: the result cannot be written: {error}"),
        )
    })
}

fn unknown(method: &str) -> PluginError {
    PluginError::new("unknown-method", format!("the plugin has no method \"{method}\""))
        .cause("the host is newer than the plugin, or takes it for a plugin of another kind")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::descriptor::AdapterDescriptor;
    use crate::message::facts::Facts;
    use crate::message::finding::Installation;
    use crate::message::plan::{Plan, PlanRequest};

    struct Echo;
    impl MeshAdapter for Echo {
        fn describe(&self) -> AdapterDescriptor {
            AdapterDescriptor {
                mesh: "Echo".into(),
                ..AdapterDescriptor::default()
            }
        }
        fn plan(&self, request: PlanRequest) -> Result<Plan, PluginError> {
            Ok(Plan {
                summary: request.operation,
                ..Plan::default()
            })
        }
        fn detect(&self, _: Facts) -> Result<Vec<Installation>, PluginError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_method_is_found_by_its_name() {
        let bytes = adapter(&Echo, "adapter.plan", br#"{"operation":"install","new_field":1}"#).unwrap();
        let plan: Plan = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(plan.summary, "install");
    }

    #[test]
    fn an_unknown_method_and_a_garbled_argument_are_errors() {
        assert_eq!(
            adapter(&Echo, "adapter.dance", b"{}").unwrap_err().code,
            "unknown-method"
        );
        let error = adapter(&Echo, "adapter.plan", b"{\"operation\":").unwrap_err();
        assert_eq!(error.code, "plugin-protocol");
        assert!(error.message.contains("adapter.plan") && error.message.contains("line 1"));
    }
}
