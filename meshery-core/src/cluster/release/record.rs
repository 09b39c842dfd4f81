//! One revision's record: JSON, packed, in base64, in a Secret.
//!
//! Written by hand rather than as types, because what other versions of Helm put there has to survive being read
//! and written by us.

use std::fmt;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use super::status::Standing;
use crate::cluster::chart::Hook;

/// What a Secret's data may have in all; the API server refuses more.
const SECRET_LIMIT: usize = 1 << 20;
/// A record's status changes, and with it how well it packs.
const MARGIN: usize = 1 << 10;
/// What a record may unpack to. The largest charts of meshes have 3 MB.
const UNPACKED_LIMIT: u64 = 64 << 20;

/// How far a release is, in Helm's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    PendingInstall,
    PendingUpgrade,
    PendingRollback,
    Deployed,
    Superseded,
    Failed,
    Uninstalling,
    Uninstalled,
    /// A word that this version does not know.
    Other,
}

const WORDS: [(Status, &str); 8] = [
    (Status::PendingInstall, "pending-install"),
    (Status::PendingUpgrade, "pending-upgrade"),
    (Status::PendingRollback, "pending-rollback"),
    (Status::Deployed, "deployed"),
    (Status::Superseded, "superseded"),
    (Status::Failed, "failed"),
    (Status::Uninstalling, "uninstalling"),
    (Status::Uninstalled, "uninstalled"),
];

impl Status {
    pub(crate) fn of(word: &str) -> Self {
        WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map_or(Self::Other, |(status, _)| *status)
    }

    pub(crate) fn as_str(self) -> &'static str {
        WORDS
            .iter()
            .find(|(status, _)| *status == self)
            .map_or("unknown", |(_, word)| word)
    }

    /// Whether somebody is at work on the release, or was killed at it.
    pub(crate) fn is_pending(self) -> bool {
        matches!(
            self,
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback | Self::Uninstalling
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that cannot be read or kept, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordFault(pub(crate) String);

/// What a record is made of.
pub(crate) struct NewRecord<'a> {
    pub(crate) release: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) revision: u32,
    /// The chart as Helm keeps it.
    pub(crate) chart: Value,
    /// The values that were given, over the chart's own.
    pub(crate) config: &'a Map<String, Value>,
    /// The objects as they were rendered.
    pub(crate) manifest: &'a str,
    pub(crate) hooks: Vec<Value>,
    /// What the chart says to whoever installs it.
    pub(crate) notes: &'a str,
    /// When the first revision was installed, if there is an earlier one.
    pub(crate) first_deployed: Option<String>,
    /// RFC 3339.
    pub(crate) now: &'a str,
}

/// The record of one revision of a release.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record(Map<String, Value>);

impl Record {
    pub(crate) fn new(new: NewRecord<'_>) -> Self {
        let first = new.first_deployed.unwrap_or_else(|| new.now.to_owned());
        let record = json!({
            "name": new.release,
            "info": {
                "first_deployed": first,
                "last_deployed": new.now,
                "deleted": "",
                "description": "",
                "status": "unknown",
            },
            "chart": new.chart,
            "config": new.config,
            "manifest": new.manifest,
            "hooks": new.hooks,
            "version": new.revision,
            "namespace": new.namespace,
            "apply_method": "ssa",
        });
        let Value::Object(mut record) = record else {
            return Self(Map::new());
        };
        // Like Helm, which leaves it out where there is nothing.
        if !new.notes.is_empty()
            && let Some(info) = record.get_mut("info").and_then(Value::as_object_mut)
        {
            info.insert("notes".into(), new.notes.into());
        }
        Self(record)
    }

    /// Reads what [`Record::to_json`] gave.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, RecordFault> {
        serde_json::from_slice(json)
            .map(Self)
            .map_err(|error| RecordFault(format!("it is no JSON object: {error}")))
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        // A map with strings as keys always has a JSON form.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// Reads a Secret's field `release`, as the API server hands it out.
    pub(crate) fn unpack(data: &str) -> Result<Self, RecordFault> {
        let inner = BASE64.decode(data);
        Self::from_packed(&inner.map_err(|_| RecordFault("it is not base64".into()))?)
    }

