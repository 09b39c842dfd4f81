//! Reads bundles without trusting them: nothing is unpacked onto the disk, only files that the first member names are
//! taken, each as long as it says and with the digest that it says, and every chart is read as one before any is kept.
//!
//! A bundle is not compressed, so that it cannot unpack to more than it is; charts have limits of their own.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek as _};
use std::path::Path;

use bytes::Bytes;
use tar::{Archive, Entry, EntryType};

use super::fault::{broken, damaged, files, not_safe};
use super::{BundleContents, CATALOGUE, CONTENTS, Catalogue, FORM, Member};
use crate::cluster::chart::{LIMITS, read_archive, safe_path, sha256};
use crate::problem::{Problem, ProblemKind};

/// Bytes of the member that says what is in it.
const CONTENTS_LIMIT: u64 = 16 << 20;
/// Members of a bundle.
const MEMBERS: usize = 10_000;

/// What a bundle says of itself, after all of it was found to be so.
pub(super) fn check(file: &File) -> Result<BundleContents, Problem> {
    let mut file = file;
    file.rewind().map_err(|error| files(&error))?;
    let mut archive = Archive::new(BufReader::new(file));
    // Raw: a name or header that is said to go on in an entry of its own would be read into memory first.
    let mut entries = archive
        .entries()
        .map_err(|error| broken(&error.to_string()))?
        .raw(true);
    let first = entries
        .next()
        .ok_or_else(|| broken("it is empty"))?
        .map_err(|error| unreadable(file, &error))?;
    let contents = contents(first)?;
    let mut missing: HashMap<&str, &Member> = contents
        .members
        .iter()
        .map(|member| (member.path.as_str(), member))
        .collect();
    if missing.len() < contents.members.len() || contents.members.len() > MEMBERS {
        return Err(broken("it lists a member twice, or too many"));
    }
    for chart in &contents.charts {
        let is_member = missing
            .get(chart.path.as_str())
            .is_some_and(|member| member.sha256 == chart.sha256);
        if !is_member {
            return Err(damaged(
                &chart.path,
                "is not among its members, or with another digest",
            ));
        }
    }
    for entry in entries {
        let mut entry = entry.map_err(|error| broken(&error.to_string()))?;
        let path = path_of(&entry)?;
        let Some(member) = missing.remove(path.as_str()) else {
            return Err(not_safe(
                &path,
                "is not among those that its contents name, or is there twice",
            ));
        };
        if entry.size() != member.size {
            let what = format!("has {} bytes, {} were to come", entry.size(), member.size);
            return Err(damaged(&path, &what));
        }
        if member.size > LIMITS.packed {
            return Err(too_large(&path, LIMITS.packed));
        }
        let body = body(&mut entry, &path)?;
        let found = sha256(&body);
        if found != member.sha256 {
            let what = format!(
                "has the digest sha256:{found}, expected was sha256:{}",
                member.sha256
            );
            return Err(damaged(&path, &what));
        }
        if path == CATALOGUE {
            catalogue(&body)?;
        }
        for chart in contents.charts.iter().filter(|chart| chart.path == path) {
            let place = format!("{path} of the bundle");
            let read = read_archive(body.clone(), Path::new(&path), &place)?;
            if (&read.name, &read.version) != (&chart.name, &chart.version) {
                let what = format!(
                    "holds chart {} {}, not {} {}",
                    read.name, read.version, chart.name, chart.version
                );
                return Err(damaged(&path, &what));
            }
        }
    }
    if let Some(path) = contents
        .members
        .iter()
        .map(|m| &m.path)
        .find(|path| missing.contains_key(path.as_str()))
    {
        return Err(damaged(path, "is not there"));
    }
    Ok(contents)
}

/// The versions that a bundle tells of.
pub(super) fn catalogue(body: &[u8]) -> Result<Catalogue, Problem> {
    serde_json::from_slice(body).map_err(|error| damaged(CATALOGUE, &format!("cannot be read: {error}")))
}

