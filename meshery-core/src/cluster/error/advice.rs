//! What probably lies behind a cluster's no, and what to do about it.

use super::super::refusal::{POD_SECURITY, is_full_store};
use super::{ClusterError, webhook};

impl ClusterError {
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Forbidden { message, .. } => message.clone(),
            Self::Tls { .. } => {
                "the server's certificate does not fit the kubeconfig's certificate authority or the server's name"
                    .into()
            }
            Self::Unauthorized { .. } => "the token or certificate is wrong or has expired".into(),
            Self::NotFound { .. } => "it was never made here, or has been deleted".into(),
            Self::ApplyConflict { .. } => "others have set those fields before, to something else".into(),
            Self::ObjectChanged { .. } => "somebody else works on the same object".into(),
            Self::AlreadyExists { .. } => "somebody else has made it".into(),
            Self::Denied { by, .. } => {
                format!("whoever runs the cluster, or a program in it, has {by} look at such objects")
            }
            Self::WebhookFailed { reason, .. } => webhook::cause(reason).into(),
            Self::Quota { .. } => "a ResourceQuota limits what the namespace may have".into(),
            Self::Terminating { .. } => "somebody has deleted it, and what is in it is not gone yet".into(),
            Self::Invalid { causes, message, .. } if !causes.is_empty() => message.clone(),
            Self::Invalid { .. } => "the cluster's version of that kind has another form".into(),
            Self::NotServed { .. } => {
                "its definition is not installed, or the server is too old or too new for that version".into()
            }
            Self::InstancesUnknown { .. } => {
                "objects stay where they are when a version is served no more; they would go with the definition".into()
            }
            Self::TooLarge { .. } => {
                "a cluster keeps objects of up to 1.5 MiB with the record of who manages which field, which grows with \
                 the number of fields; ConfigMaps and Secrets may hold 1 MiB, and a request 3 MiB"
                    .into()
            }
            Self::LongHistory { .. } => "somebody lets helm keep the records of all revisions (`--history-max 0`)".into(),
            Self::OtherDriver { .. } => {
                "helm was run with HELM_DRIVER=configmap; records are read in Secrets only, where helm keeps them unless \
                 it is told otherwise"
                    .into()
            }
            Self::NotReady { .. } => "what is waited for did not come in time".into(),
            Self::NotGone { .. } => {
                "what is to be done before it goes (a finalizer) is not done, mostly because the controller for it \
                 does not run any more"
                    .into()
            }
            Self::Server { status, message, .. } => unusual(*status, message).0.into(),
            _ => String::new(),
        }
    }

    /// What to do where the object was only shown to the server, and whoever refuses it has to be told of that.
    pub(crate) fn remedy_when_shown(&self) -> Option<String> {
        match self {
            Self::Denied { object, by, .. } if by != POD_SECURITY => Some(format!(
                "make an exception in {by} for {object}, which is only shown to the server and never made"
            )),
            Self::Quota { object, .. } => Some(format!(
                "raise the quota or make room for {object}, which is only shown to the server and never made"
            )),
            _ => None,
        }
    }

    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => {
                "check that the cluster runs and that this machine reaches its address".into()
            }
            Self::Tls { .. } => {
                "correct the certificate authority or the server's address in the kubeconfig".into()
            }
            Self::Unauthorized { context } | Self::Credentials { context, .. } => {
                format!("log in again, or correct the user of context \"{context}\" in the kubeconfig")
            }
            Self::Forbidden {
                verb,
                resource,
                namespace,
                ..
            } => {
                let scope = if namespace.is_empty() {
                    "a ClusterRole".into()
                } else {
                    format!("a Role in namespace {namespace}")
                };
                format!("give the user the verb {verb} on {resource} through {scope}")
            }
            Self::ApplyConflict { .. } => {
                "leave those fields out, or take them over by force; their managers may take them back".into()
            }
            Self::ObjectChanged { .. } => "look at the object and plan again".into(),
            Self::Invalid { .. } if self.is_immutable() => {
                "that field cannot be changed in place: delete the object and make it anew".into()
            }
            Self::Invalid { .. } => "correct the fields that are named".into(),
            Self::Denied { by, .. } if by == POD_SECURITY => {
                "change the pods to what PodSecurity asks for, or allow them more by the namespace's label \
                 `pod-security.kubernetes.io/enforce`"
                    .into()
            }
            Self::Denied { by, .. } => format!("change the object to what {by} asks for, or change {by}"),
            Self::WebhookFailed {
                webhook, reason, ..
            } => webhook::remedy(webhook, reason),
            Self::Quota { .. } => "raise the quota or make room".into(),
            Self::Terminating { what, .. } => format!("wait until {what} is gone"),
            Self::NotServed { kind, .. } => {
                format!("install what defines {kind}, or use a version that the cluster serves")
            }
            Self::InstancesUnknown { definition, .. } => format!(
                "set `served: true` for one of the versions of {}, or keep the definition; plan again",
                definition.name
            ),
            Self::NotReady { .. } => {
                "see what the objects said of themselves (`mesheryctl operation view ID --events`), put it right or \
                 allow more time, and plan again; with `--on-failure keep` the objects stay to be looked at"
                    .into()
            }
            Self::Failed { .. } => {
                "see what the objects say of themselves (`kubectl describe`), put it right and plan again".into()
            }
            Self::LeaseLost { .. } => {
                "the operation goes on as its policy says when this host has the lease again; where the policy is to \
                 ask, resume it or undo it"
                    .into()
            }
            Self::NotFound { what } => format!("make {what}, or name one that is there, and plan again"),
            Self::AlreadyExists { .. } => "look at what is there and plan again".into(),
            Self::TooLarge { .. } => "make it smaller, or spread what it holds over several".into(),
            Self::LongHistory { .. } => {
                "delete Secrets with records of old revisions, the superseded ones, and let helm keep fewer \
                 (`--history-max`)"
                    .into()
            }
            Self::OtherDriver { release, namespace } => format!(
                "go on with helm and HELM_DRIVER=configmap, or remove the release with it (`helm uninstall {release} \
                 --namespace {namespace}`) and plan again"
            ),
            Self::NotGone { object, .. } => format!(
                "make the controller of what holds it run; if there is none any more, take the finalizer out by hand \
                 (`kubectl edit {} {}{}`), then try again",
                object.kind.to_lowercase(),
                object.name,
                if object.namespace.is_empty() {
                    String::new()
                } else {
                    format!(" --namespace {}", object.namespace)
                }
            ),
            Self::Server { status, message, .. } => unusual(*status, message).1.into(),
            Self::UnknownContext { context, .. } if context.is_empty() => "name a context".into(),
            Self::UploadUnusable { remedy, .. } => remedy.clone(),
            Self::UnknownContext { .. } => "use one of the contexts that there are".into(),
            Self::NoKubeconfig { .. } => {
                "set KUBECONFIG, or put a kubeconfig where kubectl looks for it, or upload one".into()
            }
            Self::BadKubeconfig { .. } => {
                "correct the kubeconfig; `kubectl config view` shows how it reads".into()
            }
            Self::KubeconfigRefused { .. } => {
                "upload a kubeconfig whose certificates, keys and token are inside it, \
                 or have the host's owner add it to the host's own files"
                    .into()
            }
        }
    }
}

