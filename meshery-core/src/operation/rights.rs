//! Whether a plan stays within what its adapter has declared: its real power is the plan it returns.

use meshery_plugin_api::message::descriptor::Rights;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::rights::missing;
use serde_json::Value;

use crate::problem::{Problem, ProblemKind};

/// Refuses an object that is to be written and lies outside of the rights. `object` is its manifest, or null when it
/// is to be deleted or restarted.
pub(super) fn check(
    adapter: &str,
    step: &str,
    reference: &ObjectRef,
    object: &Value,
    rights: &Rights,
) -> Result<(), Problem> {
    let Some(right) = missing(reference, object, rights) else {
        return Ok(());
    };
    Err(Problem::new(
        ProblemKind::Forbidden,
        "beyond-rights",
        format!("step {step} of {adapter}'s plan would write {reference}, which needs {right}"),
    )
    .cause("the adapter has not declared that right in its descriptor, or a chart holds more than expected")
    .remedy("nothing was changed; report this to the adapter's author"))
}
