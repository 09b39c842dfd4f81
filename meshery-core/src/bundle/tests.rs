use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use tar::{EntryType, Header};

use super::*;
use crate::cluster::chart::{ChartSettings, Charts, packer::Packer, sha256};
use crate::images::ImageUse;

fn chart() -> Vec<u8> {
    Packer::chart("demo")
}

/// What an adapter's installation of the demo chart would take.
fn supplies() -> Supplies {
    let archive = Bytes::from(chart());
    let chart = crate::cluster::chart::read_archive(archive, Path::new("demo.tgz"), "demo.tgz").unwrap();
    Supplies {
        adapter: "lattice".into(),
        adapter_version: "1.0.0".into(),
        mesh: "Lattice".into(),
        versions: vec![MeshVersion {
            version: "0.1.0".into(),
            ..MeshVersion::default()
        }],
        summary: "Install Lattice 0.1.0".into(),
        parameters: Map::new(),
        charts: vec![chart],
        images: vec![NamedImage {
            image: "r.io/a:1".into(),
            used_by: vec![ImageUse {
                object: "apps/v1/Deployment/a/b".into(),
                place: "container c".into(),
            }],
        }],
    }
}

fn made() -> Vec<u8> {
    let cache = tempfile::tempdir().unwrap();
    let Bundle { mut file, size, .. } = writing::write(vec![supplies()], cache.path()).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

fn check(bytes: &[u8]) -> Result<BundleContents, Problem> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    reading::check(&file)
}

/// A bundle of other members, which its contents name as they are.
fn bundle(members: &[(&str, &[u8])], charts: &[BundledChart]) -> Vec<u8> {
    let contents = BundleContents {
        meshery_bundle: FORM,
        charts: charts.to_vec(),
        members: members
            .iter()
            .map(|(path, body)| Member {
                path: (*path).into(),
                size: body.len() as u64,
                sha256: sha256(body),
            })
            .collect(),
        ..BundleContents::default()
    };
    let mut bytes = Vec::new();
    writing::append(&mut bytes, CONTENTS, &serde_json::to_vec(&contents).unwrap()).unwrap();
    for (path, body) in members {
        raw(&mut bytes, path, EntryType::Regular, body);
    }
    bytes.extend([0; 1024]);
    bytes
}

/// An entry that says what no tar library would write.
fn raw(out: &mut Vec<u8>, path: &str, kind: EntryType, body: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(body.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(512), 0);
}

#[test]
fn the_same_supplies_give_the_same_bytes_which_any_tar_reads() {
    let bytes = made();
    assert_eq!(bytes, made());
    let mut archive = tar::Archive::new(bytes.as_slice());
    let paths: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    let expected = format!("charts/{}.tgz", sha256(&chart()));
    assert_eq!(paths, ["bundle.json", "catalogue.json", "images.txt", &expected]);
    let contents = check(&bytes).unwrap();
    assert_eq!(contents.charts[0].name, "demo");
    assert_eq!(contents.images[0].image, "r.io/a:1");
    assert_eq!(contents.members.len(), 3);
}

#[test]
fn any_cut_and_any_changed_byte_of_a_member_is_refused() {
    let whole = made();
    let body_of_first = 512;
    for at in (0..whole.len()).step_by(97) {
        // The last blocks of a tar archive say nothing.
        if at < whole.len() - 1024 {
            check(&whole[..at]).unwrap_err();
        }
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        if let Ok(contents) = check(&changed) {
            // What words say is free; what is loaded is not.
            assert!(at >= body_of_first, "{at}");
            assert_eq!(contents.charts[0].sha256, sha256(&chart()), "{at}");
        }
    }
    let at = whole.len() - 1024 - 600;
    let mut changed = whole;
    changed[at] ^= 1;
    assert_eq!(check(&changed).unwrap_err().code, "bundle-damaged");
}

#[test]
fn a_wrong_digest_a_missing_member_and_another_chart_are_told_apart() {
    let digest = sha256(&chart());
    let listed = |name: &str, sha256: &str| BundledChart {
        name: name.into(),
        version: "0.1.0".into(),
        sha256: sha256.into(),
        path: "charts/x.tgz".into(),
        ..BundledChart::default()
    };
    check(&bundle(&[("charts/x.tgz", &chart())], &[listed("demo", &digest)])).unwrap();
    let cases = [
        (
            bundle(&[("charts/x.tgz", &chart())], &[listed("demo", &"0".repeat(64))]),
            "bundle-damaged",
            "another digest",
        ),
        (
            bundle(&[], &[listed("demo", &digest)]),
            "bundle-damaged",
            "not among its members",
        ),
        (
            bundle(&[("charts/x.tgz", &chart())], &[listed("other", &digest)]),
            "bundle-damaged",
            "holds chart demo",
        ),
        (
            bundle(
                &[("charts/x.tgz", b"no archive")],
                &[listed("demo", &sha256(b"no archive"))],
            ),
            "chart-not-an-archive",
            "charts/x.tgz",
        ),
    ];
    for (bytes, code, word) in cases {
        let problem = check(&bytes).unwrap_err();
        assert_eq!(problem.code, code, "{problem:?}");
        assert!(problem.message.contains(word), "{problem:?}");
    }
    let mut lacking = bundle(&[("a.txt", b"a"), ("b.txt", b"b")], &[]);
    lacking.truncate(lacking.len() - 1024 - 1024);
    lacking.extend([0; 1024]);
    let problem = check(&lacking).unwrap_err();
    assert!(
        problem.message.contains("b.txt") && problem.message.contains("not there"),
        "{problem:?}"
    );
}

