//! Checking a file without running it, the cheapest checks first.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use meshery_plugin_api::message::SCHEMA;
use meshery_plugin_api::message::descriptor::{Manifest, PluginKind};
use ring::digest::{SHA256, digest};

use super::elf;
use super::fault::LoadFault;
use super::find::Candidate;

/// The largest file that is read: a plugin built for debugging has about 30 MB.
const MOST_BYTES: u64 = 256 << 20;

/// A file that passed.
pub(super) struct Inspected {
    pub bytes: Vec<u8>,
    pub sha256: String,
    pub manifest: Manifest,
    /// Nobody could have changed it who could not have changed the host's own binary.
    pub trusted: bool,
}

/// What is known of a refused file.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub sha256: String,
    pub manifest: Manifest,
}

/// Checks a file; `host` is the program that would load it.
pub(super) fn inspect(candidate: &Candidate, host: &Path) -> Result<Inspected, Box<(LoadFault, Refused)>> {
    let (bytes, trusted) = read(candidate, host).map_err(|fault| Box::new((fault, Refused::default())))?;
    let sha256 = hex(digest(&SHA256, &bytes).as_ref());
    let refused = |fault, manifest: Option<&Manifest>| {
        let refused = Refused {
            sha256: sha256.clone(),
            manifest: manifest.cloned().unwrap_or_default(),
        };
        Box::new((fault, refused))
    };
    let section = elf::manifest(&bytes).map_err(|fault| refused(fault, None))?;
    let manifest: Manifest = serde_json::from_slice(section).map_err(|error| {
        let why = error.to_string();
        refused(LoadFault::BadManifest { why }, None)
    })?;
    check(&manifest).map_err(|fault| refused(fault, Some(&manifest)))?;
    Ok(Inspected {
        bytes,
        sha256,
        manifest,
        trusted,
    })
}

