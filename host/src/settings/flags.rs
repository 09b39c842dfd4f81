//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Meshery: manages service meshes on Kubernetes clusters. See what a change does, run it, watch it, take it back.
#[derive(Debug, Default, Parser)]
#[command(name = "meshery", version, about)]
#[command(
    after_help = "Settings of meshery.toml can also be given as MESHERY_<SETTING>, but for isolation_of, \
                        images.digests and provider.config; flags come last and win. `meshery --print-config` shows \
                        all of them with the place each value comes from."
)]
pub struct Flags {
    /// Address to serve on [default: 127.0.0.1:9081]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// Data folder [default: ~/.meshery]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Folder of plugins, besides the host's own; may be given several times
    #[arg(long, value_name = "DIR")]
    pub plugins: Vec<PathBuf>,

    /// Settings file [default: meshery.toml in the data folder, if there is one]
    #[arg(long, value_name = "FILE", env = "MESHERY_CONFIG")]
    pub config: Option<PathBuf>,

    /// Take the present host.key for the right one: what a lost one sealed stays lost, and is reported no more
    #[arg(long)]
    pub accept_key: bool,

    /// Make a new host.key: uploaded kubeconfigs are sealed anew, and the old key is kept in host.key.retired to open
    /// what operations have sealed with it
    #[arg(long)]
    pub rotate_key: bool,

    /// Print the settings and where each comes from, and end
    #[arg(long)]
    pub print_config: bool,
}

impl Flags {
    /// The arguments after a hidden subcommand that turns this process into a plugin's.
    ///
    /// Looked at before anything else, because the plugin's side wants to be alone in its process.
    pub fn plugin_child() -> Option<impl Iterator<Item = OsString>> {
        let mut args = std::env::args_os().skip(1);
        (args.next()? == "plugin-child").then_some(args)
    }
}
