//! Where an adapter may put the placeholder of a secret: into objects, into a chart's values, and into what it is given back
//! when it expands a step. Anywhere else nothing would take its place.

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, Step};
use serde_json::{Map, Value};

use super::exposure::{Exposure, Sought};
use crate::operation::plan::resolve::{Resolved, Resolver};
use crate::operation::plan::stored::is_secret;
use crate::problem::{Problem, ProblemKind};

impl Resolver<'_> {
    /// Refuses a step with a placeholder where none can be.
    pub(in crate::operation) fn check_placeholders(&self, step: &Step) -> Result<(), Problem> {
        if self.references.is_empty() {
            return Ok(());
        }
        let mut rest = step.clone();
        // Shown to people, who are told what it stands for.
        rest.title.clear();
        match &mut rest.action {
            Action::Apply(apply) => {
                for object in std::mem::take(&mut apply.objects) {
                    if let Some(reference) = ObjectRef::of(&object) {
                        self.check_text(&step.id, &reference.to_string())?;
                    }
                    self.check_names(&step.id, &object)?;
                    self.check_form(&step.id, object)?;
                }
            }
            Action::Release(release) => {
                let values = std::mem::take(&mut release.values);
                self.check_form(&step.id, Value::Object(values))?;
            }
            Action::Expand(expand) => expand.with = Map::new(),
            _ => {}
        }
        self.check_text(&step.id, &serde_json::to_string(&rest).unwrap_or_default())
    }

    fn check_text(&self, step: &str, text: &str) -> Result<(), Problem> {
        let Some((_, reference)) = self.references.iter().find(|(holder, _)| text.contains(holder)) else {
            return Ok(());
        };
        Err(misplaced(format!(
            "step {step} would use {reference} as a name, or where no text of an object or a chart is"
        )))
    }

    /// Refuses a placeholder in a form in which it would never be found. The data of a Secret is base64 by itself.
    fn check_form(&self, step: &str, mut value: Value) -> Result<(), Problem> {
        if is_secret(&value)
            && let Some(fields) = value.as_object_mut()
        {
            fields.remove("data");
        }
        let text = value.to_string();
        let encoded = |holder: &str| Sought::placeholder(holder).is_encoded_in(&text);
        match self.references.iter().find(|(holder, _)| encoded(holder)) {
            Some((_, reference)) => Err(misplaced(format!(
                "step {step} would encode {reference} before anybody knows it"
            ))),
            None => Ok(()),
        }
    }

    fn check_names(&self, step: &str, value: &Value) -> Result<(), Problem> {
        match value {
            Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
                self.check_text(step, name)?;
                self.check_names(step, field)
            }),
            Value::Array(items) => items.iter().try_for_each(|item| self.check_names(step, item)),
            _ => Ok(()),
        }
    }

    /// Takes down which objects would have a secret in the open.
    pub(in crate::operation) fn look_for_placeholders(
        &self,
        step: &str,
        objects: &[Value],
        resolved: &mut Resolved,
    ) {
        let sought: Vec<Sought> = self
            .references
            .iter()
            .map(|(placeholder, _)| Sought::placeholder(placeholder))
            .collect();
        if sought.is_empty() {
            return;
        }
        let exposures = objects.iter().filter_map(|object| Exposure::of(object, &sought));
        self.expose(exposures.collect(), &format!("step {step}"), resolved);
    }
}

fn misplaced(message: String) -> Problem {
    Problem::new(ProblemKind::Invalid, "secret-ref-misplaced", message)
        .cause("a reference takes its place as text in objects and in values for charts, and as base64 in a Secret's data")
        .remedy("give this parameter as a value; if it should work, report this to the adapter's author")
}
