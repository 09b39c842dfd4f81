//! What a preview says of the user's rights where no dry run has shown them: on objects whose namespace or kind comes
//! with the plan, and on those that are decided later. The server is asked by reviews of access, which need neither.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use meshery_plugin_api::message::object_ref::ObjectRef;

use super::introduced::Introduced;
use super::previewing::{AT_A_TIME, Found, Previewing};
use super::{Certainty, Change, PreviewedObject};
use crate::cluster::ClusterError;
use crate::cluster::access::{Access, Verdict};
use crate::problem::Problem;

/// Questions of one preview. An installation of a mesh needs some dozens, however many objects it has.
const MOST: usize = 1000;

/// What is asked, and the objects that hang on each answer.
type Questions = BTreeMap<Access, Vec<usize>>;

/// What is not allowed with one object.
#[derive(Debug, Default)]
struct Refused {
    resource: String,
    verbs: Vec<&'static str>,
    reason: String,
}

/// What could not be asked.
#[derive(Debug, Default)]
struct Unasked {
    /// The first reason why an answer is missing.
    why: Option<String>,
    count: usize,
}

impl Previewing<'_> {
    /// Marks what the user may not write. Returns what is to be said of questions without an answer.
    pub(super) async fn hold_against_rights(
        &self,
        found: &mut [Found],
        introduced: &Introduced,
    ) -> Result<Option<String>, Problem> {
        let mut unasked = Unasked::default();
        // Once for each kind and namespace; where the answer is no, a role may still name the objects.
        let of_kinds = self.questions(found, introduced).await?;
        let refused = self.ask(of_kinds, &mut unasked).await?;
        let mut by_name = Questions::new();
        for ((access, objects), _) in refused {
            for place in objects {
                let name = found[place].previewed.object.name.clone();
                let named = Access {
                    name,
                    ..access.clone()
                };
                by_name.entry(named).or_default().push(place);
            }
        }
        let mut of_objects: BTreeMap<usize, Refused> = BTreeMap::new();
        for ((access, objects), reason) in self.ask(by_name, &mut unasked).await? {
            for place in objects {
                let refused = of_objects.entry(place).or_default();
                refused.resource = access.resource();
                refused.verbs.push(access.verb);
                refused.reason.clone_from(&reason);
            }
        }
        for (place, refused) in of_objects {
            let previewed = &mut found[place].previewed;
            previewed.change = Change::Error;
            previewed.error = Some(refused.problem(&previewed.object, introduced));
        }
        Ok(unasked.in_words())
    }

    async fn questions(&self, found: &[Found], introduced: &Introduced) -> Result<Questions, Problem> {
        let mut questions = Questions::new();
        for (place, found) in found.iter().enumerate() {
            let object = &found.previewed.object;
            let verbs = verbs(&found.previewed);
            if verbs.is_empty() {
                continue;
            }
            let Some(plural) = self.plural(object, introduced).await? else {
                continue;
            };
            for verb in verbs {
                let access = Access {
                    group: object.group.clone(),
                    plural: plural.clone(),
                    namespace: object.namespace.clone(),
                    name: String::new(),
                    verb,
                };
                questions.entry(access).or_default().push(place);
            }
        }
        Ok(questions)
    }

    /// What addresses call the object's kind, as far as that is known already.
    async fn plural(&self, object: &ObjectRef, introduced: &Introduced) -> Result<Option<String>, Problem> {
        let kind = (object.group.clone(), object.kind.clone());
        if let Some(plural) = introduced.kinds.get(&kind) {
            return Ok(Some(plural.clone()));
        }
        match self
            .cluster
            .resolve(&object.group, &object.version, &object.kind)
            .await
        {
            Ok(kind) => Ok(Some(kind.plural)),
            Err(ClusterError::NotServed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The questions whose answer is no, with the server's reason.
    async fn ask(
        &self,
        questions: Questions,
        unasked: &mut Unasked,
    ) -> Result<Vec<((Access, Vec<usize>), String)>, Problem> {
        unasked.count += questions.len().saturating_sub(MOST);
        let asked = questions.into_iter().take(MOST).map(async |question| {
            let answer = self.cluster.may(&question.0).await;
            (question, answer)
        });
        let answers: Vec<_> = futures::stream::iter(asked).buffered(AT_A_TIME).collect().await;
        let mut refused = Vec::new();
        for (question, answer) in answers {
            match answer {
                Ok(Verdict::Allowed) => {}
                Ok(Verdict::Refused(reason)) => refused.push((question, reason)),
                Ok(Verdict::Unknown(why)) => unasked.add(why),
                Err(error) if error.is_connection() => return Err(error.into()),
                Err(error) => unasked.add(error.to_string()),
            }
        }
        Ok(refused)
    }
}

/// What has to be allowed for what becomes of an object, unless a dry run has shown that it is.
fn verbs(previewed: &PreviewedObject) -> &'static [&'static str] {
    if previewed.certainty == Certainty::Verified {
        return &[];
    }
    match previewed.change {
        // Applied, which is a patch even of what is not there.
        Change::Create => &["create", "patch"],
        Change::Update => &["patch"],
        Change::Recreate => &["create", "delete", "patch"],
        Change::Delete => &["delete"],
        // Pods that are made anew belong to what was asked about as it is made.
        Change::Unchanged
        | Change::Keep
        | Change::Conflict
        | Change::Error
        | Change::Wait
        | Change::Probe
        | Change::Restart => &[],
    }
}

impl Refused {
    fn problem(&self, object: &ObjectRef, introduced: &Introduced) -> Problem {
        let verbs = self.verbs.join(" and ");
        let (scope, after) = if object.namespace.is_empty() {
            ("a ClusterRole".to_owned(), "")
        } else if introduced.namespaces.contains(&object.namespace) {
            (
                "a ClusterRole".to_owned(),
                "; where whoever makes a namespace gets rights in it, run it all the same",
            )
        } else {
            (format!("a Role in namespace {}", object.namespace), "")
        };
        let remedy = format!(
            "give the user {verbs} on {} through {scope}, and preview it again{after}",
            self.resource
        );
        let cause = match self.reason.as_str() {
            "" => "the server was asked beforehand, and no role of the user's allows it",
            reason => reason,
        };
        Problem::from(ClusterError::Forbidden {
            verb: verbs,
            resource: self.resource.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            message: self.reason.clone(),
        })
        .cause(cause)
        .remedy(remedy)
    }
}

impl Unasked {
    fn add(&mut self, why: String) {
        self.why.get_or_insert(why);
        self.count += 1;
    }

    fn in_words(&self) -> Option<String> {
        if self.count == 0 {
            return None;
        }
        let why = match &self.why {
            Some(why) => why.clone(),
            None => format!("more than {MOST} questions are not asked at a time"),
        };
        Some(format!(
            "whether the user may write what this plan writes is not known of {} pairs of verb and kind: {why}",
            self.count
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(verbs: &[&'static str]) -> Refused {
        Refused {
            resource: "deployments.apps".into(),
            verbs: verbs.into(),
            reason: String::new(),
        }
    }

    #[test]
    fn a_refusal_names_the_verbs_and_a_role_that_can_be_made_now() {
        let object = ObjectRef::new("apps/v1", "Deployment", "mesh", "web");
        let mut introduced = Introduced::default();
        let problem = refused(&["create", "patch"]).problem(&object, &introduced);
        assert_eq!(problem.code, "forbidden");
        assert_eq!(
            problem.message,
            "not allowed to create and patch deployments.apps \"web\" in namespace mesh"
        );
        assert!(
            problem.remedy.contains("a Role in namespace mesh"),
            "{}",
            problem.remedy
        );
        introduced.namespaces.insert("mesh".into());
        let remedy = refused(&["create"]).problem(&object, &introduced).remedy;
        assert!(
            remedy.contains("create on deployments.apps through a ClusterRole"),
            "{remedy}"
        );
        assert!(remedy.contains("run it all the same"), "{remedy}");
    }

    #[test]
    fn what_a_dry_run_has_shown_is_not_asked() {
        let mut previewed = PreviewedObject {
            object: ObjectRef::new("v1", "Secret", "mesh", "a"),
            step: "one".into(),
            change: Change::Create,
            certainty: Certainty::Verified,
            diff: Vec::new(),
            conflicts: Vec::new(),
            error: None,
            warnings: Vec::new(),
            note: None,
        };
        assert!(verbs(&previewed).is_empty());
        previewed.certainty = Certainty::Local;
        assert_eq!(verbs(&previewed), ["create", "patch"]);
        (previewed.change, previewed.certainty) = (Change::Delete, Certainty::DecidedLater);
        assert_eq!(verbs(&previewed), ["delete"]);
    }

    #[test]
    fn what_was_not_asked_is_said_once_with_its_first_reason() {
        let mut unasked = Unasked::default();
        assert_eq!(unasked.in_words(), None);
        unasked.add("no review".into());
        unasked.add("another".into());
        let words = unasked.in_words().unwrap();
        assert!(
            words.contains("of 2 pairs") && words.ends_with(": no review"),
            "{words}"
        );
    }
}
