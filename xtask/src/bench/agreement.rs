//! Agreement with the independent reference: recorded, kept, and computed again. The privileged
//! suite does both, as it has the reference.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use super::{build, results};
use crate::go;
use crate::process::{clean_run_env, run};
use crate::test::SUITE;
use crate::toolchain::is_root;
use crate::workspace::{Workspace, cargo};

/// Where the recordings and their figures lie, relative to the workspace.
pub const FOLDER: &str = "docs/agreement";

/// `cargo xtask bench agreement`.
#[derive(Debug, Args)]
pub struct Options {
    /// Let this gohang trace instead of a release build.
    #[arg(long, value_name = "PATH")]
    gohang: Option<PathBuf>,
    /// A folder of Go tool chains instead of the one in the target folder.
    #[arg(long, value_name = "DIR")]
    go_root: Option<PathBuf>,
    /// Fewer episodes, no storms and no stops, into the target folder: tries all of it.
    #[arg(long)]
    quick: bool,
}

/// Records, verifies what was written, and writes the page.
///
/// # Errors
/// Not root, something cannot be built, started or recorded, or what was written does not verify.
pub fn agreement(options: &Options) -> Result<()> {
    if !is_root()? {
        bail!("recording attaches kernel programs: run it as root");
    }
    let workspace = Workspace::find()?;
    let gohang = match &options.gohang {
        Some(path) => path.clone(),
        None => build(&workspace)?,
    };
    let go_root = match &options.go_root {
        Some(root) => root.clone(),
        None => go::provide(&workspace.target_dir)?,
    };
    let suite = suite(&workspace)?;
    let folder = if options.quick {
        workspace.target_dir.join("bench/agreement")
    } else {
        workspace.root.join(FOLDER)
    };
    let mut command = Command::new(&suite);
    command
        .arg("agreement")
        .arg(&folder)
        .arg(gohang)
        .arg(go_root);
    if options.quick {
        command.arg("quick");
    }
    run(&mut command)?;
    run(Command::new(&suite).arg("verify").arg(&folder))?;
    if options.quick {
        return Ok(());
    }
    results::write_page(&workspace.root)
}

/// Computes the figures again and prints them.
///
/// # Errors
/// A file is missing or changed, or a figure is another.
pub fn verify() -> Result<()> {
    let workspace = Workspace::find()?;
    let suite = suite(&workspace)?;
    run(Command::new(suite)
        .arg("verify")
        .arg(workspace.root.join(FOLDER)))
}

/// The privileged suite, built.
///
/// # Errors
/// It cannot be.
pub fn suite(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = cargo();
    clean_run_env(&mut command);
    run(command
        .current_dir(&workspace.root)
        .args(["build", "--release", "--package", SUITE]))?;
    Ok(workspace.target_dir.join("release").join(SUITE))
}
