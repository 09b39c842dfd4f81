//! Taking a namespace into a mesh by a label, and out again.
//!
//! The label is applied by a field manager of its own. Server-side apply then removes exactly this label when the
//! same manager applies the namespace without it, whatever else others have written, and leaves the label when
//! somebody else wants it too. Each reason has its own manager, so that one does not undo the other.

use meshery_plugin_api::message::plan::Step;
use serde_json::json;

use crate::namespace;
use crate::step::{apply, managed_by};

/// A label that takes the pods of a namespace into a mesh.
#[derive(Debug, Clone, Copy)]
pub struct Injection<'a> {
    /// Key of the label.
    pub key: &'a str,
    /// Its value.
    pub value: &'a str,
    /// Field manager; one for each mesh and reason.
    pub manager: &'a str,
    /// Key of an annotation that is set with the label, so that facts tell whose it is; empty for none.
    pub mark: &'a str,
}

impl Injection<'_> {
    /// Labels the namespace.
    pub fn enable(&self, id: &str, namespace: &str) -> Step {
        self.enable_with(id, namespace, (self.key, self.value))
    }

    /// Labels the namespace with another label than the usual one, in its place: what the same manager has set before
    /// goes.
    pub fn enable_with(&self, id: &str, namespace: &str, (key, value): (&str, &str)) -> Step {
        let mut object = namespace::manifest(namespace);
        object["metadata"]["labels"] = json!({key: value});
        if !self.mark.is_empty() {
            object["metadata"]["annotations"] = json!({self.mark: value});
        }
        let title = format!("label {key}={value} on namespace {namespace}");
        managed_by(apply(id, title, vec![object]), self.manager)
    }

    /// Takes the label back, if this manager set it and nobody else wants it.
    pub fn take_back(&self, id: &str, namespace: &str) -> Step {
        let title = format!("no label {} of ours on namespace {namespace}", self.key);
        managed_by(
            apply(id, title, vec![namespace::manifest(namespace)]),
            self.manager,
        )
    }
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::plan::Action;

    use super::*;

    const INJECTION: Injection<'static> = Injection {
        key: "lattice",
        value: "on",
        manager: "meshery-injection-lattice",
        mark: "lattice.meshery.io/injection",
    };

    #[test]
    fn taking_back_applies_the_bare_namespace_as_the_same_manager() {
        let (Action::Apply(on), Action::Apply(off)) = (
            INJECTION.enable("label", "shop").action,
            INJECTION.take_back("label", "shop").action,
        ) else {
            panic!("both are apply steps");
        };
        assert_eq!((&on.manager, &off.manager), (&off.manager, &on.manager));
        assert_eq!(on.objects[0]["metadata"]["labels"], json!({"lattice": "on"}));
        assert_eq!(off.objects, [namespace::manifest("shop")]);
    }
}
