//! A rendered chart whose objects are changed after it was rendered: what the release's record says changes with them,
//! so that Helm knows what is in the cluster.

use std::fmt::Write as _;

use serde_json::Value;

use super::documents::{flatten, split};
use super::{Rendered, yaml};

impl Rendered {
    /// Changes each object and hook; `change` says whether it did. Documents that are not touched stay as helm
    /// printed them.
    pub(crate) fn rewrite(&mut self, mut change: impl FnMut(&mut Value) -> bool) {
        let mut any = false;
        for object in &mut self.objects {
            any |= change(&mut object.value);
        }
        if any {
            self.manifest = rewritten(&self.manifest, &mut change);
        }
        for hook in self.hooks.iter_mut().chain(&mut self.tests) {
            if change(&mut hook.value) {
                hook.manifest = rewritten(&hook.manifest, &mut change);
            }
        }
    }
}

fn rewritten(manifest: &str, change: &mut impl FnMut(&mut Value) -> bool) -> String {
    let mut text = String::with_capacity(manifest.len());
    for document in split(manifest) {
        let mut objects = Vec::new();
        let read = yaml::manifest(document.text).ok().and_then(|value| {
            flatten(value, &mut |object| {
                objects.push(object);
                Ok(())
            })
            .ok()
        });
        let mut changed = false;
        for object in &mut objects {
            changed |= change(object);
        }
        if read.is_none() || !changed {
            text.push_str(document.text);
            continue;
        }
        for object in objects {
            let _ = write!(text, "---\n# Source: {}\n{}", document.source, written(&object));
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
    }
    text
}

/// The object as YAML that is read as the same object; JSON is YAML too.
fn written(object: &Value) -> String {
    serde_saphyr::to_string(object)
        .ok()
        .filter(|text| yaml::manifest(text).is_ok_and(|read| read == *object))
        .unwrap_or_else(|| object.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::documents::read;
    use super::*;

    const OUTPUT: &str = "---\n# Source: demo/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a # kept\ndata: {on: \"yes\", n: \"1e3\"}\n\
        ---\n# Source: demo/templates/b.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {on: \"yes\", n: \"0644\", t: \"a: b\\n- c\"}\n\
        ---\n# Source: demo/templates/h.yaml\napiVersion: v1\nkind: Pod\nmetadata: {name: h, annotations: {helm.sh/hook: pre-install}}\n";

    fn touch(object: &mut Value) -> bool {
        let wanted = object["metadata"]["name"] != "a" && object["metadata"].get("touched").is_none();
        if wanted {
            object["metadata"]["touched"] = "on".into();
        }
        wanted
    }

    #[test]
    fn the_record_says_what_the_objects_are_and_what_is_not_touched_stays_as_it_was() {
        let mut rendered = read("demo 1", OUTPUT).unwrap();
        let before = rendered.manifest.clone();
        rendered.rewrite(touch);
        assert!(
            rendered.manifest.contains("name: a # kept"),
            "{}",
            rendered.manifest
        );
        assert!(
            rendered
                .manifest
                .starts_with(&before[..before.find("b.yaml").unwrap()])
        );
        let again = read("demo 1", &rendered.manifest).unwrap();
        let values = |rendered: &Rendered| -> Vec<Value> {
            rendered.objects.iter().map(|o| o.value.clone()).collect()
        };
        assert_eq!(values(&again), values(&rendered));
        assert_eq!(again.objects[1].value["metadata"]["touched"], "on");
        assert_eq!(again.objects[1].value["data"]["n"], "0644");
        assert_eq!(again.objects[1].source, "demo/templates/b.yaml");
        let hook = read("demo 1", &rendered.hooks[0].manifest).unwrap();
        assert_eq!(hook.hooks[0].value, rendered.hooks[0].value);
        assert_eq!(hook.hooks[0].value["metadata"]["touched"], "on");
    }
}
