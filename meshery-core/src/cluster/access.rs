//! Asking the server whether the user may do something, without doing it.

use http::Method;
use serde_json::{Value, json};

use super::discovery::ResourceType;
use super::error::ClusterError;
use super::handle::Cluster;
use super::request::{JSON, Request};

/// Something to do with objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Access {
    pub group: String,
    /// What addresses call the kind.
    pub plural: String,
    /// Empty for the whole cluster.
    pub namespace: String,
    /// Empty for any object of the kind there.
    pub name: String,
    /// As RBAC calls it.
    pub verb: &'static str,
}

impl Access {
    /// Plural and group, as RBAC and kubectl write them.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// What the server says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// With its reason, which mostly is empty.
    Refused(String),
    /// It could not tell, and why.
    Unknown(String),
}

impl Verdict {
    fn of(review: &Value) -> Self {
        let status = &review["status"];
        let word = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        if status["allowed"] == true {
            return Self::Allowed;
        }
        // Of several authorizers one may have failed while no other had an opinion.
        match word("evaluationError") {
            trouble if !trouble.is_empty() && status["denied"] != true => Self::Unknown(trouble),
            _ => Self::Refused(word("reason")),
        }
    }
}

impl Cluster {
    /// Whether the user of this connection may do that.
    pub(crate) async fn may(&self, access: &Access) -> Result<Verdict, ClusterError> {
        let kind = ResourceType {
            group: "authorization.k8s.io".into(),
            version: "v1".into(),
            kind: "SelfSubjectAccessReview".into(),
            plural: "selfsubjectaccessreviews".into(),
            namespaced: false,
            verbs: Vec::new(),
        };
        let review = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind,
            "spec": {"resourceAttributes": {"verb": access.verb, "group": access.group, "resource": access.plural,
                "namespace": access.namespace, "name": access.name}},
        });
        let mut request =
            Request::collection(Method::POST, "create", &kind, "", "").body(JSON, review.to_string());
        // It stores nothing.
        request.repeatable = true;
        let answer = self.connection.send(&request).await?;
        Ok(Verdict::of(&answer.json(|| kind.resource())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_that_failed_is_no_refusal() {
        let verdict = |status: Value| Verdict::of(&json!({"status": status}));
        assert_eq!(
            verdict(json!({"allowed": true, "evaluationError": "a role is gone"})),
            Verdict::Allowed
        );
        assert_eq!(
            verdict(json!({"allowed": false})),
            Verdict::Refused(String::new())
        );
        assert_eq!(
            verdict(json!({"allowed": false, "denied": true, "reason": "never", "evaluationError": "x"})),
            Verdict::Refused("never".into())
        );
        assert_eq!(
            verdict(json!({"allowed": false, "evaluationError": "no answer"})),
            Verdict::Unknown("no answer".into())
        );
    }
}
