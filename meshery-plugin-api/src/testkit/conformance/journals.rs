//! Journals: they grow without gaps, and an acknowledgement that was lost, repeated or overtaken changes nothing.

use super::calls::{Calls, same};
use super::{Claim, Verdict};

pub(super) const CLAIMS: &[Claim] = &[
    ("a journal is read in order, from anywhere", read_in_order),
    (
        "an append asked for again is acknowledged and not made twice",
        repeated,
    ),
    (
        "an append that came late, after others, changes nothing",
        overtaken,
    ),
    (
        "other entries where there are some are a journal-conflict",
        other_entries,
    ),
    ("a gap is a journal-conflict", gap),
    (
        "an append of nothing, or before the first, is a bad-request",
        nothing,
    ),
    ("of many who append, each entry acknowledged is there once", many),
    (
        "a journal that is forgotten begins anew, and others stay",
        forgotten,
    ),
    (
        "room can be reserved, used and given back; not without end",
        reserved,
    ),
];

const CONFLICT: &str = "journal-conflict";

fn read_in_order(calls: &Calls<'_>) -> Verdict {
    same(
        "a journal that is not there",
        &calls.numbers("in-order")?,
        &vec![],
    )?;
    let last = calls.ok("append", calls.append("in-order", 1, &[10, 20, 30]))?;
    same("the number of the last entry", &last, &3)?;
    let last = calls.ok("append", calls.append("in-order", 4, &[40]))?;
    same("the number of the last entry", &last, &4)?;
    same("the journal", &calls.numbers("in-order")?, &vec![10, 20, 30, 40])?;
    let part = calls.ok("read", calls.read("in-order", 1, 2))?;
    let seqs: Vec<u64> = part.iter().map(|entry| entry.seq).collect();
    same("two entries after the first", &seqs, &vec![2, 3])?;
    let after = calls.ok("read", calls.read("in-order", 4, 0))?;
    same("entries after the last", &after.len(), &0)?;
    let far = calls.ok("read", calls.read("in-order", u64::MAX, 0))?;
    same("entries after any number", &far.len(), &0)
}

fn repeated(calls: &Calls<'_>) -> Verdict {
    for _ in 0..3 {
        let last = calls.ok("append", calls.append("repeated", 1, &[1, 2]))?;
        same("the number of the last entry", &last, &2)?;
    }
    same("the journal", &calls.numbers("repeated")?, &vec![1, 2])
}

fn overtaken(calls: &Calls<'_>) -> Verdict {
    for (first, entries) in [(1, [1, 2]), (3, [3, 4]), (5, [5, 6])] {
        calls.ok("append", calls.append("overtaken", first, &entries))?;
    }
    for (first, entries, last) in [
        (3, &[3, 4][..], 4),
        (1, &[1, 2], 2),
        (2, &[2, 3, 4, 5], 5),
        (6, &[6], 6),
    ] {
        let again = calls.ok(
            "the same entries again",
            calls.append("overtaken", first, entries),
        )?;
        same("the number of the last of them", &again, &last)?;
    }
    same(
        "the journal",
        &calls.numbers("overtaken")?,
        &vec![1, 2, 3, 4, 5, 6],
    )
}

fn other_entries(calls: &Calls<'_>) -> Verdict {
    calls.ok("append", calls.append("others", 1, &[1, 2, 3]))?;
    for (what, first, entries) in [
        ("another first entry", 1, &[9][..]),
        ("another last entry", 2, &[2, 9]),
        ("the same entries and more", 1, &[1, 2, 3, 4]),
        ("the last entry and one more", 3, &[3, 4]),
    ] {
        calls.refused(what, CONFLICT, calls.append("others", first, entries))?;
    }
    same("the journal", &calls.numbers("others")?, &vec![1, 2, 3])
}

fn gap(calls: &Calls<'_>) -> Verdict {
    calls.refused("entry 2 of a new journal", CONFLICT, calls.append("gap", 2, &[2]))?;
    calls.ok("append", calls.append("gap", 1, &[1]))?;
    calls.refused("entry 3 after entry 1", CONFLICT, calls.append("gap", 3, &[3]))?;
    same("the journal", &calls.numbers("gap")?, &vec![1])
}

fn nothing(calls: &Calls<'_>) -> Verdict {
    calls.refused("no entries", "bad-request", calls.append("nothing", 1, &[]))?;
    calls.refused("entry 0", "bad-request", calls.append("nothing", 0, &[0]))?;
    calls.refused(
        "a stream with a slash",
        "bad-request",
        calls.append("no/thing", 1, &[1]),
    )?;
    same("the journal", &calls.numbers("nothing")?, &vec![])
}

fn many(calls: &Calls<'_>) -> Verdict {
    const WRITERS: u64 = 6;
    const EACH: u64 = 10;
    let append_all = |writer: u64| -> Verdict {
        let mut first = 1;
        for n in 0..EACH {
            let entry = writer * 1000 + n;
            loop {
                match calls.append("many", first, &[entry]) {
                    Ok(_) => break,
                    other => calls.refused("one who came late", CONFLICT, other)?,
                }
                first = calls.numbers("many")?.len() as u64 + 1;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || append_all(writer)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a caller's thread panicked".into()))
        })
    })?;
    let mut found = calls.numbers("many")?;
    found.sort_unstable();
    let expected: Vec<u64> = (0..WRITERS)
        .flat_map(|writer| (0..EACH).map(move |n| writer * 1000 + n))
        .collect();
    same("the entries", &found, &expected)
}

fn forgotten(calls: &Calls<'_>) -> Verdict {
    calls.ok("append", calls.append("forgotten", 1, &[1, 2]))?;
    calls.ok("append", calls.append("forgotten-not", 1, &[7]))?;
    calls.ok("forget", calls.forget("forgotten"))?;
    calls.ok("forget what is forgotten", calls.forget("forgotten"))?;
    same("the journal", &calls.numbers("forgotten")?, &vec![])?;
    calls.ok("append", calls.append("forgotten", 1, &[3]))?;
    same("the journal begun anew", &calls.numbers("forgotten")?, &vec![3])?;
    same("the other journal", &calls.numbers("forgotten-not")?, &vec![7])
}

fn reserved(calls: &Calls<'_>) -> Verdict {
    calls.ok("reserve", calls.reserve("reserved", 1 << 16))?;
    calls.ok("reserve again", calls.reserve("reserved", 1 << 16))?;
    calls.ok("append", calls.append("reserved", 1, &[1]))?;
    calls.ok("reserve nothing", calls.reserve("reserved", 0))?;
    same("the journal", &calls.numbers("reserved")?, &vec![1])?;
    match calls.reserve("reserved", u64::MAX) {
        Err(error) if matches!(error.code.as_str(), "store-full" | "bad-request") => Ok(()),
        Err(error) => Err(format!(
            "more room than there is: expected store-full or bad-request, got {}",
            error.code
        )),
        Ok(()) => Err("more room than any disk has was promised".into()),
    }
}
