//! Images: which ones objects name, and another registry in the place of their own.
//!
//! Clusters without the internet pull from a registry of their own house. What a plan would pull is listed from its
//! objects; where it is pulled from is changed in its pods' templates and nowhere else, so that a preview shows just
//! that. Pods which a mesh's own controller makes later are the adapter's to see to, by its charts' values.

mod moved;
mod named;
mod pins;
mod pods;
mod reference;

use serde::{Deserialize, Serialize};

pub(crate) use moved::Mover;
pub(crate) use named::named;
pub use named::{ImageUse, NamedImage};

use crate::problem::{Problem, ProblemKind};
use meshery_plugin_api::message::plan::Images;
use pins::Pins;

/// Where images come from instead of where they are named, and what they are pulled with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSource {
    /// Host, and perhaps the beginning of a path, in the place of each image's own registry: `registry.corp/mirror`.
    /// Images stay where they are when it is empty.
    pub registry: String,
    /// Secrets that every pod of a plan gets as `imagePullSecrets`, beside its own. They must be in its namespace.
    pub pull_secrets: Vec<String>,
    /// Images with the digest that they must have: `docker.io/library/nginx:1.27@sha256:...`, each under the name that
    /// manifests give it. A tag can be moved; where an image is named here, pods get the digest with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
}

/// More Secrets than anybody pulls with.
const MOST_SECRETS: usize = 16;
/// More images than the meshes of one cluster have.
const MOST_DIGESTS: usize = 2_000;

impl ImageSource {
    /// Whether nothing is changed.
    pub fn is_usual(&self) -> bool {
        self.registry.is_empty() && self.pull_secrets.is_empty() && self.digests.is_empty()
    }

    /// Whether it can be meant so.
    pub fn check(&self) -> Result<(), Problem> {
        self.fault().map_or(Ok(()), |(_, problem)| Err(problem))
    }

    /// What is wrong with it, if anything is, and the key of the settings it is wrong in: `images.registry`.
    pub fn fault(&self) -> Option<(&'static str, Problem)> {
        let refuse = |what: String, remedy: &str| {
            Problem::new(ProblemKind::Invalid, "bad-image-source", what).remedy(remedy)
        };
        if !self.registry.is_empty() && !reference::is_registry(&self.registry) {
            let problem = refuse(
                format!("\"{}\" is no registry for images", self.registry.escape_debug()),
                "write host[:port], and perhaps a path of lower-case words: registry.corp/mirror; no https://, no \
                 slash at the end",
            );
            return Some(("images.registry", problem));
        }
        if let Some(wrong) = self.pull_secrets.iter().find(|name| !is_name(name)) {
            let problem = refuse(
                format!("\"{}\" is no name of a Secret to pull with", wrong.escape_debug()),
                "use lower-case letters, digits, dots and dashes",
            );
            return Some(("images.pull_secrets", problem));
        }
        if self.pull_secrets.len() > MOST_SECRETS {
            let count = self.pull_secrets.len();
            let problem = refuse(
                format!("{count} Secrets to pull with; {MOST_SECRETS} is the limit"),
                "name those that are needed",
            );
            return Some(("images.pull_secrets", problem));
        }
        if self.digests.len() > MOST_DIGESTS {
            let count = self.digests.len();
            let problem = refuse(
                format!("{count} digests of images; {MOST_DIGESTS} is the limit"),
                "name those of the images that are installed",
            );
            return Some(("images.digests", problem));
        }
        let wrong = Pins::of(&self.digests).err()?;
        let problem = refuse(
            wrong,
            "write name:tag@sha256:DIGEST, with 64 hexadecimal digits, and each image once",
        );
        Some(("images.digests", problem))
    }
}

/// What of it adapters get.
impl From<&ImageSource> for Images {
    fn from(source: &ImageSource) -> Self {
        Self {
            registry: source.registry.clone(),
            pull_secrets: source.pull_secrets.clone(),
        }
    }
}

/// Whether Kubernetes takes this for the name of an object.
fn is_name(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_cannot_be_meant_is_refused_with_how_to_write_it() {
        let source = |registry: &str, secrets: &[&str]| ImageSource {
            registry: registry.into(),
            pull_secrets: secrets.iter().map(|name| (*name).to_owned()).collect(),
            digests: Vec::new(),
        };
        for fine in [
            source("", &[]),
            source("registry.corp", &["regcred", "a.b-c"]),
            source("registry.corp:5000/a/b_c", &[]),
            source("localhost:5000", &[]),
            source("10.0.0.1/mirror", &[]),
        ] {
            assert_eq!(fine.check(), Ok(()), "{fine:?}");
        }
        for (wrong, word) in [
            (source("https://registry.corp", &[]), "https"),
            (source("registry.corp/", &[]), "registry.corp/"),
            (source("registry.corp//x", &[]), "registry.corp//x"),
            (source("Registry.corp/Mirror", &[]), "Mirror"),
            (source("registry.corp/../x", &[]), ".."),
            (source("user@registry.corp", &[]), "user@"),
            (source("registry.corp:/x", &[]), ":/x"),
            (source("registry corp", &[]), "registry corp"),
            (source("", &["Reg Cred"]), "Reg Cred"),
            (source("", &[""]), "Secret"),
        ] {
            let problem = wrong.check().unwrap_err();
            assert_eq!(problem.code, "bad-image-source");
            assert!(
                problem.message.contains(word) && !problem.remedy.is_empty(),
                "{problem:?}"
            );
        }
        let (key, _) = source("", &["registry_digest"]).fault().unwrap();
        assert_eq!(key, "images.pull_secrets", "not what the text is about");
        let pinned = |digests: &[String]| ImageSource {
            digests: digests.to_vec(),
            ..ImageSource::default()
        };
        let digest = "a".repeat(64);
        assert_eq!(pinned(&[format!("nginx:1@sha256:{digest}")]).check(), Ok(()));
        let problem = pinned(&["nginx:1@sha256:aa".into()]).check().unwrap_err();
        assert_eq!(problem.code, "bad-image-source");
        assert!(problem.message.contains("nginx:1@sha256:aa"), "{problem:?}");
    }
}
