//! The rotation of the trust anchor, looked at where it waits, killed on its way, and given up where a pod would have
//! been cut off.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshery_tests::linkerd::Linkerd;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, SYSTEM, text};
use crate::invented::LIMIT;
use crate::namespace::eventually;

impl Bench {
    /// The certificate of an anchor's Secret.
    pub fn anchor(&self, name: &str) -> anyhow::Result<String> {
        let secret = self.get(&["secret", name, "--namespace", self.system])?;
        Ok(String::from_utf8(
            STANDARD.decode(text(&secret["data"]["tls.crt"]))?,
        )?)
    }

    pub fn believed(&self, wanted: &[&str]) -> anyhow::Result<()> {
        let roots = [
            "configmap",
            "linkerd-identity-trust-roots",
            "--namespace",
            self.system,
        ];
        let roots = self.get(&roots)?;
        let bundle = text(&roots["data"]["ca-bundle.crt"]);
        ensure!(bundle == wanted.concat(), "{bundle}\nis not\n{}", wanted.concat());
        Ok(())
    }

    /// By which anchor the issuer is signed.
    pub fn signed_by(&self, anchor: &str) -> anyhow::Result<()> {
        let issuer = self.get(&["secret", "linkerd-identity-issuer", "--namespace", self.system])?;
        let authority = STANDARD.decode(text(&issuer["data"]["ca.crt"]))?;
        ensure!(authority == anchor.as_bytes(), "{issuer:#}");
        Ok(())
    }

    fn revision_of_identity(&self) -> anyhow::Result<u64> {
        let deployment = self.get(&["deployment", "linkerd-identity", "--namespace", SYSTEM])?;
        let annotations = &deployment["metadata"]["annotations"];
        Ok(text(&annotations["deployment.kubernetes.io/revision"]).parse()?)
    }

