//! The command line, declared in one place. Parsing does no work: it only says what was asked for.

mod app;
mod operation_set;
mod parameters;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use app::{App, AppCommand};
pub use operation_set::{OnMemberFailure, OperationSetCommand, SetChange};
pub use parameters::Parameters;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  error
  2  the command line is wrong, or nobody confirmed
  3  the operation failed, was cancelled or was taken back
  4  the host cannot be reached
  5  the host does not accept the token
  130, 141  interrupted; the reader of the output went away
With --exit-code, a plan that changes something ends with 2, and a wrong command line with 1.

The host's address and token come from --server and --token-file, or from MESHERY_SERVER and
MESHERY_TOKEN_FILE. NO_COLOR switches colours off.";

/// Command line client of Meshery: install service meshes, see every change first, take it back.
#[derive(Debug, Parser)]
#[command(name = "mesheryctl", version, after_help = EXIT_CODES, max_term_width = 110)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Address of the host.
    #[arg(long, global = true, env = "MESHERY_SERVER", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:9081")]
    pub server: String,
    /// File with the host's token [default: ~/.meshery/token].
    #[arg(long, global = true, env = "MESHERY_TOKEN_FILE", value_name = "PATH")]
    pub token_file: Option<PathBuf>,
    /// Form of the output. json and yaml are the host's own answers; problems come in the same form on standard error.
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,
    /// No colours, whatever the terminal can do.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Seconds that an answer of the host may take. Previews, which read the cluster, get five times as long.
    #[arg(long, global = true, default_value_t = 60, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Table,
    /// One JSON document; with watch, one line an event.
    Json,
    /// YAML; with watch, one document an event.
    Yaml,
}

/// The form of the output that a command line asks for which cannot be read as a whole.
pub fn wanted_form(arguments: impl Iterator<Item = OsString>) -> Form {
    let mut form = Form::default();
    let mut value_follows = false;
    for argument in arguments {
        let text = argument.to_string_lossy();
        if text == "--" {
            break;
        }
        let value = if std::mem::take(&mut value_follows) {
            Some(&*text)
        } else if text == "-o" || text == "--output" {
            value_follows = true;
            None
        } else {
            text.strip_prefix("--output=")
                .or_else(|| text.strip_prefix("-o"))
                .map(|value| value.trim_start_matches('='))
        };
        form = value
            .and_then(|value| Form::from_str(value, false).ok())
            .unwrap_or(form);
    }
    form
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The adapters that the host has loaded, one for each mesh, and what they can do.
    #[command(subcommand)]
    Adapter(AdapterCommand),
    /// Plan, deploy, remove and detect a mesh.
    #[command(subcommand)]
    Mesh(MeshCommand),
    /// List, deploy and remove applications: samples, and those dropped beside the host.
    #[command(subcommand)]
    App(AppCommand),
    /// Operations: everything that was planned, runs or has run.
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Operations on several clusters at once.
    #[command(subcommand)]
    OperationSet(OperationSetCommand),
    /// The clusters that the host can talk to.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// The plugin files that the host has looked at, loaded or refused.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Runs what a plan's file says, if it is still what would be done: preview, confirmation, run.
    Apply {
        /// A file that a plan command wrote with --out.
        file: PathBuf,
        /// Context of the cluster; the plan's own when not given.
        #[arg(long)]
        context: Option<String>,
        #[command(flatten)]
        show: Show,
        #[command(flatten)]
        run: Running,
    },
    /// Bundles: what installations take, in one file, to carry to a host without the internet.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// What the host keeps: how it is, its backup, and a backup back.
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Versions of this program and of the host.
    Version,
}

#[derive(Debug, Subcommand)]
pub enum AdapterCommand {
    /// Lists the adapters.
    List,
    /// Shows an adapter's operations and their parameters.
    View {
        /// Name of the adapter, or of its mesh.
        name: String,
    },
    /// Lists the versions of its mesh that an adapter can install, and how each is known.
    Versions {
        /// Name of the adapter, or of its mesh.
        name: String,
        /// Have the host ask the repositories of the charts which versions there are by now.
        #[arg(long)]
        refresh: bool,
    },
    /// Previews any operation of an adapter, changing nothing.
    Plan {
        #[command(flatten)]
        what: AnyOperation,
        #[command(flatten)]
        request: Request,
        #[command(flatten)]
        show: Show,
        #[command(flatten)]
        result: PlanResult,
    },
    /// Runs any operation of an adapter: preview, confirmation, run.
    Run {
        #[command(flatten)]
        what: AnyOperation,
        #[command(flatten)]
        request: Request,
        #[command(flatten)]
        show: Show,
        #[command(flatten)]
        run: Running,
    },
}

