use meshery_plugin_api::message::facts::{Facts, KindFacts, Readability};
use meshery_plugin_api::message::plan::{Action, Condition, Plan, Rule, Step, TextFile};
use serde_json::json;

use super::*;

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: elsewhere}
spec: {template: {metadata: {labels: {app: web}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}}
---
apiVersion: v1
kind: Service
metadata: {name: external}
spec: {type: ExternalName, externalName: 'db.{namespace}.example.com'}
";
const RIGHTS: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: web, namespace: elsewhere}
subjects:
- {kind: ServiceAccount, name: web, namespace: elsewhere}
- {kind: ServiceAccount, name: other, namespace: elsewhere}
";

fn request(files: &[(&str, &str)]) -> PlanRequest {
    let parameters = json!({"application": "store", "namespace": "shop"});
    PlanRequest {
        parameters: parameters.as_object().cloned().unwrap(),
        files: files
            .iter()
            .map(|(name, text)| TextFile {
                name: (*name).into(),
                text: (*text).into(),
            })
            .collect(),
        ..PlanRequest::default()
    }
}

/// Facts of these kinds, read as a whole, with these objects.
fn facts(kinds: &[(&str, &str, Vec<Value>)]) -> Facts {
    let kinds = kinds.iter().map(|(group, kind, objects)| KindFacts {
        need: need::within(
            "shop",
            group,
            kind,
            "",
            meshery_plugin_api::message::facts::Detail::Metadata,
        ),
        state: if objects.is_empty() {
            Readability::Absent
        } else {
            Readability::Present
        },
        objects: objects.clone(),
        ..KindFacts::default()
    });
    Facts {
        kinds: kinds.collect(),
        ..Facts::default()
    }
}

fn applied(step: &Step) -> Vec<String> {
    let Action::Apply(apply) = &step.action else {
        panic!("{step:?}")
    };
    let references = apply.objects.iter().filter_map(ObjectRef::of);
    references.map(|object| object.to_string()).collect()
}

fn deleted(plan: &Plan) -> Vec<(String, Condition)> {
    let steps = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Delete(delete) => Some(&delete.targets),
        _ => None,
    });
    let targets = steps.flatten();
    targets
        .map(|target| (target.object.to_string(), target.when))
        .collect()
}

#[test]
fn everything_goes_to_the_namespace_that_was_chosen_and_what_is_cluster_wide_to_none() {
    let request = request(&[("rights.yaml", RIGHTS), ("web.yaml", WEB)]);
    let application = read(&request).unwrap();
    let plan = application::deploy(&request, &application, Vec::new(), Vec::new()).unwrap();
    assert_eq!(plan.summary, "Deploy application store in namespace shop");
    assert_eq!(applied(&plan.steps[0]), ["v1/Namespace//shop"]);
    assert_eq!(
        applied(&plan.steps[1]),
        [
            "v1/ServiceAccount/shop/web",
            "rbac.authorization.k8s.io/v1/ClusterRoleBinding//web",
            "apps/v1/Deployment/shop/web",
            "v1/Service/shop/web",
            "v1/Service/shop/external",
        ]
    );
    assert_eq!(plan.notes.len(), 1, "{:?}", plan.notes);
    assert!(
        plan.notes[0].contains("ClusterRoleBinding web"),
        "{:?}",
        plan.notes
    );
    let object = |at: usize| &application.objects[at];
    assert_eq!(object(1)["subjects"][0]["namespace"], "shop");
    assert_eq!(object(1)["subjects"][1]["namespace"], "elsewhere");
    assert_eq!(object(4)["spec"]["externalName"], "db.shop.example.com");
    assert_eq!(
        object(3)["metadata"]["labels"],
        json!({"app": "web", LABEL: "store"})
    );
}

