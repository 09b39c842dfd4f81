//! Each way in which a chart cannot be had, read or rendered.

use std::path::PathBuf;
use std::time::Duration;

use crate::problem::{Problem, ProblemKind};

use super::failure::{Place, Violation};

/// Why a chart could not be had, read or rendered.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// Neither the mirror nor a repository has it, or no repository may be asked.
    #[error("chart {name} {version} is not here: {}", searched.join("; "))]
    NotFound {
        /// Chart name.
        name: String,
        /// Version asked for.
        version: String,
        /// What was looked at, one sentence each.
        searched: Vec<String>,
        /// Versions of that chart that are to be had, the nearest first.
        available: Vec<String>,
    },
    /// The repository's index does not list the chart in that version.
    #[error("the repository {repository} does not list chart {name} {version}")]
    NotInRepository {
        /// Chart name.
        name: String,
        /// Version asked for.
        version: String,
        /// Address of the repository.
        repository: String,
        /// Versions of that chart it does list, the nearest first.
        available: Vec<String>,
    },
    /// The bytes are not those that were pinned or promised.
    #[error("chart {chart} from {place} has the digest sha256:{found}, expected was sha256:{expected}")]
    DigestMismatch {
        /// Chart name and version.
        chart: String,
        /// File or address.
        place: String,
        /// Digest that was pinned or stood in the index.
        expected: String,
        /// Digest of the bytes.
        found: String,
    },
    /// Nothing says which bytes are the right ones.
    #[error("the index of {repository} has no digest for chart {chart}, and none is pinned")]
    DigestMissing {
        /// Chart name and version.
        chart: String,
        /// Address of the repository.
        repository: String,
    },
    /// The repository could not be asked.
    #[error("{url} cannot be reached: {reason}{}", also(mirror))]
    Unreachable {
        /// Address that was asked.
        url: String,
        /// What happened.
        reason: String,
        /// What the mirror has instead; empty when nothing is to be said.
        mirror: String,
    },
    /// The repository answered with an error.
    #[error("{url} answered {status}")]
    Refused {
        /// Address that was asked.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The repository's index cannot be read.
    #[error("the index {url} cannot be read: {reason}")]
    IndexInvalid {
        /// Address of the index.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The settings do not allow this repository.
    #[error("the repository \"{repository}\" is not allowed: {reason}")]
    RepositoryNotAllowed {
        /// Address that was asked for.
        repository: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// The address leads somewhere it must not.
    #[error("the address {url} is refused: {reason}")]
    AddressRefused {
        /// The address.
        url: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// More bytes than we are ready to take.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// More things than we are ready to look at.
    #[error("{what} is larger than {limit}")]
    TooMany {
        /// What there is too much of.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// The bytes are no gzipped tar archive.
    #[error("{place} is not a chart archive: {reason}")]
    NotAnArchive {
        /// File or address.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The archive holds something that a chart has no business holding.
    #[error("the archive {place} is not safe to read: entry \"{entry}\" {reason}")]
    Unsafe {
        /// File or address.
        place: String,
        /// Path inside the archive.
        entry: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// An archive, but no chart, or not the one it was taken for.
    #[error("the archive {place} is not the chart that is wanted: {reason}")]
    NotAChart {
        /// File or address.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder of ours cannot be read or written.
    #[error("{what} {}", path.display())]
    Files {
        /// What was tried: "cannot read the mirror".
        what: String,
        /// File or folder.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// There is no helm program.
    #[error("there is no helm program: {looked}")]
    HelmMissing {
        /// Where it was looked for.
        looked: String,
    },
    /// There is a helm program, but not one that works.
    #[error("the helm program {} cannot be used: {reason}", path.display())]
    HelmUnusable {
        /// The program.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What is to be rendered cannot be: release name, namespace and so on.
    #[error("{what} \"{value}\" {reason}")]
    Request {
        /// Which part of the request.
        what: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Helm did not finish in time.
    #[error("rendering chart {chart} took longer than {} seconds", limit.as_secs())]
    Timeout {
        /// Chart name and version.
        chart: String,
        /// The limit.
        limit: Duration,
    },
    /// A template is wrong.
    #[error("chart {chart} does not render: {place}: {reason}")]
    Template {
        /// Chart name and version.
        chart: String,
        /// File, line and column.
        place: Place,
        /// Helm's reason.
        reason: String,
    },
    /// The chart itself refuses the values, by `fail` or `required`.
    #[error("chart {chart} refuses the values: {message} ({place})")]
    Declined {
        /// Chart name and version.
        chart: String,
        /// File, line and column.
        place: Place,
        /// The chart's own words.
        message: String,
    },
    /// The values do not fit the chart's schema.
    #[error("the values do not fit the schema of chart {chart}: {}", join(violations))]
    Values {
        /// Chart name and version.
        chart: String,
        /// Each thing that is wrong.
        violations: Vec<Violation>,
    },
    /// The chart does not run on this version of Kubernetes.
    #[error("chart {chart} needs Kubernetes {wanted}, the cluster has {found}")]
    KubeVersion {
        /// Chart name and version.
        chart: String,
        /// What the chart asks for.
        wanted: String,
        /// What the cluster has.
        found: String,
    },
    /// Charts that this one is made of are not in the archive.
    #[error("chart {chart} is incomplete: {missing} should be inside its archive")]
    DependencyMissing {
        /// Chart name and version.
        chart: String,
        /// Names of the charts.
        missing: String,
    },
    /// What came out is not a list of Kubernetes objects.
    #[error("chart {chart} renders something that is no Kubernetes object: {place}: {reason}")]
    Rendered {
        /// Chart name and version.
        chart: String,
        /// File, and the line in what was rendered from it.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
    /// Helm failed in a way that we do not know.
    #[error("helm cannot render chart {chart}: {text}")]
    Helm {
        /// Chart name and version.
        chart: String,
        /// The end of what helm wrote.
        text: String,
    },
}

fn also(mirror: &str) -> String {
    if mirror.is_empty() {
        String::new()
    } else {
        format!("; {mirror}")
    }
}

fn join(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

fn choose(available: &[String]) -> String {
    let some: Vec<&str> = available.iter().take(5).map(String::as_str).collect();
    if some.is_empty() {
        "put the archive (helm pull) into the mirror's folder, load a bundle that has it, or name a repository that does".into()
    } else {
        format!(
            "choose a version that is there ({}), or put the archive into the mirror's folder",
            some.join(", ")
        )
    }
}

const MIRROR: &str = "put the archive into a folder and name it as mirror (MESHERY_MIRROR)";

impl From<ChartError> for Problem {
    fn from(error: ChartError) -> Self {
        use ChartError as E;
        use ProblemKind as K;
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let (kind, code, cause, remedy): (_, _, &str, String) = match &error {
            E::NotFound { available, .. } => (K::NotFound, "chart-not-found", "", choose(available)),
            E::NotInRepository { available, .. } => {
                (K::NotFound, "chart-not-in-repository", "", choose(available))
            }
            E::DigestMismatch { .. } => (
                K::Invalid,
                "chart-digest-mismatch",
                "the archive was packaged anew, damaged or replaced",
                "compare it with the publisher's; for an archive of your own, do not pin another's digest"
                    .into(),
            ),
            E::DigestMissing { .. } => (
                K::Invalid,
                "chart-digest-missing",
                "",
                "pin the digest, or put an archive that you trust into the mirror's folder".into(),
            ),
            E::Unreachable { .. } => (
                K::Unavailable,
                "chart-repository-unreachable",
                "this machine has no way to the internet, or the repository is down",
                MIRROR.into(),
            ),
            E::Refused { status, .. } => (
                K::Unavailable,
                "chart-repository-failed",
                if *status == 404 {
                    "there is no chart repository at this address"
                } else {
                    ""
                },
                format!("check the address; or {MIRROR}"),
            ),
            E::IndexInvalid { .. } => (
                K::Unavailable,
                "chart-index-invalid",
                "the address is not that of a chart repository",
                format!("check the address; or {MIRROR}"),
            ),
            E::RepositoryNotAllowed { .. } => (
                K::Forbidden,
                "chart-repository-not-allowed",
                "",
                "check the address; the setting `repositories` in meshery.toml, or MESHERY_REPOSITORIES, lists what \
                 addresses may begin with"
                    .into(),
            ),
            E::AddressRefused { .. } => (
                K::Forbidden,
                "chart-address-refused",
                "charts are only fetched by https from public addresses",
                MIRROR.into(),
            ),
            E::TooLarge { .. } | E::TooMany { .. } => (K::TooLarge, "chart-too-large", "", String::new()),
            E::NotAnArchive { .. } => (
                K::Invalid,
                "chart-not-an-archive",
                "",
                "make it with `helm package`, or fetch it again".into(),
            ),
            E::Unsafe { .. } => (
                K::Invalid,
                "chart-archive-unsafe",
                "no tool that packages charts writes such an entry",
                "do not use this archive; fetch the chart from its publisher".into(),
            ),
            E::NotAChart { .. } => (
                K::Invalid,
                "chart-invalid",
                "",
                "make it with `helm package`".into(),
            ),
            E::Files { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                (K::Full, "chart-store-full", "", "make room on that disk".into())
            }
            E::Files { .. } => (
                K::Unavailable,
                "chart-files",
                "",
                "see that the folder is there and may be read and written".into(),
            ),
            E::HelmMissing { .. } => (
                K::Unavailable,
                "helm-missing",
                "charts are rendered by the helm program",
                "install helm 3.14 or newer, or name it by `helm` in meshery.toml or by MESHERY_HELM".into(),
            ),
            E::HelmUnusable { .. } => (
                K::Unavailable,
                "helm-unusable",
                "",
                "install helm 3.14 or newer, or name another by `helm` in meshery.toml or by MESHERY_HELM"
                    .into(),
            ),
            E::Request { .. } => (K::Invalid, "chart-request-invalid", "", String::new()),
            E::Timeout { .. } => (
                K::Timeout,
                "chart-render-timeout",
                "",
                "try again when the machine is less busy".into(),
            ),
            E::Template { .. } => (
                K::Invalid,
                "chart-template-error",
                "a value has a type or a shape that the template does not expect, or the chart has a fault",
                "compare the values with the chart's values.yaml".into(),
            ),
            E::Declined { .. } => (
                K::Invalid,
                "chart-declined",
                "",
                "change the values as the chart's message says".into(),
            ),
            E::Values { .. } => (
                K::Invalid,
                "chart-values-invalid",
                "",
                "compare the values with the chart's values.schema.json".into(),
            ),
            E::KubeVersion { .. } => (
                K::Invalid,
                "chart-kube-version",
                "",
                "choose a version of the chart made for this cluster".into(),
            ),
            E::DependencyMissing { .. } => (
                K::Invalid,
                "chart-dependency-missing",
                "",
                "run `helm dependency build` before packaging it".into(),
            ),
            E::Rendered { .. } => (
                K::Invalid,
                "chart-rendered-invalid",
                "a value breaks the indentation or the type where the template puts it, or the chart has a fault",
                "compare the values with the chart's values.yaml".into(),
            ),
            E::Stopping => (K::Unavailable, "stopping", "", "try again when it is up".into()),
            E::Helm { .. } => (K::Internal, "helm-failed", "", String::new()),
        };
        let retryable = match &error {
            E::Unreachable { .. } | E::Timeout { .. } | E::Stopping => true,
            E::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        };
        let mut problem = Problem::new(kind, code, error.to_string())
            .remedy(remedy)
            .retryable(retryable);
        if let E::NotFound { available, .. } | E::NotInRepository { available, .. } = &error
            && !available.is_empty()
        {
            problem = problem.cause(format!("of this chart there is {}", available.join(", ")));
        } else if let Some(source) = source {
            problem = problem.cause(source);
        } else {
            problem = problem.cause(cause);
        }
        problem
    }
}
