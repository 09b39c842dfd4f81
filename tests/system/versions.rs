//! The versions of a mesh beyond those that its adapter has pinned: listed by a repository when somebody asks, or held by
//! the mirror.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use libtest_mimic::Trial;
use meshery_tests::chart_archive::written;
use meshery_tests::cluster::Programs;
use meshery_tests::host::{Host, HostBuilder};
use meshery_tests::istiod::Istiod;
use meshery_tests::repository::Repository;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mesheryctl::{ctl, has};
use crate::{cluster, trial, trial_with_charts};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "versions::a_refresh_makes_what_istios_repository_lists_installable_for_good",
            istio,
        ),
        trial(
            "versions::a_listed_version_is_planned_on_a_cluster_and_one_past_its_end_is_warned_of",
            planned,
        ),
        trial_with_charts(
            "versions::a_version_known_by_a_refresh_only_is_installed_used_and_removed",
            installed,
        ),
        trial("versions::linkerds_edge_releases_are_refreshed_too", linkerd),
        trial("versions::a_refresh_that_fails_changes_nothing", failing),
        trial(
            "versions::a_bundle_brings_what_was_refreshed_where_it_was_made",
            carried,
        ),
        trial("versions::what_the_mirror_holds_needs_no_refresh", mirrored),
    ]
}

const LIMIT: Duration = Duration::from_mins(4);
const ISTIO: &str = "istio-release.storage.googleapis.com";
const ISTIO_INDEX: &str = "/charts/index.yaml";
const LINKERD: &str = "helm.linkerd.io";
const REFRESH: &str = "/api/v1/adapters/istio/versions/refresh";

/// A chart that the adapter finds all it needs in.
fn chart(name: &str, version: &str, app_version: &str) -> anyhow::Result<Vec<u8>> {
    let about = format!(
        "apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: {app_version}\nkubeVersion: '>=1.20.0-0'\n"
    );
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  containers:\n  - name: x\n    image: \
         registry.example/{name}:{version}\n"
    );
    Ok(written(
        name,
        &[
            ("Chart.yaml", about.as_bytes()),
            ("templates/pod.yaml", pod.as_bytes()),
        ],
    )?)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An index and its archives, below a path: charts with their versions and the version of the application.
fn files(below: &str, charts: &[(&str, &str, &str)]) -> anyhow::Result<HashMap<String, Vec<u8>>> {
    let charts = charts.iter().map(|&(name, version, app_version)| {
        let archive = chart(name, version, app_version)?;
        Ok((name, version, app_version, archive))
    });
    Ok(served(below, charts.collect::<anyhow::Result<Vec<_>>>()?))
}

/// The same with archives that are there: name, version, version of the application.
fn served(below: &str, charts: Vec<(&str, &str, &str, Vec<u8>)>) -> HashMap<String, Vec<u8>> {
    let mut files = HashMap::new();
    let mut by_name = HashMap::<&str, String>::new();
    for (name, version, app_version, archive) in charts {
        let digest = sha256(&archive);
        let entry = format!(
            "  - version: {version}\n    appVersion: {app_version}\n    kubeVersion: '>=1.20.0-0'\n    digest: {digest}\n    \
             urls: [{name}-{version}.tgz]\n"
        );
        by_name.entry(name).or_default().push_str(&entry);
        files.insert(format!("{below}/{name}-{version}.tgz"), archive);
    }
    let mut index = "apiVersion: v1\nentries:\n".to_owned();
    for (name, entries) in by_name {
        let _ = write!(index, "  {name}:\n{entries}");
    }
    files.insert(format!("{below}/index.yaml"), index.into_bytes());
    files
}

struct Bench {
    repository: Repository,
    folder: TempDir,
}

impl Bench {
    fn new(host: &str, files: HashMap<String, Vec<u8>>) -> anyhow::Result<Self> {
        let bench = Self {
            repository: Repository::start(host, files)?,
            folder: TempDir::new()?,
        };
        fs::write(bench.folder.path().join("ca.pem"), &bench.repository.ca_pem)?;
        Ok(bench)
    }

    fn of_istio() -> anyhow::Result<Self> {
        let charts = [
            ("base", "1.30.9", "1.30.9"),
            ("istiod", "1.30.9", "1.30.9"),
            ("base", "1.40.0", "1.40.0"),
            ("base", "1.30.3", "1.30.3"),
            ("istiod", "1.30.3", "1.30.3"),
        ];
        Self::new(ISTIO, files("/charts", &charts)?)
    }

