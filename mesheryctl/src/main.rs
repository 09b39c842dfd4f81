//! `mesheryctl`: the command line client. It speaks REST to a host and depends on nothing else of the house: what
//! it shows it reads leniently from the host's answers, and `-o json|yaml` hands those on as they are.

mod adapter;
mod arguments;
mod client;
mod command;
mod console;
mod failure;
mod finding;
mod parameters;
mod preview;
mod progress;
mod record;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;
use console::Console;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut console = Console::new(&arguments.global);
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failure::Failure::from)
        .and_then(|runtime| runtime.block_on(command::run(&arguments, &mut console)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(lines) = failure.lines(console.paint_err) {
                // Nobody is left to tell when this fails.
                let _ = console.tell(&lines);
            }
            let _ = std::io::stderr().flush();
            failure.exit_code()
        }
    }
}
