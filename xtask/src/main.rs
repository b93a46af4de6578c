//! gohang's own build and test commands: `cargo xtask help` lists them.

mod bench;
mod build_ebpf;
mod fuzz;
mod go;
mod manifest;
mod peers;
mod process;
mod skips;
#[path = "../../gohang-user/build/source_hash.rs"]
mod source_hash;
#[cfg(test)]
mod source_hash_tests;
mod tally;
mod test;
mod toolchain;
mod verifier;
mod vm;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// gohang's own build and test commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the kernel object that is committed, and its manifest.
    BuildEbpf {
        /// Rebuild aside and compare with the committed object instead.
        #[arg(long, conflicts_with_all = ["features", "out"])]
        check: bool,
        /// Further features of gohang-ebpf, for tests; needs --out.
        #[arg(long, value_delimiter = ',', requires = "out")]
        features: Vec<String>,
        /// Where to put the object; its manifest goes beside it.
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
    },
    /// Run every test, on real kernels under emulation too; those of the kernel side need root.
    Test {
        /// Only name the tests.
        #[arg(long, conflicts_with = "ci")]
        list: bool,
        /// Fail unless the skipped tests are exactly those of tests/expected-skips.txt.
        #[arg(long, conflicts_with = "filter")]
        ci: bool,
        /// Boot no kernels under emulation.
        #[arg(long)]
        no_vm: bool,
        /// The long form of tests that have one: half an hour more.
        #[arg(long)]
        full: bool,
        /// Only tests whose name contains this, without those kernels.
        filter: Option<String>,
    },
    /// Run the privileged tests on real kernels under emulation.
    Vm(vm::Options),
    /// Show what the kernel's verifier takes for each program on each kernel.
    VerifierStats(verifier::Options),
    /// Fuzz the parsers of outside data; needs a C++ compiler.
    Fuzz {
        /// Target of tests/fuzz; all without.
        target: Option<String>,
        /// How long each target runs.
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u32,
    },
    /// Measure.
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
}

fn main() -> ExitCode {
    let Arguments { task } = Arguments::parse();
    match run(task) {
        Ok(code) => code,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::BuildEbpf { check: true, .. } => build_ebpf::check(&Workspace::find()?)?,
        Task::BuildEbpf {
            check: false,
            features,
            out,
        } => {
            build_ebpf::build(&Workspace::find()?, &build_ebpf::Options { features, out })?;
        }
        Task::Test {
            list: true, filter, ..
        } => test::list(&Workspace::find()?, filter.as_deref())?,
        Task::Test {
            list: false,
            ci,
            no_vm,
            full,
            filter,
        } => {
            let options = test::Options {
                filter,
                ci,
                vm: !no_vm,
                full,
            };
            return test::test(&Workspace::find()?, &options);
        }
        Task::Vm(options) => return vm::vm(&Workspace::find()?, &options),
        Task::VerifierStats(options) => return verifier::stats(&Workspace::find()?, &options),
        Task::Fuzz { target, seconds } => {
            return fuzz::fuzz(&Workspace::find()?, &fuzz::Options { target, seconds });
        }
        // Its own children run outside cargo: they know no workspace.
        Task::Bench { what } => bench::bench(what)?,
    }
    Ok(ExitCode::SUCCESS)
}
