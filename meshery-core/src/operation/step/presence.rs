//! Which of many objects are not there yet, by one list of their kind instead of a question about each.
//!
//! What a list says may be over when an object is written. So it is taken for a guess: the write itself says that the
//! object must not be there, and one that is there after all is looked at then.

use std::collections::{HashMap, HashSet};

use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::operation::object::mark::{is_only_made, text};
use crate::operation::run::StepRun;

/// From so many objects of a kind in a namespace on, a list costs less than to ask for each.
const MANY: usize = 32;
/// A longer list would cost more than it saves.
const LONGEST: usize = 1_000;

/// Group, version, kind and namespace.
type Place = (String, String, String, String);

impl StepRun<'_> {
    /// Those objects of a wave that seem not to be there. Of the others nothing is said.
    pub(super) async fn seemingly_absent(&self, wave: &[Value]) -> HashSet<ObjectRef> {
        let mut absent = HashSet::new();
        for (place, objects) in self.crowds(wave) {
            if let Some(there) = self.names_in(&place).await {
                absent.extend(objects.into_iter().filter(|object| !there.contains(&object.name)));
            }
        }
        absent
    }

    /// Objects of which there are many in one place, as far as the step has not begun with them.
    fn crowds(&self, wave: &[Value]) -> HashMap<Place, Vec<ObjectRef>> {
        let mut crowds: HashMap<Place, Vec<ObjectRef>> = HashMap::new();
        for object in wave
            .iter()
            .filter(|manifest| !is_only_made(manifest))
            .filter_map(ObjectRef::of)
            .filter(|object| self.history.and_then(|history| history.object(object)).is_none())
        {
            let place = (
                object.group.clone(),
                object.version.clone(),
                object.kind.clone(),
                object.namespace.clone(),
            );
            crowds.entry(place).or_default().push(object);
        }
        crowds.retain(|_, objects| objects.len() >= MANY);
        crowds
    }

    /// The names in a place; nothing when they cannot be had, for whatever reason: asking for each object says it.
    async fn names_in(&self, (group, version, kind, namespace): &Place) -> Option<HashSet<String>> {
        let cluster = &self.run.cluster;
        let kind = cluster.resolve(group, version, kind).await.ok()?;
        if kind.namespaced == namespace.is_empty() {
            return None;
        }
        let within = kind.namespaced.then_some(namespace.as_str());
        let listed = cluster.list(&kind, within, "", Detail::Metadata, LONGEST);
        let listed = self.until_halted(listed).await.ok()?.ok()?;
        let name = |object: &Value| text(object, "/metadata/name").to_owned();
        (!listed.truncated).then(|| listed.items.iter().map(name).collect())
    }
}
