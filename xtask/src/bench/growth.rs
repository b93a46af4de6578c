//! How gohang grows: the privileged suite measures it, as it has the processes and the groups.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use super::agreement::suite;
use super::{build, results};
use crate::process::run;
use crate::toolchain::is_root;
use crate::workspace::Workspace;

/// The figures, relative to the workspace.
pub const FILE: &str = "docs/growth.json";

/// `cargo xtask bench growth`.
#[derive(Debug, Args)]
pub struct Options {
    /// Measure this gohang instead of a release build.
    #[arg(long, value_name = "PATH")]
    gohang: Option<PathBuf>,
    /// Few and small sizes, into the target folder: tries all of it.
    #[arg(long)]
    quick: bool,
}

/// Measures, and writes the page.
///
/// # Errors
/// Not root, something cannot be built or started, or a file cannot be written.
pub fn growth(options: &Options) -> Result<()> {
    if !is_root()? {
        bail!("measuring attaches kernel programs: run it as root");
    }
    let workspace = Workspace::find()?;
    let gohang = match &options.gohang {
        Some(path) => path.clone(),
        None => build(&workspace)?,
    };
    let suite = suite(&workspace)?;
    let mut command = Command::new(suite);
    command.arg("growth");
    if options.quick {
        let file = workspace.target_dir.join("bench/growth.json");
        return run(command.arg(file).arg(gohang).arg("quick"));
    }
    run(command.arg(workspace.root.join(FILE)).arg(gohang))?;
    results::write_page(&workspace.root)
}
