//! Where there is no internet: bundles made here and loaded there, images listed and pulled from elsewhere.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::chart_archive;
use meshery_tests::cluster::Programs;
use meshery_tests::host::{Host, HostBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::invented::{LIMIT, invented_host, request};
use crate::mesheryctl::{ctl, has};
use crate::namespace::succeeded;
use crate::{cluster, trial, trial_with_charts};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "air_gapped::a_bundle_brings_what_an_installation_takes_to_a_host_that_has_nothing",
            brought,
        ),
        trial("air_gapped::a_bundle_that_is_not_whole_brings_nothing", not_whole),
        trial(
            "air_gapped::images_come_from_another_registry_and_helms_record_knows",
            elsewhere,
        ),
        trial_with_charts("air_gapped::istio_is_bundled_with_all_its_images", istio),
    ]
}

const IMAGE: &str = "registry.example/demo:1.4.0";

/// A host with the tests' adapter and a helm, and no cluster.
pub fn host(folder: &Path) -> anyhow::Result<HostBuilder> {
    let plugins = folder.join("plugins");
    fs::create_dir_all(&plugins)?;
    let library = artifacts::build()?.library("fixture_invented_mesh")?;
    fs::copy(library, plugins.join("libfixture_invented_mesh.so"))?;
    Ok(Host::builder()
        .own_plugins(&["meshery_local_provider"])
        .plugins(plugins)
        .helm(Programs::get()?.helm)
        .env("MESHERY_OFFLINE", "true"))
}

fn with_mirror(folder: &Path) -> anyhow::Result<Host> {
    let mirror = folder.join("mirror");
    chart_archive::mirror(&mirror, &["demo"])?;
    host(folder)?.mirror(mirror).start()
}

fn brought() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let from = with_mirror(folder.path())?;
    let (one, two) = (folder.path().join("one.tar"), folder.path().join("two.tar"));
    let (said, _) = ctl(
        &from,
        0,
        &format!("bundle create --mesh Invented --out {}", one.display()),
    )?;
    let answer = ctl(
        &from,
        0,
        &format!("bundle create --mesh invented --out {} -o json", two.display()),
    )?
    .0;
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(
        fs::read(&one)? == fs::read(&two)?,
        "two bundles of the same differ"
    );
    has(&said, &[answer["sha256"].as_str().context("a digest")?])?;
    let (_, refused) = ctl(
        &from,
        2,
        &format!("bundle create --mesh invented --out {}", one.display()),
    )?;
    has(&refused, &["file-exists"])?;
    drop(from);

    let mut there = host(folder.path())?.start()?;
    let (_, missing) = ctl(&there, 1, "mesh images invented")?;
    has(&missing, &["chart-not-found", "demo 0.1.0"])?;
    let (loaded, told) = ctl(&there, 0, &format!("bundle load {}", one.display()))?;
    has(&loaded, &["demo 0.1.0", "sha256:"])?;
    has(&told, &["loaded 1 charts, 1 of them new"])?;
    let (_, again) = ctl(&there, 0, &format!("bundle load {}", one.display()))?;
    has(&again, &["loaded 1 charts, 0 of them new"])?;
    let (images, _) = ctl(&there, 0, "mesh images invented")?;
    has(&images, &[IMAGE, "apps/v1/Deployment/", "container demo"])?;

    // For good: neither a cache that is emptied nor a new start makes a difference.
    there.kill()?;
    fs::remove_dir_all(there.data().join("cache"))?;
    there.restart()?;
    has(&ctl(&there, 0, "mesh images invented")?.0, &[IMAGE])
}

fn not_whole() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let from = with_mirror(folder.path())?;
    let file = folder.path().join("whole.tar");
    ctl(
        &from,
        0,
        &format!("bundle create --mesh invented --out {}", file.display()),
    )?;
    drop(from);
    let whole = fs::read(&file)?;
    let there = host(folder.path())?
        .settings("[limits]\nbundle_bytes = 2000000\n")
        .start()?;
    let load = |bytes: &[u8], code: &str, words: &[&str]| -> anyhow::Result<()> {
        let file = folder.path().join("broken.tar");
        fs::write(&file, bytes)?;
        let (_, said) = ctl(&there, 1, &format!("bundle load {}", file.display()))?;
        has(&said, &[&format!("error[{code}]")])?;
        has(&said, words)?;
        ensure!(
            !there.data().join("charts").exists(),
            "{code}: something was taken"
        );
        Ok(())
    };
    let mut flipped = whole.clone();
    let at = flipped.len() - 2048;
    flipped[at] ^= 1;
    load(
        &flipped,
        "bundle-damaged",
        &["charts/", "digest", "compare its SHA-256"],
    )?;
    load(
        &whole[..whole.len() - 3000],
        "bundle-damaged",
        &["cut short", "copy it again"],
    )?;
    load(b"{\"not\": \"a bundle\"}", "bad-bundle", &[])?;
    load(
        &vec![0; 3_000_000],
        "bundle-incomplete",
        &["bundle_bytes", "[limits]"],
    )?;
    let path = whole
        .windows(8)
        .rposition(|window| window.starts_with(b"charts/"))
        .context("the chart's header")?;
    let mut leaving = whole;
    leaving[path..path + 7].copy_from_slice(b"../../.");
    load(&leaving, "bad-bundle", &[])?;
    let missing = folder.path().join("nowhere.tar");
    has(
        &ctl(&there, 1, &format!("bundle load {}", missing.display()))?.1,
        &["bundle-file", "nowhere.tar"],
    )
}

