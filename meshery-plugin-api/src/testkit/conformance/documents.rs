//! Documents: what comes back, revisions, batches, names.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::calls::{ANY, Calls, put, same};
use super::{Claim, Verdict};
use crate::message::document::{Document, Expect, Write};

pub(super) const CLAIMS: &[Claim] = &[
    ("it has a user, and says that it can be written to", speaks),
    ("a document comes back as it was written", comes_back),
    ("revisions count writes, and a deletion begins anew", counts),
    (
        "an expectation that does not hold is a revision-conflict",
        conflicts,
    ),
    ("of many who expect nothing there, one wins", one_wins),
    ("no update is lost among many who expect revisions", none_lost),
    ("a batch is written as a whole or not at all", whole_batch),
    ("a batch sees what it has written itself", sees_itself),
    ("names outside the rules are a bad-request", bad_names),
];

const REVISION: &str = "revision-conflict";

fn speaks(calls: &Calls<'_>) -> Verdict {
    let user = calls.ok("user", calls.user())?;
    if user.name.is_empty() {
        return Err("the user has no name".into());
    }
    let health = calls.ok("health", calls.health())?;
    if !health.writable {
        return Err(format!("it cannot be written to: {}", health.message));
    }
    Ok(())
}

fn comes_back(calls: &Calls<'_>) -> Verdict {
    let written = Document {
        kind: "comes-back".into(),
        id: "A-z_0.9".into(),
        owner: "somebody".into(),
        labels: [
            ("state".into(), "running".into()),
            ("ü\"'%_".into(), "é\\".into()),
        ]
        .into(),
        body: json!({"text": "ä \u{1F600} \" \\ \n \u{0}", "list": [1, -2, 1.5, null, true, {}], "large": u64::MAX}),
        ..Document::default()
    };
    let write = Write::Put {
        document: written.clone(),
        expect: ANY,
    };
    calls.ok("write", calls.write(vec![write]))?;
    let found = calls.ok("get", calls.get(&written.kind, &written.id))?;
    let found = found.ok_or("the document is not there")?;
    for (what, time) in [("created", &found.created), ("updated", &found.updated)] {
        let fine = time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z');
        if !fine {
            return Err(format!(
                "\"{what}\" is {time:?}, not RFC 3339 in UTC with milliseconds"
            ));
        }
    }
    let expected = Document {
        revision: 1,
        created: found.created.clone(),
        updated: found.updated.clone(),
        ..written
    };
    same("the document", &found, &expected)?;
    let none = calls.ok("get", calls.get("comes-back", "nobody"))?;
    same("a document that was never written", &none, &None)
}

fn counts(calls: &Calls<'_>) -> Verdict {
    let delete = |expect| Write::Delete {
        kind: "counts".into(),
        id: "a".into(),
        expect,
    };
    for n in 1..=3 {
        let revision = calls.ok("write", calls.put("counts", "a", n, ANY))?;
        same("the revision", &revision, &n)?;
    }
    let first = calls.ok("get", calls.get("counts", "a"))?.unwrap_or_default();
    same("its body", &first.body["n"], &3.into())?;
    let gone = calls.ok("delete", calls.write(vec![delete(ANY)]))?;
    same("the revision after a deletion", &gone, &vec![0])?;
    let again = calls.ok("delete of what is not there", calls.write(vec![delete(ANY)]))?;
    same("the revision after it", &again, &vec![0])?;
    calls.refused(
        "a deletion that expects a revision of nothing",
        REVISION,
        calls.write(vec![delete(Expect::Revision(3))]),
    )?;
    let anew = calls.ok("write", calls.put("counts", "a", 1, Expect::Absent))?;
    same("the revision of what was written anew", &anew, &1)
}

fn conflicts(calls: &Calls<'_>) -> Verdict {
    let try_put = |expect| calls.put("conflicts", "a", 9, expect);
    calls.refused("a revision of nothing", REVISION, try_put(Expect::Revision(1)))?;
    calls.ok("write", calls.put("conflicts", "a", 1, Expect::Absent))?;
    calls.refused("absent, but it is there", REVISION, try_put(Expect::Absent))?;
    for wrong in [0, 2, u64::MAX] {
        let what = format!("revision {wrong}, but it is at 1");
        calls.refused(&what, REVISION, try_put(Expect::Revision(wrong)))?;
    }
    let delete = |expect| {
        let (kind, id) = ("conflicts".into(), "a".into());
        calls.write(vec![Write::Delete { kind, id, expect }])
    };
    calls.refused("a deletion of revision 2", REVISION, delete(Expect::Revision(2)))?;
    let there = calls.ok("get", calls.get("conflicts", "a"))?.unwrap_or_default();
    same("its body after the refusals", &there.body["n"], &1.into())?;
    same("its revision after the refusals", &there.revision, &1)?;
    let second = calls.ok("revision 1", calls.put("conflicts", "a", 2, Expect::Revision(1)))?;
    same("the revision", &second, &2)?;
    calls
        .ok("a deletion of revision 2", delete(Expect::Revision(2)))
        .map(drop)
}

