//! Journals: numbers without gaps, repeated appends, conflicts, forgetting.

use super::*;
use futures::future::join_all;

#[test]
fn entries_are_numbered_from_one_and_read_back_in_order() {
    let (store, _folder) = fresh();
    assert_eq!(append(&store, "a", 1, &[number(1), number(2)]).unwrap(), 2);
    assert_eq!(append(&store, "b", 1, &[json!("other")]).unwrap(), 1);
    assert_eq!(append(&store, "a", 3, &[number(3)]).unwrap(), 3);
    let seen: Vec<_> = read(&store, "a", 1)
        .into_iter()
        .map(|entry| (entry.seq, entry.entry))
        .collect();
    assert_eq!(seen, [(2, number(2)), (3, number(3))]);
    assert!(read(&store, "a", 3).is_empty() && read(&store, "a", u64::MAX).is_empty());
    assert!(read(&store, "never", 0).is_empty());
}

#[test]
fn an_append_asked_for_again_is_acknowledged_and_written_once() {
    let (store, _folder) = fresh();
    append(&store, "a", 1, &[number(1), number(2)]).unwrap();
    append(&store, "a", 3, &[number(3)]).unwrap();
    assert_eq!(append(&store, "a", 1, &[number(1), number(2)]).unwrap(), 2);
    assert_eq!(
        append(&store, "a", 2, &[number(2), number(3)]).unwrap(),
        3,
        "across the two appends"
    );
    assert_eq!(read(&store, "a", 0).len(), 3);
}

#[test]
fn any_other_append_is_a_conflict_and_writes_nothing() {
    let (store, _folder) = fresh();
    append(&store, "a", 1, &[number(1), number(2)]).unwrap();
    let others: [(&str, u64, &[Value]); 5] = [
        ("a", 1, &[number(9)]),
        ("a", 2, &[number(2), number(3)]),
        ("a", 4, &[number(4)]),
        ("a", 1, &[number(1), number(2), number(3)]),
        ("new", 2, &[number(2)]),
    ];
    for (stream, first, entries) in others {
        let error = append(&store, stream, first, entries).unwrap_err();
        assert_eq!(error.code, "journal-conflict", "{stream} {first}");
    }
    assert_eq!(read(&store, "a", 0).len(), 2);
    assert!(read(&store, "new", 0).is_empty());
}

#[test]
fn of_many_appends_with_one_number_exactly_one_wins() {
    let (store, _folder) = fresh();
    for round in 1..=10 {
        let results = block_on(join_all((0..16).map(|client| {
            let entries = vec![json!({"round": round, "client": client})];
            store.append(Append {
                stream: "a".into(),
                first: round,
                entries,
            })
        })));
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    }
    assert_eq!(read(&store, "a", 0).len(), 10);
}

#[test]
fn bad_appends_are_refused_with_the_reason() {
    let (store, _folder) = fresh();
    let bad: [(&str, u64, Vec<Value>); 6] = [
        ("a/b", 1, vec![number(1)]),
        ("a", 0, vec![number(1)]),
        ("a", u64::MAX, vec![number(1)]),
        ("a", 1, vec![]),
        ("a", 1, vec![number(1); 1001]),
        ("a", 1, vec![json!("x".repeat(5 << 20))]),
    ];
    for (stream, first, entries) in bad {
        assert_eq!(
            append(&store, stream, first, &entries).unwrap_err().code,
            "bad-request"
        );
    }
}

#[test]
fn a_forgotten_journal_is_empty_and_its_neighbours_are_whole() {
    let (store, _folder) = fresh();
    for stream in ["a", "b", "c"] {
        append(&store, stream, 1, &[number(1), number(2)]).unwrap();
    }
    block_on(store.forget("b")).unwrap();
    block_on(store.forget("never")).unwrap();
    assert!(read(&store, "b", 0).is_empty());
    assert_eq!((read(&store, "a", 0).len(), read(&store, "c", 0).len()), (2, 2));
    assert_eq!(
        append(&store, "b", 1, &[number(7)]).unwrap(),
        1,
        "it can begin anew"
    );
}

#[test]
fn a_page_of_large_entries_is_cut_short_and_goes_on() {
    let (store, _folder) = fresh();
    for first in 1..=3 {
        append(&store, "a", first, &[json!("x".repeat(3 << 20))]).unwrap();
    }
    assert_eq!(read(&store, "a", 0).len(), 1);
    assert_eq!(read(&store, "a", 1)[0].seq, 2);
}