    fn host(&self) -> anyhow::Result<HostBuilder> {
        Ok(Host::builder().helm(Programs::get()?.helm).settings(&format!(
            "[downloads]\nproxy = \"{}\"\nca_file = \"{}\"\n",
            self.repository.proxy(),
            self.folder.path().join("ca.pem").display()
        )))
    }
}

fn listed(host: &Host, adapter: &str) -> anyhow::Result<Value> {
    host.get(&format!("/api/v1/adapters/{adapter}/versions"))?
        .expect(200)
}

fn item<'a>(list: &'a Value, version: &str) -> anyhow::Result<&'a Value> {
    let mut items = list["items"].as_array().into_iter().flatten();
    items
        .find(|item| item["version"] == version)
        .with_context(|| format!("no {version} in {list}"))
}

fn istio() -> anyhow::Result<()> {
    let bench = Bench::of_istio()?;
    let mut host = bench.host()?.start()?;
    let before = listed(&host, "istio")?;
    ensure!(before["refreshed"].is_null(), "{before}");
    ensure!(item(&before, "1.30.9").is_err(), "{before}");
    let pinned = item(&before, "1.29.1")?;
    ensure!(
        pinned["source"] == "pinned" && pinned["end_of_life"] == "2026-10-12",
        "{pinned}"
    );
    let (_, unknown) = ctl(&host, 1, "mesh images istio --version 1.30.9")?;
    has(&unknown, &["unknown-version", "1.30.9", "refresh"])?;
    ensure!(
        bench.repository.tunnels().is_empty(),
        "nobody has asked for that: {:?}",
        bench.repository.tunnels()
    );

    let (said, told) = ctl(&host, 0, "adapter versions istio --refresh")?;
    let line = said
        .lines()
        .find(|line| line.starts_with("1.30.9 "))
        .with_context(|| said.clone())?;
    has(line, &["stable", "repository", ">=1.20.0-0"])?;
    has(&told, &["asked last at"])?;
    // Of which a chart is missing is no version.
    ensure!(!said.contains("1.40.0"), "{said}");
    let after = listed(&host, "istio")?;
    let found = item(&after, "1.30.9")?;
    ensure!(
        found["repository"] == format!("https://{ISTIO}/charts"),
        "{found}"
    );
    let archive = chart("base", "1.30.9", "1.30.9")?;
    ensure!(found["charts"][0]["sha256"] == sha256(&archive), "{found}");
    let pinned = item(&after, "1.30.3")?;
    ensure!(pinned["source"] == "pinned", "{pinned}");
    ensure!(
        pinned["charts"][0]["sha256"]
            .as_str()
            .is_some_and(|digest| digest.len() == 64),
        "{pinned}"
    );

    // It is there by its name, after a kill too, and is not what is taken without one.
    host.kill()?;
    host.restart()?;
    ensure!(listed(&host, "istio")? == after, "{}", listed(&host, "istio")?);
    has(
        &ctl(
            &host,
            0,
            "mesh images istio --version 1.30.9 --set profile=minimal",
        )?
        .0,
        &["registry.example/istiod:1.30.9"],
    )?;
    has(
        &ctl(&host, 0, "mesh images istio --set profile=minimal")?.0,
        &["registry.example/istiod:1.30.3"],
    )?;
    let (_, unknown) = ctl(
        &host,
        1,
        "mesh images istio --version 1.30.8 --set profile=minimal",
    )?;
    has(&unknown, &["unknown-version", "1.30.9", "1.30.3"])?;

    // What the index said when it was asked counts, whatever it says by now.
    host.kill()?;
    fs::remove_dir_all(host.data().join("cache"))?;
    host.restart()?;
    let other = files("/charts", &[("base", "1.30.9", "2"), ("istiod", "1.30.9", "2")])?;
    bench.repository.serve(other);
    let (_, said) = ctl(
        &host,
        1,
        "mesh images istio --version 1.30.9 --set profile=minimal",
    )?;
    has(&said, &["chart-digest-mismatch", &sha256(&archive)])?;

    // Nobody forges it.
    host.put(
        "/api/v1/documents/mesh-versions/istio",
        &json!({"body": {"charts": []}}),
    )?
    .expect(403)
    .map(drop)
}