const WRITERS: u64 = 8;

/// Runs this on several threads at once and returns the first complaint.
fn at_once(work: impl Fn(u64) -> Verdict + Sync) -> Verdict {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..WRITERS).map(|n| scope.spawn(move || work(n))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a caller's thread panicked".into()))
        })
    })
}

fn one_wins(calls: &Calls<'_>) -> Verdict {
    for round in 0..20 {
        let id = format!("round-{round}");
        let winners = AtomicU64::new(0);
        at_once(|n| match calls.put("one-wins", &id, n, Expect::Absent) {
            Ok(_) => {
                winners.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            other => calls.refused("a loser", REVISION, other),
        })?;
        same(
            "how many of those who expected nothing there succeeded",
            &winners.into_inner(),
            &1,
        )?;
    }
    Ok(())
}

fn none_lost(calls: &Calls<'_>) -> Verdict {
    const EACH: u64 = 10;
    calls.ok("write", calls.put("none-lost", "counter", 0, Expect::Absent))?;
    at_once(|_| {
        let mut done = 0;
        while done < EACH {
            let read = calls
                .ok("get", calls.get("none-lost", "counter"))?
                .unwrap_or_default();
            let n = read.body["n"].as_u64().unwrap_or_default() + 1;
            match calls.put("none-lost", "counter", n, Expect::Revision(read.revision)) {
                Ok(_) => done += 1,
                other => calls.refused("one who came late", REVISION, other)?,
            }
        }
        Ok(())
    })?;
    let end = calls
        .ok("get", calls.get("none-lost", "counter"))?
        .unwrap_or_default();
    same("the counter", &end.body["n"], &(WRITERS * EACH).into())?;
    same("its revision", &end.revision, &(WRITERS * EACH + 1))
}

fn whole_batch(calls: &Calls<'_>) -> Verdict {
    calls.ok("write", calls.put("whole-batch", "old", 1, ANY))?;
    let batch = vec![
        put("whole-batch", "new", 1, ANY),
        put("whole-batch", "old", 2, ANY),
        Write::Delete {
            kind: "whole-batch".into(),
            id: "old".into(),
            expect: ANY,
        },
        put("whole-batch", "other", 1, Expect::Revision(5)),
    ];
    calls.refused("a batch whose last write conflicts", REVISION, calls.write(batch))?;
    let batch = vec![put("whole-batch", "new", 1, ANY), Write::Unknown];
    calls.refused("a batch with an unknown write", "bad-request", calls.write(batch))?;
    let new = calls.ok("get", calls.get("whole-batch", "new"))?;
    same("the first write of the refused batches", &new, &None)?;
    let old = calls
        .ok("get", calls.get("whole-batch", "old"))?
        .unwrap_or_default();
    same(
        "the body of what they changed and deleted",
        &old.body["n"],
        &1.into(),
    )?;
    same("its revision", &old.revision, &1)
}

fn sees_itself(calls: &Calls<'_>) -> Verdict {
    let batch = vec![
        put("sees-itself", "a", 1, Expect::Absent),
        put("sees-itself", "a", 2, Expect::Revision(1)),
        put("sees-itself", "b", 1, Expect::Absent),
    ];
    let revisions = calls.ok("write", calls.write(batch))?;
    same("the revisions", &revisions, &vec![1, 2, 1])
}

fn bad_names(calls: &Calls<'_>) -> Verdict {
    let long = "x".repeat(129);
    for (kind, id) in [
        ("Upper", "a"),
        ("with space", "a"),
        ("", "a"),
        ("names", ""),
        ("names", "a/b"),
        ("names", "a\u{0}"),
        ("names", "ü"),
        ("names", long.as_str()),
    ] {
        let what = format!("kind {kind:?}, id {id:?}");
        calls.refused(&what, "bad-request", calls.put(kind, id, 1, ANY))?;
    }
    let longest = "x".repeat(128);
    calls
        .ok("an id of 128 characters", calls.put("names", &longest, 1, ANY))
        .map(drop)
}
