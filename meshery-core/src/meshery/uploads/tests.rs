use meshery_plugin_api::PluginError;
use tempfile::TempDir;

use super::*;
use crate::cluster::KubeconfigSource;
use crate::provider::memory::MemoryProvider;

fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: k\n  cluster: {{server: \
         \"https://127.0.0.1:{port}\"}}\nusers:\n- name: u\n  user: {{token: hunter2}}\n\
         contexts:\n- name: c\n  context: {{cluster: k, user: u}}\n"
    )
}

/// A host without contexts of its own; its key lies in `folder`.
fn host(folder: &TempDir, memory: &Arc<MemoryProvider>, key: &str) -> Uploads {
    let path = folder.path().join(key);
    let key = Arc::new(HostKey::load_or_create(&path).unwrap());
    let own = folder.path().join("config");
    std::fs::write(&own, "apiVersion: v1\nkind: Config\n").unwrap();
    let clusters = Clusters::new(KubeconfigSource::Path(own));
    Uploads::new(Store::new(memory.clone()), key, clusters)
}

fn listed(uploads: &Uploads) -> Vec<(String, String)> {
    let contexts = uploads.clusters.contexts().unwrap();
    let shown = contexts.into_iter().map(|info| (info.context, info.server));
    shown.collect()
}

fn only(port: u16) -> Vec<(String, String)> {
    vec![("up".to_owned(), format!("https://127.0.0.1:{port}"))]
}

fn trouble() -> PluginError {
    PluginError::new("store-failed", "on purpose")
}

#[tokio::test]
async fn a_cluster_of_the_same_name_is_replaced_only_when_that_is_asked_for() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), Arc::default());
    let uploads = host(&folder, &memory, "key");
    uploads.add("up", &kubeconfig(1), IfThere::Refuse).await.unwrap();
    let problem = uploads
        .add("up", &kubeconfig(2), IfThere::Refuse)
        .await
        .unwrap_err();
    assert_eq!(
        (problem.kind, problem.code.as_str()),
        (ProblemKind::Conflict, "cluster-exists")
    );
    assert!(problem.remedy.contains("--replace"), "{problem:?}");
    assert_eq!(listed(&uploads), only(1));
    uploads.add("up", &kubeconfig(2), IfThere::Replace).await.unwrap();
    assert_eq!(listed(&uploads), only(2));
    let again = host(&folder, &memory, "key");
    again.restore().await.unwrap();
    assert_eq!(listed(&again), only(2));
}

#[tokio::test]
async fn an_addition_whose_acknowledgement_is_lost_is_there_and_one_that_failed_is_not() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), Arc::default());
    let uploads = host(&folder, &memory, "key");
    memory.fail_next(1, trouble());
    uploads
        .add("up", &kubeconfig(1), IfThere::Refuse)
        .await
        .unwrap_err();
    assert_eq!(listed(&uploads), []);
    // The user is asked for first.
    memory.pass_next(1);
    memory.lose_next(1);
    uploads.add("up", &kubeconfig(1), IfThere::Refuse).await.unwrap();
    assert_eq!(listed(&uploads), only(1));
}

#[tokio::test]
async fn a_removal_that_fails_in_the_middle_can_be_made_again_and_lasts() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), Arc::default());
    let uploads = host(&folder, &memory, "key");
    uploads.add("up", &kubeconfig(1), IfThere::Refuse).await.unwrap();
    for passes in 0..2 {
        memory.pass_next(passes);
        memory.fail_next(1, trouble());
        assert_eq!(uploads.remove("up").await.unwrap_err().code, "store-failed");
        assert_eq!(listed(&uploads), only(1), "what is kept is listed");
    }
    uploads.remove("up").await.unwrap();
    assert_eq!(listed(&uploads), []);
    let again = host(&folder, &memory, "key");
    again.restore().await.unwrap();
    assert_eq!(listed(&again), []);
    for name in ["up", "", "up/x", "a b", "\0", &"x".repeat(5000)] {
        let problem = again.remove(name).await.unwrap_err();
        assert_eq!(problem.code, "unknown-cluster", "{name}");
        assert!(problem.message.len() < 200, "{problem}");
    }
}

#[tokio::test]
async fn what_was_sealed_with_a_lost_key_is_listed_with_the_remedy_and_opens_again_with_that_key() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), Arc::default());
    let first = host(&folder, &memory, "old");
    first.add("up", &kubeconfig(1), IfThere::Refuse).await.unwrap();
    let uploads = host(&folder, &memory, "new");
    let count = uploads.restore().await.unwrap();
    assert_eq!((count.opened, count.closed), (0, 1));
    let contexts = uploads.clusters.contexts().unwrap();
    let problem = contexts[0].problem.as_ref().unwrap();
    for id in [&first.key_id, &uploads.key_id] {
        assert!(problem.message.contains(&id.to_string()), "{problem}");
    }
    assert!(problem.remedy.contains("host.key"), "{problem:?}");
    for context in [None, Some("up"), Some("up/c")] {
        let error = uploads.clusters.connect(context).await.unwrap_err();
        assert_eq!(error.code(), "cluster-unusable", "{context:?}: {error}");
    }
    // Another one does not become the current context because this one is lost.
    uploads
        .add("other", &kubeconfig(2), IfThere::Refuse)
        .await
        .unwrap();
    assert!(
        uploads
            .clusters
            .contexts()
            .unwrap()
            .iter()
            .all(|info| !info.current)
    );

    let back = host(&folder, &memory, "old");
    back.restore().await.unwrap();
    let contexts = back.clusters.contexts().unwrap();
    let usable = contexts.iter().filter(|info| info.problem.is_none());
    assert_eq!(
        usable.map(|info| info.context.as_str()).collect::<Vec<_>>(),
        ["up"]
    );
    back.remove("other").await.unwrap();
    assert_eq!(listed(&back), only(1));
}

#[tokio::test]
async fn a_key_that_is_changed_on_purpose_seals_what_was_uploaded_anew() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), Arc::new(MemoryProvider::new()));
    let before = host(&folder, &memory, "host.key");
    before.add("up", &kubeconfig(1), IfThere::Refuse).await.unwrap();
    HostKey::retire(&folder.path().join("host.key")).unwrap();
    let after = host(&folder, &memory, "host.key");
    assert_ne!(after.key().id(), before.key().id());
    assert_eq!(after.restore().await.unwrap().closed, 0);
    assert_eq!(listed(&after), only(1));
    // The retired key is not needed for it any more.
    std::fs::remove_file(folder.path().join("host.key.retired")).unwrap();
    let later = host(&folder, &memory, "host.key");
    assert_eq!(later.restore().await.unwrap().closed, 0);
    assert_eq!(listed(&later), only(1));
}
