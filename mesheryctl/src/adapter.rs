//! Adapters as the host describes them, and finding the operation that a command means.

use serde::Deserialize;
use serde_json::Value;

use crate::client::Client;
use crate::failure::{Failure, Problem};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Adapter {
    pub name: String,
    pub version: String,
    pub description: String,
    pub license: String,
    pub homepage: String,
    pub mesh: String,
    pub port: u16,
    pub versions: Vec<MeshVersion>,
    pub operations: Vec<Operation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct MeshVersion {
    pub version: String,
    pub stable: bool,
    pub kubernetes: String,
    pub end_of_life: String,
    pub source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Operation {
    pub name: String,
    pub category: String,
    pub description: String,
    pub parameters: Value,
}

impl MeshVersion {
    pub fn read(value: &Value) -> Result<Self, Failure> {
        Deserialize::deserialize(value).map_err(|e| {
            let message = format!("the host's description of a version cannot be read: {e}");
            Failure::Problem(Problem::new("unexpected-answer", message))
        })
    }

    pub fn release(&self) -> &'static str {
        if self.stable { "stable" } else { "candidate" }
    }
}

impl Adapter {
    pub fn read(value: &Value) -> Result<Self, Failure> {
        Deserialize::deserialize(value).map_err(|e| {
            let message = format!("the host's description of an adapter cannot be read: {e}");
            Failure::Problem(Problem::new("unexpected-answer", message))
        })
    }

    /// The adapter with this name, or the one of the mesh with this name.
    pub async fn get(client: &Client, name: &str) -> Result<Self, Failure> {
        let value = Self::get_raw(client, name).await?;
        Self::read(&value)
    }

    /// All of them, with their operations.
    pub async fn all(client: &Client) -> Result<Vec<Self>, Failure> {
        let list = client.get(&["adapters"], &[]).await?;
        let mut adapters = Vec::new();
        for item in list["items"].as_array().into_iter().flatten() {
            let name = item["name"].as_str().unwrap_or("");
            adapters.push(Self::read(&client.get(&["adapters", name], &[]).await?)?);
        }
        Ok(adapters)
    }

    /// One, as the host sent it.
    pub async fn get_raw(client: &Client, name: &str) -> Result<Value, Failure> {
        let list = client.get(&["adapters"], &[]).await?;
        let empty = Vec::new();
        let items = list["items"].as_array().unwrap_or(&empty);
        let text = |item: &Value, key: &str| item[key].as_str().unwrap_or("").to_owned();
        let names: Vec<String> = items.iter().map(|item| text(item, "name")).collect();
        let found = items
            .iter()
            .find(|item| text(item, "name") == name)
            .or_else(|| {
                items
                    .iter()
                    .find(|item| text(item, "name").eq_ignore_ascii_case(name))
            })
            .or_else(|| {
                items
                    .iter()
                    .find(|item| text(item, "mesh").eq_ignore_ascii_case(name))
            });
        match found {
            Some(item) => client.get(&["adapters", &text(item, "name")], &[]).await,
            None => Err(Failure::Problem(
                Problem::new("unknown-adapter", format!("the host has no adapter \"{name}\"")).remedy(
                    if names.is_empty() {
                        "it has none at all: see `mesheryctl plugin list` for what was refused and why".into()
                    } else {
                        format!("it has {}", names.join(", "))
                    },
                ),
            )),
        }
    }

    pub fn operation(&self, name: &str) -> Result<&Operation, Failure> {
        self.operations.iter().find(|o| o.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.operations.iter().map(|o| o.name.as_str()).collect();
            Failure::Problem(
                Problem::new(
                    "unknown-operation",
                    format!("adapter {} has no operation \"{name}\"", self.name),
                )
                .remedy(format!("it has {}", names.join(", "))),
            )
        })
    }

    /// The one operation of a category, or the one among several that is called like the category.
    pub fn operation_for(&self, category: &str) -> Result<&Operation, Failure> {
        let mut of_category = self.operations.iter().filter(|o| o.category == category);
        match (of_category.next(), of_category.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(Failure::Problem(
                Problem::new(
                    "unknown-operation",
                    format!("adapter {} cannot {category} a mesh", self.name),
                )
                .remedy(format!(
                    "see `mesheryctl adapter view {}` for what it can do",
                    self.name
                )),
            )),
            _ => self.operation(category),
        }
    }
}

impl Operation {
    fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.parameters["properties"].as_object().into_iter().flatten()
    }

    pub fn property(&self, name: &str) -> Option<&Value> {
        self.parameters["properties"].get(name)
    }

    /// The parameter whose schema has this format.
    pub fn parameter_of_format(&self, format: &str) -> Option<String> {
        let mut properties = self.properties();
        let (name, _) = properties.find(|(_, schema)| schema["format"] == format)?;
        Some(name.clone())
    }

    pub fn parameter_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.properties().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Whether it takes parameters that it does not name.
    pub fn is_open(&self) -> bool {
        self.parameters["additionalProperties"] != Value::Bool(false)
    }

    pub fn requires(&self, name: &str) -> bool {
        let required = self.parameters["required"].as_array();
        required.is_some_and(|names| names.iter().any(|n| n == name))
    }

    /// Name, what it takes, default, meaning of each parameter.
    pub fn parameter_rows(&self) -> Vec<[String; 4]> {
        self.parameter_names()
            .into_iter()
            .map(|name| {
                let schema = &self.parameters["properties"][name];
                let takes = match schema["enum"].as_array() {
                    Some(words) => words.iter().map(word).collect::<Vec<_>>().join("|"),
                    None => schema["type"].as_str().unwrap_or("any").to_owned(),
                };
                let default = match &schema["default"] {
                    Value::Null if self.requires(name) => "(required)".to_owned(),
                    Value::Null => String::new(),
                    default => word(default),
                };
                let meaning = schema["description"].as_str().unwrap_or("").to_owned();
                [name.to_owned(), takes, default, meaning]
            })
            .collect()
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
