//! The command line: one file a subcommand, arguments validated into plain
//! options at the edge.

pub mod args;
mod compare;
mod completions;
mod demo;
mod doctor;
mod exit;
mod explain;
mod replay;
pub mod report;
mod trace;
mod version;

use clap::Parser as _;

pub use exit::{Exit, Failure};

/// Runs the command line and returns the exit code.
#[must_use]
pub fn main() -> i32 {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    exit::init_log(arguments.verbose);
    let outcome = match arguments.command {
        args::Command::Trace(options) => trace::run(*options),
        args::Command::Replay(options) => replay::run(options),
        args::Command::Demo(options) => demo::run(options),
        args::Command::Doctor(options) => doctor::run(options),
        args::Command::Compare(options) => compare::run(options),
        args::Command::Explain(options) => explain::run(options),
        args::Command::Completions(options) => completions::run(options),
        args::Command::Version(options) => version::run(options),
        args::Command::DemoPart(options) => demo::run_part(&options),
    };
    exit::code(outcome)
}