#[test]
fn paths_that_leave_links_and_whatever_is_not_named_are_refused() {
    for (path, word) in [
        ("/etc/passwd", "absolute"),
        ("../x", "leaves the folder"),
        ("a/../../x", "leaves the folder"),
        ("a\\x", "backslash"),
    ] {
        let problem = check(&bundle(&[(path, b"x")], &[])).unwrap_err();
        assert_eq!(problem.code, "bundle-unsafe");
        assert!(problem.message.contains(word), "{problem:?}");
    }
    for (kind, word) in [
        (EntryType::Symlink, "link"),
        (EntryType::Link, "link"),
        (EntryType::Directory, "folder"),
        (EntryType::Char, "no file"),
        (EntryType::GNUSparse, "no file"),
        (EntryType::GNULongName, "no file"),
        (EntryType::XHeader, "no file"),
    ] {
        let mut bytes = bundle(&[], &[]);
        bytes.truncate(bytes.len() - 1024);
        raw(&mut bytes, "x", kind, b"");
        bytes.extend([0; 1024]);
        let problem = check(&bytes).unwrap_err();
        assert_eq!(problem.code, "bundle-unsafe", "{kind:?}");
        assert!(problem.message.contains(word), "{problem:?}");
    }
    let mut more = bundle(&[("a", b"x")], &[]);
    more.truncate(more.len() - 1024);
    raw(&mut more, "a", EntryType::Regular, b"x");
    more.extend([0; 1024]);
    assert!(check(&more).unwrap_err().message.contains("twice"));
}

#[test]
fn other_files_and_other_forms_are_named() {
    let gzip = crate::cluster::chart::packer::gzip(&made());
    assert!(check(&gzip).unwrap_err().remedy.contains("gunzip"));
    for bytes in [b"".as_slice(), b"<html>", &[0; 4096], &chart()] {
        let problem = check(bytes).unwrap_err();
        assert_eq!(problem.code, "bad-bundle", "{problem:?}");
    }
    let mut newer = Vec::new();
    writing::append(&mut newer, CONTENTS, br#"{"meshery_bundle": 2, "meshes": 3}"#).unwrap();
    let problem = check(&newer).unwrap_err();
    assert_eq!(problem.code, "bundle-other-form");
    assert!(problem.message.contains("form 2"), "{problem:?}");
}

#[test]
fn a_bomb_in_a_chart_and_a_member_that_is_too_large_are_stopped() {
    let nothing = vec![0; 1 << 20];
    let bomb = (0..120)
        .fold(Packer::new(), |packer, n| {
            packer.raw(&format!("demo/{n}"), EntryType::Regular, &nothing)
        })
        .finish();
    assert!(bomb.len() < 2 << 20);
    let listed = BundledChart {
        name: "demo".into(),
        sha256: sha256(&bomb),
        path: "charts/x.tgz".into(),
        ..BundledChart::default()
    };
    let problem = check(&bundle(&[("charts/x.tgz", &bomb)], &[listed])).unwrap_err();
    assert_eq!(problem.code, "chart-too-large", "{problem:?}");

    // A size that the file does not have is not believed.
    let mut header = Header::new_ustar();
    header.set_path(CONTENTS).unwrap();
    header.set_entry_type(EntryType::Regular);
    header.set_size(1 << 40);
    header.set_cksum();
    let problem = check(header.as_bytes()).unwrap_err();
    assert_eq!(problem.code, "bundle-too-large", "{problem:?}");
}

#[tokio::test]
async fn what_was_brought_is_found_without_mirror_and_network_and_bringing_it_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let charts = Charts::new(ChartSettings {
        kept: Some(folder.path().join("data")),
        cache: folder.path().join("cache"),
        offline: true,
        ..ChartSettings::default()
    });
    let wanted = meshery_plugin_api::message::plan::ChartRef {
        name: "demo".into(),
        version: "0.1.0".into(),
        ..Default::default()
    };
    charts.fetch(&wanted).await.unwrap_err();
    assert!(charts.keep(chart().into()).await.unwrap());
    assert!(!charts.keep(chart().into()).await.unwrap());
    assert_eq!(charts.fetch(&wanted).await.unwrap().sha256, sha256(&chart()));
    assert_eq!(charts.facts().await.unwrap().len(), 1);
    charts.keep(Bytes::from_static(b"no archive")).await.unwrap_err();
    assert_eq!(charts.facts().await.unwrap().len(), 1);
}
