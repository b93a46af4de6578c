//! gohang's own build and test commands: `cargo xtask help` lists them.

mod build_ebpf;
mod manifest;
mod process;
#[path = "../../gohang-user/build/source_hash.rs"]
mod source_hash;
mod toolchain;
mod workspace;

use std::path::PathBuf;

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
}

fn main() -> Result<()> {
    let Arguments { task } = Arguments::parse();
    let workspace = Workspace::find()?;
    match task {
        Task::BuildEbpf { check: true, .. } => build_ebpf::check(&workspace),
        Task::BuildEbpf {
            check: false,
            features,
            out,
        } => build_ebpf::build(&workspace, &build_ebpf::Options { features, out }),
    }
}
