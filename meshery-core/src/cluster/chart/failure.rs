//! What helm's words mean when it fails.
//!
//! Helm ends with status 1 whatever went wrong and has no other form of error than text; the class of a failure is
//! only in the wording, which differs between its major versions. This is the one place that knows the wording.

use std::fmt;

use super::error::ChartError;
use super::process::MEMORY;
use crate::confidential::Confidential;

/// A place in a chart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Path of the file, beginning with the chart's name.
    pub file: String,
    /// Line, counted from 1; none when helm does not say.
    pub line: Option<u32>,
    /// Column; none when helm does not say.
    pub column: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

/// One way in which values do not fit a chart's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The chart whose schema it is: the chart itself or one inside it.
    pub chart: String,
    /// Where in the values, as a JSON pointer; empty for the whole.
    pub path: String,
    /// The rule.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{path}: {}", self.rule)
    }
}

/// How much is told of words that are not understood, in characters.
const TOLD: usize = 2000;

/// The error behind what helm wrote to its standard error, without what is hidden. `chart` is the name and version to
/// speak of.
pub(super) fn classify(chart: &str, stderr: &str, hidden: &Confidential) -> ChartError {
    // Only now: a value may be a word of Helm's own.
    match untold(understood(chart, stderr), hidden) {
        // Cut last, so that no secret is cut in two.
        ChartError::Helm { chart, text } => ChartError::Helm {
            chart,
            text: text.chars().take(TOLD).collect(),
        },
        other => other,
    }
}

/// An error without what is hidden in the words of a chart or of helm.
pub(super) fn untold(mut error: ChartError, hidden: &Confidential) -> ChartError {
    let hide = |text: &mut String| *text = hidden.hide(text).into_owned();
    match &mut error {
        ChartError::Template { reason: words, .. }
        | ChartError::Declined { message: words, .. }
        | ChartError::Rendered { reason: words, .. }
        | ChartError::Helm { text: words, .. } => hide(words),
        ChartError::Values { violations, .. } => violations.iter_mut().for_each(|violation| {
            hide(&mut violation.path);
            hide(&mut violation.rule);
        }),
        _ => {}
    }
    error
}

fn understood(chart: &str, stderr: &str) -> ChartError {
    let text = error_block(stderr);
    let chart = chart.to_owned();
    if text.contains("values don't meet the specifications of the schema") {
        let violations = violations(text);
        if !violations.is_empty() {
            return ChartError::Values { chart, violations };
        }
    }
    if let Some((place, message)) = between(text, "execution error at (", "): ") {
        return ChartError::Declined {
            chart,
            place: parse_place(place),
            message: message.trim().into(),
        };
    }
    if let Some((wanted, found)) = between(
        text,
        "chart requires kubeVersion: ",
        " which is incompatible with Kubernetes ",
    ) {
        let found = found.lines().next().unwrap_or_default();
        return ChartError::KubeVersion {
            chart,
            wanted: wanted.into(),
            found: found.trim().into(),
        };
    }
    if let Some((_, missing)) = text.split_once("missing in charts/ directory: ") {
        return ChartError::DependencyMissing {
            chart,
            missing: missing.trim().into(),
        };
    }
    if let Some((file, reason)) = between(text, "YAML parse error on ", ": ") {
        let place = Place {
            file: file.into(),
            line: line_in(reason),
            column: None,
        };
        return ChartError::Rendered {
            chart,
            place,
            reason: yaml_reason(reason),
        };
    }
    if let Some((place, reason)) = between(text, "parse error at (", "): ") {
        return ChartError::Template {
            chart,
            place: parse_place(place),
            reason: reason.trim().into(),
        };
    }
    if let Some((place, reason)) = template_error_in_lines(text).or_else(|| template_error_in_one_line(text))
    {
        return ChartError::Template { chart, place, reason };
    }
    if let Some(crash) = text
        .lines()
        .find(|line| line.starts_with("fatal error: ") || line.starts_with("panic: "))
    {
        if crash.contains("out of memory") || crash.contains("cannot allocate memory") {
            let what = format!("the memory that rendering chart {chart} takes");
            return ChartError::TooLarge { what, limit: MEMORY };
        }
        return ChartError::Helm {
            chart,
            text: format!("it crashed: {crash}"),
        };
    }
    let text = if text.is_empty() {
        "it said nothing".into()
    } else {
        text.to_owned()
    };
    ChartError::Helm { chart, text }
}

