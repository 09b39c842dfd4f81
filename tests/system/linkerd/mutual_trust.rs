//! Whether the proxies that are there would speak with each other.

use anyhow::{Context as _, ensure};
use meshery_tests::linkerd::{Identity, Linkerd};

use super::{Bench, text};

impl Bench {
    /// Who has a proxy at this moment: the control plane, every other pod, and one that would be made in a namespace now.
    fn identities(&self, linkerd: &Linkerd, namespace: &str) -> anyhow::Result<Vec<(String, Identity)>> {
        let mut all = linkerd.own_identities();
        ensure!(
            all.len() >= 3,
            "identity, destination and injector: {}",
            all.len()
        );
        let of_namespace = format!("--namespace={namespace}");
        let newcomer = [
            "run",
            "newcomer",
            "--image=newcomer",
            "--dry-run=server",
            "--output=json",
            &of_namespace,
        ];
        let newcomer = serde_json::from_str(&self.kubectl(&newcomer)?)?;
        let with_proxy = "--selector=linkerd.io/control-plane-ns,!linkerd.io/control-plane-component";
        let pods = self.get(&["pods", "--all-namespaces", with_proxy])?;
        let there = pods["items"].as_array().into_iter().flatten();
        let there = there.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        for pod in there.chain([&newcomer]) {
            let metadata = &pod["metadata"];
            let name = format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"]));
            let identity = Identity::of_pod(pod).with_context(|| name.clone())?;
            all.push((name, identity));
        }
        Ok(all)
    }

    /// Each would accept each other, in both directions.
    pub fn all_accept_each_other(&self, linkerd: &Linkerd, namespace: &str) -> anyhow::Result<()> {
        let all = self.identities(linkerd, namespace)?;
        for (one, by) in &all {
            for (other, of) in &all {
                by.accepts(of)
                    .with_context(|| format!("{one} does not accept {other}"))?;
            }
        }
        Ok(())
    }

    /// What a pod would be given that is made in a namespace now.
    pub fn newcomer(&self, linkerd: &Linkerd, namespace: &str) -> anyhow::Result<Identity> {
        let last = self.identities(linkerd, namespace)?.pop();
        last.map(|(_, identity)| identity).context("a newcomer")
    }
}