/// The error of who reads what is no tar archive at all, with what it seems to be.
fn unreadable(file: &File, error: &std::io::Error) -> Problem {
    let mut file = file;
    let mut magic = [0; 2];
    let is_gzip = file.rewind().is_ok() && file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    if is_gzip {
        return broken("it is compressed").remedy("decompress it by `gunzip` first; nothing was loaded");
    }
    broken(&error.to_string())
}

/// What every form of a bundle says first.
#[derive(serde::Deserialize)]
struct Form {
    meshery_bundle: u64,
}

fn contents(mut entry: Entry<'_, impl Read>) -> Result<BundleContents, Problem> {
    let path = path_of(&entry)?;
    if path != CONTENTS {
        return Err(broken(&format!(
            "its first member is \"{}\", not {CONTENTS}",
            path.escape_debug()
        )));
    }
    if entry.size() > CONTENTS_LIMIT {
        return Err(too_large(CONTENTS, CONTENTS_LIMIT));
    }
    let bytes = body(&mut entry, CONTENTS)?;
    let unlike = |error: serde_json::Error| broken(&format!("{CONTENTS} cannot be read: {error}"));
    let form: Form = serde_json::from_slice(&bytes).map_err(unlike)?;
    if form.meshery_bundle != u64::from(FORM) {
        let message = format!(
            "the bundle has form {}; this host reads form {FORM}",
            form.meshery_bundle
        );
        return Err(Problem::new(ProblemKind::Invalid, "bundle-other-form", message)
            .cause("it was made by a newer version of Meshery")
            .remedy("update this host, or make the bundle with its version"));
    }
    serde_json::from_slice(&bytes).map_err(unlike)
}

/// An entry's path, when it is a file that may be there.
fn path_of(entry: &Entry<'_, impl Read>) -> Result<String, Problem> {
    let raw = entry.path_bytes().into_owned();
    let shown: String = String::from_utf8_lossy(&raw).chars().take(200).collect();
    let path = safe_path(&raw).map_err(|reason| not_safe(&shown, reason))?;
    match entry.header().entry_type() {
        EntryType::Regular => Ok(path.to_owned()),
        EntryType::Symlink | EntryType::Link => Err(not_safe(&shown, "is a link")),
        EntryType::Directory => Err(not_safe(&shown, "is a folder; bundles have none")),
        _ => Err(not_safe(&shown, "is no file")),
    }
}

/// The whole of an entry whose size was looked at.
fn body(entry: &mut Entry<'_, impl Read>, path: &str) -> Result<Bytes, Problem> {
    let size = entry.size();
    let mut bytes = Vec::new();
    entry
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(|error| broken(&error.to_string()))?;
    if bytes.len() as u64 != size {
        return Err(damaged(path, "is cut short"));
    }
    Ok(bytes.into())
}

fn too_large(path: &str, limit: u64) -> Problem {
    let message = format!(
        "member \"{}\" of the bundle is larger than {limit} bytes",
        path.escape_debug()
    );
    Problem::new(ProblemKind::TooLarge, "bundle-too-large", message).remedy("nothing was loaded")
}

/// Members of a bundle that was checked, one after the other, with their paths.
pub(super) struct Members {
    file: File,
    wanted: HashSet<String>,
    at: u64,
}

impl Members {
    pub(super) fn open(file: File, wanted: HashSet<String>) -> Self {
        Self { file, wanted, at: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<(String, Bytes)>, Problem> {
        loop {
            self.file
                .seek(std::io::SeekFrom::Start(self.at))
                .map_err(|error| files(&error))?;
            let mut archive = Archive::new(BufReader::new(&self.file));
            let entry = archive
                .entries()
                .map_err(|error| files(&error))?
                .raw(true)
                .next()
                .transpose()
                .map_err(|error| files(&error))?;
            let Some(mut entry) = entry else { return Ok(None) };
            self.at += 512 + entry.size().next_multiple_of(512);
            let path = path_of(&entry)?;
            if self.wanted.remove(&path) {
                let body = body(&mut entry, &path)?;
                return Ok(Some((path, body)));
            }
        }
    }
}
