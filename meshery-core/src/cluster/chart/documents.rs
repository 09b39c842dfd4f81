//! Takes the output of `helm template` apart: documents, where each comes from, objects, hooks.

use serde_json::Value;

use super::error::ChartError;
use super::failure::Place;
use super::yaml;
use super::{Hook, Rendered, RenderedObject};

/// The objects and hooks in what helm printed. `chart` is the name and version to speak of.
pub(super) fn read(chart: &str, output: &str) -> Result<Rendered, ChartError> {
    let mut rendered = Rendered::default();
    for document in split(output) {
        let fault = |line, column, reason| ChartError::Rendered {
            chart: chart.into(),
            place: Place {
                file: document.source.into(),
                line,
                column,
            },
            reason,
        };
        let value =
            yaml::manifest(document.text).map_err(|e| fault(e.line.map(|l| l - 1), e.column, e.reason))?;
        let before = rendered.objects.len();
        flatten(value, &mut |value| {
            match lack(&value) {
                Some(reason) => return Err(fault(None, None, reason)),
                None => rendered.sort_in(value, &document),
            }
            Ok(())
        })?;
        if rendered.objects.len() > before && !is_from_crds(document.source) {
            rendered.manifest.push_str(&document.manifest());
        }
    }
    Ok(rendered)
}

/// The objects and hooks of a release as its record keeps them: its manifest, and each hook's.
pub(crate) fn recorded(release: &str, manifest: &str, hooks: &[Value]) -> Result<Rendered, ChartError> {
    let mut rendered = read(&format!("of release {release}"), manifest)?;
    for hook in hooks {
        let text = hook["manifest"].as_str().unwrap_or_default();
        let read = read(&format!("of release {release}"), text)?;
        rendered.hooks.extend(read.hooks);
        rendered.tests.extend(read.tests);
    }
    Ok(rendered)
}

impl Rendered {
    fn sort_in(&mut self, value: Value, document: &Document<'_>) {
        let source = document.source;
        let annotation = |name: &str| value.pointer("/metadata/annotations")?.get(name)?.as_str();
        let list = |name: &str| -> Vec<String> {
            let words = annotation(name).unwrap_or_default().split(',');
            words
                .map(|word| word.trim().to_lowercase())
                .filter(|word| !word.is_empty())
                .collect()
        };
        let events = list("helm.sh/hook");
        if events.is_empty() {
            let needs_namespace = value
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .unwrap_or("")
                .is_empty();
            let crd = is_from_crds(source);
            self.objects.push(RenderedObject {
                value,
                source: source.into(),
                crd,
                needs_namespace,
            });
            return;
        }
        let mut delete_policies = list("helm.sh/hook-delete-policy");
        if delete_policies.is_empty() {
            delete_policies.push("before-hook-creation".into());
        }
        let weight = annotation("helm.sh/hook-weight")
            .and_then(|w| w.trim().parse().ok())
            .unwrap_or(0);
        let hook = Hook {
            value,
            events,
            weight,
            delete_policies,
            source: source.into(),
            manifest: document.manifest(),
        };
        // One that is both runs at its moment too.
        if hook.is_test() && hook.events.iter().all(|event| is_test(event)) {
            self.tests.push(hook);
        } else {
            self.hooks.push(hook);
        }
    }
}

fn is_test(event: &str) -> bool {
    matches!(event, "test" | "test-success" | "test-failure")
}

impl Hook {
    /// Whether it is one of the release's tests, perhaps among other things.
    pub(crate) fn is_test(&self) -> bool {
        self.events.iter().any(|event| is_test(event))
    }

    /// Name of its object.
    pub(crate) fn name(&self) -> &str {
        let name = self.value.pointer("/metadata/name").and_then(Value::as_str);
        name.unwrap_or_default()
    }
}

/// Whether a file is in the `crds` folder of a chart or of one inside it, and not in some `templates/crds`.
fn is_from_crds(source: &str) -> bool {
    let mut parts = source.split('/').skip(1);
    loop {
        match parts.next() {
            Some("charts") => parts.next(),
            Some("crds") => return true,
            _ => return false,
        };
    }
}

