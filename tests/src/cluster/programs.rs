//! Builds the control plane's program from `tests/cluster`, and Helm 3 from `tests/helm3`, on first use and keeps
//! them in a cache.
//!
//! Not in a build script: those run for everybody who only wants to compile, without a word on the terminal,
//! and this takes minutes. The cache lies outside `target`, so that a clean build keeps it, and is keyed by
//! the sources, so that it is never stale.

mod go;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use go::Recipe;

/// One program under the names it goes by.
#[derive(Debug, Clone)]
pub struct Programs {
    /// All parts, and `run`.
    pub cluster: PathBuf,
    /// The same, being helm; usable without a control plane.
    pub helm: PathBuf,
    /// The same, being kubectl.
    pub kubectl: PathBuf,
    /// The lock that a running control plane holds.
    pub(super) lock: PathBuf,
}

impl Programs {
    /// Finds the programs, or builds them.
    pub fn get() -> anyhow::Result<Self> {
        let source = source("cluster");
        let cache = cache()?;
        let recipe = Recipe {
            program: "cluster",
            what: "the test control plane, once; this takes 5 to 10 minutes",
            flags: linker_flags(&source)?,
            source,
            package: ".",
            names: &["helm", "kubectl"],
        };
        let dir = recipe.get(&cache)?;
        Ok(Self {
            cluster: dir.join("cluster"),
            helm: dir.join("bin/helm"),
            kubectl: dir.join("bin/kubectl"),
            lock: cache.join("control-plane.lock"),
        })
    }
}

/// Helm 3, found or built. Its file has to be called `helm`: that is its name among the managers of fields.
pub fn helm3() -> anyhow::Result<PathBuf> {
    let source = source("helm3");
    let version = fs::read_to_string(source.join("go.mod"))?;
    let version = required_version(&version, "helm.sh/helm/v3")?;
    let recipe = Recipe {
        program: "helm",
        what: "helm 3, once; this takes 1 to 3 minutes",
        flags: format!("-s -w -X helm.sh/helm/v3/internal/version.version={version}"),
        source,
        package: "helm.sh/helm/v3/cmd/helm",
        names: &[],
    };
    Ok(recipe.get(&cache()?)?.join("helm"))
}

fn source(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn cache() -> anyhow::Result<PathBuf> {
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = var("MESHERY_TEST_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("meshery-tests")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache/meshery-tests")))
        .context("no place for the test control plane: set MESHERY_TEST_CACHE or HOME")?;
    fs::create_dir_all(&cache).with_context(|| format!("making the cache folder {}", cache.display()))?;
    Ok(cache)
}

/// Stamps the versions, as the projects' own releases do: clients choke on the version that an unstamped API
/// server reports, and charts ask helm for its own.
fn linker_flags(source: &Path) -> anyhow::Result<String> {
    let go_mod = fs::read_to_string(source.join("go.mod"))?;
    let kubernetes = required_version(&go_mod, "k8s.io/kubernetes")?;
    let helm = required_version(&go_mod, "helm.sh/helm/v4")?;
    let mut numbers = kubernetes.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        bail!("the version {kubernetes:?} of k8s.io/kubernetes in go.mod has no minor number");
    };
    let stamp = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {stamp}.gitVersion={kubernetes} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor} \
         -X helm.sh/helm/v4/internal/version.version={helm}"
    ))
}

fn required_version<'a>(go_mod: &'a str, module: &str) -> anyhow::Result<&'a str> {
    go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '))
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("go.mod does not require {module}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_go_mod_requires() {
        let go_mod = "require (\n\tk8s.io/kubernetes-more v0.36.3\n\tk8s.io/kubernetes v1.36.3\n)\n";
        assert_eq!(required_version(go_mod, "k8s.io/kubernetes").unwrap(), "v1.36.3");
        assert!(required_version(go_mod, "helm.sh/helm/v4").is_err());
    }
}