fn read(candidate: &Candidate, host: &Path) -> Result<(Vec<u8>, bool), LoadFault> {
    let unreadable = |error: std::io::Error| LoadFault::Unreadable {
        why: error.to_string(),
    };
    let path = candidate.file.canonicalize().map_err(unreadable)?;
    regular(&path.metadata().map_err(unreadable)?)?;
    // It may have become a pipe since, and opening one waits for a writer.
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(&path)
        .map_err(unreadable)?;
    let of_file = file.metadata().map_err(unreadable)?;
    regular(&of_file)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let of_folder = folder.metadata().map_err(unreadable)?;
    let host = host.metadata().ok();
    writable_by_others(&of_file, "the file", host.as_ref())?;
    writable_by_others(&of_folder, "its folder", host.as_ref())?;
    let too_large = |size| LoadFault::TooLarge {
        size,
        limit: MOST_BYTES,
    };
    if of_file.len() > MOST_BYTES {
        return Err(too_large(of_file.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(of_file.len()).unwrap_or(0) + 1);
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    Ok((
        bytes,
        candidate.own && host.is_some_and(|host| as_safe_as(&host, &of_file, &of_folder)),
    ))
}

fn regular(metadata: &Metadata) -> Result<(), LoadFault> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(LoadFault::NotRegularFile { what: what.into() })
}

const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Refuses what anybody may change, or somebody who is neither root nor the user that the host runs as or belongs to.
///
/// A group that may write is no reason to refuse (many systems give each user a group of their own and let it write),
/// but it is one to keep the plugin out of this process; see [`as_safe_as`].
fn writable_by_others(metadata: &Metadata, name: &str, host: Option<&Metadata>) -> Result<(), LoadFault> {
    let (mode, owner) = (metadata.mode(), metadata.uid());
    let what = if mode & ALL_WRITE != 0 && !(metadata.is_dir() && mode & STICKY != 0) {
        format!("{name} has the mode {:o}", mode & 0o7777)
    } else if owner != 0
        && owner != rustix::process::geteuid().as_raw()
        && host.is_none_or(|host| owner != host.uid())
    {
        format!("{name} belongs to the user {owner}")
    } else {
        return Ok(());
    };
    Err(LoadFault::WritableByOthers { what })
}

/// Whether whoever may change the file or its folder may change the host's binary too.
fn as_safe_as(host: &Metadata, file: &Metadata, folder: &Metadata) -> bool {
    [file, folder].iter().all(|m| {
        let group_is_no_risk =
            m.mode() & GROUP_WRITES == 0 || (host.mode() & GROUP_WRITES != 0 && m.gid() == host.gid());
        m.uid() == host.uid() && m.mode() & ALL_WRITE == 0 && group_is_no_risk
    })
}

fn check(manifest: &Manifest) -> Result<(), LoadFault> {
    if manifest.kind == PluginKind::Unknown {
        return Err(LoadFault::UnknownKind);
    }
    let well_named = !manifest.name.is_empty()
        && manifest.name.len() <= 63
        && manifest
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !well_named {
        return Err(LoadFault::BadManifest {
            why: format!(
                "\"{}\" is no name: one has lower-case letters, digits and dashes only",
                manifest.name.chars().take(80).collect::<String>()
            ),
        });
    }
    let bad = |what: &str, text: &str| LoadFault::BadManifest {
        why: format!("its {what} \"{text}\" is not a version"),
    };
    semver::Version::parse(&manifest.version).map_err(|_| bad("version", &manifest.version))?;
    // Older and newer ones of the same major version both fit.
    let fits = |what: &str, found: &str, ours: &str| {
        let version = semver::Version::parse(found).map_err(|_| bad(what, found))?;
        let accepted = semver::Version::parse(ours).map_or(1, |ours| ours.major);
        Ok((version.major == accepted, format!("{accepted}.x (it has {ours})")))
    };
    let (fit, accepted) = fits("plugin API", &manifest.api, meshery_plugin_api::VERSION)?;
    if !fit {
        let found = manifest.api.clone();
        return Err(LoadFault::ApiVersion { found, accepted });
    }
    let (fit, accepted) = fits("schema", &manifest.schema, SCHEMA)?;
    if !fit {
        let found = manifest.schema.clone();
        return Err(LoadFault::SchemaVersion { found, accepted });
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn fault(file: &Path) -> LoadFault {
        let candidate = Candidate {
            file: file.to_owned(),
            own: true,
        };
        inspect(&candidate, Path::new("/nowhere")).err().unwrap().0
    }

    #[test]
    fn a_file_that_anybody_may_change_is_refused_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.so");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(fault(&file), LoadFault::NotElf);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o646)).unwrap();
        assert!(fault(&file).to_string().contains("the file has the mode 646"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(fault(&file).to_string().contains("its folder has the mode 777"));
    }

    #[test]
    fn a_huge_file_is_refused_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.so");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(fault(&path), LoadFault::TooLarge { size, .. } if size == 1 << 40));
    }

    #[test]
    fn a_manifest_is_taken_with_any_version_of_the_same_major() {
        let mut manifest = Manifest {
            kind: PluginKind::Adapter,
            name: "x".into(),
            version: "0.1.0".into(),
            api: "1.99.0".into(),
            schema: "1.7.0".into(),
            ..Manifest::default()
        };
        assert_eq!(check(&manifest), Ok(()));
        manifest.schema = "0.1.0".into();
        assert!(
            check(&manifest)
                .unwrap_err()
                .to_string()
                .contains("schema 0.1.0, this host takes 1.x")
        );
        manifest.api = "2.0.0".into();
        assert!(
            check(&manifest)
                .unwrap_err()
                .to_string()
                .contains("plugin API 2.0.0, this host takes 1.x")
        );
        manifest.api = "two".into();
        assert!(matches!(check(&manifest), Err(LoadFault::BadManifest { .. })));
        manifest.name = "../x".into();
        assert!(matches!(check(&manifest), Err(LoadFault::BadManifest { .. })));
    }
}
