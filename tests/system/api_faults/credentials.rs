//! Credentials and certificates end, mostly in the middle of something, and their successors are in the files by then,
//! or a little later.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use http::Method;
use http::header::AUTHORIZATION;
use meshery_tests::host::Host;
use meshery_tests::proxy::identity::{Authority, Certified, Identity};
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo, refusal};
use serde_json::{Value, json};

use super::{given_back, id, object, run, told};
use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::{Namespace, succeeded};

fn many(space: &Namespace) -> Value {
    request("many", json!({"namespace": space.name, "objects": 4, "steps": 4}))
}

/// Waits until an operation that cannot go on says why.
fn interrupted(host: &Host, planned: &str, code: &str, words: &[&str]) -> anyhow::Result<()> {
    let record = run(host, planned, "interrupted", LIMIT)?;
    told(&record, code, words)
}

/// Resumes it; what was done is taken back.
fn resumed(host: &Host, planned: &str) -> anyhow::Result<()> {
    host.order(planned, "resume")?;
    let record = host.await_state(planned, &["undone", "undo-incomplete", "failed"], LIMIT)?;
    ensure!(record["state"] == "undone", "{record:#}");
    Ok(())
}

fn bears(request: &RequestInfo, token: &str) -> bool {
    let header = request
        .headers
        .get(AUTHORIZATION)
        .map(http::HeaderValue::as_bytes);
    header == Some(format!("Bearer {token}").as_bytes())
}

pub fn token_file() -> anyhow::Result<()> {
    let space = Namespace::new("token-file")?;
    let folder = tempfile::tempdir()?;
    let account = format!("system:serviceaccount:{}:deployer", space.name);
    space.kubectl(&["create", "serviceaccount", "deployer"])?;
    let binding = space.name.as_str();
    succeeded(space.cluster.kubectl(&[
        "create",
        "clusterrolebinding",
        binding,
        "--clusterrole=cluster-admin",
        &format!("--user={account}"),
    ]))?;
    let result = (|| {
        let token = || -> anyhow::Result<String> {
            Ok(space.kubectl(&["create", "token", "deployer"])?.trim().to_owned())
        };
        let tokens = [token()?, token()?, token()?];
        ensure!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
        let file = folder.path().join("token");
        fs::write(&file, &tokens[0])?;
        let proxy = FaultProxy::start_tls(&space.cluster, Identity::new(&Authority::new()?)?)?;
        let kubeconfig = proxy.kubeconfig_of(folder.path(), &json!({"tokenFile": "token"}));
        let host = invented_host(&space.cluster, &kubeconfig)?.start()?;

        // The first token ends in the middle, and the second one is in the file.
        let ended = Arc::new(AtomicBool::new(false));
        let trigger = {
            let (ended, file, next) = (ended.clone(), file.clone(), tokens[1].clone());
            Strike::at(Method::GET, format!("/configmaps/{}", object(1)), move || {
                let (ended, file, next) = (ended.clone(), file.clone(), next.clone());
                Action::run(move || {
                    fs::write(file, next).expect("the token can be written");
                    ended.store(true, Ordering::SeqCst);
                })
            })
        };
        let refused = {
            let (ended, first) = (ended.clone(), tokens[0].clone());
            Strike::on(
                move |request| ended.load(Ordering::SeqCst) && bears(request, &first),
                || refusal::status(401, "Unauthorized", "Unauthorized"),
            )
            .always()
        };
        proxy.on(all(vec![trigger, refused.clone()]));
        let planned = host.plan(&many(&space))?;
        run(&host, &planned, "succeeded", LIMIT)?;
        ensure!(refused.struck() > 0, "the first token was not used any more");
        host.take_back(&planned, "undone", LIMIT)?;

        // The second one ends, and its successor comes too late.
        let planned = host.plan(&many(&space))?;
        let old = [tokens[0].clone(), tokens[1].clone()];
        let over = Arc::new(AtomicBool::new(false));
        let trigger = {
            let over = over.clone();
            Strike::at(Method::GET, format!("/configmaps/{}", object(1)), move || {
                over.store(true, Ordering::SeqCst);
                Action::Forward
            })
        };
        let refused = Strike::on(
            move |request| over.load(Ordering::SeqCst) && old.iter().any(|token| bears(request, token)),
            || refusal::status(401, "Unauthorized", "Unauthorized"),
        )
        .always();
        proxy.on(all(vec![trigger, refused]));
        interrupted(
            &host,
            &planned,
            "cluster-unauthorized",
            &["proxy", "log in again"],
        )?;
        ensure!(
            !host.record(&planned)?.to_string().contains(&tokens[1]) && !host.log().contains(&tokens[1]),
            "the token is told"
        );
        fs::write(&file, &tokens[2])?;
        resumed(&host, &planned)?;
        given_back(&space.cluster);
        Ok(())
    })();
    succeeded(space.cluster.kubectl(&["delete", "clusterrolebinding", binding]))?;
    result
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn certificate(&self) -> PathBuf {
        self.folder.path().join("client.crt")
    }

    fn write(&self, certified: &Certified) -> anyhow::Result<()> {
        certified.write(&self.certificate(), &self.folder.path().join("client.key"))
    }

    fn kubeconfig(&self, proxy: &FaultProxy) -> PathBuf {
        let user = json!({"client-certificate": "client.crt", "client-key": "client.key"});
        proxy.kubeconfig_of(self.folder.path(), &user)
    }
}

