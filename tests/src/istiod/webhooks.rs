//! What istiod does to the webhook configurations that call it.

use std::fmt::Debug;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The field manager by which the real one goes.
const MANAGER: &str = "pilot-discovery";

/// Writes the CA into every webhook that calls this Service, and closes validators that are still open.
pub(super) async fn take_over(
    client: &Client,
    namespace: &str,
    service: &str,
    ca_bundle: &str,
) -> anyhow::Result<()> {
    of_kind::<MutatingWebhookConfiguration>(client, namespace, service, ca_bundle, false).await?;
    of_kind::<ValidatingWebhookConfiguration>(client, namespace, service, ca_bundle, true).await
}

async fn of_kind<K>(
    client: &Client,
    namespace: &str,
    service: &str,
    ca_bundle: &str,
    close: bool,
) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let api = Api::<K>::all(client.clone());
    for configuration in api.list(&ListParams::default()).await? {
        let mut object = serde_json::to_value(&configuration)?;
        if !change(&mut object, namespace, service, ca_bundle, close) {
            continue;
        }
        let params = PostParams {
            field_manager: Some(MANAGER.into()),
            ..PostParams::default()
        };
        let changed: K = serde_json::from_value(object)?;
        match api.replace(&configuration.name_any(), &params, &changed).await {
            // It goes or changes at this moment: the next look finds it as it is then.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
            done => drop(done?),
        }
    }
    Ok(())
}

/// Whether anything had to be changed.
fn change(configuration: &mut Value, namespace: &str, service: &str, ca_bundle: &str, close: bool) -> bool {
    let mut changed = false;
    let mut set = |field: &mut Value, value: &str| {
        if *field != value {
            *field = value.into();
            changed = true;
        }
    };
    for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
        let called = &webhook["clientConfig"]["service"];
        if called["namespace"] != namespace || called["name"] != service {
            continue;
        }
        set(&mut webhook["clientConfig"]["caBundle"], ca_bundle);
        if close {
            set(&mut webhook["failurePolicy"], "Fail");
        }
    }
    changed
}