/// What lies behind an answer that has no name of its own, and what to do about it.
fn unusual(status: u16, message: &str) -> (&'static str, &'static str) {
    if is_full_store(message) {
        return (
            "the cluster's own store (etcd) is full and takes nothing more",
            "compact and defragment etcd or raise its quota, disarm its alarm, and try again",
        );
    }
    match status {
        200..=399 => (
            "what answers at the address is not a Kubernetes API server, or something before it that answers in its place",
            "check the server's address in the kubeconfig and whether a proxy asks for a login on the way",
        ),
        401..=403 | 407 => (
            "something on the way to the API server does not let the request through",
            "log in to the proxy on the way, or lead the address around it",
        ),
        405 | 406 | 415 => (
            "something on the way changes requests or lets only some of them through, or the server is not a Kubernetes \
             API server",
            "lead the address around the proxy on the way, or let it pass PATCH and every media type",
        ),
        410 => (
            "the state that the request relies on is not kept any more",
            "try again",
        ),
        429 => (
            "the API server has more requests than it takes",
            "try again when there are fewer; a priority level of one's own keeps others' requests out of the way",
        ),
        504 if message.contains("Too large resource version") => (
            "the API server has not come as far as what was seen before: its store was restored, or it is another one",
            "see what is behind the server's address, and try again when it is what it was",
        ),
        503 => (
            "the server behind that kind, or the API server itself, does not work",
            "see which APIService is not available (`kubectl get apiservices`) and make its server run, or remove it",
        ),
        507 => (
            "there is no room left where the cluster keeps its objects",
            "make room there, and try again",
        ),
        500.. => (
            "the API server, or something before it, is not well",
            "look at the API server's log, and try again when it works",
        ),
        _ => ("", "look at the API server's log"),
    }
}
