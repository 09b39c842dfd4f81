//! Many objects are looked for by one list of their kind; what that list did not show may be there all the same.

use anyhow::{Context as _, ensure};
use http::Method;
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, FaultProxy};
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::Namespace;
use crate::releases::{config, mirror, pieces};

const OBJECTS: usize = 40;

/// Others make an object after the list and before its write: without a word that it may be taken over it is refused and
/// left alone, with that word it is changed, and an undo gives back what others had made of it.
pub fn found() -> anyhow::Result<()> {
    let space = Namespace::new("guessed")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    let host = invented_host(&space.cluster, &proxy.kubeconfig(space.cluster.dir()))?.start()?;
    for forced in [false, true] {
        let (cluster, namespace) = (space.cluster.clone(), space.name.clone());
        let others = Strike::at(Method::PATCH, "/configmaps/object-00007", move || {
            let (cluster, namespace) = (cluster.clone(), namespace.clone());
            Action::run(move || {
                let made = cluster.kubectl(&[
                    "create",
                    "configmap",
                    "object-00007",
                    "--from-literal=value=theirs",
                    "--namespace",
                    &namespace,
                ]);
                assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            })
        });
        let looks = Strike::on(
            |request| request.method == Method::GET && request.path.contains("/configmaps/object-"),
            || Action::Forward,
        )
        .always();
        proxy.on(all(vec![others.clone(), looks.clone()]));
        let mut many = request(
            "many",
            json!({"namespace": space.name, "objects": OBJECTS, "steps": 1}),
        );
        many["policy"] = json!({"force_conflicts": forced});
        let planned = host.plan(&many)?;
        host.order(&planned, "run")?;
        let record = host.await_end(&planned, LIMIT)?;
        ensure!(others.struck() == 1, "nobody came in between");
        let value = || {
            space.kubectl(&[
                "get",
                "configmap",
                "object-00007",
                "--output",
                "jsonpath={.data.value}",
            ])
        };
        if forced {
            ensure!(record["state"] == "succeeded", "{record:#}");
            ensure!(looks.struck() == 1, "{} objects were asked for", looks.struck());
            ensure!(value()? == "7", "{}", value()?);
            host.take_back(&planned, "undone", LIMIT)?;
        } else {
            ensure!(record["error"]["code"] == "apply-conflict", "{record:#}");
            host.await_state(&planned, &["undone"], LIMIT)?;
        }
        proxy.clear();
        ensure!(value()? == "theirs", "{}", value()?);
        let left = space.kubectl(&["get", "configmaps", "--output", "name"])?;
        let left = left.lines().filter(|name| name.contains("object-")).count();
        ensure!(left == 1, "{left} are left");
        space.kubectl(&["delete", "configmap", "object-00007"])?;
    }
    Ok(())
}

/// Taken back, a removal makes an object again that a controller has made meanwhile, with our mark copied and with fields of its
/// own, as it does a `ReplicaSet` of a Deployment that came back a moment before: it stands.
pub fn made_again_by_a_controller() -> anyhow::Result<()> {
    let space = Namespace::new("guessed-again")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    let host = invented_host(&space.cluster, &proxy.kubeconfig(space.cluster.dir()))?
        .mirror(mirror(&space.cluster)?)
        .start()?;
    let wish = pieces(&space.name, &[config("copied", json!({"rollout": "1"}))]);
    host.perform(&wish, "succeeded", LIMIT)?;
    let made = space.kubectl(&["get", "configmap", "copied", "--output=json"])?;
    let mut made: Value = serde_json::from_str(&made)?;
    let remove = request("release-remove", json!({"namespace": space.name}));
    let removed = host.perform(&remove, "succeeded", LIMIT)?;

    let kept = made["metadata"].as_object_mut().context("an object")?;
    kept.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
    made["data"]["rollout"] = "2".into();
    let file = space.cluster.dir().join("copied.json");
    std::fs::write(&file, made.to_string())?;
    let cluster = space.cluster.clone();
    let controller = Strike::at(Method::PATCH, "/configmaps/copied", move || {
        let (cluster, file) = (cluster.clone(), file.clone());
        Action::run(move || {
            let file = file.to_string_lossy();
            let made = cluster.kubectl(&["create", "--field-manager=controller", "--filename", &file]);
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        })
    });
    proxy.on(all(vec![controller.clone()]));
    let id = removed["id"].as_str().context("an id")?;
    host.take_back(id, "undone", LIMIT)?;
    ensure!(controller.struck() == 1, "nobody came in between");
    let value = ["get", "configmap", "copied", "--output=jsonpath={.data.rollout}"];
    ensure!(space.kubectl(&value)? == "2", "the controller's word stands");
    Ok(())
}
