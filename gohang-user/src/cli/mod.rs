//! The command line: one file a subcommand, arguments validated into plain
//! options at the edge.

pub mod args;
mod bench;
mod clean;
mod compare;
mod completions;
mod demo;
mod diff;
mod doctor;
mod exit;
mod experiment;
mod explain;
mod group;
mod inspect;
pub mod keep;
mod open;
mod replay;
pub mod report;
pub mod run;
mod trace;
mod version;

use clap::Parser as _;

pub use exit::{Exit, Failure};

/// Runs the command line and returns the exit code.
#[must_use]
pub fn main() -> i32 {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = exit::usage(&error);
            // A code of its own, as other commands have it, would be the command's.
            let of_run = std::env::args_os().skip(1).find(|arg| !is_option(arg));
            return match code {
                0 => 0,
                _ if of_run.is_some_and(|arg| arg == "run") => gohang::run::FAILED,
                code => code,
            };
        }
    };
    exit::init_log(arguments.verbose);
    let outcome = match arguments.command {
        args::Command::Trace(options) => trace::run(*options),
        args::Command::Replay(options) => replay::run(options),
        args::Command::Demo(options) => demo::run(options),
        args::Command::Bench(options) => bench::run(&options),
        args::Command::Inspect(options) => inspect::run(*options, inspect::Verb::Inspect),
        args::Command::Advise(options) => inspect::run(*options, inspect::Verb::Advise),
        args::Command::Doctor(options) => doctor::run(options),
        args::Command::Compare(options) => compare::run(options),
        args::Command::Open(options) => open::run(options),
        args::Command::Diff(options) => diff::run(options),
        args::Command::Explain(options) => explain::run(options),
        args::Command::Completions(options) => completions::run(options),
        args::Command::Run(options) => return run::run(*options),
        args::Command::Clean => clean::run(),
        args::Command::Version(options) => version::run(options),
        args::Command::ExperimentPart(options) => experiment::run_part(&options),
    };
    exit::code(outcome)
}

fn is_option(arg: &std::ffi::OsStr) -> bool {
    arg.as_encoded_bytes().starts_with(b"-")
}