pub fn certificates() -> anyhow::Result<()> {
    let space = Namespace::new("certificates")?;
    let files = Files {
        folder: tempfile::tempdir()?,
    };
    let (servers, clients) = (Authority::new()?, Authority::new()?);
    let first = clients.client()?;
    files.write(&first)?;
    let proxy = Arc::new(FaultProxy::start_tls(
        &space.cluster,
        Identity::for_clients_of(&servers, &clients)?,
    )?);
    let host = invented_host(&space.cluster, &files.kubeconfig(&proxy))?.start()?;
    // What happens in the middle of an operation.
    let midst = |job: Box<dyn FnOnce() + Send>| {
        let job = Arc::new(std::sync::Mutex::new(Some(job)));
        Strike::at(Method::GET, format!("/configmaps/{}", object(1)), move || {
            let job = job.lock().ok().and_then(|mut job| job.take());
            Action::run(move || {
                if let Some(job) = job {
                    job();
                }
            })
        })
    };
    let goes_well = |strikes: Vec<Strike>| -> anyhow::Result<()> {
        proxy.on(all(strikes));
        let planned = host.plan(&many(&space))?;
        let record = run(&host, &planned, "succeeded", LIMIT)?;
        proxy.clear();
        host.take_back(id(&record)?, "undone", LIMIT)?;
        Ok(())
    };

    // The server does not take the client's certificate any more, and says so in the way of an API server.
    let (shown, over) = (first.der()?, Arc::new(AtomicBool::new(false)));
    let is_over = over.clone();
    let refused = Strike::on(
        move |request| is_over.load(Ordering::SeqCst) && request.certificate.as_ref() == Some(&shown),
        || refusal::status(401, "Unauthorized", "Unauthorized"),
    )
    .always();
    let (next, certificate) = (clients.client()?, files.certificate());
    goes_well(vec![
        midst(Box::new(move || {
            next.write(&certificate, &certificate.with_extension("key"))
                .expect("the certificate can be written");
            over.store(true, Ordering::SeqCst);
        })),
        refused.clone(),
    ])?;
    ensure!(
        refused.struck() > 0,
        "the first certificate was not shown any more"
    );

    // Another authority signs clients' certificates: those of the old one do not even come in.
    let others = Authority::new()?;
    let (identity, next) = (Identity::for_clients_of(&servers, &others)?, others.client()?);
    let (turn, certificate) = (proxy.clone(), files.certificate());
    goes_well(vec![midst(Box::new(move || {
        next.write(&certificate, &certificate.with_extension("key"))
            .expect("the certificate can be written");
        turn.turn_into(identity);
    }))])?;

    // The server's own certificate is of another authority, and the kubeconfig says so.
    let authority = Authority::new()?;
    let identity = Identity::for_clients_of(&authority, &others)?;
    let (turn, config) = (proxy.clone(), files.folder.path().to_owned());
    goes_well(vec![midst(Box::new(move || {
        turn.turn_into(identity);
        let user = json!({"client-certificate": "client.crt", "client-key": "client.key"});
        turn.kubeconfig_of(&config, &user);
    }))])?;

    // The kubeconfig says it too late.
    let identity = Identity::for_clients_of(&Authority::new()?, &others)?;
    let turn = proxy.clone();
    proxy.on(all(vec![midst(Box::new(move || turn.turn_into(identity)))]));
    let planned = host.plan(&many(&space))?;
    interrupted(&host, &planned, "cluster-tls", &["certificate", "kubeconfig"])?;
    files.kubeconfig(&proxy);
    resumed(&host, &planned).context("after the kubeconfig was put right")?;
    given_back(&space.cluster);
    Ok(())
}
