//! Which helm program renders, and whether it can.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::error::ChartError;
use super::process::{self, Invocation};

/// The oldest that is known to render as the newest do.
const OLDEST: (u32, u32) = (3, 14);
const PROBE: Duration = Duration::from_secs(20);

/// A helm program that was asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Helm {
    pub(super) path: PathBuf,
    /// As it says itself: `v4.2.4+g4d2e1b6`.
    pub(super) version: String,
    /// Major and minor number.
    pub(super) number: (u32, u32),
}

impl Helm {
    /// Whether it can be told to leave out the check of the values against the schema.
    pub(super) fn can_skip_schema(&self) -> bool {
        self.number >= (3, 16)
    }
}

/// Remembers what each program said of its version until its file changes.
#[derive(Debug, Default)]
pub(super) struct Probes(Mutex<HashMap<PathBuf, (Stamp, Helm)>>);

type Stamp = (u64, Option<SystemTime>);

impl Probes {
    /// The program that was named, or the first on PATH, asked for its version.
    pub(super) async fn find(&self, named: Option<&Path>) -> Result<Helm, ChartError> {
        let path = locate(named)?;
        let fault = |reason: String| ChartError::HelmUnusable {
            path: path.clone(),
            reason,
        };
        let metadata = std::fs::metadata(&path).map_err(|e| fault(e.to_string()))?;
        let stamp = (metadata.len(), metadata.modified().ok());
        if let Some((known, helm)) = self.0.lock().get(&path)
            && *known == stamp
        {
            return Ok(helm.clone());
        }
        let home = tempfile::tempdir().map_err(|e| fault(e.to_string()))?;
        let output = process::run(Invocation {
            program: &path,
            arguments: ["version", "--short"].map(Into::into).into(),
            input: Vec::new(),
            home: home.path(),
            deadline: PROBE,
            limit: 64 << 10,
        })
        .await
        .map_err(|error| fault(error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let said = said.trim();
        if !output.status.success() {
            let last = output.stderr.lines().last().unwrap_or_default();
            return Err(fault(format!("`helm version` failed: {last}")));
        }
        let number = parse(said).ok_or_else(|| {
            let said: String = said.chars().take(80).collect();
            fault(format!("`helm version` says \"{said}\", which is no version"))
        })?;
        if number < OLDEST {
            return Err(fault(format!("it is {said}, older than 3.14")));
        }
        let helm = Helm {
            path: path.clone(),
            version: said.into(),
            number,
        };
        self.0.lock().insert(path, (stamp, helm.clone()));
        Ok(helm)
    }
}

/// Major and minor number of `v4.2.4+g05fa379`; helm built from its sources says `v3.19` only.
fn parse(said: &str) -> Option<(u32, u32)> {
    let mut parts = said
        .strip_prefix('v')
        .unwrap_or(said)
        .split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn locate(named: Option<&Path>) -> Result<PathBuf, ChartError> {
    let name = named.unwrap_or(Path::new("helm"));
    if name.components().count() > 1 {
        // Not resolved through links: some programs tell by the name of the link what they are to be.
        let path = std::path::absolute(name).unwrap_or_else(|_| name.into());
        return if is_program(&path) {
            Ok(path)
        } else {
            let what = if path.exists() {
                "is not a program"
            } else {
                "is not there"
            };
            Err(ChartError::HelmMissing {
                looked: format!("{}, which the settings name, {what}", path.display()),
            })
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
        .ok_or_else(|| ChartError::HelmMissing {
            looked: format!("no \"{}\" in the folders of PATH", name.display()),
        })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::problem::Problem;

    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("helm");
        // Written under another name and moved, so that no other test's child holds it open for writing.
        let draft = folder.join("draft");
        std::fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&draft, &path).unwrap();
        path
    }

    #[test]
    fn versions_are_read_in_every_form_that_helm_gives_them() {
        for (said, number) in [
            ("v4.2.4+g05fa379", Some((4, 2))),
            ("v3.19", Some((3, 19))),
            ("v3.14.0-rc.1", Some((3, 14))),
            ("3.14.4", Some((3, 14))),
            ("", None),
            ("helm: not found", None),
        ] {
            assert_eq!(parse(said), number, "{said}");
        }
    }

    #[tokio::test]
    async fn a_missing_helm_is_told_with_the_remedy() {
        let error = Probes::default()
            .find(Some(Path::new("/nowhere/helm")))
            .await
            .unwrap_err();
        let problem = Problem::from(error);
        assert_eq!(problem.code, "helm-missing");
        assert!(problem.message.contains("/nowhere/helm") && problem.remedy.contains("MESHERY_HELM"));
        let error = Probes::default()
            .find(Some(Path::new("no-such-helm")))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("no \"no-such-helm\" in the folders of PATH"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_program_is_asked_again_only_when_its_file_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), "echo x >> $0.asked; echo v3.15.2");
        let probes = Probes::default();
        for _ in 0..3 {
            assert_eq!(probes.find(Some(&path)).await.unwrap().number, (3, 15));
        }
        script(folder.path(), "echo x >> $0.asked; echo v4.0.0-longer");
        assert_eq!(probes.find(Some(&path)).await.unwrap().version, "v4.0.0-longer");
        assert_eq!(
            std::fs::read_to_string(folder.path().join("helm.asked")).unwrap(),
            "x\nx\n"
        );
    }

    #[tokio::test]
    async fn old_and_broken_programs_are_refused() {
        for (text, expected) in [
            ("echo v3.13.9", "older than 3.14"),
            ("echo hello", "no version"),
            ("echo broken >&2; exit 1", "broken"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let error = Probes::default()
                .find(Some(&script(folder.path(), text)))
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
