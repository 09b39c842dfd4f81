//! Blobs: content under its hash, stored once, kept as long as somebody owns it.

use super::calls::{Calls, same};
use super::{Claim, Verdict};
use crate::message::document::Blob;

pub(super) const CLAIMS: &[Claim] = &[
    ("blobs come back in the order of their names", come_back),
    ("the same blob may be stored any number of times", again),
    (
        "content with another hash, or that is not base64, is a bad-request",
        wrong,
    ),
    ("1 MiB is taken, more is a bad-request", large),
    ("a blob that is missing is a no-such-blob", missing),
    ("a blob stays as long as somebody owns it", owned),
];

/// SHA-256 of "content 0", "content 1", ...: this crate computes no hashes.
const HASHES: [&str; 16] = [
    "75e0d458fc2da40b5b8b8b614d0192e9da7fffc2d6042f33300fdb0e8a83dfb4",
    "d1988cd3019824f075f61677e1a6f54b16035868488e4051757dde53adeef80f",
    "9597d898814f165b7ed6118722c24271fec8c1254d46e437ad6ab24050763e2d",
    "b910ce7ef3d90e013867bae074fcccaed29ee9262a006ef5af04c06d9b6bc1eb",
    "cabb866ab5c902410cac8f414d84700d943bfb0ee900c8f72fe150cc7e70ad65",
    "5c4d07d51cc27f5f1eef4bd79e2e2db88beec0df0796ee134b31178538d0ccb3",
    "c5ef0ec65b935acdb265ab60683b0d4a136cca763bdaa8f1fc3f41abe4ccbacb",
    "943940738bfc7815a2510342f4d7ad4a079daa3580faab159b4d807ffd55f9ad",
    "96473b686a7207d22ea6189b1ac468f33b43500c499f7e1e2a7c35e05b20e74c",
    "93aea2e13f090e93cedcc900aa61cd38d3859ddde6c3d102d73b48a800fe0ad5",
    "ad286e8f39da5112285abee4ffef0a1be85a3683aa2b16a41d26ecbc28baf474",
    "c4db6ebe92f616287b8c33c67b9e92a79519b12c358982e02bf6cd5ee407831d",
    "0547fea3239c39afc784c5aa982f29fa65a9b1c7d6bc94a54cac5762b4f539bf",
    "c01cd24e11459db9378bc5083453668491a669bc3ca1c0f244fb82f3a04fd7f7",
    "0089fc4f73bca70b10cea29fe10d073d86d22c9309dc8a98e9158ab85ca7bf49",
    "cb973661395c310d0e498f2fa699584caecac1a8bf0590c7f685cefa8a3722b3",
];

/// SHA-256 of 1 MiB of zeros, and of one zero more.
const MEBIBYTE: &str = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";
const MORE: &str = "2cb74edba754a81d121c9db6833704a8e7d417e5b13d1a19f4a52f007d644264";

/// The blob "content 0" and so on.
pub(super) fn content(n: usize) -> Blob {
    let n = n % HASHES.len();
    Blob {
        sha256: HASHES[n].into(),
        data: base64(format!("content {n}").as_bytes()),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let group = (0..3).fold(0, |group, at| {
            group << 8 | u32::from(three.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn names(blobs: &[Blob]) -> Vec<String> {
    blobs.iter().map(|blob| blob.sha256.clone()).collect()
}

fn come_back(calls: &Calls<'_>) -> Verdict {
    let written = vec![content(1), content(2), content(3)];
    calls.ok("put_blobs", calls.put_blobs("come-back", written.clone()))?;
    let wanted = vec![content(3), content(1), content(3), content(2)];
    let found = calls.ok("get_blobs", calls.get_blobs(names(&wanted)))?;
    same("the blobs", &found, &wanted)
}

fn again(calls: &Calls<'_>) -> Verdict {
    for _ in 0..3 {
        calls.ok(
            "put_blobs",
            calls.put_blobs("again", vec![content(4), content(4)]),
        )?;
    }
    let found = calls.ok("get_blobs", calls.get_blobs(names(&[content(4)])))?;
    same("the blob", &found, &vec![content(4)])
}

fn wrong(calls: &Calls<'_>) -> Verdict {
    let other = Blob {
        data: content(0).data,
        ..content(5)
    };
    let garbled = Blob {
        data: "not base64!".into(),
        ..content(5)
    };
    let unnamed = Blob {
        sha256: "abc".into(),
        ..content(5)
    };
    for (what, blob) in [
        ("content with another hash", other),
        ("content that is not base64", garbled),
        ("a name that is no hash", unnamed),
    ] {
        let answer = calls.put_blobs("wrong", vec![content(6), blob]);
        calls.refused(what, "bad-request", answer)?;
    }
    for n in [5, 6] {
        let answer = calls.get_blobs(names(&[content(n)]));
        calls.refused("a blob of a refused call", "no-such-blob", answer)?;
    }
    Ok(())
}

fn large(calls: &Calls<'_>) -> Verdict {
    let zeros = |sha256: &str, bytes: usize| Blob {
        sha256: sha256.into(),
        data: base64(&vec![0; bytes]),
    };
    let most = zeros(MEBIBYTE, 1 << 20);
    calls.ok("put_blobs", calls.put_blobs("large", vec![most.clone()]))?;
    let found = calls.ok("get_blobs", calls.get_blobs(vec![MEBIBYTE.into()]))?;
    if found != [most] {
        return Err("1 MiB comes back as something else".into());
    }
    let more = zeros(MORE, (1 << 20) + 1);
    calls.refused(
        "one byte more than 1 MiB",
        "bad-request",
        calls.put_blobs("large", vec![more]),
    )
}

fn missing(calls: &Calls<'_>) -> Verdict {
    let answer = calls.get_blobs(names(&[content(7)]));
    calls.refused("a blob that was never stored", "no-such-blob", answer)
}

fn owned(calls: &Calls<'_>) -> Verdict {
    let get = |n| calls.get_blobs(names(&[content(n)]));
    calls.ok(
        "put_blobs",
        calls.put_blobs("owner-a", vec![content(8), content(9)]),
    )?;
    calls.ok("put_blobs", calls.put_blobs("owner-b", vec![content(9)]))?;
    calls.ok("forget", calls.forget("owner-a"))?;
    calls.refused("a blob without an owner", "no-such-blob", get(8))?;
    calls.ok("a blob that another owner has", get(9))?;
    calls.ok("forget", calls.forget("owner-b"))?;
    calls.refused("a blob whose last owner is gone", "no-such-blob", get(9))
}