/// The last block that begins with `Error: `; log lines and warnings may come before it.
fn error_block(stderr: &str) -> &str {
    const MARK: &str = "Error: ";
    let start = match stderr.rfind("\nError: ") {
        Some(newline) => newline + 1 + MARK.len(),
        None if stderr.starts_with(MARK) => MARK.len(),
        None => 0,
    };
    let text = &stderr[start..];
    text.split("\n\nUse --debug flag").next().unwrap_or(text).trim()
}

/// What stands between two marks, and what follows the second.
fn between<'a>(text: &'a str, first: &str, second: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(first)?.1.split_once(second)
}

/// `demo/templates/x.yaml:12:3`, with or without the column.
fn parse_place(text: &str) -> Place {
    let mut place = Place {
        file: text.trim().into(),
        line: None,
        column: None,
    };
    for _ in 0..2 {
        let Some((file, number)) = place.file.rsplit_once(':') else {
            break;
        };
        let Ok(number) = number.parse() else { break };
        place.column = place.line;
        place.line = Some(number);
        place.file.truncate(file.len());
    }
    place
}

/// Helm 4: place, what was executed and reason on lines of their own, for each template on the way.
fn template_error_in_lines(text: &str) -> Option<(Place, String)> {
    let mut place = None;
    let mut at = "";
    let mut reason = "";
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let here = parse_place(line);
        if here.line.is_some() && here.column.is_some() && !line.contains(' ') {
            place = Some(here);
        } else if line.starts_with("executing ") {
            at = line
                .split_once(" at ")
                .map_or("", |(_, at)| at.trim_end_matches(':'));
        } else {
            reason = line.trim_end_matches(':');
        }
    }
    let reason = reason.strip_prefix("template: ").unwrap_or(reason);
    Some((place?, format!("{reason}, at {at}")))
}

/// Helm 3, and some errors of Helm 4: all in one line, each template on the way inside the one before.
fn template_error_in_one_line(text: &str) -> Option<(Place, String)> {
    let innermost = text
        .rsplit("template: ")
        .find(|part| part.contains(": executing "))?;
    let (place, rest) = innermost.split_once(": executing ")?;
    let (at, reason) = between(rest, " at ", ">: ")?;
    // What follows the last template may itself begin with the mark ("template: no template ...").
    let reason = match text.rsplit_once("template: ") {
        Some((_, last)) if !last.contains(": executing ") => last,
        _ => reason,
    };
    Some((parse_place(place), format!("{}, at {at}>", reason.trim())))
}

fn violations(text: &str) -> Vec<Violation> {
    let mut chart = "";
    let mut violations = Vec::new();
    for line in text.lines().skip(1) {
        let Some(item) = line.trim_start().strip_prefix("- ") else {
            chart = line.trim().trim_end_matches(':');
            continue;
        };
        let parsed = match item.strip_prefix("at '") {
            Some(rest) => rest.split_once("': ").map(|(path, rule)| (path.to_owned(), rule)),
            // Before 3.18: "(root): q is required", "m.z: Invalid type".
            None => item.split_once(": ").map(|(path, rule)| match path {
                "(root)" => (String::new(), rule),
                path => (format!("/{}", path.replace('.', "/")), rule),
            }),
        };
        if let Some((path, rule)) = parsed
            && rule != "validation failed"
        {
            violations.push(Violation {
                chart: chart.into(),
                path,
                rule: without_value(rule),
            });
        }
    }
    violations
}

/// A rule as it is written may begin with the value, which may be a password.
fn without_value(rule: &str) -> String {
    if rule.starts_with('\'') {
        for mark in ["' does not match ", "' is not valid "] {
            if let Some((_, after)) = rule.rsplit_once(mark) {
                return format!("{}{after}", mark.trim_start_matches("' "));
            }
        }
    }
    rule.to_owned()
}

