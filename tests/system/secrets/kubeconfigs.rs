//! Kubeconfigs with secrets in every place that can hold one, in the owner's file and uploaded: nobody reads them out
//! of the host, least of all when something is wrong with them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use serde_json::{Value, json};

use super::{Marker, search};
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial(
        "secrets::what_a_kubeconfig_holds_is_told_to_nobody_whatever_is_wrong_with_it",
        held,
    )]
}

/// A user for each place, and the marker in it.
fn users() -> Vec<(&'static str, Value, Marker)> {
    let user = |name: &'static str, make: &dyn Fn(&str) -> Value| {
        let marker = Marker::new(name);
        let user = make(&marker.text);
        (name, user, marker)
    };
    let exec = |script: &str, argument: &str, variable: &str| {
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "sh", "args": ["-c", script, "login", argument], "env": [{"name": "SECRET", "value": variable}]}})
    };
    vec![
        user("token", &|marker| json!({"token": marker})),
        user(
            "odd-token",
            &|marker| json!({"token": format!("{marker}\n\u{1}")}),
        ),
        user(
            "password",
            &|marker| json!({"username": "somebody", "password": marker}),
        ),
        user("key", &|marker| {
            json!({"client-certificate-data": STANDARD.encode("no certificate"),
                "client-key-data": STANDARD.encode(format!("-----BEGIN PRIVATE KEY-----\n{marker}\n"))})
        }),
        user(
            "no-base64",
            &|marker| json!({"client-certificate-data": STANDARD.encode("no certificate"), "client-key-data": format!("{marker}!")}),
        ),
        user("exec-failing", &|marker| {
            exec("echo cannot log in with $SECRET >&2; exit 3", "", marker)
        }),
        user("exec-garbled", &|marker| exec("echo $SECRET", "", marker)),
        user("exec-argument", &|marker| {
            exec("echo $1 is refused >&2; exit 1", marker, "")
        }),
        user(
            "provider",
            &|marker| json!({"auth-provider": {"name": "oidc", "config": {"id-token": marker, "refresh-token": marker}}}),
        ),
    ]
}

/// An address at which an answer comes at once, and not by TLS: nobody tries that again.
fn plain_answers() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // Whoever asked may have gone by now.
            let _ = connection
                .and_then(|mut connection| connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    Ok(address)
}

fn held() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let users = users();
    let address = Marker::new("address");
    let nobody = plain_answers()?;
    let raw = crate::namespace::succeeded(cluster.kubectl(&[
        "config",
        "view",
        "--raw",
        "--flatten",
        "--output=json",
    ]))?;
    let mut config: Value = serde_json::from_str(&raw)?;
    let mut add = |list: &str, entry: Value| {
        if let Some(list) = config[list].as_array_mut() {
            list.push(entry);
        }
    };
    add(
        "clusters",
        json!({"name": "nowhere", "cluster": {"server": format!("https://{nobody}")}}),
    );
    add(
        "clusters",
        json!({"name": "address", "cluster": {"server": format!("https://somebody:{}@{nobody}", address.text)}}),
    );
    add(
        "clusters",
        json!({"name": "proxied", "cluster": {"server": format!("https://{nobody}"),
            "proxy-url": format!("http://somebody:{}@{nobody}", address.text)}}),
    );
    for (name, user, _) in &users {
        add("users", json!({"name": name, "user": user}));
        add(
            "contexts",
            json!({"name": name, "context": {"cluster": "nowhere", "user": name}}),
        );
    }
    for name in ["address", "proxied"] {
        add(
            "contexts",
            json!({"name": name, "context": {"cluster": name, "user": "token"}}),
        );
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, config.to_string())?;
    let mut host = Host::builder()
        .kubeconfig(&file)
        .settings("offline = true\n[log]\nlevel = \"trace\"\n")
        .start()?;
    let mut markers: Vec<&Marker> = users.iter().map(|(.., marker)| marker).collect();
    markers.push(&address);

    for (name, user, marker) in &users {
        let uploaded = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("https://{nobody}")}}],
            "users": [{"name": "it", "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        for text in [uploaded.to_string(), format!("{{{uploaded}")] {
            let upload = json!({"name": format!("up-{name}"), "kubeconfig": text});
            let answer = host.post("/api/v1/clusters", &upload)?;
            marker.is_absent(&format!("the answer to the upload of {name}"), &answer.body)?;
        }
        let asked = json!({"adapter": "istio", "operation": "apply-custom", "context": name,
            "parameters": {"yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: default}\n"}});
        let answer = host.post("/api/v1/operations", &asked)?;
        ensure!(answer.status >= 400, "{}", answer.text());
        marker.is_absent(&format!("the answer to a plan with {name}"), &answer.body)?;
    }
    for name in ["address", "proxied"] {
        for path in ["", "/facts?adapter=istio"] {
            let answer = host.get(&format!("/api/v1/clusters/{name}{path}"))?;
            address.is_absent(&format!("the answer of {name}{path}"), &answer.body)?;
        }
    }
    // What is wrong is still said.
    let refused = host
        .get("/api/v1/clusters/exec-failing/facts?adapter=istio")?
        .text();
    ensure!(refused.contains("cannot log in with (not shown)"), "{refused}");
    search(&host, &markers, &[])?;
    host.terminate()?;
    host.restart()?;
    search(&host, &markers, &[])
}
