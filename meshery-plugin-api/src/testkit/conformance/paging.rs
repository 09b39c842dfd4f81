//! Lists: every document exactly once, whatever is written meanwhile; and only those that were asked for.

use std::sync::atomic::{AtomicBool, Ordering};

use super::calls::{ANY, Calls, same};
use super::{Claim, Verdict};
use crate::message::document::{Document, Page, Query, Write};

pub(super) const CLAIMS: &[Claim] = &[
    ("pages hold every document exactly once, in order", exactly_once),
    (
        "pages hold every document exactly once while others are written",
        while_written,
    ),
    ("a page is no larger than asked for, nor than 1,000", bounded),
    (
        "only documents with all labels and the owner are listed",
        filtered,
    ),
];

/// All pages of a query.
fn all(calls: &Calls<'_>, mut query: Query) -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    loop {
        let Page {
            documents: page,
            next,
        } = calls.ok("list", calls.list(&query))?;
        if query.limit > 0 && page.len() > query.limit as usize {
            return Err(format!(
                "a page of {} documents, {} were asked for",
                page.len(),
                query.limit
            ));
        }
        documents.extend(page);
        if next.is_empty() {
            return Ok(documents);
        }
        if next == query.after {
            return Err(format!("the page after {next:?} leads to itself"));
        }
        query.after = next;
    }
}

fn ids(documents: &[Document]) -> Vec<String> {
    documents.iter().map(|document| document.id.clone()).collect()
}

/// Documents of a kind with these ids.
fn fill(calls: &Calls<'_>, kind: &str, ids: &[String]) -> Verdict {
    for id in ids {
        calls.ok("write", calls.put(kind, id, 1, ANY))?;
    }
    Ok(())
}

fn query(kind: &str, limit: u32, descending: bool) -> Query {
    Query {
        kind: kind.into(),
        limit,
        descending,
        ..Query::default()
    }
}

fn exactly_once(calls: &Calls<'_>) -> Verdict {
    let mut written: Vec<String> = (0..60).map(|n| format!("id-{:03}", n * 7 % 60)).collect();
    fill(calls, "pages", &written)?;
    fill(calls, "pages-of-others", &["id-000x".into()])?;
    written.sort();
    // With 7 the last page is short, with 20 it is full.
    for limit in [1, 7, 20, 60, 100] {
        let found = all(calls, query("pages", limit, false))?;
        same(&format!("ids in pages of {limit}"), &ids(&found), &written)?;
        let mut found = ids(&all(calls, query("pages", limit, true))?);
        found.reverse();
        same(&format!("ids in pages of {limit}, descending"), &found, &written)?;
    }
    let none = all(calls, query("nothing-of-this-kind", 7, false))?;
    same("documents of a kind that has none", &none.len(), &0)
}

fn while_written(calls: &Calls<'_>) -> Verdict {
    let stable: Vec<String> = (0..60).map(|n| format!("id-{n:03}")).collect();
    fill(calls, "busy", &stable)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n: u64 = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                // New ones in between, the same again, and one that comes and goes.
                let between = format!("id-{:03}-{n}", n * 17 % 60);
                calls.ok("write", calls.put("busy", &between, n, ANY))?;
                let again = format!("id-{:03}", n * 31 % 60);
                calls.ok("write", calls.put("busy", &again, n, ANY))?;
                let delete = Write::Delete {
                    kind: "busy".into(),
                    id: between,
                    expect: ANY,
                };
                if n.is_multiple_of(2) {
                    calls.ok("delete", calls.write(vec![delete]))?;
                }
            }
            Ok(())
        });
        let looked = (0..10).try_for_each(|round| {
            let descending = round % 2 == 1;
            let mut found = ids(&all(calls, query("busy", 7, descending))?);
            if descending {
                found.reverse();
            }
            if let Some((one, next)) = found
                .iter()
                .zip(found.iter().skip(1))
                .find(|(one, next)| one >= next)
            {
                return Err(format!("{one} comes before {next}"));
            }
            found.retain(|id| stable.contains(id));
            same("those that were there all the time", &found, &stable)
        });
        done.store(true, Ordering::Relaxed);
        let wrote = writer
            .join()
            .unwrap_or_else(|_| Err("a caller's thread panicked".into()));
        looked.and(wrote)
    })
}

fn bounded(calls: &Calls<'_>) -> Verdict {
    for first in (0..1100).step_by(100) {
        let batch = (first..first + 100).map(|n| super::calls::put("many", &format!("{n:04}"), n, ANY));
        calls.ok("write", calls.write(batch.collect()))?;
    }
    let usual = calls.ok("list", calls.list(&query("many", 0, false)))?;
    if usual.documents.len() > 100 {
        return Err(format!("a page of {} without a limit", usual.documents.len()));
    }
    let most = calls.ok("list", calls.list(&query("many", 5000, false)))?;
    if most.documents.len() > 1000 {
        return Err(format!("a page of {} documents", most.documents.len()));
    }
    if most.next.is_empty() {
        return Err("a page that is not the last does not say so".into());
    }
    same(
        "documents in all pages",
        &all(calls, query("many", 999, false))?.len(),
        &1100,
    )
}

fn filtered(calls: &Calls<'_>) -> Verdict {
    for n in 0..24_u64 {
        let labels = [("even", n % 2 == 0), ("third", n % 3 == 0)];
        let document = Document {
            kind: "filtered".into(),
            id: format!("{n:02}"),
            owner: if n < 12 { "ann".into() } else { "bob".into() },
            labels: labels
                .into_iter()
                .map(|(label, holds)| (label.into(), if holds { "it's \"so\"" } else { "no" }.into()))
                .collect(),
            ..Document::default()
        };
        let write = Write::Put {
            document,
            expect: ANY,
        };
        calls.ok("write", calls.write(vec![write]))?;
    }
    let find = |owner: &str, labels: &[&str]| {
        let query = Query {
            owner: owner.into(),
            labels: labels
                .iter()
                .map(|label| ((*label).to_owned(), "it's \"so\"".to_owned()))
                .collect(),
            ..query("filtered", 2, false)
        };
        all(calls, query).map(|found| ids(&found))
    };
    same(
        "both labels",
        &find("", &["even", "third"])?,
        &names(&[0, 6, 12, 18]),
    )?;
    same(
        "a label and an owner",
        &find("ann", &["third"])?,
        &names(&[0, 3, 6, 9]),
    )?;
    same("a label that none has", &find("", &["fourth"])?, &names(&[]))?;
    same("an owner that owns nothing", &find("eve", &[])?, &names(&[]))?;
    same("an owner", &find("bob", &[])?.len(), &12)
}

fn names(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(|n| format!("{n:02}")).collect()
}
