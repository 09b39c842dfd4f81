//! What is asked of an operation on several clusters.

use clap::{Args, Subcommand, ValueEnum};

/// What becomes of the other clusters when an operation fails on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OnMemberFailure {
    /// What had not begun waits for somebody to decide.
    #[default]
    Stop,
    /// They have their turn all the same.
    GoOn,
    /// What was done on them is taken back as well.
    Undo,
}

impl OnMemberFailure {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::GoOn => "go-on",
            Self::Undo => "undo",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum OperationSetCommand {
    /// Lists sets, the newest first.
    List {
        /// At most this many.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: Option<u32>,
        /// Only what follows this place, from the end of the page before.
        #[arg(long)]
        after: Option<String>,
    },
    /// Shows one set: how far it is on each cluster.
    View {
        /// Id of the set.
        id: String,
    },
    /// Follows a set until it is at rest. Ctrl-C stops following, not the set.
    Watch {
        /// Id of the set.
        id: String,
        /// Stop following after this many seconds; the set goes on.
        #[arg(long, default_value_t = 7200, value_name = "SECONDS")]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=604_800))]
        wait_timeout: u64,
    },
    /// Approves all of a set's operations that need it.
    Approve(SetChange),
    /// Runs a set that was planned before, or goes on with what of it has not had its turn.
    Run(SetChange),
    /// Stops a set; what had not begun is not run.
    Cancel(SetChange),
    /// Takes back what a set did, on the last cluster first.
    Undo(SetChange),
}

#[derive(Debug, Args)]
pub struct SetChange {
    /// Id of the set.
    pub id: String,
    #[command(flatten)]
    pub run: super::Running,
}