/// A list stands for the objects in it, as for kubectl.
pub(super) fn flatten(
    value: Value,
    take: &mut impl FnMut(Value) -> Result<(), ChartError>,
) -> Result<(), ChartError> {
    if value.is_null() {
        return Ok(());
    }
    let is_list = value
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match value {
        Value::Object(mut map) if is_list && map.get("items").is_some_and(Value::is_array) => {
            let Some(Value::Array(items)) = map.remove("items") else {
                return Ok(());
            };
            items.into_iter().try_for_each(|item| flatten(item, take))
        }
        value => take(value),
    }
}

/// What a value lacks to be an object.
fn lack(value: &Value) -> Option<String> {
    if !value.is_object() {
        let text: String = value.to_string().chars().take(60).collect();
        return Some(format!("{text} is not an object"));
    }
    ["/apiVersion", "/kind", "/metadata/name"]
        .iter()
        .find(|pointer| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("")
                .is_empty()
        })
        .map(|pointer| format!("it has no {}", pointer[1..].replace('/', ".")))
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// The file that helm says it comes from; a file of several documents says so only before the first.
    pub(super) source: &'a str,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// The document as Helm keeps it: behind its separator and the file it comes from.
    fn manifest(&self) -> String {
        let body: Vec<&str> = self
            .text
            .lines()
            .skip_while(|line| {
                let line = line.trim_end();
                line.is_empty() || line == "---" || line.starts_with("# Source: ")
            })
            .collect();
        format!("---\n# Source: {}\n{}\n", self.source, body.join("\n"))
    }
}

/// Cuts a stream where a line begins with `---`. A block scalar is indented, so that never cuts one.
pub(super) fn split(output: &str) -> impl Iterator<Item = Document<'_>> {
    let mut source = "";
    let mut rest = Some(output);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = separator(text);
        rest = end.map(|end| &text[end..]);
        let text = &text[..end.unwrap_or(text.len())];
        if let Some(named) = named_source(text) {
            source = named;
        }
        Some(Document { source, text })
    })
}

/// Where the next document begins; a document begins with its own separator.
fn separator(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let found = from + text[from..].find("\n---")? + 1;
        match text[found + 3..].chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n') => return Some(found),
            Some(_) => from = found,
        }
    }
}