fn line_in(reason: &str) -> Option<u32> {
    let (_, rest) = reason.split_once("yaml: line ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Without the words about how Helm reads YAML.
fn yaml_reason(reason: &str) -> String {
    let reason = reason.lines().next().unwrap_or_default();
    if let Some((_, field)) = between(reason, "cannot unmarshal ", "Go struct field SimpleHead.") {
        let field = field.split(' ').next().unwrap_or(field);
        return format!("{field} has the wrong type");
    }
    let reason = reason
        .strip_prefix("error converting YAML to JSON: ")
        .unwrap_or(reason);
    match reason
        .strip_prefix("yaml: line ")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((_, reason)) => reason.into(),
        None => reason.strip_prefix("yaml: ").unwrap_or(reason).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(chart: &str, stderr: &str) -> ChartError {
        classify(chart, stderr, &Confidential::default())
    }

    fn template(stderr: &str) -> (String, String) {
        match told("demo 1.0.0", stderr) {
            ChartError::Template { place, reason, .. } => (place.to_string(), reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_template_error_names_the_innermost_place_in_either_helms_words() {
        let helm4 = "Error: demo/templates/x.yaml:6:6\n  executing \"demo/templates/x.yaml\" at <include \"in\" .>:\n    error calling include:\ndemo/templates/_in.tpl:2:10\n  executing \"in\" at <.Values.a.b>:\n    nil pointer evaluating interface {}.b\n\nUse --debug flag to render out invalid YAML\n";
        let helm3 = "Error: template: demo/templates/x.yaml:6:6: executing \"demo/templates/x.yaml\" at <include \"in\" .>: error calling include: template: demo/templates/_in.tpl:2:10: executing \"in\" at <.Values.a.b>: nil pointer evaluating interface {}.b\n\nUse --debug flag to render out invalid YAML\n";
        for stderr in [helm4, helm3] {
            let (place, reason) = template(stderr);
            assert_eq!(place, "demo/templates/_in.tpl:2:10");
            assert_eq!(reason, "nil pointer evaluating interface {}.b, at <.Values.a.b>");
        }
    }

    #[test]
    fn an_include_of_nothing_and_an_index_out_of_range_keep_their_reason() {
        let helm4 = "Error: demo/templates/x.yaml:1:3\n  executing \"demo/templates/x.yaml\" at <include \"nope\" .>:\n    error calling include:\ntemplate: no template \"nope\" associated with template \"gotpl\"\n";
        let helm3 = "Error: template: demo/templates/x.yaml:1:3: executing \"demo/templates/x.yaml\" at <include \"nope\" .>: error calling include: template: no template \"nope\" associated with template \"gotpl\"\n";
        for stderr in [helm4, helm3] {
            let (place, reason) = template(stderr);
            assert_eq!(place, "demo/templates/x.yaml:1:3");
            assert_eq!(
                reason,
                "no template \"nope\" associated with template \"gotpl\", at <include \"nope\" .>"
            );
        }
        let index = "Error: template: demo/templates/x.yaml:4:6: executing \"demo/templates/x.yaml\" at <index (list 1) 3>: error calling index: index out of range: 3\n";
        let (place, reason) = template(index);
        assert_eq!(place, "demo/templates/x.yaml:4:6");
        assert_eq!(
            reason,
            "error calling index: index out of range: 3, at <index (list 1) 3>"
        );
    }

    #[test]
    fn a_template_that_does_not_parse_has_its_line() {
        let stderr = "Error: parse error at (demo/templates/x.yaml:3): unclosed action started at demo/templates/x.yaml:2\n\nUse --debug flag to render out invalid YAML\n";
        let (place, reason) = template(stderr);
        assert_eq!(place, "demo/templates/x.yaml:3");
        assert_eq!(reason, "unclosed action started at demo/templates/x.yaml:2");
    }

    #[test]
    fn the_charts_own_refusal_is_shown_in_its_own_words() {
        let stderr = "level=WARN msg=\"Error: not this\"\nError: execution error at (demo/templates/x.yaml:8:3): cannot be:\nchoose another\n\nUse --debug flag to render out invalid YAML\n";
        match told("demo 1.0.0", stderr) {
            ChartError::Declined { place, message, .. } => {
                assert_eq!(place.to_string(), "demo/templates/x.yaml:8:3");
                assert_eq!(message, "cannot be:\nchoose another");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_violation_of_a_schema_has_its_path_and_rule() {
        let helm4 = "Error: values don't meet the specifications of the schema(s) in the following chart(s):\ndemo:\n- at '/n': got string, want integer\n- at '/nested': validation failed\n  - at '/nested': missing property 'name'\nsub:\n- at '': missing property 'q'\n\n";
        let ChartError::Values { violations, .. } = told("demo 1.0.0", helm4) else {
            panic!()
        };
        let texts: Vec<String> = violations.iter().map(|v| format!("{} {v}", v.chart)).collect();
        assert_eq!(
            texts,
            [
                "demo /n: got string, want integer",
                "demo /nested: missing property 'name'",
                "sub /: missing property 'q'"
            ]
        );
        let older = "Error: values don't meet the specifications of the schema(s) in the following chart(s):\ndemo:\n- (root): q is required\n- m.z: Invalid type. Expected: integer, given: string\n";
        let ChartError::Values { violations, .. } = told("demo 1.0.0", older) else {
            panic!()
        };
        assert_eq!(violations[0].to_string(), "/: q is required");
        assert_eq!(
            violations[1].to_string(),
            "/m/z: Invalid type. Expected: integer, given: string"
        );
    }

    #[test]
    fn a_value_that_breaks_a_pattern_is_not_repeated() {
        let stderr = "Error: values don't meet the specifications of the schema(s) in the following chart(s):\ndemo:\n- at '/password': 'hunter2 isn't' does not match pattern '^[a-z]+$'\n- at '/mail': 'hunter2' is not valid email: missing @\n";
        let error = told("demo 1.0.0", stderr).to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(
            error.contains("/password: does not match pattern '^[a-z]+$'"),
            "{error}"
        );
        assert!(error.contains("/mail: is not valid email"), "{error}");
    }

    #[test]
    fn what_a_chart_needs_is_named() {
        let stderr = "Error: chart requires kubeVersion: >=1.99 which is incompatible with Kubernetes v1.36.3\n\nUse --debug flag to render out invalid YAML\n";
        match told("demo 1.0.0", stderr) {
            ChartError::KubeVersion { wanted, found, .. } => {
                assert_eq!((wanted.as_str(), found.as_str()), (">=1.99", "v1.36.3"));
            }
            other => panic!("{other:?}"),
        }
        let stderr = "Error: an error occurred while checking for chart dependencies. You may need to run `helm dependency build` to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: other, more\n";
        match told("demo 1.0.0", stderr) {
            ChartError::DependencyMissing { missing, .. } => assert_eq!(missing, "other, more"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn output_that_is_no_yaml_has_file_line_and_reason() {
        for (text, line, expected) in [
            (
                "error converting YAML to JSON: yaml: line 5: mapping values are not allowed in this context",
                Some(5),
                "mapping values are not allowed in this context",
            ),
            (
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go struct field SimpleHead.metadata of type struct { Name string }",
                None,
                "metadata has the wrong type",
            ),
        ] {
            let stderr = format!("Error: YAML parse error on demo/templates/x.yaml: {text}\n");
            match told("demo 1.0.0", &stderr) {
                ChartError::Rendered { place, reason, .. } => {
                    assert_eq!((place.file.as_str(), place.line), ("demo/templates/x.yaml", line));
                    assert_eq!(reason, expected);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_crash_is_told_without_its_traces() {
        let trace = "\n\nruntime stack:\nruntime.throw({0x269f944?})\n";
        let error = told(
            "demo 1.0.0",
            &format!("fatal error: out of memory allocating heap{trace}"),
        );
        assert!(
            matches!(error, ChartError::TooLarge { limit: MEMORY, .. }),
            "{error}"
        );
        let error = told("demo 1.0.0", &format!("panic: nil map{trace}")).to_string();
        assert!(error.ends_with("it crashed: panic: nil map"), "{error}");
    }

    #[test]
    fn unknown_words_are_passed_on_cut_short_and_none_do_not_panic() {
        for stderr in [
            "",
            "Error: ",
            "Error: something new\n",
            "no mark at all",
            &"x".repeat(100_000),
        ] {
            let ChartError::Helm { text, .. } = told("demo 1.0.0", stderr) else {
                panic!("{stderr}")
            };
            assert!(!text.is_empty() && text.len() <= 2000);
        }
    }
}
