//! Reading a request's parameters.
//!
//! The core checks them against the operation's JSON Schema and fills in defaults before an adapter sees them. An
//! adapter is called by tests and other hosts as well, so each reader knows its default and refuses what it cannot use.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::plan::PlanRequest;
use serde_json::Value;

/// Longest name of a namespace.
const LABEL_LENGTH: usize = 63;
/// Namespaces of Kubernetes itself.
const OF_KUBERNETES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

fn bad(message: String) -> PluginError {
    PluginError::new("bad-parameter", message).remedy("see the operation's parameters for what it takes")
}

fn given<'a>(request: &'a PlanRequest, name: &str) -> Option<&'a Value> {
    request.parameters.get(name).filter(|value| !value.is_null())
}

/// A text, or what stands for it when it was not given or is empty.
pub fn text<'a>(request: &'a PlanRequest, name: &str, default: &'a str) -> Result<&'a str, PluginError> {
    match given(request, name) {
        None => Ok(default),
        Some(Value::String(text)) if text.is_empty() => Ok(default),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(bad(format!("parameter \"{name}\" is {other}, not a text"))),
    }
}

/// One of several words, the first when it was not given.
pub fn choice(
    request: &PlanRequest,
    name: &str,
    words: &[&'static str],
) -> Result<&'static str, PluginError> {
    let first = words.first().copied().unwrap_or("");
    let text = text(request, name, first)?;
    words.iter().copied().find(|word| *word == text).ok_or_else(|| {
        bad(format!("parameter \"{name}\" is \"{text}\"")).cause(format!("it takes {}", words.join(", ")))
    })
}

/// Yes or no.
pub fn flag(request: &PlanRequest, name: &str, default: bool) -> Result<bool, PluginError> {
    match given(request, name) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(bad(format!("parameter \"{name}\" is {other}, not true or false"))),
    }
}

/// A whole number from 0 to a limit.
pub fn count(request: &PlanRequest, name: &str, default: u64, limit: u64) -> Result<u64, PluginError> {
    match given(request, name) {
        None => Ok(default),
        Some(value) => value.as_u64().filter(|n| *n <= limit).ok_or_else(|| {
            bad(format!(
                "parameter \"{name}\" is {value}, not a whole number from 0 to {limit}"
            ))
        }),
    }
}

/// The name of a namespace that may be written to: those of Kubernetes itself are refused. With an empty default
/// it is required.
pub fn namespace<'a>(request: &'a PlanRequest, name: &str, default: &'a str) -> Result<&'a str, PluginError> {
    let namespace = text(request, name, default)?;
    if namespace.is_empty() {
        return Err(bad(format!("parameter \"{name}\" is missing")).remedy("name a namespace"));
    }
    if !is_dns_label(namespace) {
        return Err(bad(format!("parameter \"{name}\" is \"{namespace}\", not the name of a namespace")).cause(
            "a name has 1 to 63 lower-case letters, digits and dashes, and begins and ends with a letter or digit",
        ));
    }
    if OF_KUBERNETES.contains(&namespace) {
        return Err(PluginError::new(
            "system-namespace",
            format!("parameter \"{name}\" is \"{namespace}\", a namespace of Kubernetes itself"),
        )
        .remedy("choose another namespace"));
    }
    Ok(namespace)
}

/// Whether a text is the name of a namespace, or could be.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_LENGTH
        && bytes.first().is_some_and(|c| plain(*c))
        && bytes.last().is_some_and(|c| plain(*c))
        && bytes.iter().all(|c| plain(*c) || *c == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(parameters: Value) -> PlanRequest {
        PlanRequest {
            parameters: parameters.as_object().cloned().unwrap(),
            ..PlanRequest::default()
        }
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let request = request(json!({"a": "", "b": null}));
        assert_eq!(text(&request, "a", "x").unwrap(), "x");
        assert_eq!(choice(&request, "b", &["first", "second"]).unwrap(), "first");
        assert!(flag(&request, "c", true).unwrap());
        assert_eq!(count(&request, "d", 7, 9).unwrap(), 7);
    }

    #[test]
    fn a_value_of_another_type_or_range_is_refused_with_its_name_and_value() {
        let request =
            request(json!({"text": 1, "word": "third", "flag": "yes", "count": 10, "negative": -1}));
        for (error, value) in [
            (text(&request, "text", "").unwrap_err(), "1"),
            (choice(&request, "word", &["first"]).unwrap_err(), "third"),
            (flag(&request, "flag", false).unwrap_err(), "yes"),
            (count(&request, "count", 0, 9).unwrap_err(), "10"),
            (count(&request, "negative", 0, 9).unwrap_err(), "-1"),
        ] {
            assert_eq!(error.code, "bad-parameter");
            assert!(error.message.contains(value), "{error:?}");
        }
    }

    #[test]
    fn a_namespace_must_be_one_and_not_kubernetes_own() {
        for (name, code) in [
            ("Shop", "bad-parameter"),
            ("-shop", "bad-parameter"),
            ("shop/prod", "bad-parameter"),
            ("", "bad-parameter"),
            ("kube-system", "system-namespace"),
        ] {
            let request = request(json!({"namespace": name}));
            assert_eq!(
                namespace(&request, "namespace", "").unwrap_err().code,
                code,
                "{name}"
            );
        }
        let long = request(json!({"namespace": "x".repeat(64)}));
        assert!(namespace(&long, "namespace", "").is_err());
        let good = request(json!({"namespace": "shop-1"}));
        assert_eq!(namespace(&good, "namespace", "").unwrap(), "shop-1");
    }
}
