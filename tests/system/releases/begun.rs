//! Of what a release takes over, that which is there goes on, and that which is not is begun as in an installation.

use anyhow::ensure;
use serde_json::{Value, json};

use super::{Ground, accepting, config};
use crate::namespace::succeeded;

const VALIDATOR: &str = "begun-validator";

pub fn or_goes_on() -> anyhow::Result<()> {
    let ground = Ground::new("release-begun")?;
    let mut wish = accepting(ground.pieces(&[]), &["adopt"]);
    wish["parameters"]["version"] = "0.1.0-beginning".into();
    wish["parameters"]["adopted-from"] = "an installer".into();
    let begins = |there: &[Value]| -> anyhow::Result<Value> {
        for object in there {
            let file = ground.cluster.dir().join("begun.json");
            std::fs::write(&file, object.to_string())?;
            ground.kubectl(&["apply", "--filename", &file.to_string_lossy()])?;
        }
        ground.perform(&wish, "succeeded")?;
        let said = ground.data("moment")?["begins"].clone();
        ground.perform(&ground.on_release("release-remove"), "succeeded")?;
        for kind in [
            "configmap/moment",
            "validatingwebhookconfiguration/begun-validator",
        ] {
            succeeded(ground.cluster.kubectl(&[
                "delete",
                kind,
                "--ignore-not-found",
                "--namespace",
                &ground.space,
            ]))?;
        }
        Ok(said)
    };
    let moment = config("moment", json!({"begins": "unknown"}));
    let validator = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": VALIDATOR}, "webhooks": []});
    ensure!(begins(&[])? == "true", "nothing of it is there");
    ensure!(
        begins(std::slice::from_ref(&moment))? == "true",
        "nobody would serve the validator that comes"
    );
    ensure!(begins(&[moment, validator])? == "false", "all of it is there");
    Ok(())
}