    /// Reads what [`Record::pack`] gave.
    pub(crate) fn from_packed(text: &[u8]) -> Result<Self, RecordFault> {
        let fault = |what: &str| RecordFault(what.to_owned());
        let packed = BASE64.decode(text).map_err(|_| fault("it is not base64 twice"))?;
        // Helm's oldest records are not packed.
        if !packed.starts_with(&[0x1f, 0x8b]) {
            return Self::from_json(&packed);
        }
        let mut json = Vec::new();
        GzDecoder::new(packed.as_slice())
            .take(UNPACKED_LIMIT + 1)
            .read_to_end(&mut json)
            .map_err(|_| fault("it is not gzip"))?;
        if json.len() as u64 > UNPACKED_LIMIT {
            return Err(fault("it unpacks to more than 64 MiB"));
        }
        Self::from_json(&json)
    }

    /// The text for a Secret's field `release`, before the API server's own base64.
    pub(crate) fn pack(&self) -> Result<String, RecordFault> {
        self.pack_at(Compression::best())
    }

    /// The same of a record that a Secret has taken before: a little larger and in a fraction of the time, as far as
    /// there is room for that.
    pub(crate) fn pack_again(&self) -> Result<String, RecordFault> {
        let packed = self.pack_at(Compression::default())?;
        if packed.len() + MARGIN > SECRET_LIMIT {
            return self.pack();
        }
        Ok(packed)
    }

    fn pack_at(&self, level: Compression) -> Result<String, RecordFault> {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        let packed = encoder
            .write_all(&self.to_json())
            .and_then(|()| encoder.finish())
            .map_err(|error| RecordFault(format!("it cannot be packed: {error}")))?;
        Ok(BASE64.encode(packed))
    }

    /// As [`Record::pack`], unless no Secret would take it.
    pub(crate) fn pack_to_fit(&self) -> Result<String, RecordFault> {
        let packed = self.pack()?;
        if packed.len() + MARGIN > SECRET_LIMIT {
            return Err(RecordFault(format!(
                "packed it has {} bytes, and a Secret takes {SECRET_LIMIT}",
                packed.len()
            )));
        }
        Ok(packed)
    }

