//! Who is in a mesh and who is not, as detection tells it.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::console::{Paint, plain};
use crate::table::Table;

/// How many workloads of a namespace are named; `--output json` has them all.
const NAMED: usize = 5;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Members {
    namespaces: Vec<NamespaceMembers>,
    rest: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamespaceMembers {
    namespace: String,
    joined: String,
    #[serde(rename = "in")]
    inside: Workloads,
    out: Workloads,
    behind: Workloads,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Workloads {
    count: usize,
    names: Vec<String>,
}

impl Workloads {
    /// Their number and the first of them.
    fn says(&self) -> String {
        if self.count == 0 {
            return "-".to_owned();
        }
        let named: Vec<&str> = self.names.iter().take(NAMED).map(String::as_str).collect();
        let rest = if self.count > named.len() { ", ..." } else { "" };
        format!("{}: {}{rest}", self.count, named.join(", "))
    }
}

/// A table of the namespaces, by installation; nothing when nothing is known of any.
pub fn lines<'a>(of: impl Iterator<Item = (String, &'a Members)>, paint: Paint) -> Option<String> {
    let mut table = Table::new(&[
        "OF",
        "WORKLOADS IN",
        "JOINED",
        "IN THE MESH",
        "OUT OF IT",
        "BEHIND",
    ]);
    let mut rests = String::new();
    for (place, members) in of {
        for of in &members.namespaces {
            table.row([
                &place,
                &of.namespace,
                &of.joined,
                &of.inside.says(),
                &of.out.says(),
                &of.behind.says(),
            ]);
        }
        if members.rest > 0 {
            let _ = write!(rests, "\n{}: and {} more namespaces", plain(&place), members.rest);
        }
    }
    (!table.is_empty()).then(|| format!("{}{rests}", table.lines(paint)))
}
