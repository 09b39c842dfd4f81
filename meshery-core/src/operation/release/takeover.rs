//! Whether a release that takes over what is there only goes on with it, or starts it.
//!
//! Charts start things in another way than they go on: a webhook lets everything pass until somebody serves it. So what is not
//! there must come as in an installation, also where others have left a part.

use futures::{StreamExt as _, TryStreamExt as _};
use meshery_plugin_api::message::object_ref::ObjectRef;

use crate::cluster::chart::Rendered;
use crate::operation::plan::resolve::{Resolver, scopes_of};
use crate::operation::plan::stored::ReleaseName;
use crate::problem::Problem;

/// Objects that are looked at together.
const AT_A_TIME: usize = 16;
/// What the server asks before others write.
const ADMISSION: &str = "admissionregistration.k8s.io";

impl Resolver<'_> {
    /// Whether some of its objects are there, and none that decides about what others write is missing.
    pub(in crate::operation) async fn goes_on(
        &self,
        name: &ReleaseName,
        rendered: &Rendered,
    ) -> Result<bool, Problem> {
        let templated = || rendered.objects.iter().filter(|object| !object.crd);
        let defined = scopes_of(rendered.objects.iter().map(|object| &object.value));
        let mut references = Vec::new();
        for object in templated() {
            let mut value = object.value.clone();
            self.place("", &mut value, Some(name), &defined).await?;
            references.extend(ObjectRef::of(&value));
        }
        let looks: Vec<_> = references
            .into_iter()
            .map(|object| async move {
                let there = self.cluster.get_if_served(&object).await?.is_some();
                Ok::<_, Problem>((object.group == ADMISSION, there))
            })
            .collect();
        let seen: Vec<(bool, bool)> = futures::stream::iter(looks)
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        Ok(is_past_the_start(&seen))
    }
}

/// By the objects: whether each decides about what others write, and whether it is there.
fn is_past_the_start(seen: &[(bool, bool)]) -> bool {
    seen.iter().any(|(_, there)| *there) && seen.iter().all(|(decides, there)| *there || !decides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_lacks_a_webhook_is_started() {
        assert!(!is_past_the_start(&[(false, false), (false, false)]));
        assert!(!is_past_the_start(&[(false, true), (true, false)]));
        assert!(!is_past_the_start(&[(true, true), (true, false)]));
        assert!(is_past_the_start(&[(false, true), (false, false)]));
        assert!(is_past_the_start(&[(false, false), (true, true)]));
        assert!(!is_past_the_start(&[]));
    }
}
