//! Documents: revisions, batches, lists, limits.

use super::*;
use futures::future::join_all;
use meshery_plugin_api::message::document::Query;

#[test]
fn a_document_comes_back_as_it_was_written_with_revision_and_times() {
    let (store, _folder) = fresh();
    let written = Document {
        kind: "operation".into(),
        id: "01J.a_b-c".into(),
        owner: "meshery".into(),
        labels: [("state".to_owned(), "\"running\"".to_owned())].into(),
        body: json!({"text": "é\u{0000}\n", "big": 1.5e300, "nested": [null, {"": 1}]}),
        ..Document::default()
    };
    let write = || {
        vec![Write::Put {
            document: written.clone(),
            expect: Expect::Any,
        }]
    };
    assert_eq!(block_on(store.write(write())).unwrap(), [1]);
    let first = block_on(store.get("operation", "01J.a_b-c")).unwrap().unwrap();
    assert_eq!(block_on(store.write(write())).unwrap(), [2]);
    let second = block_on(store.get("operation", "01J.a_b-c")).unwrap().unwrap();
    assert_eq!(second.created, first.created);
    assert!(second.updated >= first.updated && first.updated.len() == "2026-01-01T00:00:00.000Z".len());
    let mut expected = written;
    (expected.revision, expected.created, expected.updated) =
        (2, second.created.clone(), second.updated.clone());
    assert_eq!(second, expected);
    assert_eq!(block_on(store.get("operation", "other")).unwrap(), None);
}

#[test]
fn a_write_with_another_expectation_is_a_conflict_that_names_both_revisions() {
    let (store, _folder) = fresh();
    let write = |expect| block_on(store.write(vec![put("a", json!(1), expect)]));
    assert_eq!(write(Expect::Absent).unwrap(), [1]);
    assert_eq!(write(Expect::Revision(1)).unwrap(), [2]);
    for expect in [Expect::Absent, Expect::Revision(1), Expect::Revision(u64::MAX)] {
        let error = write(expect).unwrap_err();
        assert_eq!(error.code, "revision-conflict");
        assert!(error.message.contains("test/a is at revision 2"), "{error}");
    }
    let delete = |id: &str, expect| {
        block_on(store.write(vec![Write::Delete {
            kind: "test".into(),
            id: id.into(),
            expect,
        }]))
    };
    assert_eq!(
        delete("a", Expect::Revision(1)).unwrap_err().code,
        "revision-conflict"
    );
    assert_eq!(delete("a", Expect::Absent).unwrap_err().code, "revision-conflict");
    assert_eq!(delete("a", Expect::Revision(2)).unwrap(), [0]);
    assert_eq!(delete("a", Expect::Any).unwrap(), [0]);
    assert_eq!(
        delete("a", Expect::Revision(2)).unwrap_err().code,
        "revision-conflict"
    );
    assert_eq!(write(Expect::Revision(2)).unwrap_err().code, "revision-conflict");
}

#[test]
fn a_batch_with_one_conflict_leaves_nothing_behind_and_its_neighbours_whole() {
    let (store, _folder) = fresh();
    block_on(store.write(vec![put("there", json!(1), Expect::Any)])).unwrap();
    // Sixty at once, so that they share transactions.
    let results = block_on(join_all((0..60).map(|n| {
        let (one, other) = (format!("a{n}"), format!("b{n}"));
        let expect = if n % 3 == 0 { Expect::Absent } else { Expect::Any };
        store.write(vec![
            put(&one, json!(n), Expect::Any),
            put("there", json!(n), expect),
            put(&other, json!(n), Expect::Any),
        ])
    })));
    for (n, result) in results.into_iter().enumerate() {
        let there = |id: String| block_on(store.get("test", &id)).unwrap().is_some();
        let written = n % 3 != 0;
        assert_eq!(result.is_ok(), written, "{result:?}");
        assert_eq!(
            (there(format!("a{n}")), there(format!("b{n}"))),
            (written, written)
        );
    }
    assert_eq!(
        block_on(store.get("test", "there")).unwrap().unwrap().revision,
        41
    );
}

#[test]
fn lists_filter_by_owner_and_labels_and_page_both_ways() {
    let (store, _folder) = fresh();
    let batch = (0..250)
        .map(|n| {
            let labels = [(
                "state".to_owned(),
                if n % 2 == 0 { "even" } else { "odd" }.to_owned(),
            )]
            .into();
            let owner = if n < 200 { "ann" } else { "bob" }.to_owned();
            let id = format!("{n:04}");
            let document = Document {
                kind: "test".into(),
                id,
                owner,
                labels,
                ..Document::default()
            };
            Write::Put {
                document,
                expect: Expect::Absent,
            }
        })
        .collect();
    block_on(store.write(batch)).unwrap();
    for descending in [false, true] {
        let mut query = Query {
            kind: "test".into(),
            owner: "ann".into(),
            labels: [("state".to_owned(), "odd".to_owned())].into(),
            descending,
            limit: 30,
            ..Query::default()
        };
        let mut ids = Vec::new();
        loop {
            let page = block_on(store.list(query.clone())).unwrap();
            assert!(page.documents.len() <= 30);
            ids.extend(page.documents.into_iter().map(|document| document.id));
            if page.next.is_empty() {
                break;
            }
            query.after = page.next;
        }
        let mut expected: Vec<String> = (0..200)
            .filter(|n| n % 2 == 1)
            .map(|n| format!("{n:04}"))
            .collect();
        if descending {
            expected.reverse();
        }
        assert_eq!(ids, expected);
    }
    let all = block_on(store.list(Query {
        kind: "test".into(),
        ..Query::default()
    }))
    .unwrap();
    assert_eq!((all.documents.len(), all.next.as_str()), (100, "0099"));
    let none = Query {
        kind: "test".into(),
        labels: [("x'\"--".into(), "1".into())].into(),
        ..Query::default()
    };
    assert!(block_on(store.list(none)).unwrap().documents.is_empty());
}

#[test]
fn a_page_of_large_documents_is_cut_short_and_goes_on() {
    let (store, _folder) = fresh();
    for n in 0..5 {
        block_on(store.write(vec![put(&n.to_string(), json!("x".repeat(3 << 20)), Expect::Any)])).unwrap();
    }
    let first = block_on(store.list(Query {
        kind: "test".into(),
        ..Query::default()
    }))
    .unwrap();
    assert_eq!((first.documents.len(), first.next.as_str()), (1, "0"));
}

#[test]
fn what_is_too_large_or_wrongly_named_is_a_bad_request() {
    let (store, _folder) = fresh();
    let document = |kind: &str, id: &str, body: Value| {
        let document = Document {
            kind: kind.into(),
            id: id.into(),
            body,
            ..Document::default()
        };
        vec![Write::Put {
            document,
            expect: Expect::Any,
        }]
    };
    let batches = [
        document("Test", "a", json!(1)),
        document("test", "a/b", json!(1)),
        document("test", "", json!(1)),
        document("test", "a", json!("x".repeat(5 << 20))),
        (0..3)
            .flat_map(|n| document("test", &n.to_string(), json!("x".repeat(3 << 20))))
            .collect(),
        vec![put("a", json!(1), Expect::Any); 1001],
        vec![Write::Unknown],
    ];
    for batch in batches {
        assert_eq!(block_on(store.write(batch)).unwrap_err().code, "bad-request");
    }
    assert_eq!(
        block_on(store.get("test", "a b")).unwrap_err().code,
        "bad-request"
    );
    assert_eq!(
        block_on(store.list(Query::default())).unwrap_err().code,
        "bad-request"
    );
}
