//! `mesheryctl`: the command line client. It speaks REST to a host and depends on nothing else of the house: what
//! it shows it reads leniently from the host's answers, and `-o json|yaml` hands those on as they are.

mod adapter;
mod application;
mod arguments;
mod client;
mod command;
mod console;
mod failure;
mod finding;
mod parameters;
mod partial;
mod preview;
mod progress;
mod record;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use arguments::{Arguments, Form};
use console::Console;
use failure::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refused(&error),
    };
    let mut console = Console::new(&arguments.global);
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(command::run(&arguments, &mut console)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when this fails.
            let _ = console.fail(&failure);
            let _ = std::io::stderr().flush();
            exit_code(&failure)
        }
    }
}

/// Where code 2 says that a plan changes something, a wrong command line must not say so.
fn exit_code(failure: &Failure) -> ExitCode {
    let changes_are_2 = std::env::args_os().any(|argument| argument == "--exit-code");
    match failure {
        Failure::Usage(_) if changes_are_2 => ExitCode::FAILURE,
        failure => failure.exit_code(),
    }
}

/// A command line that means nothing, told in the form that it asks for as far as that can be seen.
fn refused(error: &clap::Error) -> ExitCode {
    let form = arguments::wanted_form(std::env::args_os().skip(1));
    // Help and version are no errors.
    if !error.use_stderr() {
        error.exit();
    }
    if form == Form::Table {
        let _ = error.print();
        return exit_code(&Failure::usage("command-line", "", ""));
    }
    let text = error.render().to_string();
    let mut paragraphs = text.trim().splitn(2, "\n\n");
    let (message, remedy) = match error.kind() {
        // It is told by the whole help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ("a command is missing", "see `mesheryctl --help`")
        }
        _ => (
            paragraphs
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: "),
            paragraphs.next().unwrap_or_default(),
        ),
    };
    let failure = Failure::usage("command-line", message, remedy);
    let _ = Console::plain(form).fail(&failure);
    exit_code(&failure)
}
