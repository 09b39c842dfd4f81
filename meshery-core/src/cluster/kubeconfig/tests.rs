use std::path::PathBuf;

use super::upload::{check_address, read};
use super::*;

fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters:\n- name: c\n  cluster: {{{cluster}}}\n\
         users:\n- name: u\n  user: {{{user}}}\n\
         contexts:\n- name: here\n  context: {{cluster: c, user: u, namespace: ns}}\n"
    )
}

const SERVER: &str = "server: \"https://127.0.0.1:6443\"";

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_first_file_wins_and_missing_ones_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let one = kubeconfig("server: \"https://one:1\"", "token: a")
        .replace("current-context: here", "current-context: \"\"");
    let two = kubeconfig("server: \"https://two:2\"", "token: b").replace("name: here", "name: there");
    let two = two.replace("current-context: here", "current-context: there");
    let paths = [
        folder.path().join("missing"),
        file(folder.path(), "one", &one),
        file(folder.path(), "two", &two),
    ];
    let loaded = merge(&paths, true).unwrap();
    assert_eq!(loaded.current(), Some("there"), "an empty name is no name");
    let servers: Vec<String> = ["here", "there"]
        .iter()
        .map(|context| Entry::find(&loaded.config, context).unwrap().server())
        .collect();
    assert_eq!(servers, ["https://one:1"; 2], "the first entry of a name counts");
    assert!(loaded.sources[0].ends_with("one") && loaded.sources[1].ends_with("two"));

    assert!(!loaded.is_stale());
    fs::write(&paths[0], "{}").unwrap();
    assert!(loaded.is_stale(), "a file that was missing is there now");
}

#[test]
fn a_named_file_must_be_there() {
    let error = merge(&[PathBuf::from("/nowhere/config")], false).unwrap_err();
    assert_eq!(error.code(), "bad-kubeconfig");
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/config: it cannot be read"),
        "{error}"
    );
}

#[test]
fn two_ways_to_log_in_and_two_ways_to_verify_are_one_too_many() {
    for (cluster, user, said) in [
        (
            SERVER,
            "token: a, username: b, password: c",
            "both a token and a user name",
        ),
        (
            "server: \"https://a\", insecure-skip-tls-verify: true, certificate-authority-data: YQ==",
            "token: a",
            "both a certificate authority and insecure",
        ),
        (
            SERVER,
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}",
            "nobody to answer",
        ),
    ] {
        let config = Kubeconfig::from_yaml(&kubeconfig(cluster, user)).unwrap();
        let error = client_config(&config, "here", "file", Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_token_file_counts_before_a_token() {
    let config = Kubeconfig::from_yaml(&kubeconfig(SERVER, "token: a, tokenFile: /tmp/t")).unwrap();
    let made = client_config(&config, "here", "file", Duration::from_secs(1)).unwrap();
    assert!(made.auth_info.token.is_none() && made.auth_info.token_file.is_some());
    assert!(!made.default_retry && made.proxy_url.is_none());
}

#[test]
fn an_upload_may_not_reach_out_of_itself() {
    for (cluster, user, field) in [
        (SERVER, "exec: {command: rm}", "exec of user \"u\""),
        (SERVER, "auth-provider: {name: oidc}", "auth-provider"),
        (SERVER, "client-certificate: /etc/passwd", "client-certificate"),
        (SERVER, "client-key: /etc/passwd", "client-key"),
        (SERVER, "tokenFile: /etc/passwd", "tokenFile"),
        (
            "server: \"https://a\", certificate-authority: /etc/passwd",
            "token: a",
            "certificate-authority of cluster \"c\"",
        ),
        (
            "server: \"https://a\", proxy-url: \"http://b\"",
            "token: a",
            "proxy-url",
        ),
        ("server: \"http://a\"", "token: a", "does not begin with https:"),
        ("server: \"https://x:y@a\"", "token: a", "a password"),
    ] {
        let error = read("up", &kubeconfig(cluster, user)).unwrap_err();
        assert_eq!(error.code(), "kubeconfig-refused", "{error}");
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[test]
fn an_insecure_upload_is_taken_with_a_warning_as_yaml_and_as_json() {
    let text = kubeconfig(
        "server: \"https://10.0.0.1\", insecure-skip-tls-verify: true",
        "token: a",
    );
    let (config, warnings) = read("up", &text).unwrap();
    assert_eq!(warnings.len(), 1);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(read("up", &json).unwrap().1.len(), 1);
}

#[test]
fn garbage_is_refused_with_its_place_and_without_its_words() {
    let error = read("up", "clusters: []\nusers:\n  - name: [\n").unwrap_err();
    let ClusterError::BadKubeconfig { line, column, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(line.is_some() && column.is_some(), "{error}");

    let error = read("up", "clusters: []\nusers: hunter2\ncontexts: []\n").unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");

    for text in ["", "3", "[]", "clusters: []\n", "\u{0}\u{1}"] {
        assert_eq!(read("up", text).unwrap_err().code(), "bad-kubeconfig", "{text:?}");
    }
    assert!(matches!(
        read("up", &" ".repeat(LARGEST_PLUS)).unwrap_err(),
        ClusterError::TooLarge { .. }
    ));
    let deep = format!("x: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(read("up", &deep).unwrap_err().code(), "bad-kubeconfig");
}

const LARGEST_PLUS: usize = (1 << 20) + 1;

#[tokio::test]
async fn addresses_where_no_cluster_can_be_are_refused() {
    for (server, fine) in [
        ("https://169.254.169.254", false),
        ("https://[fe80::1]", false),
        ("https://[::ffff:169.254.169.254]:443", false),
        ("https://[fd00:ec2::254]", false),
        ("https://0.0.0.0:6443", false),
        ("https://100.100.100.200", false),
        ("https://127.0.0.1:6443", true),
        ("https://10.1.2.3", true),
    ] {
        let text = kubeconfig(&format!("server: \"{server}\""), "token: a");
        let (config, _) = read("up", &text).unwrap();
        let entry = Entry::find(&config, "here").unwrap();
        assert_eq!(check_address("up", entry).await.is_ok(), fine, "{server}");
    }
}

#[tokio::test]
async fn a_checked_address_is_the_one_that_is_used() {
    let config =
        Kubeconfig::from_yaml(&kubeconfig("server: \"https://localhost:6443/k8s\"", "token: a")).unwrap();
    let address = check_address("up", Entry::find(&config, "here").unwrap())
        .await
        .unwrap();
    let mut made = client_config(&config, "here", "up", Duration::from_secs(1)).unwrap();
    upload::pin(&mut made, address).unwrap();
    assert_eq!(made.cluster_url.to_string(), format!("https://{address}/k8s"));
    assert_eq!(made.tls_server_name.as_deref(), Some("localhost"));
    assert_eq!(made.headers[0].1, "localhost:6443");
}

#[test]
fn an_address_is_shown_without_who_asks_and_its_password_is_told_to_nobody() {
    let text = kubeconfig(
        "server: \"https://me:hunter2hunter2@host:1/p@th\"",
        "token: abcdefgh",
    );
    let config = Kubeconfig::from_yaml(&text).unwrap();
    let entry = Entry::find(&config, "here").unwrap();
    assert_eq!(entry.server(), "https://host:1/p@th");
    let told = "me with hunter2hunter2 and abcdefgh";
    assert_eq!(
        entry.confidential().hide(told),
        "me with (not shown) and (not shown)"
    );
    assert_eq!(without_password("https://host:1/x@y"), "https://host:1/x@y");
}
