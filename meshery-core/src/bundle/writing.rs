//! Writes bundles: members in a fixed order, headers without anything of this machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::path::Path;

use bytes::Bytes;
use tar::{EntryType, Header};

use super::fault::files;
use super::{
    Bundle, BundleContents, BundledChart, BundledMesh, CATALOGUE, CONTENTS, Catalogue, FORM, Member,
};
use crate::cluster::chart::{Chart, sha256};
use crate::images::NamedImage;
use crate::meshery::Supplies;
use crate::problem::{Problem, ProblemKind};

/// A file in the cache that goes when it is closed.
pub(super) fn draft(cache: &Path) -> Result<File, Problem> {
    std::fs::create_dir_all(cache).map_err(|error| files(&error))?;
    tempfile::tempfile_in(cache).map_err(|error| files(&error))
}

pub(super) fn write(supplies: Vec<Supplies>, cache: &Path) -> Result<Bundle, Problem> {
    let mut charts: BTreeMap<(String, String, String), Chart> = BTreeMap::new();
    let mut catalogue = Catalogue::new();
    let mut meshes = Vec::new();
    let mut images: BTreeMap<String, NamedImage> = BTreeMap::new();
    for supplied in supplies {
        meshes.push(BundledMesh {
            adapter: supplied.adapter.clone(),
            adapter_version: supplied.adapter_version,
            mesh: supplied.mesh,
            summary: supplied.summary,
            parameters: supplied.parameters,
            charts: supplied.charts.iter().map(|chart| chart.sha256.clone()).collect(),
        });
        catalogue.insert(supplied.adapter, supplied.versions);
        for chart in supplied.charts {
            let key = (chart.name.clone(), chart.version.clone(), chart.sha256.clone());
            charts.insert(key, chart);
        }
        for image in supplied.images {
            let known = images.entry(image.image.clone()).or_insert_with(|| NamedImage {
                image: image.image.clone(),
                used_by: Vec::new(),
            });
            known.used_by.extend(image.used_by);
            known.used_by.sort();
            known.used_by.dedup();
        }
    }
    let images: Vec<NamedImage> = images.into_values().collect();
    let list = images
        .iter()
        .fold(String::new(), |list, image| list + &image.image + "\n");
    let mut bodies: Vec<(String, Bytes)> = vec![
        (CATALOGUE.into(), json(&catalogue)?.into()),
        ("images.txt".into(), list.into_bytes().into()),
    ];
    let mut listed = Vec::new();
    for chart in charts.into_values() {
        let path = format!("charts/{}.tgz", chart.sha256);
        listed.push(BundledChart {
            name: chart.name,
            version: chart.version,
            app_version: chart.app_version,
            sha256: chart.sha256,
            path: path.clone(),
        });
        if bodies.iter().all(|(there, _)| *there != path) {
            bodies.push((path, chart.archive));
        }
    }
    let contents = BundleContents {
        meshery_bundle: FORM,
        meshes,
        charts: listed,
        images,
        members: bodies
            .iter()
            .map(|(path, body)| Member {
                path: path.clone(),
                size: body.len() as u64,
                sha256: sha256(body),
            })
            .collect(),
    };
    let mut file = draft(cache)?;
    let size = pack(&mut file, &contents, &bodies).map_err(|error| files(&error))?;
    Ok(Bundle { contents, file, size })
}

fn pack(file: &mut File, contents: &BundleContents, bodies: &[(String, Bytes)]) -> io::Result<u64> {
    let mut out = io::BufWriter::new(&mut *file);
    append(&mut out, CONTENTS, &serde_json::to_vec_pretty(contents)?)?;
    for (path, body) in bodies {
        append(&mut out, path, body)?;
    }
    out.write_all(&[0; 1024])?;
    out.flush()?;
    drop(out);
    let size = file.stream_position()?;
    file.rewind()?;
    Ok(size)
}

/// One member. Paths of bundles are shorter than a header's field.
pub(super) fn append(out: &mut impl Write, path: &str, body: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(body.len() as u64);
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    out.write_all(body)?;
    let padding = body.len().next_multiple_of(512) - body.len();
    out.write_all(&[0; 512][..padding])
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec_pretty(value).map_err(|error| {
        let message = format!("the bundle cannot be written: {error}");
        Problem::new(ProblemKind::Internal, "bundle-file", message)
    })
}