#[test]
fn workloads_are_awaited_and_services_that_have_something_to_select() {
    let more = "\
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {replicas: 0, template: {metadata: {labels: {app: db}}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {selector: {app: db}}}
---
{apiVersion: v1, kind: Service, metadata: {name: by-hand}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: fill}}
---
{apiVersion: example.com/v1, kind: Deployment, metadata: {name: of-somebody-else}}
";
    let request = request(&[("more.yaml", more), ("web.yaml", WEB)]);
    let ready = read(&request).unwrap().ready();
    let ready: Vec<(String, Rule)> = ready
        .into_iter()
        .map(|it| (it.object.to_string(), it.rule))
        .collect();
    assert_eq!(
        ready,
        [
            ("apps/v1/StatefulSet/shop/db".to_owned(), Rule::Ready),
            ("batch/v1/Job/shop/fill".to_owned(), Rule::Ready),
            ("apps/v1/Deployment/shop/web".to_owned(), Rule::Ready),
            ("v1/Service/shop/web".to_owned(), Rule::Endpoints),
        ]
    );
    let nothing_runs = self::request(&[("a.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")]);
    let application = read(&nothing_runs).unwrap();
    let plan = application::deploy(&nothing_runs, &application, Vec::new(), Vec::new()).unwrap();
    assert!(plan.verify.is_empty());
}

#[test]
fn its_own_manifest_of_the_namespace_is_taken_and_that_of_another_is_an_object_like_any() {
    let namespaces = "\
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: elsewhere}}
";
    let request = request(&[("a.yaml", namespaces)]);
    let application = read(&request).unwrap();
    let plan = application::deploy(&request, &application, Vec::new(), Vec::new()).unwrap();
    assert_eq!(applied(&plan.steps[0]), ["v1/Namespace//shop"]);
    assert_eq!(applied(&plan.steps[1]), ["v1/Namespace//elsewhere"]);
    let plan = application::remove(&request, &application, Vec::new(), Vec::new()).unwrap();
    assert_eq!(
        deleted(&plan),
        [
            ("v1/Namespace//elsewhere".to_owned(), Condition::OursAndEmpty),
            ("v1/Namespace//shop".to_owned(), Condition::OursAndEmpty),
        ]
    );
}

#[test]
fn a_removal_begins_with_what_may_stop_others_and_ends_with_what_others_are_made_of() {
    let definition = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: toys.example.com}}\n---\n\
        {apiVersion: example.com/v1, kind: Toy, metadata: {name: bear}}\n---\n\
        {apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: guard}}\n";
    let request = request(&[("a.yaml", definition), ("rights.yaml", RIGHTS), ("web.yaml", WEB)]);
    let plan = application::remove(&request, &read(&request).unwrap(), Vec::new(), Vec::new()).unwrap();
    let order: Vec<String> = deleted(&plan).into_iter().map(|(object, _)| object).collect();
    assert_eq!(
        order,
        [
            "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration//guard",
            "example.com/v1/Toy/shop/bear",
            "apps/v1/Deployment/shop/web",
            "v1/Service/shop/web",
            "v1/Service/shop/external",
            "v1/ServiceAccount/shop/web",
            "rbac.authorization.k8s.io/v1/ClusterRoleBinding//web",
            "apiextensions.k8s.io/v1/CustomResourceDefinition//toys.example.com",
            "v1/Namespace//shop",
        ]
    );
}

#[test]
fn what_the_folder_had_before_is_named_by_a_deployment_and_goes_with_a_removal() {
    let ours = |name: &str, app: &str| {
        json!({"metadata": {"name": name, "namespace": "shop", "labels": {LABEL: app},
            "annotations": {"meshery.io/operation": "01J"}}})
    };
    let mut request = request(&[("web.yaml", WEB)]);
    request.facts = facts(&[
        (
            "apps",
            "Deployment",
            vec![
                ours("web", "store"),
                ours("old", "store"),
                ours("foreign", "other"),
            ],
        ),
        (
            "",
            "Service",
            vec![json!({"metadata": {"name": "web", "namespace": "shop"}})],
        ),
    ]);
    let application = read(&request).unwrap();
    let plan = application::deploy(&request, &application, Vec::new(), Vec::new()).unwrap();
    assert_eq!(plan.notes.len(), 1);
    assert!(plan.notes[0].contains("apps/v1/Deployment/shop/old"), "{plan:?}");
    let findings = application::clashes(&request.facts, &application);
    assert_eq!(
        (findings.len(), findings[0].code.as_str()),
        (1, "application-of-others")
    );
    let plan = application::remove(&request, &application, Vec::new(), Vec::new()).unwrap();
    let names: Vec<String> = deleted(&plan).into_iter().map(|(object, _)| object).collect();
    assert_eq!(
        names,
        [
            "apps/v1/Deployment/shop/web",
            "apps/v1/Deployment/shop/old",
            "v1/Service/shop/web",
            "v1/Namespace//shop"
        ]
    );
    assert!(plan.notes[0].contains("v1/Service/shop/web"), "{plan:?}");
}

