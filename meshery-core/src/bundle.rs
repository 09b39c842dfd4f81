//! Bundles: everything that installations take, in one file that can be carried to where there is no internet.
//!
//! A bundle is a plain tar archive. Its first member says what is in it, with the SHA-256 of every other member; there
//! is no time and no name of a user or machine in it, so that the same charts give the same bytes. Images are listed
//! and not in it: copying them between registries is done better by the tools for that. Form: `docs/air-gapped.md`.

mod fault;
mod reading;
mod writing;

use std::collections::BTreeMap;
use std::fs::File;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use meshery_plugin_api::message::descriptor::MeshVersion;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::images::NamedImage;
use crate::meshery::{Meshery, Supplies, Wanted};
use crate::problem::{Problem, ProblemKind};
use fault::{files, in_blocking, incomplete};

/// The version of the form.
pub(crate) const FORM: u32 = 1;
/// The member that says what is in it.
const CONTENTS: &str = "bundle.json";
/// The member with the versions that were known where it was made.
const CATALOGUE: &str = "catalogue.json";
/// More installations are two bundles.
const MOST: usize = 32;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BundleContents {
    /// Version of the form.
    pub meshery_bundle: u32,
    /// The installations that it was made for.
    pub meshes: Vec<BundledMesh>,
    /// The charts.
    pub charts: Vec<BundledChart>,
    /// The images that they pull, which are not in it.
    pub images: Vec<NamedImage>,
    /// Every member but this one, in the order of the archive.
    pub members: Vec<Member>,
}

/// An installation in a bundle.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BundledMesh {
    /// Name of the adapter.
    pub adapter: String,
    /// Version of the adapter.
    pub adapter_version: String,
    /// Name of the mesh.
    pub mesh: String,
    /// One sentence on what is installed.
    pub summary: String,
    /// The parameters that it was planned with, defaults filled in.
    pub parameters: Map<String, Value>,
    /// SHA-256 of its charts, in the order of the plan.
    pub charts: Vec<String>,
}

/// A chart in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BundledChart {
    /// Chart name.
    pub name: String,
    /// Chart version.
    pub version: String,
    /// Version of what it installs.
    #[serde(default)]
    pub app_version: String,
    /// SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
    /// Its member.
    pub path: String,
}

/// A file in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// Path in the archive.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The versions of a mesh by adapter: those that it has pinned, and those that repositories had listed for it.
type Catalogue = BTreeMap<String, Vec<MeshVersion>>;

/// A bundle, made.
#[derive(Debug)]
pub struct Bundle {
    /// What is in it.
    pub contents: BundleContents,
    /// The archive, to be read from its beginning; it goes when it is closed.
    pub file: File,
    /// Its bytes.
    pub size: u64,
}

/// What loading a bundle led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// What the bundle says of itself.
    pub contents: BundleContents,
    /// How many of its charts were not here before.
    pub new: usize,
    /// How many versions that repositories had listed where it was made are known here by it.
    #[serde(default)]
    pub versions: usize,
}

impl Meshery {
    /// Collects what installations take. Charts come from where a plan would have them.
    pub async fn bundle(&self, wanted: &[Wanted]) -> Result<Bundle, Problem> {
        if wanted.is_empty() || wanted.len() > MOST {
            let message = format!("{} installations in one bundle", wanted.len());
            return Err(Problem::new(ProblemKind::Invalid, "bad-bundle-request", message)
                .remedy(format!("name 1 to {MOST}")));
        }
        let mut supplies: Vec<Supplies> = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            supplies.push(self.supplies(wanted).await?);
        }
        let cache = self.charts().cache().to_owned();
        in_blocking(move || writing::write(supplies, &cache)).await
    }

    /// Takes a bundle's charts in for good: all of them, or none when anything in it is not as it says.
    pub async fn load_bundle<E: std::fmt::Display>(
        &self,
        bundle: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Loaded, Problem> {
        let cache = self.charts().cache().to_owned();
        let file = in_blocking(move || writing::draft(&cache)).await?;
        let mut file = tokio::fs::File::from_std(file);
        let mut pieces = std::pin::pin!(bundle);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| incomplete(&error))?;
            tokio::io::AsyncWriteExt::write_all(&mut file, &piece)
                .await
                .map_err(|error| files(&error))?;
        }
        tokio::io::AsyncWriteExt::flush(&mut file)
            .await
            .map_err(|error| files(&error))?;
        let file = file.into_std().await;
        let (file, contents) = in_blocking(move || {
            let contents = reading::check(&file)?;
            Ok((file, contents))
        })
        .await?;
        let charts = contents.charts.iter().map(|chart| chart.path.clone());
        let wanted = charts.chain([CATALOGUE.to_owned()]).collect();
        let (mut new, mut versions) = (0, 0);
        let mut members = reading::Members::open(file, wanted);
        loop {
            let (member, rest) = in_blocking(move || {
                let mut members = members;
                Ok((members.next()?, members))
            })
            .await?;
            members = rest;
            let Some((path, body)) = member else { break };
            if path == CATALOGUE {
                versions = self.take_listed(reading::catalogue(&body)?).await?;
            } else {
                new += usize::from(self.charts().keep(body).await?);
            }
        }
        tracing::info!(
            charts = contents.charts.len(),
            new,
            versions,
            "a bundle was loaded"
        );
        Ok(Loaded {
            contents,
            new,
            versions,
        })
    }
}

#[cfg(test)]
mod tests;