/// The file in the comment that helm puts right behind the separator.
fn named_source(text: &str) -> Option<&str> {
    text.lines()
        .find(|line| line.trim_end() != "---" && !line.trim().is_empty())?
        .strip_prefix("# Source: ")
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str) -> String {
        format!("apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n")
    }

    fn names(rendered: &Rendered) -> Vec<(String, &str)> {
        let name = |o: &RenderedObject| o.value["metadata"]["name"].as_str().unwrap().to_owned();
        rendered
            .objects
            .iter()
            .map(|o| (name(o), o.source.as_str()))
            .collect()
    }

    #[test]
    fn each_document_knows_its_file_also_the_second_of_a_file() {
        let output = format!(
            "---\n# Source: demo/crds/a.yaml\n# about\n---\n{}---\n{}\n---\n# Source: demo/templates/b.yaml\n{}",
            object("A", "one"),
            object("A", "two"),
            object("B", "three")
        );
        let rendered = read("demo 1.0.0", &output).unwrap();
        assert_eq!(
            names(&rendered),
            [
                ("one".into(), "demo/crds/a.yaml"),
                ("two".into(), "demo/crds/a.yaml"),
                ("three".into(), "demo/templates/b.yaml")
            ]
        );
        assert_eq!(
            rendered.objects.iter().map(|o| o.crd).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn separators_and_sources_inside_text_are_text() {
        let output = format!(
            "---\n# Source: demo/templates/a.yaml\n{}data:\n  x: |\n    ---\n    # Source: other/x.yaml\n    a: b\n  y: \"--- z\"\n",
            object("ConfigMap", "one")
        );
        let rendered = read("demo 1.0.0", &output).unwrap();
        assert_eq!(names(&rendered), [("one".into(), "demo/templates/a.yaml")]);
        assert_eq!(
            rendered.objects[0].value["data"]["x"],
            "---\n# Source: other/x.yaml\na: b\n"
        );
    }

    #[test]
    fn empty_documents_comments_and_windows_line_ends_are_no_objects() {
        let output = format!(
            "---\n# Source: a/b\n\n---\r\n# x\r\n---\n---\n{}---   \n",
            object("A", "one")
        );
        assert_eq!(names(&read("demo 1.0.0", &output).unwrap()).len(), 1);
        assert!(read("demo 1.0.0", "").unwrap().objects.is_empty());
    }

    #[test]
    fn a_list_stands_for_its_objects_and_an_empty_one_for_nothing() {
        let item = |name: &str| format!("- {}", object("A", name).trim_end().replace('\n', "\n  "));
        let output = format!(
            "apiVersion: v1\nkind: List\nitems:\n{}\n{}\n",
            item("one"),
            item("two")
        );
        assert_eq!(names(&read("demo 1.0.0", &output).unwrap()).len(), 2);
        assert!(
            read("demo 1.0.0", "apiVersion: v1\nkind: List\nitems: []\n")
                .unwrap()
                .objects
                .is_empty()
        );
    }

    #[test]
    fn hooks_and_tests_are_no_part_of_the_release() {
        let hook = |annotations: &str| format!("---\n{}  annotations:\n{annotations}", object("Job", "x"));
        let output = [
            hook("    helm.sh/hook: pre-install, post-upgrade\n    helm.sh/hook-weight: \"-5\"\n"),
            hook("    helm.sh/hook: post-install\n    helm.sh/hook-delete-policy: hook-succeeded,hook-failed\n"),
            hook("    helm.sh/hook: test\n"),
            hook("    helm.sh/hook: post-install,test\n"),
            hook("    helm.sh/resource-policy: keep\n"),
        ]
        .concat();
        let rendered = read("demo 1.0.0", &output).unwrap();
        assert_eq!(
            (rendered.objects.len(), rendered.hooks.len(), rendered.tests.len()),
            (1, 3, 1)
        );
        assert_eq!(rendered.hooks[0].events, ["pre-install", "post-upgrade"]);
        assert!(rendered.hooks[2].is_test() && !rendered.hooks[1].is_test());
        assert_eq!(rendered.hooks[0].weight, -5);
        assert_eq!(rendered.hooks[0].delete_policies, ["before-hook-creation"]);
        assert_eq!(
            rendered.hooks[1].delete_policies,
            ["hook-succeeded", "hook-failed"]
        );
        assert_eq!(
            rendered.objects[0].value["metadata"]["annotations"]["helm.sh/resource-policy"],
            "keep"
        );
    }

    #[test]
    fn only_the_crds_folder_of_a_chart_counts_as_such() {
        for (source, expected) in [
            ("demo/crds/x.yaml", true),
            ("demo/charts/sub/crds/x.yaml", true),
            ("demo/templates/crds/x.yaml", false),
            ("crds/templates/x.yaml", false),
            ("", false),
        ] {
            assert_eq!(is_from_crds(source), expected, "{source}");
        }
    }

    #[test]
    fn whether_a_namespace_is_named_is_said() {
        let output = format!(
            "{}  namespace: there\n---\n{}",
            object("A", "one"),
            object("A", "two")
        );
        let rendered = read("demo 1.0.0", &output).unwrap();
        assert_eq!(
            rendered
                .objects
                .iter()
                .map(|o| o.needs_namespace)
                .collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_file() {
        for (text, expected) in [
            ("just text", "is not an object"),
            ("kind: A\nmetadata: {name: x}", "no apiVersion"),
            ("apiVersion: v1\nmetadata: {name: x}", "no kind"),
            (
                "apiVersion: v1\nkind: A\nmetadata: {generateName: x}",
                "no metadata.name",
            ),
            ("a: [1", "demo/templates/x.yaml"),
        ] {
            let error = read(
                "demo 1.0.0",
                &format!("---\n# Source: demo/templates/x.yaml\n{text}\n"),
            )
            .unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(expected) && error.contains("demo/templates/x.yaml"),
                "{error}"
            );
        }
    }
}
