//! The arguments of `app`.

use clap::{Args, Subcommand};

use super::{Request, Running, Show};

#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Lists the applications that can be deployed.
    List {
        /// Only those of this adapter.
        #[arg(long, visible_alias = "adapter", value_name = "NAME")]
        mesh: Option<String>,
    },
    /// Deploys an application: preview, confirmation, run, and a wait until it is ready.
    Deploy(App),
    /// Removes an application: preview, confirmation, run.
    Remove(App),
}

#[derive(Debug, Args)]
pub struct App {
    /// Name of the application, for example bookinfo.
    pub name: String,
    /// Adapter whose application it is; not needed while only one has it.
    #[arg(long, visible_alias = "adapter", value_name = "NAME")]
    pub mesh: Option<String>,
    /// Namespace of the application; one called like it when not given.
    #[arg(long)]
    pub namespace: Option<String>,
    #[command(flatten)]
    pub request: Request,
    #[command(flatten)]
    pub show: Show,
    #[command(flatten)]
    pub run: Running,
}
