//! A repository on loopback that answers as told, and what comes of it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::digest::sha256;
use super::super::packer::Packer;
use super::super::{ChartError, ChartSettings, Charts};
use super::*;
use crate::problem::Problem;

/// Serves the same answer to each request for a path, and 404 to all others; gone when dropped.
struct Repository {
    url: String,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn status(line: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

impl Repository {
    async fn serve(answers: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/charts", listener.local_addr().unwrap());
        let answers: HashMap<String, Vec<u8>> = answers
            .iter()
            .map(|(path, answer)| ((*path).to_owned(), answer.clone()))
            .collect();
        let answers = Arc::new(answers);
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answers, counter) = (answers.clone(), counter.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
                    counter.fetch_add(1, Ordering::Relaxed);
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let missing = status("404 Not Found", "");
                    let _ = stream.write_all(answers.get(path).unwrap_or(&missing)).await;
                });
            }
        });
        Self { url, requests, task }
    }

    /// A repository that has one archive as demo 0.1.0.
    async fn with_archive(archive: &[u8], digest: &str) -> Self {
        let index = index(digest, "demo-0.1.0.tgz");
        Self::serve(&[
            ("/charts/index.yaml", ok(index.as_bytes())),
            ("/charts/demo-0.1.0.tgz", ok(archive)),
        ])
        .await
    }
}

fn index(digest: &str, url: &str) -> String {
    format!(
        "apiVersion: v1\nentries:\n  broken: {{this: is no list}}\n  demo:\n  - name: demo\n    version: 0.2.0\n  - name: demo\n    version: 0.1.0\n    digest: \"{digest}\"\n    urls:\n    - {url}\n  zebra:\n  - version: 3\ngenerated: x\n"
    )
}

fn demo() -> Vec<u8> {
    Packer::chart("demo")
}

fn wanted(repository: &str) -> ChartRef {
    ChartRef {
        name: "demo".into(),
        version: "0.1.0".into(),
        repository: repository.into(),
        sha256: String::new(),
    }
}

fn settings(cache: &Path) -> ChartSettings {
    ChartSettings {
        cache: cache.into(),
        ..ChartSettings::default()
    }
}

/// The problem of fetching demo 0.1.0 from a repository.
async fn problem(repository: &Repository, pin: &str) -> Problem {
    let cache = tempfile::tempdir().unwrap();
    let charts = Charts::with_loopback(settings(cache.path()));
    let error = charts
        .fetch(&ChartRef {
            sha256: pin.into(),
            ..wanted(&repository.url)
        })
        .await
        .unwrap_err();
    assert!(
        !cache.path().join("charts").exists(),
        "nothing wrong gets into the cache"
    );
    error.into()
}

#[tokio::test]
async fn a_fetched_chart_is_kept_and_had_from_the_cache_when_it_is_pinned() {
    let repository = Repository::with_archive(&demo(), &sha256(&demo())).await;
    let cache = tempfile::tempdir().unwrap();
    let charts = Charts::with_loopback(settings(cache.path()));
    let chart = charts.fetch(&wanted(&repository.url)).await.unwrap();
    assert_eq!(
        (chart.name.as_str(), chart.sha256.as_str()),
        ("demo", sha256(&demo()).as_str())
    );
    assert_eq!(fs::read(&chart.path).unwrap(), demo());
    assert_eq!(repository.requests.load(Ordering::Relaxed), 2);

    let pinned = ChartRef {
        sha256: sha256(&demo()),
        ..wanted(&repository.url)
    };
    let offline = Charts::new(ChartSettings {
        offline: true,
        ..settings(cache.path())
    });
    assert_eq!(offline.fetch(&pinned).await.unwrap().archive, chart.archive);
    let another = ChartRef {
        name: "other".into(),
        ..pinned
    };
    assert_eq!(
        Problem::from(offline.fetch(&another).await.unwrap_err()).code,
        "chart-invalid"
    );
}

#[tokio::test]
async fn bytes_with_another_digest_than_promised_or_pinned_are_refused() {
    let other = sha256(b"other");
    let falsified = Repository::with_archive(&demo(), &other).await;
    let found = problem(&falsified, "").await;
    assert_eq!(found.code, "chart-digest-mismatch");
    assert!(
        found.message.contains(&other) && found.message.contains(&sha256(&demo())),
        "{found}"
    );
    let honest = Repository::with_archive(&demo(), &sha256(&demo())).await;
    assert_eq!(problem(&honest, &other).await.code, "chart-digest-mismatch");
}