#[test]
fn nothing_of_it_is_an_error_only_when_all_was_looked_for() {
    let mut request = request(&[("web.yaml", WEB)]);
    request.facts = facts(&[("apps", "Deployment", vec![]), ("", "Service", vec![])]);
    let error = application::remove(&request, &read(&request).unwrap(), Vec::new(), Vec::new()).unwrap_err();
    assert_eq!(error.code, "application-not-deployed");
    request.facts.kinds[1].state = Readability::Forbidden;
    assert!(application::remove(&request, &read(&request).unwrap(), Vec::new(), Vec::new()).is_ok());
}

#[test]
fn rubbish_is_refused_with_its_file_and_line() {
    let config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one}}\n";
    let again = "# the same\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: two}}\n";
    let labels = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: none}}\n";
    let items = (0..=OBJECTS).map(
        |number| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("a{number}")}}),
    );
    let many = json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()}).to_string();
    // Each line has the one before it ten times.
    let tenfold = |of: usize| {
        format!(
            "a{}: &a{} [{}]\n",
            of + 1,
            of + 1,
            vec![format!("*a{of}"); 10].join(", ")
        )
    };
    let bomb = format!(
        "a0: &a0 [x]\n{}",
        (0..9).map(tenfold).collect::<Vec<_>>().concat()
    );
    for (files, code, words) in [
        (
            vec![("a.yaml", config), ("b.yaml", "a: [\n")],
            "bad-manifest",
            vec!["b.yaml", "line"],
        ),
        (
            vec![("a.yaml", "a: 1\na: 2\n")],
            "bad-manifest",
            vec!["a.yaml", "line 2"],
        ),
        (
            vec![("a.yaml", "{apiVersion: v1, metadata: {name: a}}")],
            "bad-manifest",
            vec!["a.yaml, line 1", "apiVersion, metadata"],
        ),
        (
            vec![("a.yaml", config), ("b.yaml", again)],
            "duplicate-object",
            vec!["v1/ConfigMap/shop/a", "a.yaml, line 1", "b.yaml, line 2"],
        ),
        (
            vec![("a.yaml", labels)],
            "bad-manifest",
            vec!["a.yaml, line 1", "labels"],
        ),
        (
            vec![("a.yaml", "# nothing\n---\n")],
            "application-empty",
            vec!["\"store\""],
        ),
        (vec![], "application-empty", vec!["\"store\""]),
        (
            vec![("a.yaml", many.as_str())],
            "application-too-large",
            vec!["2001 objects"],
        ),
        (vec![("a.yaml", &bomb)], "bad-manifest", vec!["a.yaml"]),
    ] {
        let error = read(&request(&files)).unwrap_err();
        assert_eq!(error.code, code, "{error:?}");
        assert!(!error.cause.is_empty() && !error.remedy.is_empty(), "{error:?}");
        for word in words {
            assert!(error.message.contains(word), "{word}: {error:?}");
        }
    }
}

#[test]
fn a_folder_called_like_a_sample_is_refused() {
    let mut request = request(&[("web.yaml", WEB)]);
    for (name, code) in [
        ("bookinfo", "application-name-taken"),
        ("", "bad-parameter"),
        ("A", "bad-parameter"),
    ] {
        request.parameters.insert("application".into(), name.into());
        assert_eq!(read(&request).unwrap_err().code, code, "{name}");
    }
}
