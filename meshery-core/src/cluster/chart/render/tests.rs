use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;

use super::super::packer::Packer;
use super::super::{ChartSettings, Charts};
use super::*;

fn request() -> RenderRequest {
    RenderRequest {
        release: "demo".into(),
        namespace: "demo".into(),
        ..RenderRequest::default()
    }
}

#[test]
fn names_that_could_be_taken_for_something_else_are_refused() {
    check(&request()).unwrap();
    let long = "x".repeat(54);
    for name in [
        "",
        "-f",
        "--post-renderer=x",
        "Demo",
        "a_b",
        "a..b",
        "a/b",
        "../x",
        &long,
    ] {
        let error = check(&RenderRequest {
            release: name.into(),
            ..request()
        })
        .unwrap_err();
        assert!(error.to_string().contains("release name"), "{name}: {error}");
        assert!(
            check(&RenderRequest {
                namespace: "a.b".into(),
                ..request()
            })
            .is_err()
        );
    }
    for api in ["", "v1,v2", "v1 --x", "\n"] {
        assert!(
            check(&RenderRequest {
                api_versions: vec![api.into()],
                ..request()
            })
            .is_err(),
            "{api}"
        );
    }
    check(&RenderRequest {
        kube_version: "v1.30.4-gke.100+x".into(),
        ..request()
    })
    .unwrap();
}

#[test]
fn values_are_written_so_that_yaml_reads_them_as_json() {
    let values = json!({"line": "a\u{2028}b\u{85}c\u{7f}", "y": "on", "emoji": "\u{1f600}", "tab": "\t"});
    let text = json_for_yaml(values.as_object().unwrap());
    assert!(!text.contains(['\u{2028}', '\u{85}', '\u{7f}']) && text.contains("\\u2028"));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), values);
    assert_eq!(super::super::yaml::manifest(&text).unwrap(), values);
}

/// A program that passes for helm: it answers `version`, has no notes to give, and renders as the script says.
fn pretender(folder: &Path, rest: &str) -> PathBuf {
    let (draft, path) = (folder.join("draft"), folder.join("helm"));
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = version ]; then echo v4.2.4; exit; fi\n[ \"$1\" = template ] || exit 1\n\
         case \"$*\" in *--show-only=*) exit 1;; esac\n{rest}\n"
    );
    std::fs::write(&draft, text).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&draft, &path).unwrap();
    path
}

/// Renders the demo chart with a pretender; the folder holds it, the mirror and the cache.
async fn render_with(folder: &Path, script: &str, request: &RenderRequest) -> Result<Rendered, ChartError> {
    let settings = ChartSettings {
        mirror: Some(folder.into()),
        cache: folder.join("cache"),
        helm: Some(pretender(folder, script)),
        offline: true,
        ..ChartSettings::default()
    };
    std::fs::write(folder.join("demo.tgz"), Packer::chart("demo")).unwrap();
    let charts = Charts::new(settings);
    let wanted = meshery_plugin_api::message::plan::ChartRef {
        name: "demo".into(),
        version: "0.1.0".into(),
        ..Default::default()
    };
    let chart = charts.fetch(&wanted).await.unwrap();
    charts.render(&chart, request).await
}

#[tokio::test]
async fn helm_gets_the_archive_the_cluster_and_the_values_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cat > {0}/values; echo \"$@\" > {0}/arguments; cp \"$3\" {0}/seen.tgz",
        folder.path().display()
    );
    let request = RenderRequest {
        values: json!({"greeting": "secret"}).as_object().unwrap().clone(),
        kube_version: "v1.36.3".into(),
        api_versions: vec!["apps/v1".into(), "apps/v1/Deployment".into()],
        is_upgrade: true,
        ..request()
    };
    let rendered = render_with(folder.path(), &script, &request).await.unwrap();
    assert_eq!(rendered.helm, "v4.2.4");
    let arguments = std::fs::read_to_string(folder.path().join("arguments")).unwrap();
    let (before, after) = arguments.trim().split_once(" /").unwrap();
    assert_eq!(before, "template demo");
    assert_eq!(
        after.split_once(' ').unwrap().1,
        "--namespace=demo --values=- --kube-version=v1.36.3 --api-versions=apps/v1 --api-versions=apps/v1/Deployment --include-crds --is-upgrade"
    );
    assert_eq!(
        std::fs::read_to_string(folder.path().join("values")).unwrap(),
        r#"{"greeting":"secret"}"#
    );
    assert_eq!(
        std::fs::read(folder.path().join("seen.tgz")).unwrap(),
        Packer::chart("demo")
    );
    let left: Vec<_> = std::fs::read_dir(folder.path().join("cache/render"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_helm_that_fails_or_dies_is_told_apart_and_leaves_nothing() {
    for (script, expected) in [
        (
            "echo 'Error: execution error at (demo/templates/x.yaml:1:2): no' >&2; exit 1",
            "refuses the values: no",
        ),
        ("exit 3", "it said nothing"),
        ("kill -9 $$", "the program was killed"),
        ("echo 'a: ['", "no Kubernetes object"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = render_with(folder.path(), script, &request())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{script}: {error}");
        assert_eq!(
            std::fs::read_dir(folder.path().join("cache/render"))
                .unwrap()
                .count(),
            0
        );
    }
}

#[tokio::test]
async fn folders_that_a_killed_host_left_behind_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("cache/render/old");
    std::fs::create_dir_all(&left).unwrap();
    let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    std::fs::File::open(&left)
        .unwrap()
        .set_modified(hour_ago)
        .unwrap();
    render_with(folder.path(), "exit 0", &request()).await.unwrap();
    assert!(!left.exists());
}

#[test]
fn a_schema_that_leads_elsewhere_is_left_out_or_refused() {
    let about = "name: demo\nversion: 1.0.0\n";
    let bytes = Packer::new()
        .file("demo/Chart.yaml", about)
        .file(
            "demo/values.schema.json",
            r#"{"$ref": "https://schema.example/x.json"}"#,
        )
        .finish();
    let chart = super::super::content::read(bytes.into(), Path::new("x"), "x").unwrap();
    let with = |version: &str, number| {
        let helm = Helm {
            path: "/helm".into(),
            version: version.into(),
            number,
        };
        arguments(&helm, &chart, &request(), Path::new("/chart.tgz"))
    };
    assert!(
        with("v4.2.4", (4, 2))
            .unwrap()
            .contains(&"--skip-schema-validation".into())
    );
    assert!(
        with("v3.15.0", (3, 15))
            .unwrap_err()
            .to_string()
            .contains("v3.15.0")
    );
}
