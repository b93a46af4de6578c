//! What tracing costs Go programs: their speed with everything attached against that with
//! nothing attached, in alternating pairs.

mod page;
pub mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::paired::{self, GO};
use super::pairs::{Change, alternate};
use super::product::Product;
use crate::process::output;
use crate::workspace::Workspace;

use self::work::{WORKS, Work};

/// The section's title.
pub const TITLE: &str = "Go programs";

/// What to measure, and with what.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Alternating pairs of runs.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(6..=1000))]
    pairs: u16,
    #[command(flatten)]
    with: paired::Options,
    /// Further arguments of `gohang trace`; writes no file.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    trace_argument: Vec<String>,
}

type Measured = paired::Measured<Work>;

/// Measures, prints, and writes the section.
///
/// # Errors
/// Not root, or a program cannot be built, started or traced.
pub fn chain_cost(options: &Options) -> Result<()> {
    let stage = options.with.stage(&options.trace_argument)?;
    let program = build_service(&stage.workspace, &stage.go_root)?;
    let product = Product {
        gohang: stage.gohang.clone(),
        object: None,
    };
    let mut measured = Vec::new();
    for work in &WORKS {
        eprintln!("{}: {} pairs", work.title, options.pairs);
        measured.push(measure(work, &program, &product, options)?);
    }
    stage.publish(TITLE, options.pairs, measured)
}

/// Builds `tests/workloads/service`.
///
/// # Errors
/// Go does not build it.
pub fn build_service(workspace: &Workspace, go_root: &Path) -> Result<PathBuf> {
    let folder = workspace.target_dir.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    let program = folder.join(format!("service-{GO}"));
    let root = go_root.join(GO);
    output(
        Command::new(root.join("bin/go"))
            .args(["build", "-trimpath", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(workspace.root.join("tests/workloads/service"))
            .env("GOTOOLCHAIN", "local")
            .env("GOPROXY", "off")
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", folder.join("cache"))
            .env("GOROOT", &root),
    )?;
    Ok(program)
}

/// Runs a work in pairs, now the traced run first and now the other.
fn measure(
    work: &'static Work,
    program: &Path,
    product: &Product,
    options: &Options,
) -> Result<Measured> {
    let arguments: Vec<&str> = options.trace_argument.iter().map(String::as_str).collect();
    let traced = || work.run(program, Some((product, &arguments)));
    let alone = || work.run(program, None);
    let runs = alternate(options.pairs, alone, traced)?;
    let changes = Change::of_all(work.figures, &runs).context("too few pairs")?;
    Ok(Measured { work, changes })
}
