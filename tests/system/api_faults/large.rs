//! Objects near what a cluster takes.

use anyhow::ensure;
use serde_json::{Value, json};

use super::{Scene, id, perform, told};
use crate::invented::{LIMIT, request};

pub fn taken_or_refused() -> anyhow::Result<()> {
    let scene = Scene::new("large")?;
    let large = |shape: &str, size: usize, filling: &str| -> Value {
        let parameters =
            json!({"namespace": scene.space.name, "shape": shape, "size": size, "filling": filling});
        request("large", parameters)
    };
    // The API server keeps it, and so do the journal, and what an undo gives back.
    let made = perform(&scene.host, &large("text", 1_400_000, "x"), "succeeded")?;
    let begins = || -> anyhow::Result<String> {
        let text = ["get", "route", "large", "-o", "jsonpath={.spec.to}"];
        let text = scene.space.kubectl(&text)?;
        ensure!(text.len() == 1_400_000, "{}", text.len());
        Ok(text.chars().take(3).collect())
    };
    let changed = perform(&scene.host, &large("text", 1_400_000, "abc"), "succeeded")?;
    ensure!(begins()? == "abc");
    scene.host.take_back(id(&changed)?, "undone", LIMIT)?;
    ensure!(begins()? == "xxx");
    // Too large for the store, and too large for a request.
    for (shape, size, words) in [
        ("text", 1_700_000, ["large", "1.5 MiB"]),
        ("text", 3_400_000, ["large", "3 MiB"]),
        // Itself it is small enough; with the record of who manages which field it is not.
        ("fields", 900_000, ["large", "number of fields"]),
    ] {
        let record = perform(&scene.host, &large(shape, size, "y"), "undone")?;
        told(&record, "object-too-large", &words)?;
    }
    scene.nothing_is_left()?;
    ensure!(begins()? == "xxx");
    scene.host.take_back(id(&made)?, "undone", LIMIT)?;
    Ok(())
}
