//! Applications that were dropped beside the host, as it lists them.

use serde_json::Value;

use crate::client::Client;
use crate::failure::Failure;

#[derive(Debug, Default)]
pub struct Dropped {
    /// Where the host looks for them.
    pub folder: String,
    /// As the host sent them.
    pub items: Vec<Value>,
}

impl Dropped {
    /// All of them; none when the host is too old to know of any.
    pub async fn all(client: &Client) -> Result<Self, Failure> {
        let answer = match client.get(&["applications"], &[]).await {
            Err(Failure::Problem(problem)) if problem.code == "unknown-route" => return Ok(Self::default()),
            answer => answer?,
        };
        Ok(Self {
            folder: answer["folder"].as_str().unwrap_or("").to_owned(),
            items: answer["items"].as_array().cloned().unwrap_or_default(),
        })
    }

    pub fn names(&self) -> Vec<String> {
        let names = self.items.iter().filter_map(|item| item["name"].as_str());
        names.map(str::to_owned).collect()
    }
}