fn planned() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let charts = [
        ("base", "1.30.9", "1.30.9"),
        ("istiod", "1.30.9", "1.30.9"),
        ("base", "1.29.1", "1.29.1"),
        ("istiod", "1.29.1", "1.29.1"),
    ];
    let bench = Bench::new(ISTIO, files("/charts", &charts)?)?;
    let host = bench.host()?.kubeconfig(cluster.kubeconfig()).start()?;
    host.post(REFRESH, &json!({}))?.expect(200)?;
    let plan = |version: &str| {
        let asked = json!({"adapter": "istio", "operation": "install",
            "parameters": {"version": version, "profile": "minimal"}});
        host.post("/api/v1/operations", &asked)?.expect(201)
    };
    let listed = plan("1.30.9")?.to_string();
    has(
        &listed,
        &["Install Istio 1.30.9", "known from the repository's index only"],
    )?;
    ensure!(!listed.contains("version-end-of-life"), "{listed}");
    let old = plan("1.29.1")?.to_string();
    has(
        &old,
        &[
            "Install Istio 1.29.1",
            "version-end-of-life",
            "2026-10-12",
            "1.30.3",
        ],
    )
}

/// Istio's own charts under another number, as a release of tomorrow: nothing but the index that was read knows it.
fn installed(charts: &Path) -> anyhow::Result<()> {
    const SYSTEM: &str = "istio-system";
    const NUMBER: &str = "1.30.9";
    let renumbered = |name: &str| -> anyhow::Result<Vec<u8>> {
        let mut packed = Vec::new();
        let file = fs::File::open(charts.join(format!("istio/{name}-1.30.3.tgz")))?;
        GzDecoder::new(file).read_to_end(&mut packed)?;
        // As long as the other one, so that the archive stays whole.
        for at in 0..packed.len().saturating_sub(NUMBER.len()) {
            if packed[at..].starts_with(b"1.30.3") {
                packed[at..at + NUMBER.len()].copy_from_slice(NUMBER.as_bytes());
            }
        }
        let mut archive = GzEncoder::new(Vec::new(), Compression::default());
        archive.write_all(&packed)?;
        Ok(archive.finish()?)
    };
    let of_tomorrow = ["base", "istiod"]
        .map(|name| Ok((name, NUMBER, NUMBER, renumbered(name)?)))
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?;
    let bench = Bench::new(ISTIO, served("/charts", of_tomorrow))?;
    let cluster = cluster()?;
    let host = bench.host()?.kubeconfig(cluster.kubeconfig()).start()?;
    let before = Snapshot::take(&cluster)?;
    let istiod = Istiod::start(&cluster, SYSTEM)?;
    let request = |operation: &str, parameters: Value| json!({"adapter": "istio", "operation": operation, "parameters": parameters});
    let install = request("install", json!({"version": NUMBER, "profile": "minimal"}));
    let unknown = host.post("/api/v1/operations", &install)?.text();
    has(&unknown, &["unknown-version"])?;
    host.post(REFRESH, &json!({}))?.expect(200)?;

    host.perform(&install, "succeeded", LIMIT)?;
    istiod.trouble()?;
    let found = || -> anyhow::Result<Value> {
        let contexts = host.get("/api/v1/clusters")?.expect(200)?;
        let context = contexts["items"][0]["context"].as_str().context("a context")?;
        let found = host.get(&format!("/api/v1/clusters/{context}/detect?adapter=istio"))?;
        Ok(found.expect(200)?["items"].clone())
    };
    let there = found()?;
    ensure!(
        there[0]["version"] == NUMBER
            && there[0]["health"] == "healthy"
            && there[0]["installed_by"] == "meshery",
        "{there:#}"
    );
    let releases = cluster.run_helm(&["list", "--namespace", SYSTEM]);
    has(
        &String::from_utf8_lossy(&releases.stdout),
        &[&format!("istiod-{NUMBER}"), &format!("base-{NUMBER}")],
    )?;
    let remove = request("remove", json!({"purge": true, "custom-resources": true}));
    host.perform(&remove, "succeeded", LIMIT)?;
    ensure!(found()?.as_array().is_some_and(Vec::is_empty));
    before.await_same(&cluster)
}

