//! The images that something would pull: of an operation, or of an installation that no cluster has seen.

use serde_json::Value;

use crate::console::{Console, plain};
use crate::failure::Failure;
use crate::table::Table;

/// Shows a list of images as the host answered it.
pub fn show(console: &mut Console, answer: &Value) -> Result<(), Failure> {
    if !console.for_people() {
        return console.document(answer);
    }
    let mut table = Table::new(&["IMAGE", "USED BY"]).whole(0);
    for item in answer["items"].as_array().into_iter().flatten() {
        let image = plain(item["image"].as_str().unwrap_or(""));
        let uses = item["used_by"].as_array().into_iter().flatten();
        for (nth, of) in uses.enumerate() {
            let of = format!(
                "{} ({})",
                of["ref"].as_str().unwrap_or(""),
                of["place"].as_str().unwrap_or("")
            );
            table.row([if nth == 0 { &image } else { "" }, &of]);
        }
    }
    if table.is_empty() {
        return console.say("No images.");
    }
    let lines = table.lines(console.paint);
    console.say(&lines)
}
