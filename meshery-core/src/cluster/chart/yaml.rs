//! YAML as Helm and kubectl read it.
//!
//! Both read YAML 1.1 by way of JSON, so `yes` and `on` are booleans unless they are quoted, `0644` is 420, a key
//! that is there twice counts with its last value, and a number without a fraction is an integer however it is
//! written (`1.0`, `1e3`). A manifest read otherwise would not be the manifest that the chart's author saw working.
//! Keys are the one difference: `y:` stays `y` here, while Helm makes it `true`.

use serde::de::DeserializeOwned;
use serde_json::{Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Options};

/// Text that is not YAML, or not what was expected of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YamlError {
    /// Line, counted from 1.
    pub(super) line: Option<u32>,
    /// Column, counted from 1.
    pub(super) column: Option<u32>,
    /// What is wrong, without the place.
    pub(super) reason: String,
}

impl std::fmt::Display for YamlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.reason)
    }
}

pub(super) fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // A thread's stack takes this much in an unoptimised build; real definitions of kinds reach 30.
            max_depth: 64,
            max_events: 4_000_000,
            max_nodes: 2_000_000,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        emit_comments: false,
        with_snippet: false,
    }
}

/// Reads one document into a type.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    serde_saphyr::from_str_with_options(text, options()).map_err(fault)
}

/// Reads one document as it would be sent to a Kubernetes API server; null when there is nothing in it.
pub(super) fn manifest(text: &str) -> Result<Value, YamlError> {
    let mut value = read(text)?;
    settle(&mut value);
    Ok(value)
}

pub(super) fn fault(error: serde_saphyr::Error) -> YamlError {
    let location = error.location().filter(|location| *location != Location::UNKNOWN);
    let number = |n: u64| u32::try_from(n).ok();
    // The library puts the place into its text as well.
    let text = error.to_string();
    let reason = text.lines().next().unwrap_or_default();
    let reason = reason
        .split_once(" at line ")
        .map_or(reason, |(before, _)| before);
    YamlError {
        line: location.and_then(|l| number(l.line())),
        column: location.and_then(|l| number(l.column())),
        reason: reason.to_owned(),
    }
}

/// Makes integers of the numbers that have no fraction.
fn settle(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Beyond 2^53 a float does not know its own last digit.
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
            if let Some(float) = number.as_f64().filter(|_| number.is_f64())
                && float.fract() == 0.0
                && float.abs() < 9_007_199_254_740_992.0
            {
                *number = Number::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        Value::Object(map) => map.values_mut().for_each(settle),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_mean_what_they_mean_to_kubectl() {
        for (text, expected) in [
            ("y", json!(true)),
            ("On", json!(true)),
            ("no", json!(false)),
            ("\"y\"", json!("y")),
            ("'on'", json!("on")),
            ("0644", json!(420)),
            ("0o17", json!(15)),
            ("08", json!(8)),
            ("0x1F", json!(31)),
            ("0b11", json!(3)),
            ("1_000", json!(1000)),
            ("1e3", json!(1000)),
            ("12e03", json!(12000)),
            ("1.0", json!(1)),
            (".5", json!(0.5)),
            ("-0", json!(0)),
            ("1:30", json!("1:30")),
            ("2001-01-01", json!("2001-01-01")),
            ("1.30.2", json!("1.30.2")),
            ("!!str 12", json!("12")),
            ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
            ("~", json!(null)),
            ("infinity", json!("infinity")),
            ("|\n  on\n", json!("on\n")),
        ] {
            assert_eq!(
                manifest(&format!("a: {text}\n")).unwrap()["a"],
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts_and_merge_keys_are_merged() {
        assert_eq!(manifest("a: 1\na: 2\n").unwrap(), json!({"a": 2}));
        let merged = manifest("x: &x {a: 1}\ny:\n  <<: *x\n  b: 2\n").unwrap();
        assert_eq!(merged["y"], json!({"a": 1, "b": 2}));
    }

    #[test]
    fn nothing_but_comments_is_null() {
        for text in ["", "\n\n", "# only this\n", "---\n"] {
            assert_eq!(manifest(text).unwrap(), Value::Null, "{text:?}");
        }
    }

    #[test]
    fn a_fault_has_line_and_column() {
        let error = manifest("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(
            error.line.is_some_and(|line| line >= 2) && error.column.is_some(),
            "{error:?}"
        );
        assert!(!error.reason.contains(" at line "), "{error:?}");
    }

    #[test]
    fn aliases_that_multiply_are_stopped() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let list = vec![format!("*a{}", n - 1); 9].join(", ");
            text = format!("{text}a{n}: &a{n} [{list}]\n");
        }
        assert!(manifest(&text).is_err());
    }

    #[test]
    fn depth_has_a_limit_within_what_the_stack_of_a_thread_can_take() {
        let list = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        let map = |n: usize| format!("{}1{}", "{a: ".repeat(n), "}".repeat(n));
        let block = |n: usize| (0..n).map(|level| " ".repeat(level) + "a:\n").collect::<String>();
        let tries = move || {
            for text in [list(60), map(60), block(60)] {
                manifest(&text).unwrap();
            }
            for text in [list(10_000), map(10_000), block(2_000)] {
                manifest(&text).unwrap_err();
            }
        };
        std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(tries)
            .unwrap()
            .join()
            .unwrap();
    }
}