#[derive(Debug, Args)]
pub struct AnyOperation {
    /// Name of the adapter, or of its mesh.
    pub name: String,
    /// Name of the operation, from `adapter view`.
    pub operation: String,
}

#[derive(Debug, Subcommand)]
pub enum MeshCommand {
    /// Shows what a deployment would change, and changes nothing.
    Plan {
        #[command(flatten)]
        mesh: Mesh,
        /// Plan the removal instead.
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        show: Show,
        #[command(flatten)]
        result: PlanResult,
    },
    /// Deploys a mesh: preview, confirmation, run, and a wait until it is ready.
    Deploy {
        #[command(flatten)]
        mesh: Mesh,
        #[command(flatten)]
        show: Show,
        #[command(flatten)]
        run: Running,
    },
    /// Removes a mesh: preview, confirmation, run.
    Remove {
        #[command(flatten)]
        mesh: Mesh,
        #[command(flatten)]
        show: Show,
        #[command(flatten)]
        run: Running,
    },
    /// Lists the images that a deployment would pull, asking no cluster.
    Images {
        /// Name of the adapter, or of its mesh.
        name: String,
        /// Version of the mesh.
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
        #[command(flatten)]
        parameters: Parameters,
    },
    /// Says what is wrong with the configuration of a mesh.
    Analyze {
        /// Name of the adapter, or of its mesh.
        name: String,
        /// Context of the cluster; the current one when not given.
        #[arg(long)]
        context: Option<String>,
    },
    /// Shows which installations of a mesh the cluster has, and how they are.
    Detect {
        /// Name of the adapter, or of its mesh.
        name: String,
        /// Context of the cluster; the current one when not given.
        #[arg(long)]
        context: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct Mesh {
    /// Name of the adapter, or of its mesh.
    pub name: String,
    /// Version of the mesh.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Profile of the installation.
    #[arg(long)]
    pub profile: Option<String>,
    /// Namespace of the control plane.
    #[arg(long)]
    pub namespace: Option<String>,
    #[command(flatten)]
    pub request: Request,
}

/// What all requests for an operation have.
#[derive(Debug, Args)]
pub struct Request {
    /// Context of the cluster; the current one when not given. When it is repeated, the operation is planned on each of
    /// them, and they have their turns in this order.
    #[arg(long)]
    pub context: Vec<String>,
    /// With several contexts: at how many clusters it is at work at a time.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub at_a_time: u32,
    /// With several contexts: what becomes of the others when it fails on one.
    #[arg(long, value_enum, default_value_t)]
    pub on_member_failure: OnMemberFailure,
    #[command(flatten)]
    pub parameters: Parameters,
    /// What to do when the operation fails; the host's default is to undo it.
    #[arg(long, value_enum)]
    pub on_failure: Option<OnFailure>,
    /// What to do when the host is interrupted in mid-operation.
    #[arg(long, value_enum)]
    pub on_interruption: Option<OnInterruption>,
    /// Take over fields that other managers own.
    #[arg(long)]
    pub force_conflicts: bool,
    /// Run only after `operation approve`.
    #[arg(long)]
    pub needs_approval: bool,
    /// Agree to something that is done on explicit word only: lookup, adopt, foreign, recreate, recover-release,
    /// exposed-secret. The preview says when it is needed; may be repeated.
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    pub accept: Vec<String>,
    /// Pull images from this registry instead of their own: registry.corp/mirror. The host's setting when not given.
    #[arg(long, value_name = "REGISTRY")]
    pub image_registry: Option<String>,
    /// Secret that every pod pulls its images with; may be repeated. The host's setting when not given.
    #[arg(long, value_name = "SECRET")]
    pub pull_secret: Vec<String>,
    /// Pull images by the digests in this file, one image a line: name:tag@sha256:DIGEST. The host's setting when not given.
    #[arg(long, value_name = "FILE")]
    pub image_digests: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OnFailure {
    Undo,
    Keep,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OnInterruption {
    Resume,
    Undo,
    Ask,
}

/// How a preview is shown.
#[derive(Debug, Clone, Copy, Args)]
pub struct Show {
    /// Show unchanged objects too, and every field of new ones.
    #[arg(long)]
    pub full: bool,
}

/// What becomes of a plan.
#[derive(Debug, Clone, Args)]
pub struct PlanResult {
    /// Write the plan into a new file, to be reviewed and run later by `apply`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// End with exit code 2 when the plan changes something and 0 when it changes nothing; a wrong command line is 1
    /// then.
    #[arg(long)]
    pub exit_code: bool,
}

/// How something that changes a cluster is started and followed.
#[derive(Debug, Clone, Args)]
pub struct Running {
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Clone, Args)]
pub struct Waiting {
    /// Follow the operation until it is at rest (the default).
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return as soon as the operation is under way.
    #[arg(long)]
    pub no_wait: bool,
    #[command(flatten)]
    pub follow: Follow,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Follow {
    /// Show each object as it changes.
    #[arg(long, short)]
    pub verbose: bool,
    /// Stop following after this many seconds; the operation goes on.
    #[arg(long, default_value_t = 7200, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub wait_timeout: u64,
}

#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// Lists operations, the newest first.
    List {
        /// Only those in this state.
        #[arg(long)]
        state: Option<String>,
        /// Only those on the cluster with this uid, from `cluster view`.
        #[arg(long)]
        cluster: Option<String>,
        /// At most this many.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: Option<u32>,
        /// Only what follows this place, from the end of the page before.
        #[arg(long)]
        after: Option<String>,
    },
    /// Shows one operation: its steps, what it found, and what it left.
    View {
        /// Id of the operation.
        id: String,
        /// Show everything that happened, too.
        #[arg(long)]
        events: bool,
    },
    /// Shows what an operation would change, as it was previewed.
    Preview {
        /// Id of the operation.
        id: String,
        /// Make the preview again from the cluster as it is now.
        #[arg(long)]
        again: bool,
        #[command(flatten)]
        show: Show,
    },
    /// Lists the images that the pods of an operation would pull.
    Images {
        /// Id of the operation.
        id: String,
    },
    /// Follows an operation until it is at rest. Ctrl-C stops following, not the operation.
    Watch {
        /// Id of the operation.
        id: String,
        #[command(flatten)]
        follow: Follow,
    },
    /// Approves an operation that needs it, or a gate at which it waits.
    Approve {
        /// The gate, when it waits at several.
        #[arg(long)]
        gate: Option<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Runs an operation that was planned before.
    Run(Change),
    /// Gives up an operation that can never be brought to an end; what it leaves behind is listed.
    Forget {
        /// Id of the operation.
        id: String,
        /// What it has done to the cluster may stay there.
        #[arg(long)]
        leave_behind: bool,
    },
    /// Removes operations that are older than the host is to keep them, now instead of within the hour.
    Prune,
    /// Stops an operation and takes back what it did.
    Cancel(Change),
    /// Takes back a finished operation.
    Undo {
        /// Show what would be taken back as the cluster is now, and change nothing.
        #[arg(long)]
        preview: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Goes on with an interrupted operation.
    Resume(Change),
}

#[derive(Debug, Args)]
pub struct Change {
    /// Id of the operation.
    pub id: String,
    #[command(flatten)]
    pub run: Running,
}

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Lists the contexts of the host's kubeconfig and of uploaded ones.
    List,
    /// Shows a cluster's server, identity and version.
    View {
        /// Context; the current one when not given.
        context: Option<String>,
    },
    /// Gives the host a kubeconfig. It keeps it sealed and never shows it.
    Add {
        /// The kubeconfig; `-` for standard input.
        file: PathBuf,
        /// Name to keep it under [default: the file's name without its ending].
        #[arg(long)]
        name: Option<String>,
        /// Replace the one that has this name.
        #[arg(long)]
        replace: bool,
    },
    /// Makes the host forget an uploaded kubeconfig.
    Remove {
        /// Context it is known by.
        context: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Lists the plugin files.
    List,
}

#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Collects the charts of installations, with their digests, the versions their adapters know, and the list of
    /// their images.
    Create {
        /// A mesh and its version, as in istio=1.30.3; may be repeated.
        #[arg(long = "mesh", value_name = "NAME=VERSION", required = true)]
        meshes: Vec<String>,
        #[command(flatten)]
        parameters: Parameters,
        /// A new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Gives the host the charts of a bundle, for good. All digests are checked before any chart is taken.
    Load {
        /// A file that `bundle create` made.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Shows how the store is.
    View,
    /// Saves everything the host keeps, as it is at this moment, while the host works. The host's key is not in it.
    Backup {
        /// A new file, which only its owner can read.
        file: PathBuf,
    },
    /// Gives the host everything of a backup. Refused while operations are active.
    Restore {
        /// A file that `provider backup` made.
        file: PathBuf,
        /// Replace what the host keeps; without this, only an empty store is filled.
        #[arg(long)]
        replace: bool,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Form;

    #[test]
    fn the_form_is_found_in_a_command_line_that_cannot_be_read() {
        for (line, form) in [
            ("mesh fly -o json", Form::Json),
            ("-ojson x", Form::Json),
            ("x --output=yaml", Form::Yaml),
            ("x --output yaml y", Form::Yaml),
            ("x -o=json", Form::Json),
            ("x -o xml", Form::Table),
            ("x -o", Form::Table),
            ("x -- -o json", Form::Table),
            ("json", Form::Table),
        ] {
            let words = line.split(' ').map(std::ffi::OsString::from);
            assert_eq!(super::wanted_form(words), form, "{line}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
