//! The other side of a child process.

use std::ffi::OsString;
use std::process::ExitCode;

/// What the hidden subcommand `plugin-child` runs: a plugin, called over the socket that is its standard input.
///
/// A host's `main` calls this with the arguments after the subcommand, before it starts anything else: threads,
/// a runtime, a log.
pub fn child_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = args.into_iter();
    ExitCode::FAILURE
}