fn linkerd() -> anyhow::Result<()> {
    let charts = [
        ("linkerd-crds", "2026.9.1", "edge-26.9.1"),
        ("linkerd-control-plane", "2026.9.1", "edge-26.9.1"),
        ("linkerd-viz", "2026.9.2", "edge-26.9.2"),
    ];
    let bench = Bench::new(LINKERD, files("/edge", &charts)?)?;
    let host = bench.host()?.start()?;
    let (said, _) = ctl(&host, 0, "adapter versions linkerd --refresh")?;
    let line = said
        .lines()
        .find(|line| line.starts_with("2026.9.1 "))
        .with_context(|| said.clone())?;
    has(line, &["stable", "repository"])?;
    ensure!(!said.contains("2026.9.2"), "{said}");
    has(&said, &["2.14.10", "2024-02-20"])?;
    has(
        &ctl(&host, 0, "mesh images linkerd --version edge-26.9.1")?.0,
        &["registry.example/linkerd-control-plane:2026.9.1"],
    )?;
    let (_, unknown) = ctl(&host, 1, "mesh images linkerd --version edge-26.9.3")?;
    has(&unknown, &["unknown-version", "2026.9.1"])
}

fn carried() -> anyhow::Result<()> {
    let charts = [
        ("base", "1.30.9", "1.30.9"),
        ("istiod", "1.30.9", "1.30.9"),
        ("base", "1.30.8", "1.30.8"),
        ("istiod", "1.30.8", "1.30.8"),
    ];
    let bench = Bench::new(ISTIO, files("/charts", &charts)?)?;
    let from = bench.host()?.start()?;
    from.post(REFRESH, &json!({}))?.expect(200)?;
    let file = bench.folder.path().join("istio.tar");
    let create = format!(
        "bundle create --mesh istio=1.30.9 --set profile=minimal --out {}",
        file.display()
    );
    ctl(&from, 0, &create)?;
    drop(from);

    // Where nobody may be asked, the versions are known all the same; those that came with their charts can be installed.
    let mut there = Host::builder()
        .helm(Programs::get()?.helm)
        .settings("offline = true\n")
        .start()?;
    ensure!(item(&listed(&there, "istio")?, "1.30.8").is_err());
    let load = format!("bundle load {}", file.display());
    let (_, told) = ctl(&there, 0, &load)?;
    has(&told, &["2 of them new", "2 versions that repositories listed"])?;
    let after = listed(&there, "istio")?;
    ensure!(after["refreshed"].is_null(), "nobody has asked here: {after}");
    let known = item(&after, "1.30.8")?;
    ensure!(
        known["source"] == "repository"
            && known["charts"][0]["sha256"] == sha256(&chart("base", "1.30.8", "1.30.8")?),
        "{known}"
    );
    ensure!(item(&after, "1.30.9")?["source"] == "mirror", "{after}");
    let images = |version: &str, code| {
        let line = format!("mesh images istio --version {version} --set profile=minimal");
        ctl(&there, code, &line)
    };
    has(&images("1.30.9", 0)?.0, &["registry.example/istiod:1.30.9"])?;
    has(&images("1.30.8", 1)?.1, &["chart-not-found", "1.30.8"])?;
    has(&images("1.30.7", 1)?.1, &["unknown-version"])?;
    let (_, again) = ctl(&there, 0, &load)?;
    ensure!(!again.contains("versions that repositories listed"), "{again}");
    there.kill()?;
    there.restart()?;
    ensure!(listed(&there, "istio")? == after, "{}", listed(&there, "istio")?);
    Ok(())
}

