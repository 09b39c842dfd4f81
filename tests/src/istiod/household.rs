//! What istiod makes without being asked, and what is therefore in no chart: its CA, the CA's certificate in every
//! namespace, and a lock.

use std::fmt::Debug;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const OF_KUBERNETES: &str = "kube-";

/// Makes what is not there.
pub(super) async fn keep(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    made(
        &secrets,
        json!({"metadata": {"name": "istio-ca-secret"}, "type": "istio.io/ca-root"}),
    )
    .await?;
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    made(
        &leases,
        json!({"metadata": {"name": "istio-gateway-status-leader"}}),
    )
    .await?;
    let namespaces = Api::<Namespace>::all(client.clone());
    for of in namespaces.list(&ListParams::default()).await? {
        let name = of.name_any();
        if name.starts_with(OF_KUBERNETES) || of.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let certificate = json!({
            "metadata": {"name": "istio-ca-root-cert", "labels": {"istio.io/config": "true"}},
            "data": {"root-cert.pem": "a certificate"},
        });
        made(&Api::<ConfigMap>::namespaced(client.clone(), &name), certificate).await?;
    }
    Ok(())
}

async fn made<K>(api: &Api<K>, object: Value) -> anyhow::Result<()>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let object = serde_json::from_value(object)?;
    match api.create(&PostParams::default(), &object).await {
        // It is there already, or its namespace goes at this moment.
        Err(kube::Error::Api(status)) if [403, 404, 409].contains(&status.code) => Ok(()),
        done => {
            done?;
            Ok(())
        }
    }
}
