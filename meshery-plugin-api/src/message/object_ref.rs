//! A reference to one Kubernetes object, written `apps/v1/Deployment/istio-system/istiod`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Names one object of a cluster: API group, version, kind, namespace (empty for cluster-wide kinds) and name.
///
/// The text form has the API version as Kubernetes writes it (`v1` or `apps/v1`), then kind, namespace and name:
/// `v1/Namespace//istio-system`, `apps/v1/Deployment/istio-system/istiod`. On the wire it is that text.
///
/// ```
/// use meshery_plugin_api::message::object_ref::ObjectRef;
/// let istiod: ObjectRef = "apps/v1/Deployment/istio-system/istiod".parse().unwrap();
/// assert_eq!((istiod.group.as_str(), istiod.api_version().as_str()), ("apps", "apps/v1"));
/// assert_eq!(istiod.to_string(), "apps/v1/Deployment/istio-system/istiod");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// API group, empty for the core group.
    pub group: String,
    /// API version within the group.
    pub version: String,
    /// Kind, as in `Deployment`.
    pub kind: String,
    /// Namespace, empty for cluster-wide kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// A reference from an API version (`v1`, `apps/v1`), kind, namespace and name.
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The reference of a manifest, if it has an API version, a kind and a name.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let (api_version, kind, name) = (text("/apiVersion")?, text("/kind")?, text("/metadata/name")?);
        if api_version.is_empty() || kind.is_empty() || name.is_empty() {
            return None;
        }
        Some(Self::new(
            api_version,
            kind,
            text("/metadata/namespace").unwrap_or(""),
            name,
        ))
    }

    /// The API version as a manifest writes it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether both name the same object, whatever API version they use to say so.
    pub fn same_object(&self, other: &Self) -> bool {
        (&self.group, &self.kind, &self.namespace, &self.name)
            == (&other.group, &other.kind, &other.namespace, &other.name)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(
            f,
            "{}/{}/{}/{}",
            self.version, self.kind, self.namespace, self.name
        )
    }
}

/// The text is not a reference to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseObjectRefError(String);

impl fmt::Display for ParseObjectRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not an object reference: expected [group/]version/Kind/namespace/name",
            self.0
        )
    }
}

impl std::error::Error for ParseObjectRefError {}

impl FromStr for ObjectRef {
    type Err = ParseObjectRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let (group, [version, kind, namespace, name]) = match parts[..] {
            [group, version, kind, namespace, name] if !group.is_empty() => {
                (group, [version, kind, namespace, name])
            }
            [version, kind, namespace, name] => ("", [version, kind, namespace, name]),
            _ => return Err(ParseObjectRefError(text.into())),
        };
        if version.is_empty() || kind.is_empty() || name.is_empty() {
            return Err(ParseObjectRefError(text.into()));
        }
        let [group, version, kind, namespace, name] =
            [group, version, kind, namespace, name].map(String::from);
        Ok(Self {
            group,
            version,
            kind,
            namespace,
            name,
        })
    }
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_with_and_without_a_group() {
        for text in [
            "v1/Namespace//istio-system",
            "apps/v1/Deployment/istio-system/istiod",
        ] {
            assert_eq!(text.parse::<ObjectRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_reference_without_a_name_is_refused_with_the_expected_form() {
        let error = "v1/Namespace//".parse::<ObjectRef>().unwrap_err();
        assert!(
            error.to_string().contains("[group/]version/Kind/namespace/name"),
            "{error}"
        );
    }
}
