//! Whether the proxies that are there would speak with each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use meshery_tests::linkerd::{Identity, Linkerd};

use super::{Bench, text};
use crate::namespace::eventually;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Identity, destination and injector.
const DEPLOYMENTS: usize = 3;

impl Bench {
    /// Who has a proxy at this moment: the control plane, every other pod, and one that would be made in a namespace now.
    fn identities(&self, linkerd: &Linkerd, namespace: &str) -> anyhow::Result<Vec<(String, Identity)>> {
        let of_namespace = format!("--namespace={namespace}");
        let newcomer = [
            "run",
            "newcomer",
            "--image=newcomer",
            "--dry-run=server",
            "--output=json",
            &of_namespace,
        ];
        // Before the others: who is there afterwards has been there with it.
        let newcomer = serde_json::from_str(&self.kubectl(&newcomer)?)?;
        let pods = self.get(&[
            "pods",
            "--all-namespaces",
            "--selector=linkerd.io/control-plane-ns",
        ])?;
        let own = linkerd.own_identities();
        let there = pods["items"].as_array().into_iter().flatten();
        let there = there.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let mut all = Vec::new();
        for pod in there.chain([&newcomer]) {
            let metadata = &pod["metadata"];
            let name = format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"]));
            let identity = if metadata["labels"]["linkerd.io/control-plane-component"].is_null() {
                Identity::of_pod(pod).with_context(|| name.clone())?
            } else {
                let mut own = own.iter();
                let found = own.find(|(known, _)| *known == name);
                found.with_context(|| name.clone())?.1.clone()
            };
            all.push((name, identity));
        }
        let count = all.len();
        ensure!(
            count > DEPLOYMENTS,
            "the control plane and a newcomer, not {count}"
        );
        Ok(all)
    }

    /// Each would accept each other, in both directions.
    pub fn all_accept_each_other(&self, linkerd: &Linkerd, namespace: &str) -> anyhow::Result<()> {
        each_accepts_each(&eventually(|| self.identities(linkerd, namespace))?)
    }

    /// The same again and again while something goes on, and not only where that waits.
    pub fn while_all_accept_each_other<T>(
        &self,
        linkerd: &Linkerd,
        namespace: &str,
        something: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let ended = AtomicBool::new(false);
        let look = || -> anyhow::Result<usize> {
            let mut looks = 0;
            while !ended.load(Ordering::Relaxed) {
                // For a moment nobody may answer the webhook, or a pod may be missing.
                if let Ok(all) = self.identities(linkerd, namespace) {
                    each_accepts_each(&all)?;
                    looks += 1;
                }
                std::thread::sleep(PAUSE);
            }
            Ok(looks)
        };
        std::thread::scope(|scope| {
            let looking = scope.spawn(look);
            let result = something();
            ended.store(true, Ordering::Relaxed);
            let looks = looking
                .join()
                .map_err(|_| anyhow!("a look at the proxies panicked"))??;
            ensure!(looks > 0, "there was no look at the proxies meanwhile");
            result
        })
    }

    /// What a pod would be given that is made in a namespace now.
    pub fn newcomer(&self, linkerd: &Linkerd, namespace: &str) -> anyhow::Result<Identity> {
        let last = eventually(|| self.identities(linkerd, namespace))?.pop();
        last.map(|(_, identity)| identity).context("a newcomer")
    }
}

fn each_accepts_each(all: &[(String, Identity)]) -> anyhow::Result<()> {
    for (one, by) in all {
        for (other, of) in all {
            by.accepts(of)
                .with_context(|| format!("{one} does not accept {other}"))?;
        }
    }
    Ok(())
}