    /// A rotation that ends before anything is signed by the new anchor, for something that happens at its first gate; its record.
    fn given_up(
        &self,
        rotate: &Value,
        old: &str,
        meanwhile: impl Fn(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Value> {
        let id = self.host.plan(rotate)?;
        self.host.order(&id, "run")?;
        let gate = self.host.next_gate(&id, &[], LIMIT)?;
        ensure!(gate.as_deref() == Ok("trust-gate-shop"), "{gate:?}");
        self.believed(&[old, &self.anchor("linkerd-trust-anchor-2")?])?;
        meanwhile(self)?;
        self.approve(&id)?;
        let record = match self.host.next_gate(&id, &["trust-gate-shop".into()], LIMIT)? {
            Ok(gate) => bail!("it came to {gate}"),
            Err(record) => record,
        };
        ensure!(record["state"] == "undone", "{record:#}");
        self.believed(&[old])?;
        self.signed_by(old)?;
        let left = self.anchor("linkerd-trust-anchor-2");
        ensure!(left.is_err(), "the new anchor is left");
        Ok(record)
    }

    /// As late as a person: moments in the cluster have seconds, and a pod of the rollout's own second counts as older.
    fn approve(&self, id: &str) -> anyhow::Result<()> {
        std::thread::sleep(Duration::from_millis(1_100));
        self.host.order(id, "approve").map(drop)
    }

    /// Says yes at each gate after a look at it; the gates, and the record of the end.
    pub fn through_gates(
        &self,
        id: &str,
        look: impl Fn(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Vec<String>, Value)> {
        self.host.order(id, "run")?;
        let mut gates = Vec::new();
        loop {
            match self.host.next_gate(id, &gates, LIMIT)? {
                Ok(gate) => {
                    look(&gate).with_context(|| gate.clone())?;
                    self.approve(id)?;
                    gates.push(gate);
                }
                Err(record) => return Ok((gates, record)),
            }
        }
    }
}

pub fn rotated(charts: &Path) -> anyhow::Result<()> {
    let mut bench = Bench::new(charts)?;
    bench.perform("linkerd", "make-trust", &json!({}))?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    bench.perform("linkerd", "install", &json!({}))?;
    linkerd.trouble()?;
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.perform("linkerd", "inject", &json!({"namespace": "shop"}))?;
    bench.kubectl(&["create", "deployment", "web", "--image=web", "--namespace=shop"])?;
    bench.all_have("shop", &["linkerd-proxy"])?;
    let old = bench.anchor("linkerd-trust-anchor")?;
    bench.believed(&[&old])?;
    bench.all_accept_each_other(&linkerd, "shop")?;
    let first = bench.newcomer(&linkerd, "shop")?;

    // A pod of no workload would never believe the new anchor: nothing is signed by it, and all is as before.
    bench.kubectl(&["run", "lonely", "--image=lonely", "--namespace=shop"])?;
    bench.all_have("shop", &["linkerd-proxy"])?;
    let mut rotate = json!({"adapter": "linkerd", "operation": "rotate-anchor",
        "parameters": {"keep_anchor_key": true}});
    let record = bench.given_up(&rotate, &old, |_| Ok(()))?;
    ensure!(record["error"]["code"] == "linkerd-pods-behind", "{record:#}");
    ensure!(record["error"].to_string().contains("shop/lonely"), "{record:#}");
    bench.kubectl(&["delete", "pod", "lonely", "--namespace=shop"])?;

    // So would everybody be whose anchors somebody has put back meanwhile, though all of them are new.
    let record = bench.given_up(&rotate, &old, |bench| {
        let patch = json!({"data": {"ca-bundle.crt": old}}).to_string();
        let roots = ["linkerd-identity-trust-roots", "--namespace=linkerd"];
        let patch = ["--type=merge", "--patch", &patch];
        bench
            .kubectl(&[&["patch", "configmap"], &roots[..], &patch].concat())
            .map(drop)
    })?;
    ensure!(
        record["error"]["code"] == "linkerd-anchors-put-back",
        "{record:#}"
    );

    let before = bench.revision_of_identity()?;
    // To the end, over what somebody has written, killed where it waits for the word that matters.
    rotate["policy"] = json!({"force_conflicts": true});
    let id = bench.host.plan(&rotate)?;
    bench.host.order(&id, "run")?;
    let mut gates = Vec::new();
    let record = loop {
        let gate = match bench.host.next_gate(&id, &gates, LIMIT)? {
            Ok(gate) => gate,
            Err(record) => break record,
        };
        let new = bench.anchor("linkerd-trust-anchor-2")?;
        bench.believed(&[&old, &new])?;
        let signs = ["trust-gate-shop", "issuer-gate"].contains(&gate.as_str());
        bench.signed_by(if signs { &old } else { &new })?;
        bench
            .all_accept_each_other(&linkerd, "shop")
            .with_context(|| gate.clone())?;
        if gate == "issuer-gate" {
            bench.host.kill()?;
            bench.host.restart()?;
            bench.host.await_state(&id, &["paused"], LIMIT)?;
        }
        bench.approve(&id)?;
        gates.push(gate);
    };
    ensure!(record["state"] == "succeeded", "{record:#}");
    ensure!(
        gates
            == [
                "trust-gate-shop",
                "issuer-gate",
                "renew-gate-shop",
                "new-alone-gate"
            ],
        "{gates:?}"
    );
    let new = bench.anchor("linkerd-trust-anchor-2")?;
    bench.believed(&[&new])?;
    bench.signed_by(&new)?;
    ensure!(
        bench.anchor("linkerd-trust-anchor").is_err(),
        "the old anchor is left"
    );
    bench.all_have("shop", &["linkerd-proxy"])?;
    bench.all_accept_each_other(&linkerd, "shop")?;
    let last = bench.newcomer(&linkerd, "shop")?;
    ensure!(
        first.accepts(&last).is_err() && last.accepts(&first).is_err(),
        "who was left behind would be cut off"
    );

    let restarts = bench.revision_of_identity()? - before;
    ensure!(restarts == 3, "identity was restarted {restarts} times");

    // The issuer is renewed under the anchor that it has.
    let renewed = bench.perform("linkerd", "renew-issuer", &json!({}))?;
    bench.signed_by(&new)?;

    // The whole rotation can be taken back, but not while the issuer is one that came later: the new anchor, under which
    // that is, is believed on.
    let shown = bench
        .host
        .get(&format!("/api/v1/operations/{id}/undo-preview"))?
        .expect(200)?;
    let fate = |reference: &str| {
        let objects = shown["objects"].as_array().into_iter().flatten();
        let mut found = objects.filter(|object| object["ref"] == reference);
        found.next().map_or("", |object| text(&object["change"]))
    };
    for kept in [
        "v1/Secret/linkerd/linkerd-identity-issuer",
        "v1/Secret/linkerd/linkerd-trust-anchor-2",
    ] {
        ensure!(fate(kept) == "keep", "{kept} is not said to stay: {shown:#}");
    }
    bench.host.take_back(&id, "undo-incomplete", LIMIT)?;
    bench.believed(&[&old, &new])?;
    bench.signed_by(&new)?;
    bench.host.take_back(text(&renewed["id"]), "undone", LIMIT)?;
    let pods = || -> anyhow::Result<Vec<String>> {
        let pods = bench.get(&["pods", "--namespace", "shop"])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        Ok(pods
            .iter()
            .map(|pod| text(&pod["metadata"]["uid"]).to_owned())
            .collect())
    };
    let renewed = pods()?;
    bench.host.take_back(&id, "undone", LIMIT)?;
    // Who has a certificate under the new anchor does not keep it.
    eventually(|| {
        let left: Vec<String> = pods()?.into_iter().filter(|pod| renewed.contains(pod)).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    bench.believed(&[&old])?;
    bench.signed_by(&old)?;
    bench.all_accept_each_other(&linkerd, "shop")?;
    linkerd.trouble()
}

const NAMESPACES: usize = 20;
/// Their workloads are restarted one after the other.
const TWENTY_BACK: Duration = Duration::from_mins(5);

/// A mesh of many namespaces: at each of its gates everybody accepts everybody.
pub fn of_twenty_namespaces(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    bench.perform("linkerd", "make-trust", &json!({}))?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    bench.perform("linkerd", "install", &json!({}))?;
    let namespaces: Vec<String> = (1..=NAMESPACES)
        .map(|number| format!("team-{number:02}"))
        .collect();
    for namespace in &namespaces {
        bench.kubectl(&["create", "namespace", namespace])?;
        bench.perform("linkerd", "inject", &json!({"namespace": namespace}))?;
        let of_namespace = format!("--namespace={namespace}");
        bench.kubectl(&["create", "deployment", "web", "--image=web", &of_namespace])?;
        bench.all_have(namespace, &["linkerd-proxy"])?;
    }
    let found = bench.installation()?.context("Linkerd is there")?;
    ensure!(found["namespaces"] == json!(namespaces), "{found:#}");
    let old = bench.anchor("linkerd-trust-anchor")?;
    let before = Snapshot::take(&bench.cluster)?;

    let id = bench
        .host
        .plan(&json!({"adapter": "linkerd", "operation": "rotate-anchor"}))?;
    let accept = |_: &str| bench.all_accept_each_other(&linkerd, &namespaces[0]);
    let (gates, record) = bench.through_gates(&id, accept)?;
    ensure!(
        record["state"] == "succeeded",
        "{record:#}\n{}",
        bench.host.story(&id)
    );
    ensure!(gates.len() == 2 * NAMESPACES + 2, "{gates:?}");
    bench.believed(&[&bench.anchor("linkerd-trust-anchor-2")?])?;
    accept("the end")?;

    bench.host.take_back(&id, "undone", TWENTY_BACK)?;
    bench.believed(&[&old])?;
    bench.signed_by(&old)?;
    eventually(|| accept("the undo"))?;
    before.await_restarted(&bench.cluster)?;
    let all: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    bench.kubectl(&[&["delete", "namespace", "--wait=false"], &all[..]].concat())?;
    linkerd.trouble()
}
