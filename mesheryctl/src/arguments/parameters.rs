//! The arguments that give parameters of an operation.

use clap::Args;

#[derive(Debug, Args)]
pub struct Parameters {
    /// Another parameter of the operation; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub values: Vec<String>,
    /// Another parameter, whose value is the text of a file; may be repeated. `-` is standard input, once; there is
    /// nobody to ask then, so --yes is needed where something is run.
    #[arg(long = "set-file", value_name = "KEY=FILE")]
    pub files: Vec<String>,
}
