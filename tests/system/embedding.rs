//! The engine in an ordinary program, without a host: the example of `meshery-core`, run as its first lines say.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::chart_archive;
use meshery_tests::snapshot::Snapshot;

use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial(
        "embedding::the_example_installs_a_mesh_and_takes_it_back",
        example,
    )]
}

fn example() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let built = artifacts::build()?;
    let folder = tempfile::tempdir()?;
    let (plugins, mirror) = (folder.path().join("plugins"), folder.path().join("charts"));
    std::fs::create_dir(&plugins)?;
    // In the folder of a program's own plugins, other libraries are none of its business.
    for (library, name) in [
        ("meshery_local_provider", "libmeshery_local_provider.so"),
        ("fixture_invented_mesh", "libmeshery_invented.so"),
    ] {
        std::fs::copy(built.library(library)?, plugins.join(name))?;
    }
    chart_archive::mirror(&mirror, &["demo"])?;
    let programs = cluster
        .helm()
        .parent()
        .context("helm lies in a folder")?
        .to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path)))?;

    let before = Snapshot::take(&cluster)?;
    let output = Command::new(built.program("install_a_mesh")?)
        .arg(&plugins)
        .args(["invented", "--undo"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("MESHERY_MIRROR", &mirror)
        .env("TMPDIR", folder.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for words in [
        "Create v1/Namespace//invented-system (Verified)",
        "\nsucceeded\n",
        "\nundone\n",
    ] {
        ensure!(text.contains(words), "{words:?} is missing: {text}");
    }
    before.await_same(&cluster)
}
