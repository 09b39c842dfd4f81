//! `version`: of both sides.

use serde_json::{Value, json};

use crate::client::Client;
use crate::console::Console;
use crate::failure::Failure;
use crate::table::Table;

/// Says this side's version even when the host cannot be reached; then fails for that reason.
pub async fn run(client: &Client, console: &mut Console) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let host = client.get(&["version"], &[]).await;
    if console.for_people() {
        let mut table = Table::new(&["", "VERSION", "API", "PLUGIN API"]);
        table.row(["mesheryctl", own, "v1", ""]);
        if let Ok(host) = &host {
            let text = |key: &str| host[key].as_str().unwrap_or("");
            table.row(["meshery", text("version"), text("api"), text("plugin_api")]);
        }
        let lines = table.lines(console.paint);
        console.say(&lines)?;
    } else {
        let known = host.as_ref().map_or(&Value::Null, |host| host);
        console.document(&json!({"client": {"name": "mesheryctl", "version": own}, "server": known}))?;
    }
    host.map(drop)
}
