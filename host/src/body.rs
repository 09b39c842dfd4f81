//! What callers send, read with limits and errors that name the place: JSON bodies and query strings.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use futures::{Stream, StreamExt as _, stream};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use meshery_core::problem::{Problem, ProblemKind};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::app::App;
use crate::failure::{Failure, Result};

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let (parts, body) = request.into_parts();
        check_media_type(&parts.headers, "application/json")?;
        let bytes = read(&parts.headers, body, app.settings.limits.body_bytes).await?;
        parse(&bytes).map(Self)
    }
}

/// What the body is said to be must be this.
pub fn check_media_type(headers: &HeaderMap, expected: &str) -> Result<()> {
    let shown = headers
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let essence = shown
        .as_deref()
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    if essence.is_some_and(|essence| essence == expected) {
        return Ok(());
    }
    let message = match shown {
        Some(shown) => format!("the body is said to be \"{}\"", shown.escape_debug()),
        None => "nothing says what the body is".to_owned(),
    };
    let problem = Problem::new(ProblemKind::Invalid, "unsupported-media-type", message)
        .remedy(format!("send it with the header Content-Type: {expected}"));
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem))
}

async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut fits = announced.is_none_or(|announced| announced <= limit as u64);
    while fits && let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            let message = format!("the body did not come whole: {error}");
            Failure::from(Problem::new(ProblemKind::Invalid, "broken-body", message))
        })?;
        fits = bytes.len() + chunk.len() <= limit;
        if fits {
            bytes.extend_from_slice(&chunk);
        }
    }
    if fits {
        return Ok(bytes);
    }
    // A client that is cut off while it sends never sees the answer, so that the rest is thrown away for a moment.
    // One that asked first (`Expect: 100-continue`) has not begun.
    if !headers.contains_key(header::EXPECT) {
        let discard = async { while let Some(Ok(_)) = chunks.next().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(2), discard).await;
    }
    let size = announced.map_or_else(|| "more".to_owned(), |bytes| format!("{bytes} bytes"));
    let message = format!("the body has {size}, the limit is {limit} bytes");
    Err(Problem::new(ProblemKind::TooLarge, "body-too-large", message)
        .remedy("send less, or raise `body_bytes` under [limits] in the settings")
        .into())
}

/// That an order comes without a body: what else it takes is in the query, and must not be thought to be heard here.
pub struct Nothing;

impl FromRequest<App> for Nothing {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body, app.settings.limits.body_bytes).await?;
        let nothing = bytes.trim_ascii();
        if nothing.is_empty()
            || serde_json::from_slice(nothing).is_ok_and(|body: Map<String, Value>| body.is_empty())
        {
            return Ok(Self);
        }
        let message = format!(
            "{} takes no body, and {} bytes came",
            parts.uri.path(),
            bytes.len()
        );
        Err(Problem::new(ProblemKind::Invalid, "unexpected-body", message)
            .cause("nothing in it would have been heeded")
            .remedy("leave it out; what an order takes is part of its query (docs/rest-api.md)")
            .into())
    }
}

/// Reads an object in JSON; what is wrong is told with its place.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    if bytes.trim_ascii_start().first() != Some(&b'{')
        && let Ok(other) = serde_json::from_slice::<Value>(bytes)
    {
        return Err(bad_field(
            "",
            &format!("the body is {}, and an object was expected", kind_of(&other)),
        ));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        // A value of the wrong type can look like wrong syntax to who reads it.
        if error.is_data() || serde_json::from_slice::<serde_json::Value>(bytes).is_ok() {
            bad_field(&path, &without_type_names(&error.to_string()))
        } else {
            bad_json(&error)
        }
    });
    let value = parsed?;
    json.end().map_err(|error| bad_json(&error))?;
    Ok(value)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A message of the parser, in which what the types of this program are called is of no use to who reads it.
fn without_type_names(message: &str) -> String {
    const EXPECTED: &str = "expected struct ";
    let Some((before, rest)) = message.split_once(EXPECTED) else {
        return message.to_owned();
    };
    // ` at line 1 column 2` is what follows, after ` with 3 elements` perhaps.
    let place = rest.find(" at line ").map_or("", |place| &rest[place..]);
    format!("{before}expected an object{place}")
}

/// `error` ends with the line and the column.
fn bad_json(error: &serde_json::Error) -> Failure {
    let message = format!("the body is not JSON: {error}");
    Problem::new(ProblemKind::Invalid, "bad-json", message)
        .remedy("correct the body at that place")
        .into()
}

/// A field that is not what it should be.
pub fn bad_field(path: &str, what: &str) -> Failure {
    let message = if path.is_empty() || path == "." {
        what.to_owned()
    } else {
        format!("{path}: {what}")
    };
    Problem::new(ProblemKind::Invalid, "bad-field", message)
        .remedy("correct that field of the request")
        .into()
}

/// How much of a body is taken, and how long each of its pieces may take.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub bytes: u64,
    /// The setting that `bytes` comes from.
    pub setting: &'static str,
    pub patience: Duration,
}

