//! `apply`: what a plan's file says, and nothing else. The host plans again and refuses when that is not what was
//! reviewed.

use std::path::Path;

use serde_json::Value;

use super::change::{Seen, ask_and_start};
use super::provider::unreadable;
use crate::arguments::{Running, Show};
use crate::client::Client;
use crate::console::Console;
use crate::failure::{Failure, Problem};
use crate::record::Record;

/// Larger files are no plans.
const LARGEST: u64 = 64 << 20;
const CODE: &str = "plan-file";

pub async fn run(
    client: &Client,
    console: &mut Console,
    (file, context): (&Path, Option<&str>),
    show: Show,
    run: &Running,
) -> Result<(), Failure> {
    run.require_answer(None)?;
    let plan = read(file)?;
    let line = console.paint_err.dim("planning again...");
    console.live(&line)?;
    let query: Vec<(&str, &str)> = context.map(|context| ("context", context)).into_iter().collect();
    let taken = client.post_slowly(&["plans"], &query, &plan).await?;
    // It may have been approved while it was in the file.
    let needs_approval = taken["policy"]["approval"] == true && taken["approved_by"].is_null();
    let record = Record::read(&taken)?;
    let preview = client.get(&["operations", &record.id, "preview"], &[]).await?;
    let seen = Seen {
        record,
        preview,
        needs_approval,
    };
    ask_and_start(client, console, seen, show, run).await
}

fn read(file: &Path) -> Result<Value, Failure> {
    let bad = |what: String| {
        let problem = Problem::new(CODE, format!("{} {what}", file.display()));
        Failure::Problem(problem.remedy("use a file that a `plan` command wrote with --out"))
    };
    let size = std::fs::metadata(file)
        .map_err(|error| unreadable(CODE, file, &error))?
        .len();
    if size > LARGEST {
        return Err(bad(format!("has {size} bytes; {LARGEST} is the limit")));
    }
    let bytes = std::fs::read(file).map_err(|error| unreadable(CODE, file, &error))?;
    let plan: Value = serde_json::from_slice(&bytes).map_err(|error| bad(format!("is not JSON: {error}")))?;
    if plan["meshery_plan"].is_u64() {
        Ok(plan)
    } else {
        Err(bad("is no plan".into()))
    }
}