fn failing() -> anyhow::Result<()> {
    let bench = Bench::of_istio()?;
    let mut host = bench.host()?.start()?;
    host.post(REFRESH, &json!({}))?.expect(200)?;
    let before = listed(&host, "istio")?;
    let index = |body: &[u8]| {
        bench
            .repository
            .serve(HashMap::from([(ISTIO_INDEX.to_owned(), body.to_vec())]));
    };
    let fails = |code: &str, words: &[&str]| -> anyhow::Result<()> {
        let (_, said) = ctl(&host, 1, "adapter versions istio --refresh")?;
        has(&said, &[&format!("error[{code}]")])?;
        has(&said, words)?;
        ensure!(listed(&host, "istio")? == before, "{code} has changed something");
        Ok(())
    };
    index(b"<html>not an index</html>");
    fails("chart-index-invalid", &[ISTIO])?;
    index(b"apiVersion: v1\nentries:\n  other:\n  - version: 1.0.0\n");
    fails("chart-index-invalid", &["no release of base, istiod"])?;
    index(b"apiVersion: v1\nentries:\n  base:\n  - {version: 1.31.0, digest: ../../x, urls: [x.tgz]}\n");
    fails("chart-index-invalid", &["no release of base"])?;
    index(&vec![b' '; (64 << 20) + 1]);
    fails("chart-too-large", &["index.yaml", "67108864"])?;
    bench.repository.serve(HashMap::new());
    fails("chart-repository-failed", &["404"])?;

    // Killed while the repository has not answered.
    bench.repository.withhold(ISTIO_INDEX);
    let asked = bench.repository.tunnels().len();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let client = host.client()?.clone();
        let refresh = scope.spawn(move || client.send("POST", REFRESH, &[], Some(&json!({}))));
        let until = Instant::now() + Duration::from_secs(20);
        while bench.repository.tunnels().len() == asked {
            ensure!(Instant::now() < until, "the repository is not asked");
            std::thread::sleep(Duration::from_millis(20));
        }
        host.kill()?;
        let ended = refresh
            .join()
            .map_err(|_| anyhow::anyhow!("the request panicked"))?;
        ensure!(ended.is_err(), "a killed host has answered");
        Ok(())
    })?;
    host.restart()?;
    ensure!(
        listed(&host, "istio")? == before,
        "the kill has changed something"
    );

    // And it works again.
    bench.repository.serve(files(
        "/charts",
        &[("base", "1.30.8", "1.30.8"), ("istiod", "1.30.8", "1.30.8")],
    )?);
    let list = host.post(REFRESH, &json!({}))?.expect(200)?;
    ensure!(
        item(&list, "1.30.8").is_ok() && item(&list, "1.30.9").is_err(),
        "{list}"
    );
    host.post(REFRESH, &json!({"adapter": "linkerd"}))?.expect(400)?;
    host.get("/api/v1/adapters/nothing/versions")?
        .expect(404)
        .map(drop)
}

fn mirrored() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    for name in ["base", "istiod"] {
        fs::write(
            folder.path().join(format!("{name}.tgz")),
            chart(name, "1.30.8", "1.30.8")?,
        )?;
    }
    let host = Host::builder()
        .helm(Programs::get()?.helm)
        .mirror(folder.path())
        .settings("offline = true\n")
        .start()?;
    let list = listed(&host, "istio")?;
    let found = item(&list, "1.30.8")?;
    ensure!(
        found["source"] == "mirror" && found["kubernetes"] == ">=1.20.0-0",
        "{found}"
    );
    // Asked for more, it says what the folder has by now: archives, whatever an index beside them promises.
    let index = files(
        "",
        &[("base", "1.30.7", "1.30.7"), ("istiod", "1.30.7", "1.30.7")],
    )?;
    fs::write(folder.path().join("index.yaml"), &index["/index.yaml"])?;
    for name in ["base", "istiod"] {
        let archive = chart(name, "1.30.6", "1.30.6")?;
        fs::write(folder.path().join(format!("{name}-1.30.6.tgz")), archive)?;
    }
    let (said, told) = ctl(&host, 0, "adapter versions istio --refresh")?;
    let of_mirror = |version: &str| {
        said.lines()
            .any(|line| line.starts_with(&format!("{version} ")) && line.contains("mirror"))
    };
    ensure!(of_mirror("1.30.6") && of_mirror("1.30.8"), "{said}");
    ensure!(!said.contains("1.30.7"), "{said}");
    has(&told, &["mirror was read", "offline"])?;
    // Of a mesh that it has nothing of, it has nothing to say.
    let (_, said) = ctl(&host, 1, "adapter versions linkerd --refresh")?;
    has(&said, &["error[versions-offline]", "offline", "mirror"])?;
    // Somebody has chosen what lies in the mirror, so it is taken without a wish too.
    has(
        &ctl(&host, 0, "mesh images istio --set profile=minimal")?.0,
        &["registry.example/istiod:1.30.8"],
    )
}
