//! Charts fetched by a real host through a proxy, from a repository whose certificate the world does not know.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::chart_archive;
use meshery_tests::host::{Host, HostBuilder};
use meshery_tests::repository::Repository;
use tempfile::TempDir;

use crate::air_gapped::host;
use crate::mesheryctl::{ctl, has};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "downloads::a_chart_comes_through_the_proxy_from_a_repository_of_ones_own_authority",
            through,
        ),
        trial("downloads::what_fails_names_the_proxy", failing),
        trial("downloads::settings_that_cannot_be_meant_are_refused", refused),
    ]
}

/// Where the tests' adapter has its charts; no name server knows it.
const HOST: &str = "charts.invented.example";

struct Bench {
    repository: Repository,
    folder: TempDir,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let archive = chart_archive::pack("demo")?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &archive);
        let digest = digest.as_ref().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let index = format!(
            "apiVersion: v1\nentries:\n  demo:\n  - version: 0.1.0\n    digest: {digest}\n    urls: [demo-0.1.0.tgz]\n"
        );
        let files = HashMap::from([
            ("/index.yaml".to_owned(), index.into_bytes()),
            ("/demo-0.1.0.tgz".to_owned(), archive),
        ]);
        let bench = Self {
            repository: Repository::start(HOST, files)?,
            folder: TempDir::new()?,
        };
        fs::write(bench.folder.path().join("ca.pem"), &bench.repository.ca_pem)?;
        Ok(bench)
    }

    fn host(&self) -> anyhow::Result<HostBuilder> {
        Ok(host(self.folder.path())?.env("MESHERY_OFFLINE", "false"))
    }

    fn ca_file(&self) -> String {
        format!("ca_file = \"{}\"\n", self.folder.path().join("ca.pem").display())
    }
}

fn fetches(host: &Host) -> anyhow::Result<()> {
    has(
        &ctl(host, 0, "mesh images invented")?.0,
        &["registry.example/demo:1.4.0"],
    )
}

fn through() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let proxy = bench.repository.proxy();
    let settings = format!("[downloads]\nproxy = \"{proxy}\"\n{}", bench.ca_file());
    fetches(&bench.host()?.settings(&settings).start()?)?;
    let asked = bench.repository.tunnels();
    ensure!(asked.len() == 2, "index and archive: {asked:?}");
    ensure!(
        asked
            .iter()
            .all(|line| line.starts_with("CONNECT charts.invented.example:443 ")),
        "{asked:?}"
    );

    // The environment's proxy, with a password that nobody is shown.
    let with_password = proxy.replace("http://", "http://me:secret@");
    let host = bench
        .host()?
        .settings(&format!("[downloads]\n{}", bench.ca_file()))
        .env("HTTPS_PROXY", &with_password)
        .start()?;
    fetches(&host)?;
    ensure!(
        bench.repository.tunnels().len() == 4,
        "{:?}",
        bench.repository.tunnels()
    );
    ensure!(!host.log().contains("secret"), "{}", host.log());

    // Without it for those that are named; and there this machine knows no such name.
    let host = bench
        .host()?
        .settings(&format!("[downloads]\n{}", bench.ca_file()))
        .env("HTTPS_PROXY", &with_password)
        .env("NO_PROXY", "invented.example")
        .start()?;
    let (_, said) = ctl(&host, 1, "mesh images invented")?;
    has(&said, &["chart-repository-unreachable", HOST])?;
    ensure!(!said.contains("proxy http"), "{said}");
    ensure!(
        bench.repository.tunnels().len() == 4,
        "{:?}",
        bench.repository.tunnels()
    );
    Ok(())
}

fn failing() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    // An authority that is not known.
    let proxy = bench.repository.proxy();
    let host = bench
        .host()?
        .settings(&format!("[downloads]\nproxy = \"{proxy}\"\n"))
        .start()?;
    let (_, said) = ctl(&host, 1, "mesh images invented")?;
    has(
        &said,
        &[
            "chart-repository-unreachable",
            "certificate",
            &format!("through the proxy {proxy}/"),
        ],
    )?;
    drop(host);

    // A proxy that nobody serves.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = closed.local_addr()?;
    drop(closed);
    let host = bench
        .host()?
        .env("HTTPS_PROXY", format!("http://me:secret@{address}"))
        .start()?;
    let (_, said) = ctl(&host, 1, "mesh images invented")?;
    has(
        &said,
        &[
            "chart-repository-unreachable",
            &format!("through the proxy http://{address}/"),
        ],
    )?;
    ensure!(!said.contains("secret"), "{said}");
    drop(host);

    // Files without certificates.
    let broken = bench.folder.path().join("broken.pem");
    fs::write(&broken, "no certificate")?;
    let settings = format!(
        "[downloads]\nproxy = \"{proxy}\"\nca_file = \"{}\"\n",
        broken.display()
    );
    let host = bench.host()?.settings(&settings).start()?;
    let (_, said) = ctl(&host, 1, "mesh images invented")?;
    has(&said, &["broken.pem", "no certificate in PEM"])
}

fn refused() -> anyhow::Result<()> {
    for (settings, words) in [
        ("proxy = \"proxy:3128\"", ["downloads.proxy", "http://host:port"]),
        (
            "proxy = \"http://me:secret@proxy:3128\"",
            ["downloads.proxy", "HTTPS_PROXY"],
        ),
        ("ca_file = \"ca.pem\"", ["downloads.ca_file", "ca.pem"]),
        ("procksy = \"x\"", ["procksy", "ca_file"]),
    ] {
        let (status, said) = Host::builder()
            .settings(&format!("[downloads]\n{settings}\n"))
            .refused()?;
        ensure!(!status.success(), "{settings} is taken");
        has(&said, &words).context(settings)?;
        ensure!(!said.contains("secret"), "{said}");
    }
    Ok(())
}
