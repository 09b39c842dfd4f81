//! Blobs: named by their content, shared by their owners, gone with the last of them.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meshery_plugin_api::message::document::Blob;

pub(super) fn blob(content: &[u8]) -> Blob {
    use std::fmt::Write as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    let sha256 = digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    Blob {
        sha256,
        data: BASE64.encode(content),
    }
}

#[test]
fn blobs_come_back_in_the_order_asked_for() {
    let (store, _folder) = fresh();
    let blobs = [blob(b"a"), blob(b""), blob(&vec![7; 1 << 20])];
    block_on(store.put_blobs("op", blobs.to_vec())).unwrap();
    block_on(store.put_blobs("op", blobs.to_vec())).unwrap();
    let names = [2, 0, 1, 0].map(|n: usize| blobs[n].sha256.clone());
    let back = block_on(store.get_blobs(names.to_vec())).unwrap();
    assert_eq!(back, [2, 0, 1, 0].map(|n: usize| blobs[n].clone()));
}

#[test]
fn a_blob_lives_as_long_as_one_of_its_owners() {
    let (store, _folder) = fresh();
    let (shared, own) = (blob(b"shared"), blob(b"own"));
    block_on(store.put_blobs("one", vec![shared.clone(), own.clone()])).unwrap();
    block_on(store.put_blobs("two", vec![shared.clone()])).unwrap();
    block_on(store.forget("one")).unwrap();
    assert_eq!(
        block_on(store.get_blobs(vec![shared.sha256.clone()])).unwrap(),
        std::slice::from_ref(&shared)
    );
    let error = block_on(store.get_blobs(vec![shared.sha256.clone(), own.sha256.clone()])).unwrap_err();
    assert_eq!(error.code, "no-such-blob");
    assert!(error.message.contains(&own.sha256));
    block_on(store.forget("two")).unwrap();
    assert_eq!(
        block_on(store.get_blobs(vec![shared.sha256])).unwrap_err().code,
        "no-such-blob"
    );
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_refused_with_its_whole_call() {
    let (store, _folder) = fresh();
    let good = blob(b"good");
    let bad = [
        Blob {
            data: BASE64.encode(b"other"),
            ..blob(b"x")
        },
        Blob {
            data: "not base64!".into(),
            ..blob(b"x")
        },
        Blob {
            sha256: "é".repeat(32),
            ..blob(b"x")
        },
        Blob {
            sha256: blob(b"x").sha256.to_uppercase(),
            ..blob(b"x")
        },
        blob(&vec![0; (1 << 20) + 1]),
    ];
    for bad in bad {
        let error = block_on(store.put_blobs("op", vec![good.clone(), bad])).unwrap_err();
        assert_eq!(error.code, "bad-request", "{error}");
    }
    assert_eq!(
        block_on(store.get_blobs(vec![good.sha256])).unwrap_err().code,
        "no-such-blob"
    );
    assert_eq!(
        block_on(store.get_blobs(vec!["x".into()])).unwrap_err().code,
        "bad-request"
    );
}
