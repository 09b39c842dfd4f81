//! What is wrong or missing around a host is said when it starts, with what to do.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::ensure;
use libtest_mimic::Trial;
use meshery_tests::host::{Host, HostBuilder};

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "host::mistyped_variables_are_named_with_the_nearest",
            mistyped_variables,
        ),
        trial("host::variables_of_others_are_no_fault", variables_of_others),
        trial("host::the_report_says_when_there_is_no_provider", no_provider),
        trial("host::the_report_says_when_there_is_no_helm_that_works", no_helm),
    ]
}

fn refused(builder: HostBuilder, words: &[&str]) -> anyhow::Result<()> {
    let (status, said) = builder.refused()?;
    ensure!(status.code() == Some(1), "{status}: {said}");
    for word in words {
        ensure!(said.contains(word), "no {word} in: {said}");
    }
    Ok(())
}

fn mistyped_variables() -> anyhow::Result<()> {
    refused(
        Host::builder().env("MESHERY_LISTN", "127.0.0.1:1"),
        &["MESHERY_LISTN", "nearest is MESHERY_LISTEN"],
    )?;
    refused(
        Host::builder().env("MESHERY_LOG_LEVEL", "inof"),
        &["MESHERY_LOG_LEVEL", "\"inof\"", "error, warn, info, debug, trace"],
    )?;
    let data = tempfile::tempdir()?;
    fs::create_dir(data.path().join("token"))?;
    let (_, said) = Host::builder().data(data.path()).refused()?;
    ensure!(said.matches("(os error").count() == 1, "said twice: {said}");
    let no_text = OsString::from_vec(b"/\xff".to_vec());
    refused(
        Host::builder().env("MESHERY_MIRROR", no_text.clone()),
        &["MESHERY_MIRROR", "UTF-8"],
    )?;
    refused(
        Host::builder().arg("--plugins").arg(no_text),
        &["--plugins", "UTF-8"],
    )
}

fn variables_of_others() -> anyhow::Result<()> {
    let host = Host::builder()
        .env("MESHERY_SERVER", "http://elsewhere")
        .env("MESHERY_TOKEN_FILE", "/nowhere")
        .env("MESHERY_CHARTS", "/nowhere")
        .env("MESHERY_TEST_SEED", "1")
        .env("MESHERY_SERVICE_HOST", "10.0.0.1")
        .env("MESHERY_PORT", "tcp://10.0.0.1:9081")
        .start()?;
    host.get("/healthz")?.expect(200)?;
    Ok(())
}

fn no_provider() -> anyhow::Result<()> {
    let host = Host::builder().own_plugins(&["meshery_istio"]).start()?;
    let report = host.report();
    for words in [
        "provider  none: ",
        "what to do: put a provider plugin beside the host",
    ] {
        ensure!(report.contains(words), "no {words} in {report}");
    }
    let other = Host::builder().env("MESHERY_PROVIDER_NAME", "cloud").start()?;
    let words = "what to do: name the provider that is there by `name` under [provider]";
    ensure!(other.report().contains(words), "{}", other.report());
    Ok(())
}

fn no_helm() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let helm = folder.path().join("helm");
    for (script, words) in [
        (None, "is not there"),
        (Some("echo v3.9.4"), "older than 3.14"),
        (Some("sleep 60"), "does not say its version"),
        (Some("echo v3.15.0"), "helm      v3.15.0"),
    ] {
        if let Some(script) = script {
            let draft = folder.path().join("draft");
            fs::write(&draft, format!("#!/bin/sh\n{script}\n"))?;
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o755))?;
            fs::rename(draft, &helm)?;
        }
        let report = Host::builder().helm(&helm).start()?.report();
        ensure!(report.contains(words), "no {words} in {report}");
        let works = script.is_some_and(|script| script.contains("3.15"));
        ensure!(
            report.contains("install helm 3.14 or newer") != works || words.contains("does not say"),
            "{report}"
        );
    }
    Ok(())
}
