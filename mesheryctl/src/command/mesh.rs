//! `mesh`: a mesh as a whole.

mod members;

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use self::members::Members;
use super::change::{plan, plan_and_run};
use super::{bundle, images};
use crate::adapter::Adapter;
use crate::arguments::{Mesh, MeshCommand};
use crate::client::Client;
use crate::console::{Console, plain};
use crate::failure::{Failure, Problem};
use crate::finding::Finding;
use crate::parameters;
use crate::table::Table;

pub async fn run(client: &Client, console: &mut Console, command: &MeshCommand) -> Result<(), Failure> {
    match command {
        MeshCommand::Plan {
            mesh,
            remove,
            show,
            result,
        } => {
            let category = if *remove { "remove" } else { "install" };
            let asked = asked(client, mesh, category).await?;
            plan(client, console, &asked, *show, result).await
        }
        MeshCommand::Deploy { mesh, show, run } => {
            run.require_answer(Some("mesh plan"))?;
            let asked = asked(client, mesh, "install").await?;
            plan_and_run(client, console, &asked, *show, run).await
        }
        MeshCommand::Remove { mesh, show, run } => {
            run.require_answer(Some("mesh plan --remove"))?;
            let asked = asked(client, mesh, "remove").await?;
            plan_and_run(client, console, &asked, *show, run).await
        }
        MeshCommand::Images {
            name,
            version,
            parameters,
        } => {
            let words = parameters.words()?;
            let wanted = bundle::wanted(client, name, version.as_deref(), &words).await?;
            images::show(console, &bundle::images(client, &wanted).await?)
        }
        MeshCommand::Analyze { name, context } => analyze(client, console, name, context.as_deref()).await,
        MeshCommand::Detect { name, context } => detect(client, console, name, context.as_deref()).await,
    }
}

async fn asked(client: &Client, mesh: &Mesh, category: &str) -> Result<Value, Failure> {
    let adapter = Adapter::get(client, &mesh.name).await?;
    let operation = adapter.operation_for(category)?;
    let mut words = mesh.request.parameters.words()?;
    for (name, given) in [
        ("version", &mesh.version),
        ("profile", &mesh.profile),
        ("namespace", &mesh.namespace),
    ] {
        if let Some(given) = given {
            words.push((name.to_owned(), given.clone()));
        }
    }
    let parameters = parameters::read(operation, &words)?;
    mesh.request.body(&adapter.name, &operation.name, parameters)
}

