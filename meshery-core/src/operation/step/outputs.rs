//! Outputs: what steps leave for later ones, read from the cluster when a step has come to its end and written down
//! before anything uses it.

use std::collections::BTreeMap;

use meshery_plugin_api::message::expansion::Output;
use meshery_plugin_api::message::object_ref::ObjectRef;
use parking_lot::Mutex;
use serde_json::Value;

use crate::operation::journal::entry::Entry;
use crate::operation::journal::history::History;
use crate::operation::plan::stored::{open_value, store_value};
use crate::operation::run::{Run, StepRun};
use crate::operation::secret::seal::HostKey;
use crate::problem::{Problem, ProblemKind};

/// The most bytes that an output may have, as JSON.
const LARGEST: usize = 64 << 10;

/// The outputs there are, as `step.output`.
#[derive(Debug, Default)]
pub(in crate::operation) struct Outputs(Mutex<BTreeMap<String, Value>>);

impl Outputs {
    /// Those that a journal has.
    pub fn of(history: &History, key: &HostKey, operation: &str) -> Result<Self, Problem> {
        let opened = history
            .outputs
            .iter()
            .map(|(name, value)| Ok((name.clone(), open_value(key, operation, value.clone())?)));
        Ok(Self(Mutex::new(opened.collect::<Result<_, Problem>>()?)))
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<String, Value> {
        self.0.lock().clone()
    }

    /// Puts the outputs that an object uses into their places.
    pub fn fill(&self, uses: &[String], object: &mut Value) -> Result<(), Problem> {
        for used in uses {
            let place = place_of(used);
            if !has_place(object, &place) {
                continue;
            }
            let value = self.0.lock().get(used).cloned();
            let value = value.ok_or_else(|| {
                Problem::new(
                    ProblemKind::Internal,
                    "no-output",
                    format!("output {used} is not in the journal"),
                )
                .remedy("plan the operation again")
            })?;
            put(object, &place, &value);
        }
        Ok(())
    }
}

fn place_of(used: &str) -> String {
    format!("${{{used}}}")
}

/// Whether something that is known only later belongs into the object.
pub(in crate::operation) fn is_open(uses: &[String], object: &Value) -> bool {
    uses.iter().any(|used| has_place(object, &place_of(used)))
}

fn has_place(value: &Value, place: &str) -> bool {
    match value {
        Value::String(text) => text.contains(place),
        Value::Array(items) => items.iter().any(|item| has_place(item, place)),
        Value::Object(fields) => fields.values().any(|field| has_place(field, place)),
        _ => false,
    }
}

fn put(value: &mut Value, place: &str, output: &Value) {
    match value {
        Value::String(text) if text == place => *value = output.clone(),
        Value::String(text) => {
            let plain = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
            *text = text.replace(place, &plain);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| put(item, place, output)),
        Value::Object(fields) => fields.values_mut().for_each(|field| put(field, place, output)),
        _ => {}
    }
}

impl Run {
    /// Puts the outputs that objects use into their places.
    pub fn fill(&self, uses: &[String], waves: &mut [Vec<Value>]) -> Result<(), Problem> {
        waves
            .iter_mut()
            .flatten()
            .try_for_each(|object| self.outputs.fill(uses, object))
    }
}

impl StepRun<'_> {
    /// Reads what the step leaves, and writes it down.
    pub async fn leave_outputs(&self) -> Result<(), Problem> {
        let mut entries = Vec::with_capacity(self.step.outputs.len());
        let mut values = Vec::with_capacity(self.step.outputs.len());
        for (name, output) in &self.step.outputs {
            let value = self.read(name, output).await?;
            let full = format!("{}.{name}", self.step.id);
            entries.push(Entry::Output {
                step: self.step.id.clone(),
                name: name.clone(),
                value: store_value(&self.run.key, self.run.id(), &output.object, value.clone())?,
            });
            values.push((full, value));
        }
        if !entries.is_empty() {
            self.run.journal.write(entries).await?;
            self.run.outputs.0.lock().extend(values);
        }
        Ok(())
    }

    async fn read(&self, name: &str, output: &Output) -> Result<Value, Problem> {
        let object: Option<Value> = self.run.cluster.get(&output.object).await?;
        let value = object.as_ref().and_then(|object| object.pointer(&output.path));
        let refusal = |what: &str| unreadable(&self.step.id, name, &output.object, &output.path, what);
        match value {
            None if object.is_none() => Err(refusal("the object is not there")),
            None | Some(Value::Null) => Err(refusal("nothing is there")),
            Some(value) if value.to_string().len() > LARGEST => {
                Err(refusal(&format!("it is larger than {LARGEST} bytes")))
            }
            Some(value) => decoded(output, value).ok_or_else(|| refusal("it is not text in base64")),
        }
    }
}

/// The data of a Secret as text: what uses it puts it into `stringData`.
fn decoded(output: &Output, value: &Value) -> Option<Value> {
    use base64::Engine as _;
    if !output.is_secret() || !output.path.starts_with("/data/") {
        return Some(value.clone());
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(value.as_str()?)
        .ok()?;
    String::from_utf8(bytes).ok().map(Value::String)
}

fn unreadable(step: &str, name: &str, object: &ObjectRef, path: &str, what: &str) -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        "no-output",
        format!("step {step} was to leave {name}, {path} of {object}: {what}"),
    )
    .cause("the plan expects something that its steps do not wait for, or that the cluster does not give")
    .remedy("look at the object; what was done is taken back if the operation's policy says so")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outputs() -> Outputs {
        let known = [
            ("gateway.ip".to_owned(), json!("10.0.0.1")),
            ("gateway.port".to_owned(), json!(443)),
        ];
        Outputs(Mutex::new(known.into()))
    }

    #[test]
    fn an_output_takes_its_place_as_text_or_as_what_it_is() {
        let mut object = json!({"spec": {"address": "https://${gateway.ip}:${gateway.port}/",
            "port": "${gateway.port}", "list": ["${gateway.ip}"]}});
        let uses = ["gateway.ip".to_owned(), "gateway.port".to_owned()];
        assert!(is_open(&uses, &object));
        outputs().fill(&uses, &mut object).unwrap();
        let spec = json!({"address": "https://10.0.0.1:443/", "port": 443, "list": ["10.0.0.1"]});
        assert_eq!(object["spec"], spec);
        assert!(!is_open(&uses, &object));
    }

    #[test]
    fn what_is_not_named_is_text_and_what_is_not_there_is_an_error() {
        let text = json!({"data": {"script": "echo ${gateway.ip} ${HOME}"}});
        let mut object = text.clone();
        outputs().fill(&["gateway.port".to_owned()], &mut object).unwrap();
        assert_eq!(object, text);
        let mut object = json!({"data": "${other.ip}"});
        assert!(outputs().fill(&["other.ip".to_owned()], &mut object).is_err());
    }
}
