//! Secret material: keys, certificates and random values, which no adapter ever sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::object_ref::ObjectRef;

/// Secret material to make. The core makes it, seals it with the host's key until the run writes it, and shows nobody
/// more than that it is made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Material {
    /// In this order: an item may use those before it, of earlier steps as well.
    pub items: Vec<MaterialItem>,
}

/// A Secret, or a `ConfigMap` with what is public.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaterialItem {
    /// A Secret or a `ConfigMap` (`v1`).
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// Type of the Secret; `Opaque` when empty.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub secret_type: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether it is made anew when it is there; else what is there stays, and is what later items use.
    #[serde(default)]
    pub replace: bool,
    /// A certificate with its key: `tls.crt`, `tls.key`, and `ca.crt` with what has signed it. Secrets only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Further entries.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, MaterialEntry>,
}

/// A certificate to make, with an ECDSA key on the curve P-256.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// Common name.
    pub common_name: String,
    /// Further names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Whether it may sign others.
    pub authority: bool,
    /// How many authorities may come below it; any number when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_length: Option<u8>,
    /// Hours that it is valid, from when the plan is made.
    pub lifetime_h: u32,
    /// Secret with certificate and key of who signs it; itself when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<ObjectRef>,
    /// The key is used for what this plan signs and then lost: no `tls.key` is written.
    pub forget_key: bool,
}

/// Where an entry's value comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "make", rename_all = "kebab-case")]
pub enum MaterialEntry {
    /// So many random bytes, in standard base64. Secrets only.
    Random {
        /// How many, 16 to 512.
        bytes: u16,
    },
    /// Certificates one after the other, each once: a trust bundle.
    Bundle {
        /// Of a Secret its `tls.crt`. Of a `ConfigMap` what it has under the name of this entry when the plan is made,
        /// so that a bundle can be what is there and one more.
        of: Vec<ObjectRef>,
    },
    /// What the Secret itself has under another key when the plan is made: the same under the name that another program
    /// wants. Secrets only, and only with `replace`.
    SameAs {
        /// The other key.
        key: String,
    },
    /// A value newer than this side: the plan is refused.
    #[serde(other)]
    Unknown,
}
