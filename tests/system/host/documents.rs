//! Documents over REST.

use anyhow::ensure;
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use serde_json::json;

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "host::documents_are_written_read_and_deleted",
            documents_are_written_read_and_deleted,
        ),
        trial("host::documents_come_in_pages", documents_come_in_pages),
        trial("host::the_engines_documents_are_reserved", reserved_kinds),
    ]
}

fn documents_are_written_read_and_deleted() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    let path = "/api/v1/documents/note/one";
    host.get(path)?.problem(404, "unknown-document")?;
    let absent = [("if-none-match", "*")];
    let first = json!({"body": {"n": 1, "text": "ä"}, "labels": {"colour": "red"}});
    let made = client.send("PUT", path, &absent, Some(&first))?;
    let document = made.expect(201)?;
    ensure!(document["body"] == first["body"], "{document}");
    ensure!(document["labels"] == first["labels"], "{document}");
    ensure!(
        document["owner"] == "meshery" && document["revision"] == 1,
        "{document}"
    );
    ensure!(made.headers["etag"] == "\"1\"", "{made:?}");
    client
        .send("PUT", path, &absent, Some(&first))?
        .problem(409, "revision-conflict")?;
    let second = json!({"body": 2});
    let matching = |revision| [("if-match", revision)];
    let changed = client.send("PUT", path, &matching("\"1\""), Some(&second))?;
    changed.expect(200)?;
    ensure!(changed.headers["etag"] == "\"2\"", "{changed:?}");
    client
        .send("PUT", path, &matching("\"1\""), Some(&first))?
        .problem(409, "revision-conflict")?;
    ensure!(host.get(path)?.expect(200)?["body"] == 2);
    for wrong in ["1", "\"x\"", "W/\"2\"", ""] {
        client
            .send("PUT", path, &matching(wrong), Some(&first))?
            .problem(400, "bad-field")?;
    }
    client
        .send("DELETE", path, &matching("\"1\""), None)?
        .problem(409, "revision-conflict")?;
    ensure!(host.delete(path)?.status == 204);
    host.get(path)?.problem(404, "unknown-document")?;
    host.delete(path)?.problem(404, "unknown-document")?;
    Ok(())
}

fn documents_come_in_pages() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    for n in 0..7 {
        host.put(&format!("/api/v1/documents/note/n{n}"), &json!({"body": n}))?
            .expect(201)?;
    }
    host.put("/api/v1/documents/other/n0", &json!({"body": 0}))?
        .expect(201)?;
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = host
            .get(&format!("/api/v1/documents/note?limit=3&after={after}"))?
            .expect(200)?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        ensure!(items.len() <= 3, "{page}");
        seen.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap_or_default().to_owned()),
        );
        page["next"].as_str().unwrap_or_default().clone_into(&mut after);
        if after.is_empty() {
            break;
        }
    }
    ensure!(seen == ["n0", "n1", "n2", "n3", "n4", "n5", "n6"], "{seen:?}");
    Ok(())
}

fn reserved_kinds() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    for kind in ["operation", "preview", "cluster"] {
        let path = format!("/api/v1/documents/{kind}");
        host.get(&path)?.problem(403, "reserved-kind")?;
        let path = format!("{path}/x");
        host.get(&path)?.problem(403, "reserved-kind")?;
        host.put(&path, &json!({"body": 1}))?
            .problem(403, "reserved-kind")?;
        host.delete(&path)?.problem(403, "reserved-kind")?;
    }
    Ok(())
}
