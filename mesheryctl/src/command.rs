//! What each command does.

mod adapter;
mod app;
mod apply;
mod bundle;
mod change;
mod cluster;
mod image_digests;
mod images;
mod mesh;
mod operation;
mod operation_set;
mod plugin;
mod provider;
mod version;

use crate::arguments::{Arguments, Command};
use crate::client::Client;
use crate::console::Console;
use crate::failure::Failure;

pub async fn run(arguments: &Arguments, console: &mut Console) -> Result<(), Failure> {
    let client = Client::new(&arguments.global)?;
    if let Some(warning) = client.warning() {
        console.warn(&warning)?;
    }
    match &arguments.command {
        Command::Adapter(command) => adapter::run(&client, console, command).await,
        Command::Mesh(command) => mesh::run(&client, console, command).await,
        Command::App(command) => app::run(&client, console, command).await,
        Command::Operation(command) => operation::run(&client, console, command).await,
        Command::OperationSet(command) => operation_set::run(&client, console, command).await,
        Command::Cluster(command) => cluster::run(&client, console, command).await,
        Command::Plugin(command) => plugin::run(&client, console, command).await,
        Command::Apply {
            file,
            context,
            show,
            run,
        } => apply::run(&client, console, (file, context.as_deref()), *show, run).await,
        Command::Bundle(command) => bundle::run(&client, console, command).await,
        Command::Provider(command) => provider::run(&client, console, command).await,
        Command::Version => version::run(&client, console).await,
    }
}