    /// The record of a release that stands so.
    pub(crate) fn standing(mut self, standing: &Standing) -> Self {
        if let Some(info) = self.0.get_mut("info").and_then(Value::as_object_mut) {
            info.insert("status".into(), standing.status.as_str().into());
            info.insert("description".into(), standing.description.as_str().into());
            info.insert("last_deployed".into(), standing.last_deployed.as_str().into());
        }
        if let Some(hooks) = self.0.get_mut("hooks").and_then(Value::as_array_mut)
            // The same hooks, or nothing is said of any.
            && hooks.len() == standing.last_runs.len()
        {
            for (hook, run) in hooks.iter_mut().zip(&standing.last_runs) {
                let Some(hook) = hook.as_object_mut() else {
                    continue;
                };
                if run.is_null() {
                    hook.remove("last_run");
                } else {
                    hook.insert("last_run".into(), run.clone());
                }
            }
        }
        self
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        let mut parts = pointer.split('/').skip(1);
        let first = parts.next().and_then(|key| self.0.get(key));
        parts
            .try_fold(first, |value, key| value.map(|value| value.get(key)))
            .flatten()
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn manifest(&self) -> &str {
        self.text("/manifest")
    }

    /// What the chart said.
    pub(crate) fn notes(&self) -> &str {
        self.text("/info/notes")
    }

    /// The chart, as Helm keeps it.
    pub(crate) fn chart(&self) -> Value {
        self.0.get("chart").cloned().unwrap_or_default()
    }

    /// The values that were given.
    pub(crate) fn config(&self) -> Map<String, Value> {
        match self.0.get("config") {
            Some(Value::Object(config)) => config.clone(),
            _ => Map::new(),
        }
    }

    /// The hooks as they stand in it.
    pub(crate) fn hooks(&self) -> Vec<Value> {
        match self.0.get("hooks") {
            Some(Value::Array(hooks)) => hooks.clone(),
            _ => Vec::new(),
        }
    }
}

/// A hook as Helm writes it into a record.
pub(crate) fn hook_of(hook: &Hook) -> Value {
    let text = |pointer: &str| hook.value.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    json!({
        "name": text("/metadata/name"),
        "kind": text("/kind"),
        "path": hook.source,
        "manifest": hook.manifest,
        "events": hook.events,
        "last_run": {"started_at": "", "completed_at": "", "phase": ""},
        "weight": hook.weight,
        "delete_policies": hook.delete_policies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(manifest: &str) -> Record {
        Record::new(NewRecord {
            release: "demo",
            namespace: "demo-system",
            revision: 2,
            chart: json!({"metadata": {"name": "demo", "version": "1.0.0"}}),
            config: &Map::new(),
            manifest,
            hooks: vec![json!({"manifest": "m", "events": ["pre-install"], "weight": -5, "path": "p"})],
            notes: "",
            first_deployed: Some("2026-01-01T00:00:00Z".into()),
            now: "2026-11-22T10:00:00Z",
        })
    }

    #[test]
    fn a_record_is_packed_as_helm_packs_it_and_read_back() {
        let record = record("---\nkind: ConfigMap\n").standing(&Standing {
            status: "deployed".into(),
            ..Standing::default()
        });
        let packed = record.pack().unwrap();
        assert!(packed.starts_with("H4sI"), "{packed}");
        // The API server adds its own base64.
        let again = Record::unpack(&BASE64.encode(packed)).unwrap();
        assert_eq!(again, record);
        let quickly = record.pack_again().unwrap();
        assert_eq!(Record::from_packed(quickly.as_bytes()).unwrap(), record);
        assert_eq!(again.text("/info/status"), "deployed");
        assert_eq!(again.text("/info/first_deployed"), "2026-01-01T00:00:00Z");
        assert_eq!(again.hooks()[0]["weight"], -5);
        assert_eq!(again.text("/apply_method"), "ssa");
    }

    #[test]
    fn what_other_versions_write_survives_a_change_of_status() {
        let json = br#"{"name":"x","info":{"status":"deployed","resources":{"a":1}},"future":[1]}"#;
        let record = Record::from_json(json).unwrap().standing(&Standing {
            status: "superseded".into(),
            ..Standing::default()
        });
        let value: Value = serde_json::from_slice(&record.to_json()).unwrap();
        assert_eq!(value["future"], json!([1]));
        assert_eq!(value["info"]["status"], "superseded");
        assert_eq!(value["info"]["resources"], json!({"a": 1}));
    }

    #[test]
    fn a_record_that_no_secret_takes_is_recognised() {
        record("small").pack_to_fit().unwrap();
        // Random enough that it does not pack.
        let mut state = 7_u32;
        let noise: String = (0..1_200_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b'!' + u8::try_from((state >> 24) % 90).unwrap())
            })
            .collect();
        let fault = record(&noise).pack_to_fit().unwrap_err();
        assert!(fault.0.contains("a Secret takes 1048576"), "{fault:?}");
    }

    #[test]
    fn rubbish_is_refused_with_a_reason() {
        for (data, reason) in [
            ("%", "not base64"),
            ("JQ==", "base64 twice"),
            (&BASE64.encode(BASE64.encode("x")), "no JSON"),
            (&BASE64.encode(BASE64.encode([0x1f, 0x8b, 1, 2])), "not gzip"),
        ] {
            let fault = Record::unpack(data).unwrap_err();
            assert!(fault.0.contains(reason), "{data}: {fault:?}");
        }
    }

    #[test]
    fn every_status_reads_back() {
        for (status, word) in WORDS {
            assert_eq!(Status::of(word), status);
            assert_eq!(status.to_string(), word);
        }
        assert_eq!(Status::of("deploying"), Status::Other);
    }
}
