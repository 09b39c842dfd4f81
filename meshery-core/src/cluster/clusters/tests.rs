use std::fs;
use std::time::Duration;

use super::*;

fn kubeconfig(contexts: &[&str], current: &str) -> String {
    let entries: Vec<String> = contexts
        .iter()
        .map(|name| format!("- name: {name}\n  context: {{cluster: c, user: u}}\n"))
        .collect();
    let entries = entries.concat();
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {current}\n\
         clusters:\n- name: c\n  cluster: {{server: \"https://127.0.0.1:1\"}}\n\
         users:\n- name: u\n  user: {{token: hunter2}}\ncontexts:\n{entries}"
    )
}

fn clusters(folder: &tempfile::TempDir, text: &str) -> Clusters {
    let path = folder.path().join("config");
    fs::write(&path, text).unwrap();
    let settings = ClusterSettings {
        connect: Duration::from_millis(300),
        ..ClusterSettings::default()
    };
    Clusters::with_settings(KubeconfigSource::Path(path), settings)
}

fn names(clusters: &Clusters) -> Vec<String> {
    let contexts = clusters.contexts().unwrap();
    contexts.into_iter().map(|info| info.context).collect()
}

#[tokio::test]
async fn an_unknown_context_lists_those_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let clusters = clusters(&folder, &kubeconfig(&["a", "b"], "a"));
    clusters
        .add_uploaded("up", &kubeconfig(&["x"], "x"))
        .await
        .unwrap();
    let error = clusters.connect(Some("c")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no context \"c\"; there is a, b, up");
}

#[tokio::test]
async fn without_a_current_context_one_must_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let clusters = clusters(&folder, &kubeconfig(&["a", "b"], "\"\""));
    let error = clusters.connect(None).await.unwrap_err();
    assert_eq!(error.code(), "unknown-context");
}

#[test]
fn a_changed_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let clusters = clusters(&folder, &kubeconfig(&["a"], "a"));
    assert_eq!(names(&clusters), ["a"]);
    fs::write(folder.path().join("config"), kubeconfig(&["a", "other"], "a")).unwrap();
    assert_eq!(names(&clusters), ["a", "other"]);
}

#[tokio::test]
async fn uploads_are_listed_by_their_name_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let clusters = clusters(&folder, &kubeconfig(&["a"], "a"));
    let text = kubeconfig(&["x", "y"], "y");
    clusters.add_uploaded("up", &text).await.unwrap();
    assert_eq!(names(&clusters), ["a", "up/x", "up"]);
    assert_eq!(clusters.uploaded("up").unwrap(), text);
    assert!(clusters.remove_uploaded("up") && !clusters.remove_uploaded("up"));
    assert_eq!(names(&clusters), ["a"]);
    for name in ["a", "", "x/y", "ä"] {
        let error = clusters.add_uploaded(name, &text).await.unwrap_err();
        assert_eq!(error.code(), "kubeconfig-refused", "{name}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_in_time_and_nothing_secret_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let clusters = clusters(&folder, &kubeconfig(&["a"], "a"));
    let error = clusters.connect(None).await.unwrap_err();
    assert_eq!(error.code(), "cluster-unreachable", "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_exec_plugin_that_fails_is_named_and_what_it_wrote_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let exec = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, interactiveMode: Never, \
                args: [\"-c\", \"echo hunter2; echo broken >&2; exit 3\"]}}";
    let clusters = clusters(
        &folder,
        &kubeconfig(&["a"], "a").replace("{token: hunter2}", exec),
    );
    let error = clusters.connect(None).await.unwrap_err();
    assert_eq!(error.code(), "cluster-credentials", "{error}");
    assert!(error.to_string().contains("broken"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