fn elsewhere() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = invented_host(&cluster, cluster.kubeconfig())?
        .settings("[images]\nregistry = \"registry.corp/mirror\"\npull_secrets = [\"regcred\"]\n")
        .start()?;
    let asked = request("install", json!({"namespace": "gapped"}));
    let planned = host.post("/api/v1/operations", &asked)?.expect(201)?;
    let id = planned["id"].as_str().context("an id")?;
    let preview = host
        .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
        .expect(200)?;
    let notes = preview["notes"].to_string();
    has(
        &notes,
        &[
            "registry.example/demo:1.4.0 is pulled as registry.corp/mirror/demo:1.4.0",
            "regcred",
        ],
    )?;
    let (images, _) = ctl(&host, 0, &format!("operation images {id}"))?;
    has(&images, &["registry.corp/mirror/demo:1.4.0"])?;
    ensure!(!images.contains(IMAGE), "{images}");

    let ended = host.perform(&asked, "succeeded", LIMIT)?;
    let get = |arguments: &[&str]| succeeded(cluster.kubectl(&[&["get"], arguments].concat()));
    let spec = get(&[
        "deployment",
        "invented",
        "-n",
        "gapped",
        "-o",
        "jsonpath={.spec.template.spec}",
    ])?;
    has(
        &spec,
        &[
            "\"registry.corp/mirror/demo:1.4.0\"",
            "\"imagePullSecrets\":[{\"name\":\"regcred\"}]",
        ],
    )?;
    // Helm reads the record, and knows what is there.
    let manifest = succeeded(cluster.run_helm(&["get", "manifest", "invented", "-n", "gapped"]))?;
    has(&manifest, &["registry.corp/mirror/demo:1.4.0", "regcred"])?;
    ensure!(!manifest.contains(IMAGE), "{manifest}");

    // One operation may say otherwise, and what cannot be meant is refused.
    let mut own = asked.clone();
    own["images"] = json!({"registry": "other.corp:5000"});
    let planned = host.post("/api/v1/operations", &own)?.expect(201)?;
    has(&planned["notes"].to_string(), &["other.corp:5000/demo:1.4.0"])?;
    let digest = format!("sha256:{}", "0f".repeat(32));
    own["images"] = json!({"registry": "other.corp:5000", "digests": [format!("{IMAGE}@{digest}")]});
    let planned = host.post("/api/v1/operations", &own)?.expect(201)?;
    let (images, _) = ctl(
        &host,
        0,
        &format!("operation images {}", planned["id"].as_str().context("an id")?),
    )?;
    has(&images, &[&format!("other.corp:5000/demo:1.4.0@{digest}")])?;
    own["images"] = json!({"digests": [format!("{IMAGE}@sha256:0f")]});
    host.post("/api/v1/operations", &own)?
        .problem(400, "bad-image-source")?;
    own["images"] = json!({"registry": "https://other.corp"});
    host.post("/api/v1/operations", &own)?
        .problem(400, "bad-image-source")?;
    let id = ended["id"].as_str().context("an id")?;
    ctl(&host, 0, &format!("operation undo {id} --yes")).map(drop)
}

fn istio(charts: &Path) -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let builder = || -> anyhow::Result<HostBuilder> {
        Ok(Host::builder()
            .helm(Programs::get()?.helm)
            .settings("offline = true\n"))
    };
    let from = builder()?.mirror(charts).start()?;
    let file = folder.path().join("istio.tar");
    ctl(
        &from,
        0,
        &format!(
            "bundle create --mesh istio=1.30.2 --mesh istio=1.30.3 --out {}",
            file.display()
        ),
    )?;
    let (_, unknown) = ctl(
        &from,
        1,
        &format!("bundle create --mesh istio=9.9.9 --out {}.2", file.display()),
    )?;
    has(&unknown, &["unknown-version", "9.9.9"])?;
    drop(from);
    let there = builder()?.start()?;
    let (_, told) = ctl(&there, 0, &format!("bundle load {}", file.display()))?;
    has(&told, &["loaded 6 charts, 6 of them new"])?;
    let (images, _) = ctl(&there, 0, "mesh images istio --version 1.30.3")?;
    // Of istiod's pod, and of the sidecars that its injector makes later.
    has(
        &images,
        &[
            "release/pilot:1.30.3",
            "(container discovery)",
            "release/proxyv2:1.30.3",
            "(data values)",
        ],
    )
}