/// A body that is worked on while it comes: with a limit for all of it, and a deadline for each of its pieces.
pub fn bounded(
    headers: &HeaderMap,
    body: Body,
    bound: Bound,
) -> Result<impl Stream<Item = std::result::Result<Bytes, String>> + Send + use<>> {
    let Bound {
        bytes: limit,
        setting,
        patience,
    } = bound;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if let Some(bytes) = announced.filter(|bytes| *bytes > limit) {
        let message = format!("the body has {bytes} bytes, the limit is {limit} bytes");
        return Err(Problem::new(ProblemKind::TooLarge, "body-too-large", message)
            .remedy(format!("raise `{setting}` under [limits] in the settings"))
            .into());
    }
    let seconds = patience.as_secs();
    Ok(stream::unfold(
        (body.into_data_stream(), 0_u64, false),
        move |(mut chunks, before, failed): (BodyDataStream, u64, bool)| async move {
            if failed {
                return None;
            }
            let chunk = match tokio::time::timeout(patience, chunks.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(chunk))) if before + chunk.len() as u64 <= limit => Ok(chunk),
                Ok(Some(Ok(_))) => Err(format!("it has more than the {limit} bytes of `{setting}`")),
                Ok(Some(Err(error))) => Err(error.to_string()),
                Err(_) => Err(format!("nothing came for {seconds} s")),
            };
            let (bytes, failed) = chunk
                .as_ref()
                .map_or((0, true), |chunk| (chunk.len() as u64, false));
            Some((chunk, (chunks, before + bytes, failed)))
        },
    ))
}

/// A query string.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        let parsed = Query::<T>::try_from_uri(&parts.uri);
        let Query(value) = parsed.map_err(|rejection| {
            let source = std::error::Error::source(&rejection)
                .map_or_else(|| rejection.to_string(), ToString::to_string);
            let message = format!(
                "the query \"{}\": {source}",
                parts.uri.query().unwrap_or_default()
            );
            let (cause, remedy) = advice(&source);
            let problem = Problem::new(ProblemKind::Invalid, "bad-query", message);
            Failure::from(problem.cause(cause).remedy(remedy))
        })?;
        Ok(Self(value))
    }
}

/// Cause and remedy of a query that cannot be read, by what the parser says of it.
fn advice(said: &str) -> (&'static str, &'static str) {
    let is = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if is(&["unknown field"]) {
        (
            "there is no such parameter here",
            "leave it out, or use one of those that are named",
        )
    } else if is(&["missing field"]) {
        ("a parameter is missing", "add it to the query")
    } else if is(&["duplicate field"]) {
        ("a parameter is there twice", "give it once")
    } else if is(&["unknown variant"]) {
        (
            "the parameter has no such value",
            "use one of the values that are named",
        )
    } else if is(&["invalid digit", "parse integer from empty", "number too"]) {
        (
            "the value is not a whole number, or is out of its range",
            "give a whole number, 0 or more",
        )
    } else {
        (
            "the value of a parameter has another form than it should",
            "correct the parameter that is named",
        )
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code)]
        inner: Vec<Inner>,
        #[expect(dead_code)]
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize)]
    enum Mode {
        On,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code)]
        name: String,
    }

    fn fault(text: &str) -> serde_json::Value {
        let failure = parse::<Outer>(text.as_bytes()).unwrap_err();
        serde_json::from_str(&crate::failure::body(&failure, "")).unwrap()
    }

    #[test]
    fn wrong_field_is_named_with_its_path_and_place() {
        for (text, words) in [
            (
                "{\"inner\":[{\"name\":\n5}]}",
                ["inner[0].name", "line 2", "string"],
            ),
            (
                "{\"inner\":[{\"nam\":1}]}",
                ["inner[0].nam", "unknown field", "`name`"],
            ),
            ("{\"inner\":[{}]}", ["inner[0]", "missing field", "`name`"]),
            ("{\"inner\":null}", ["inner", "null", "sequence"]),
            ("[]", ["the body", "a list", "an object"]),
            (" 5", ["the body", "a number", "an object"]),
            ("{\"inner\":[5]}", ["inner[0]", "an object", "line 1"]),
            ("{\"inner\":[[]]}", ["inner[0]", "an object", "line 1"]),
            ("{\"mode\":[1],\"inner\":[]}", ["mode", "line 1", "column"]),
        ] {
            let problem = fault(text);
            let detail = problem["detail"].as_str().unwrap();
            assert_eq!(problem["code"], "bad-field", "{text}: {detail}");
            assert!(!detail.contains("Inner") && !detail.contains("Outer"), "{detail}");
            for word in words {
                assert!(detail.contains(word), "{text}: {detail}");
            }
        }
    }

    #[test]
    fn a_wrong_query_has_its_cause_and_remedy() {
        for (said, cause, remedy) in [
            (
                "limit: invalid digit found in string",
                "whole number",
                "0 or more",
            ),
            (
                "state: unknown variant `sleeping`, expected one of `planned`",
                "no such value",
                "named",
            ),
            (
                "unknown field `stat`, expected `state`",
                "no such parameter",
                "leave it out",
            ),
            ("missing field `adapter`", "missing", "add it"),
            ("duplicate field `adapter`", "twice", "once"),
            (
                "replace: provided string was not `true` or `false`",
                "another form",
                "named",
            ),
        ] {
            let (why, what) = advice(said);
            assert!(
                why.contains(cause) && what.contains(remedy),
                "{said}: {why}; {what}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_said_with_line_and_column() {
        let deep = format!("{{\"inner\":{}", "[".repeat(100_000));
        for text in [
            "",
            "{",
            "{\"inner\":\n NaN}",
            "{\"inner\":[]} x",
            "\u{feff}{}",
            "{\"inner\":[],}",
            &deep,
        ] {
            let problem = fault(text);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("line ") && detail.contains("column "), "{detail}");
            assert!(detail.len() < 300, "{detail}");
        }
        assert!(parse::<Outer>(b"{\"inner\":[],\"\xff\":1}").is_err());
    }
}
