//! What can be told of a template without rendering it.

/// Whether a template calls `lookup`, which asks the cluster.
pub(super) fn use_lookup(template: &str) -> bool {
    actions(template).any(|action| {
        words(action).any(|(word, before)| word == "lookup" && !matches!(before, Some('.' | '$' | '"' | '`')))
    })
}

/// The insides of `{{ ... }}`, comments left out.
fn actions(template: &str) -> impl Iterator<Item = &str> {
    template.split("{{").skip(1).filter_map(|rest| {
        let action = rest.split("}}").next().unwrap_or(rest);
        let inside = action.strip_prefix('-').unwrap_or(action).trim_start();
        (!inside.starts_with("/*")).then_some(inside)
    })
}

/// The words of an action, each with the character before it.
fn words(action: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    let inside_word = |c: char| c.is_alphanumeric() || c == '_';
    action
        .split(move |c: char| !inside_word(c))
        .filter(|word| !word.is_empty())
        .map(move |word| {
            let start = word.as_ptr() as usize - action.as_ptr() as usize;
            (word, action[..start].chars().next_back())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_inside_an_action_counts() {
        for (template, uses) in [
            (
                r#"{{- $s := lookup "v1" "Secret" .Release.Namespace "x" -}}"#,
                true,
            ),
            (r#"{{ if (lookup "v1" "Secret" "a" "b").data }}"#, true),
            ("{{ if\n  lookup $a $b }}", true),
            ("lookup", false),
            ("{{ .Values.lookup }}", false),
            ("{{ $lookup }}", false),
            (r#"{{ include "lookup" . }}"#, false),
            ("{{- /* lookup */ -}}", false),
            ("{{ .Values.lookups }}", false),
            ("{{", false),
        ] {
            assert_eq!(use_lookup(template), uses, "{template}");
        }
    }
}
