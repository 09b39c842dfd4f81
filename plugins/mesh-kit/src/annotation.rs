//! An annotation that takes a namespace or a workload into a mesh, and out again.
//!
//! As with labels ([`crate::injection`]) it is applied by a field manager of its own, so that it alone is taken back.

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::Step;
use serde_json::{Value, json};

use crate::namespace;
use crate::step::{apply, managed_by};

/// An annotation, and in whose name it is set.
#[derive(Debug, Clone, Copy)]
pub struct Annotation<'a> {
    /// Its key.
    pub key: &'a str,
    /// Field manager; one for each mesh and reason.
    pub manager: &'a str,
    /// Key of a second annotation that tells whose the first is.
    pub mark: &'a str,
}

impl Annotation<'_> {
    /// Sets it on a namespace.
    pub fn set(&self, id: &str, namespace: &str, value: &str) -> Step {
        let mut object = namespace::manifest(namespace);
        object["metadata"]["annotations"] = json!({self.key: value, self.mark: value});
        let title = format!("annotation {}={value} on namespace {namespace}", self.key);
        managed_by(apply(id, title, vec![object]), self.manager)
    }

    /// Takes it back from a namespace, if this manager set it.
    pub fn take_back(&self, id: &str, namespace: &str) -> Step {
        let title = format!("no annotation {} of ours on namespace {namespace}", self.key);
        managed_by(
            apply(id, title, vec![namespace::manifest(namespace)]),
            self.manager,
        )
    }

    /// Sets it on the pods of a workload, which restarts them.
    pub fn set_on_pods(&self, id: &str, workload: &ObjectRef, value: &str) -> Step {
        let mut object = bare(workload);
        object["metadata"]["annotations"] = json!({self.mark: value});
        object["spec"] = json!({"template": {"metadata": {"annotations": {self.key: value}}}});
        let title = format!("annotation {}={value} on the pods of {workload}", self.key);
        managed_by(apply(id, title, vec![object]), self.manager)
    }

    /// Takes it back from the pods of a workload, which restarts them.
    pub fn take_back_from_pods(&self, id: &str, workload: &ObjectRef) -> Step {
        let title = format!("no annotation {} of ours on the pods of {workload}", self.key);
        managed_by(apply(id, title, vec![bare(workload)]), self.manager)
    }
}

fn bare(workload: &ObjectRef) -> Value {
    json!({
        "apiVersion": format!("{}/v1", workload.group),
        "kind": workload.kind,
        "metadata": {"name": workload.name, "namespace": workload.namespace},
    })
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::plan::Action;

    use super::*;

    const MARK: Annotation<'static> = Annotation {
        key: "lattice/inject",
        manager: "meshery-lattice",
        mark: "lattice.meshery.io/inject",
    };

    fn applied(step: Step) -> (String, Value) {
        let Action::Apply(apply) = step.action else {
            panic!("an apply step");
        };
        (apply.manager, apply.objects[0].clone())
    }

    #[test]
    fn it_is_taken_back_by_the_manager_that_set_it() {
        let web = ObjectRef::new("apps/v1", "Deployment", "shop", "web");
        let (by, on) = applied(MARK.set_on_pods("a", &web, "enabled"));
        let (also_by, off) = applied(MARK.take_back_from_pods("a", &web));
        assert_eq!((by.as_str(), also_by.as_str()), (MARK.manager, MARK.manager));
        let pods = &on["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(pods, &json!({"lattice/inject": "enabled"}));
        assert_eq!(on["apiVersion"], "apps/v1");
        assert!(off.get("spec").is_none());

        let (by, on) = applied(MARK.set("a", "shop", "ingress"));
        assert_eq!(on["metadata"]["annotations"]["lattice/inject"], "ingress");
        assert_eq!(
            applied(MARK.take_back("a", "shop")),
            (by, namespace::manifest("shop"))
        );
    }
}
