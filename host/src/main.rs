//! The `meshery` binary: settings, plugins, REST. It wires what `meshery-core` does to those who ask for it.

mod access;
mod app;
mod body;
mod data_folder;
mod failure;
mod host;
mod log;
mod metrics;
mod panics;
mod report;
mod request;
mod rest;
mod server;
mod settings;
mod signals;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

use crate::host::KeyChange;
use crate::settings::Effective;
use crate::settings::flags::Flags;

fn main() -> ExitCode {
    if let Some(args) = Flags::plugin_child() {
        return meshery_core::plugin::child_main(args);
    }
    let flags = Flags::parse();
    let effective = match Effective::read(&flags, std::env::vars_os()) {
        Ok(effective) => effective,
        Err(error) => return failed(&error.into()),
    };
    if flags.print_config {
        report::print(&effective);
        return ExitCode::SUCCESS;
    }
    if !effective.settings.core_dumps
        && let Err(error) = meshery_core::core_dumps::switch_off()
    {
        return failed(&anyhow::Error::from(error).context("switching core dumps off"));
    }
    log::start(&effective.settings.log);
    panics::log_them();
    let key = KeyChange {
        accept: flags.accept_key,
        rotate: flags.rotate_key,
    };
    match host::run(&effective, key) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("meshery: {error:#}");
    ExitCode::FAILURE
}
