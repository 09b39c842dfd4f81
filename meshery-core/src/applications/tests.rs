use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const YAML: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n";

fn place() -> (TempDir, Applications) {
    let folder = tempfile::tempdir().unwrap();
    let applications = Applications::new(folder.path().join("applications"));
    (folder, applications)
}

fn put(applications: &Applications, file: &str, content: impl AsRef<[u8]>) {
    let file = applications.folder().join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

fn refused(applications: &Applications, name: &str) -> Problem {
    let problem = Problem::from(applications.files_now(name).unwrap_err());
    assert!(
        !problem.cause.is_empty() && !problem.remedy.is_empty(),
        "{problem:?}"
    );
    problem
}

#[test]
fn what_is_dropped_is_there_at_once_with_its_yaml_files_in_order() {
    let (_folder, applications) = place();
    assert_eq!(applications.list_now().unwrap(), []);
    assert_eq!(refused(&applications, "shop").code, "unknown-application");
    for file in ["b.yml", "a.yaml", ".hidden.yaml", "README.md", "inside/c.yaml"] {
        put(&applications, &format!("shop/{file}"), YAML);
    }
    let files = applications.files_now("shop").unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["a.yaml", "b.yml"]);
    assert_eq!(files[0].text, YAML);
    let listed = applications.list_now().unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].files), ("shop", 2));
    fs::remove_dir_all(applications.folder().join("shop")).unwrap();
    assert_eq!(refused(&applications, "shop").code, "unknown-application");
}

#[test]
fn an_unknown_one_is_answered_with_those_there_are() {
    let (_folder, applications) = place();
    put(&applications, "shop/a.yaml", YAML);
    put(&applications, "store/a.yaml", YAML);
    put(&applications, "a-file.yaml", YAML);
    let problem = refused(&applications, "shoop");
    assert_eq!(problem.kind, crate::problem::ProblemKind::NotFound);
    assert_eq!(problem.remedy, "there are: shop, store");
}

#[test]
fn a_name_that_is_no_dns_label_is_neither_read_nor_hidden() {
    let (_folder, applications) = place();
    put(&applications, "My App/a.yaml", YAML);
    let long = "a".repeat(64);
    for name in ["", "..", "../shop", "My App", "-a", "a/b", "a\0b", &long] {
        assert_eq!(
            refused(&applications, name).code,
            "bad-application-name",
            "{name}"
        );
    }
    let listed = applications.list_now().unwrap();
    assert_eq!(listed[0].name, "My App");
    assert_eq!(listed[0].problem.as_ref().unwrap().code, "bad-application-name");
}

#[test]
fn links_may_lead_around_inside_but_not_out() {
    let (folder, applications) = place();
    let secret = folder.path().join("host.key");
    fs::write(&secret, "{}").unwrap();
    // As Kubernetes mounts a ConfigMap.
    put(&applications, "mounted/..data/a.yaml", YAML);
    let here = |path: &str| applications.folder().join(path);
    symlink("..data/a.yaml", here("mounted/a.yaml")).unwrap();
    assert_eq!(applications.files_now("mounted").unwrap()[0].text, YAML);

    symlink("mounted", here("again")).unwrap();
    assert_eq!(applications.files_now("again").unwrap().len(), 1);

    put(&applications, "absolute/a.yaml", YAML);
    symlink(&secret, here("absolute/b.yaml")).unwrap();
    put(&applications, "relative/a.yaml", YAML);
    symlink("../../host.key", here("relative/b.yaml")).unwrap();
    put(&applications, "sibling/a.yaml", YAML);
    symlink("../mounted/a.yaml", here("sibling/b.yaml")).unwrap();
    put(&applications, "circle/a.yaml", YAML);
    symlink("b.yaml", here("circle/b.yaml")).unwrap();
    symlink(folder.path(), here("itself")).unwrap();
    for name in ["absolute", "relative", "sibling", "circle", "itself"] {
        let problem = refused(&applications, name);
        assert_eq!(problem.code, "application-leads-outside", "{name}: {problem:?}");
    }
    let listed = applications.list_now().unwrap();
    let itself = listed.iter().find(|one| one.name == "itself").unwrap();
    assert_eq!(itself.problem.as_ref().unwrap().code, "application-leads-outside");
}

#[test]
fn what_cannot_be_read_is_named_and_nobody_waits_for_a_pipe() {
    let (_folder, applications) = place();
    put(&applications, "text/a.yaml", b"a: \xff");
    let problem = refused(&applications, "text");
    assert_eq!(problem.code, "application-unreadable");
    assert!(
        problem.message.contains("text/a.yaml") && problem.message.contains("byte 3"),
        "{problem}"
    );

    fs::create_dir_all(applications.folder().join("folder/a.yaml")).unwrap();
    assert_eq!(refused(&applications, "folder").code, "application-unreadable");

    put(&applications, "pipe/a.txt", "");
    let pipe = applications.folder().join("pipe/a.yaml");
    rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    assert_eq!(refused(&applications, "pipe").code, "application-unreadable");

    put(&applications, "bare/README.md", "");
    assert_eq!(refused(&applications, "bare").code, "application-empty");
    symlink("nowhere.yaml", applications.folder().join("bare/a.yaml")).unwrap();
    assert_eq!(refused(&applications, "bare").code, "application-unreadable");
}

#[test]
fn there_are_bounds_to_folders_files_and_bytes() {
    let (_folder, applications) = place();
    let limit = usize::try_from(FILE_BYTES).unwrap();
    put(&applications, "large/a.yaml", "#".repeat(limit));
    assert!(applications.files_now("large").is_ok());
    put(&applications, "large/a.yaml", "#".repeat(limit + 1));
    let problem = refused(&applications, "large");
    assert_eq!(problem.code, "application-too-large");
    assert!(problem.message.contains("large/a.yaml"), "{problem}");

    for number in 0..5 {
        put(&applications, &format!("heavy/{number}.yaml"), "#".repeat(limit));
    }
    assert_eq!(refused(&applications, "heavy").code, "application-too-large");

    for number in 0..=FILES {
        put(&applications, &format!("many/{number}.yaml"), "");
    }
    let problem = refused(&applications, "many");
    assert!(
        problem.code == "application-too-large" && problem.message.contains("100 YAML files"),
        "{problem}"
    );

    for number in 0..=APPLICATIONS {
        put(&applications, &format!("app-{number}/a.yaml"), YAML);
    }
    assert_eq!(applications.files_now("app-7").unwrap().len(), 1);
    let problem = Problem::from(applications.list_now().unwrap_err());
    assert_eq!(problem.code, "too-many-applications");
    assert_eq!(refused(&applications, "shoop").code, "too-many-applications");
}

#[test]
fn the_parameter_that_names_one_is_known_by_its_format() {
    let schema = serde_json::json!({"properties": {
        "namespace": {"type": "string"}, "what": {"type": "string", "format": "application"}}});
    let Value::Object(given) = serde_json::json!({"namespace": "a", "what": "shop"}) else {
        unreachable!()
    };
    assert_eq!(named(&schema, &given), Some("shop"));
    assert_eq!(named(&Value::Null, &given), None);
    assert_eq!(named(&serde_json::json!({"properties": {}}), &given), None);
}
