//! What adapters are not told of Secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Where `kubectl apply` keeps a copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes out of a Secret what is secret. The names of its keys stay, and values that are certificates and nothing else:
/// those are public, and adapters go by when they end.
pub fn withhold(secret: &mut Value) {
    if let Some(data) = secret.get_mut("data").and_then(Value::as_object_mut) {
        for value in data.values_mut() {
            let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            if !text.is_some_and(|text| is_certificates(&text)) {
                *value = Value::String(String::new());
            }
        }
    }
    if let Some(data) = secret.get_mut("stringData").and_then(Value::as_object_mut) {
        for value in data.values_mut() {
            *value = Value::String(String::new());
        }
    }
    let annotations = secret.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

/// Whether a text is certificates in PEM, with nothing before, between or after them.
fn is_certificates(text: &str) -> bool {
    let mut rest = text.trim();
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let Some((body, after)) = rest.strip_prefix(BEGIN).and_then(|rest| rest.split_once(END)) else {
            return false;
        };
        let body: String = body.split_whitespace().collect();
        // DER begins with a sequence.
        if STANDARD.decode(body).ok().and_then(|der| der.first().copied()) != Some(0x30) {
            return false;
        }
        rest = after.trim_start();
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(text: &str) -> bool {
        let mut secret = json!({"kind": "Secret", "data": {"a": STANDARD.encode(text)}});
        withhold(&mut secret);
        secret["data"]["a"] != ""
    }

    #[test]
    fn certificates_are_shown_and_nothing_that_is_more_than_that() {
        let certificate = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode([0x30, 0x03, 1, 2, 3]));
        assert!(shown(&certificate) && shown(&format!("{certificate}{certificate}")));
        for more in [
            String::new(),
            "hunter2".into(),
            format!("{certificate}hunter2"),
            format!("hunter2 {certificate}"),
            format!("{certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            format!("{BEGIN}\nhunter2\n{END}\n"),
            format!("{BEGIN}\n{}\n", STANDARD.encode([0x30])),
        ] {
            assert!(!shown(&more), "{more}");
        }
    }

    #[test]
    fn the_names_of_keys_stay_and_the_copy_of_kubectl_goes() {
        let mut secret = json!({"data": {"password": "aHVudGVyMg=="}, "stringData": {"b": "x"},
            "metadata": {"annotations": {LAST_APPLIED: "{}", "other": "x"}}});
        withhold(&mut secret);
        assert_eq!(
            secret,
            json!({"data": {"password": ""}, "stringData": {"b": ""},
                "metadata": {"annotations": {"other": "x"}}})
        );
    }
}