#[tokio::test]
async fn without_a_digest_in_the_index_only_a_pinned_chart_is_fetched() {
    let repository = Repository::with_archive(&demo(), "").await;
    assert_eq!(problem(&repository, "").await.code, "chart-digest-missing");
    let cache = tempfile::tempdir().unwrap();
    let pinned = ChartRef {
        sha256: sha256(&demo()),
        ..wanted(&repository.url)
    };
    Charts::with_loopback(settings(cache.path()))
        .fetch(&pinned)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_version_that_is_not_listed_is_told_with_those_that_are() {
    let repository = Repository::with_archive(&demo(), "").await;
    let cache = tempfile::tempdir().unwrap();
    let charts = Charts::with_loopback(settings(cache.path()));
    let newer = ChartRef {
        version: "0.3.0".into(),
        ..wanted(&repository.url)
    };
    let found = Problem::from(charts.fetch(&newer).await.unwrap_err());
    assert_eq!(found.code, "chart-not-in-repository");
    assert!(found.remedy.contains("0.2.0, 0.1.0"), "{}", found.remedy);
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_each_is_checked() {
    let digest = sha256(&demo());
    let to = |place: &str| status("302 Found", &format!("location: {place}\r\n"));
    let index = ok(index(&digest, "old.tgz").as_bytes());
    let served = Repository::serve(&[
        ("/charts/index.yaml", index.clone()),
        ("/charts/old.tgz", to("/elsewhere/new.tgz?token=secret")),
        ("/elsewhere/new.tgz?token=secret", ok(&demo())),
    ])
    .await;
    let cache = tempfile::tempdir().unwrap();
    Charts::with_loopback(settings(cache.path()))
        .fetch(&wanted(&served.url))
        .await
        .unwrap();

    for place in [
        "https://10.0.0.1/x.tgz",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "/charts/old.tgz",
    ] {
        let served = Repository::serve(&[
            ("/charts/index.yaml", index.clone()),
            ("/charts/old.tgz", to(place)),
        ])
        .await;
        let found = problem(&served, "").await;
        assert_eq!(found.code, "chart-address-refused", "{place}: {found}");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_not_read_to_their_end() {
    let index = ok(index(&sha256(&demo()), "demo-0.1.0.tgz").as_bytes());
    let claimed = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\nx".to_vec();
    let mut endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    endless.resize(22 << 20, b'x');
    for archive in [claimed.clone(), endless] {
        let served = Repository::serve(&[
            ("/charts/index.yaml", index.clone()),
            ("/charts/demo-0.1.0.tgz", archive),
        ])
        .await;
        assert_eq!(problem(&served, "").await.code, "chart-too-large");
    }
    let served = Repository::serve(&[("/charts/index.yaml", claimed)]).await;
    assert_eq!(problem(&served, "").await.code, "chart-too-large");
}

#[tokio::test]
async fn each_way_a_repository_can_be_wrong_has_its_own_code() {
    let index = |text: &str| [("/charts/index.yaml", ok(text.as_bytes()))];
    for (served, code) in [
        (Repository::serve(&[]).await, "chart-repository-failed"),
        (
            Repository::serve(&index("<html>Not here</html>")).await,
            "chart-index-invalid",
        ),
        (
            Repository::serve(&index("entries: [1, 2")).await,
            "chart-index-invalid",
        ),
        (
            Repository::serve(&index("apiVersion: v1\n")).await,
            "chart-index-invalid",
        ),
        (
            Repository::serve(&index("entries:\n")).await,
            "chart-not-in-repository",
        ),
        (
            Repository::serve(&index("entries:\n  demo:\n  - version: 0.1.0\n    digest: zz\n")).await,
            "chart-index-invalid",
        ),
    ] {
        let found = problem(&served, "").await;
        assert_eq!(found.code, code, "{found}");
        assert!(!found.retryable);
    }
    let overloaded =
        Repository::serve(&[("/charts/index.yaml", status("503 Service Unavailable", ""))]).await;
    assert!(problem(&overloaded, "").await.retryable);
    assert_eq!(
        overloaded.requests.load(Ordering::Relaxed),
        3,
        "tried three times"
    );
}

#[tokio::test]
async fn an_archive_that_is_not_safe_or_another_chart_does_not_get_into_the_cache() {
    let about = "name: demo\nversion: 0.1.0\n";
    let climbing = Packer::new()
        .file("demo/Chart.yaml", about)
        .raw("../x", tar::EntryType::Regular, b"x")
        .finish();
    let other = Packer::new()
        .file("demo/Chart.yaml", "name: other\nversion: 0.1.0\n")
        .finish();
    for (archive, code) in [
        (climbing, "chart-archive-unsafe"),
        (other, "chart-invalid"),
        (b"text".to_vec(), "chart-not-an-archive"),
    ] {
        let served = Repository::with_archive(&archive, &sha256(&archive)).await;
        assert_eq!(problem(&served, "").await.code, code);
    }
}

#[tokio::test]
async fn the_mirror_comes_before_the_repository_and_need_not_have_it() {
    let served = Repository::with_archive(&demo(), &sha256(&demo())).await;
    let folder = tempfile::tempdir().unwrap();
    let mirror = folder.path().join("mirror");
    fs::create_dir(&mirror).unwrap();
    let settings = ChartSettings {
        mirror: Some(mirror.clone()),
        ..settings(&folder.path().join("cache"))
    };
    let charts = Charts::with_loopback(settings);
    charts.fetch(&wanted(&served.url)).await.unwrap();
    assert_eq!(served.requests.load(Ordering::Relaxed), 2);

    let own = Packer::new()
        .file("demo/Chart.yaml", "name: demo\nversion: 0.1.0\nappVersion: own\n")
        .finish();
    fs::write(mirror.join("x.tgz"), &own).unwrap();
    assert_eq!(
        charts.fetch(&wanted(&served.url)).await.unwrap().app_version,
        "own"
    );
    assert_eq!(
        served.requests.load(Ordering::Relaxed),
        2,
        "the repository is not asked"
    );

    // Pinned to the publisher's archive, which the mirror has packaged anew.
    let pinned = ChartRef {
        sha256: sha256(&demo()),
        ..wanted(&served.url)
    };
    assert_eq!(charts.fetch(&pinned).await.unwrap().app_version, "1.4.0");
}

#[tokio::test]
async fn a_chart_that_is_nowhere_is_told_with_what_was_looked_at_and_the_nearest_versions() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["0.1.3", "0.2.0", "1.0.0"] {
        let about = format!("name: demo\nversion: {version}\n");
        fs::write(
            folder.path().join(version).with_extension("tgz"),
            Packer::new().file("demo/Chart.yaml", &about).finish(),
        )
        .unwrap();
    }
    let with = |mirror: bool, offline| ChartSettings {
        mirror: mirror.then(|| folder.path().into()),
        offline,
        ..settings(&folder.path().join("cache"))
    };
    let offline = Charts::new(with(true, true));
    let found = Problem::from(
        offline
            .fetch(&wanted("https://charts.example"))
            .await
            .unwrap_err(),
    );
    assert_eq!(found.code, "chart-not-found");
    assert!(found.message.contains("offline"), "{found}");
    assert!(found.remedy.contains("(0.1.3, 0.2.0, 1.0.0)"), "{}", found.remedy);

    let nothing = Charts::new(with(false, false));
    let found = Problem::from(nothing.fetch(&wanted("")).await.unwrap_err());
    assert!(
        found.message.contains("there is no mirror") && found.message.contains("no repository"),
        "{found}"
    );
    assert!(found.remedy.contains("mirror"));

    // Nothing listens there: as without an internet.
    let gone = Repository::serve(&[]).await.url.clone();
    let found = Problem::from(
        Charts::with_loopback(with(true, false))
            .fetch(&wanted(&gone))
            .await
            .unwrap_err(),
    );
    assert_eq!(
        (found.code.as_str(), found.retryable),
        ("chart-repository-unreachable", true)
    );
    assert!(found.message.contains("has 0.1.3, 0.2.0, 1.0.0"), "{found}");
}

#[tokio::test]
async fn a_mirror_with_other_bytes_than_pinned_is_no_source() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("demo.tgz"), demo()).unwrap();
    let charts = Charts::new(ChartSettings {
        mirror: Some(folder.path().into()),
        offline: true,
        ..settings(&folder.path().join("cache"))
    });
    let pinned = ChartRef {
        sha256: sha256(b"other"),
        ..wanted("")
    };
    match charts.fetch(&pinned).await {
        Err(ChartError::DigestMismatch { place, .. }) => assert!(place.ends_with("demo.tgz"), "{place}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(charts.facts().await.unwrap()[0].sha256, sha256(&demo()));
}

#[tokio::test]
async fn only_allowed_repositories_are_asked_compared_part_by_part() {
    let served = Repository::with_archive(&demo(), &sha256(&demo())).await;
    let folder = tempfile::tempdir().unwrap();
    let with = |allowed: &str| {
        let repositories = vec![allowed.to_owned()];
        Charts::with_loopback(ChartSettings {
            repositories,
            ..settings(folder.path())
        })
    };
    let root = served.url.strip_suffix("/charts").unwrap();
    for allowed in [root.to_owned(), format!("{root}/"), format!("{}/", served.url)] {
        with(&allowed).fetch(&wanted(&served.url)).await.unwrap();
    }
    for allowed in [
        format!("{root}/chart"),
        format!("{root}/charts/more"),
        "https://charts.example".into(),
    ] {
        let found = Problem::from(with(&allowed).fetch(&wanted(&served.url)).await.unwrap_err());
        assert_eq!(found.code, "chart-repository-not-allowed", "{allowed}");
        assert!(found.remedy.contains("MESHERY_REPOSITORIES"), "{found:?}");
    }
    for repository in [
        "oci://registry.example/demo",
        "file:///charts",
        "charts",
        "ftp://charts.example",
    ] {
        let found = Problem::from(
            Charts::new(settings(folder.path()))
                .fetch(&wanted(repository))
                .await
                .unwrap_err(),
        );
        assert_eq!(found.code, "chart-repository-not-allowed", "{repository}");
    }
    // Plain http and this machine's addresses are for tests.
    let found = Problem::from(
        Charts::new(settings(folder.path()))
            .fetch(&wanted(&served.url))
            .await
            .unwrap_err(),
    );
    assert_eq!(found.code, "chart-address-refused");
}
