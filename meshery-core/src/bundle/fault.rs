//! What goes wrong with bundles.

use crate::problem::{Problem, ProblemKind};

/// A file that is no bundle, or not a whole one.
pub(super) fn broken(what: &str) -> Problem {
    Problem::new(
        ProblemKind::Invalid,
        "bad-bundle",
        format!("this is no bundle: {what}"),
    )
    .cause("it was cut short, changed on the way, or is another kind of file")
    .remedy(
        "compare its SHA-256 with that which `bundle create` printed, and copy it again; nothing was loaded",
    )
}

/// A bundle whose bytes stopped coming.
pub(super) fn incomplete(why: &dyn std::fmt::Display) -> Problem {
    let message = format!("the bundle did not come whole: {why}");
    Problem::new(ProblemKind::Invalid, "bundle-incomplete", message)
        .remedy("send it again; a limit can be raised under [limits] in the settings; nothing was loaded")
}

/// A bundle that does not hold what it says.
pub(super) fn damaged(path: &str, what: &str) -> Problem {
    let message = format!("member \"{}\" of the bundle {what}", path.escape_debug());
    Problem::new(ProblemKind::Invalid, "bundle-damaged", message)
        .cause("the bundle was damaged or changed on the way")
        .remedy("compare its SHA-256 with that which `bundle create` printed, and copy it again; nothing was loaded")
}

/// A member that no bundle has.
pub(super) fn not_safe(path: &str, what: &str) -> Problem {
    let message = format!("entry \"{}\" of the bundle {what}", path.escape_debug());
    Problem::new(ProblemKind::Invalid, "bundle-unsafe", message)
        .cause("it was not made by `bundle create`, or was changed since")
        .remedy("do not use it; make it again; nothing was loaded")
}

/// The host's own files fail.
pub(super) fn files(error: &std::io::Error) -> Problem {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ProblemKind::Full,
        _ => ProblemKind::Internal,
    };
    let message = format!("the bundle cannot be written or read in the host's cache: {error}");
    Problem::new(kind, "bundle-file", message).remedy("look after room and rights in the host's data folder")
}

/// Runs what would keep an executor from its other work.
pub(super) async fn in_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let message = format!("the host failed while it worked on this: {error}");
        Err(Problem::new(ProblemKind::Internal, "host-panicked", message))
    })
}