async fn analyze(
    client: &Client,
    console: &mut Console,
    name: &str,
    context: Option<&str>,
) -> Result<(), Failure> {
    let adapter = Adapter::get(client, name).await?;
    let path = ["clusters", context.unwrap_or("-"), "analyze"];
    let answer = client.get_slowly(&path, &[("adapter", &adapter.name)]).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let items: Vec<Finding> = Deserialize::deserialize(&answer["items"]).map_err(|e| {
        let message = format!("what the host found cannot be read: {e}");
        Failure::Problem(Problem::new("unexpected-answer", message))
    })?;
    if items.is_empty() {
        return console.say(&format!("The adapter of {} has nothing to say.", adapter.mesh));
    }
    let lines: Vec<String> = items.iter().map(|finding| finding.lines(console.paint)).collect();
    console.say(&lines.join("\n"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Installation {
    mesh: String,
    namespace: String,
    version: String,
    revision: String,
    health: String,
    installed_by: String,
    adopted_from: String,
    components: Vec<Component>,
    namespaces: Vec<String>,
    findings: Vec<Finding>,
    versions: Vec<SourceVersion>,
    prospects: Vec<Prospect>,
    members: Members,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SourceVersion {
    source: String,
    version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Prospect {
    operation: String,
    verdict: String,
    consent: Vec<String>,
    versions: Vec<String>,
    changes: String,
    findings: Vec<Finding>,
}

impl Prospect {
    /// Whether it may go on, and by which words.
    fn verdict(&self) -> String {
        match self.verdict.as_str() {
            "with-consent" => format!("with {}", self.consent.join(", ")),
            verdict => verdict.to_owned(),
        }
    }

    /// What it would change, or why it does not.
    fn says(&self) -> String {
        if self.verdict != "refused" {
            return self.changes.clone();
        }
        let errors = self.findings.iter().filter(|finding| finding.is_error());
        let errors: Vec<String> = errors
            .map(|error| format!("{}: {}", error.code, error.message))
            .collect();
        errors.join("; ")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Component {
    #[serde(rename = "ref")]
    object: String,
    version: String,
    health: String,
    reason: String,
    installed_by: String,
}

impl Installation {
    /// Who has made it, and of what was taken over who had.
    fn maker(&self) -> String {
        if self.adopted_from.is_empty() {
            return self.installed_by.clone();
        }
        format!("{} (from {})", self.installed_by, self.adopted_from)
    }

    /// Where it is, and which of those that are there.
    fn place(&self) -> String {
        if self.revision.is_empty() {
            self.namespace.clone()
        } else {
            format!("{}/{}", self.namespace, self.revision)
        }
    }

    /// Whether image, labels and charts give one version.
    fn agreement(&self) -> String {
        let first = &self.versions[0].version;
        let sources = |word: &str| {
            let all: Vec<String> = self
                .versions
                .iter()
                .map(|of| match word {
                    "" => format!("{} {}", of.source, of.version),
                    _ => of.source.clone(),
                })
                .collect();
            all.join(", ")
        };
        match self.versions.len() {
            1 => format!("version {first} by {}", sources("of")),
            _ if self.versions.iter().all(|of| of.version == *first) => {
                format!("version {first}, in which {} agree", sources("of"))
            }
            _ => format!("versions do not agree: {}", sources("")),
        }
    }
}

async fn detect(
    client: &Client,
    console: &mut Console,
    name: &str,
    context: Option<&str>,
) -> Result<(), Failure> {
    let adapter = Adapter::get(client, name).await?;
    let path = ["clusters", context.unwrap_or("-"), "detect"];
    let answer = client.get_slowly(&path, &[("adapter", &adapter.name)]).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let items: Vec<Installation> = match &answer["items"] {
        Value::Null => Vec::new(),
        items => Deserialize::deserialize(items).map_err(|e| {
            let message = format!("what the host detected cannot be read: {e}");
            Failure::Problem(Problem::new("unexpected-answer", message))
        })?,
    };
    if items.is_empty() {
        return console.say(&format!("No {} was found.", adapter.mesh));
    }
    let mut table = Table::new(&[
        "MESH",
        "NAMESPACE",
        "VERSION",
        "REVISION",
        "HEALTH",
        "INSTALLED BY",
        "IN THE MESH",
    ]);
    for item in &items {
        table.row([
            &item.mesh,
            &item.namespace,
            &item.version,
            &item.revision,
            &item.health,
            &item.maker(),
            &item.namespaces.join(" "),
        ]);
    }
    let paint = console.paint;
    let mut text = table.lines(paint);
    for item in items.iter().filter(|item| !item.versions.is_empty()) {
        let _ = write!(text, "\n{}: {}", plain(&item.place()), plain(&item.agreement()));
    }
    let mut components = Table::new(&["COMPONENT", "VERSION", "HEALTH", "INSTALLED BY", "REASON"]);
    for component in items.iter().flat_map(|item| &item.components) {
        components.row([
            &component.object,
            &component.version,
            &component.health,
            &component.installed_by,
            &component.reason,
        ]);
    }
    if !components.is_empty() {
        let _ = write!(text, "\n\n{}", components.lines(paint));
    }
    let who = items.iter().map(|item| (item.place(), &item.members));
    if let Some(members) = members::lines(who, paint) {
        let _ = write!(text, "\n\n{members}");
    }
    let mut prospects = Table::new(&[
        "OF",
        "OPERATION",
        "POSSIBLE",
        "TO",
        "WHAT IT WOULD CHANGE, OR WHY NOT",
    ]);
    for (item, prospect) in items
        .iter()
        .flat_map(|item| item.prospects.iter().map(move |prospect| (item, prospect)))
    {
        prospects.row([
            &item.place(),
            &prospect.operation,
            &prospect.verdict(),
            &prospect.versions.join(" "),
            &prospect.says(),
        ]);
    }
    if !prospects.is_empty() {
        let _ = write!(text, "\n\n{}", prospects.lines(paint));
    }
    for finding in items.iter().flat_map(|item| &item.findings) {
        let _ = write!(text, "\n{}", finding.lines(paint));
    }
    console.say(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn installation(versions: &Value) -> Installation {
        let found = json!({"namespace": "mesh", "revision": "canary", "versions": versions,
            "prospects": [
                {"operation": "install", "verdict": "possible", "changes": "what differs"},
                {"operation": "upgrade", "verdict": "with-consent", "consent": ["adopt"], "changes": "all"},
                {"operation": "remove", "verdict": "refused", "changes": "all", "findings": [
                    {"code": "of-others", "severity": "error", "message": "it is not ours"},
                    {"code": "more", "severity": "warning", "message": "besides"}]},
                {"operation": "later", "verdict": "of-tomorrow"}]});
        Deserialize::deserialize(found).unwrap()
    }

    #[test]
    fn what_operations_would_do_is_said_with_the_word_that_they_ask_for_or_why_not() {
        let said: Vec<(String, String)> = installation(&json!([]))
            .prospects
            .iter()
            .map(|prospect| (prospect.verdict(), prospect.says()))
            .collect();
        let is = |verdict: &str, says: &str| (verdict.to_owned(), says.to_owned());
        assert_eq!(
            said,
            [
                is("possible", "what differs"),
                is("with adopt", "all"),
                is("refused", "of-others: it is not ours"),
                is("of-tomorrow", ""),
            ]
        );
    }

    #[test]
    fn sources_of_the_version_agree_or_are_listed() {
        let of = |image: &str, chart: &str| {
            installation(
                &json!([{"source": "image", "version": image}, {"source": "chart", "version": chart}]),
            )
        };
        assert_eq!(of("1.2.3", "1.2.3").place(), "mesh/canary");
        assert_eq!(
            of("1.2.3", "1.2.3").agreement(),
            "version 1.2.3, in which image, chart agree"
        );
        assert_eq!(
            of("1.2.3", "1.2.4").agreement(),
            "versions do not agree: image 1.2.3, chart 1.2.4"
        );
        let one = installation(&json!([{"source": "label", "version": "1.2.3"}]));
        assert_eq!(one.agreement(), "version 1.2.3 by label");
    }
}
