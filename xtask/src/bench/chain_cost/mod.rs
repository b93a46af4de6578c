//! What tracing costs Go programs: their speed with everything attached against that with
//! nothing attached, in alternating pairs.

mod page;
pub mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::pairs::{Change, alternate};
use super::product::Product;
use super::{FILE, build, section};
use crate::go;
use crate::process::{kernel_release, output};
use crate::toolchain::is_root;
use crate::workspace::Workspace;

use self::page::Page;
use self::work::{WORKS, Work};

/// The section's title.
pub const TITLE: &str = "Go programs";

/// The Go version of the programs.
pub const GO: &str = "1.27.3";

/// What to measure, and with what.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Alternating pairs of runs.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(6..=1000))]
    pairs: u16,
    /// Measure this gohang instead of a release build, and write no file.
    #[arg(long, value_name = "PATH")]
    gohang: Option<PathBuf>,
    /// A folder of Go tool chains instead of the one in the target folder.
    #[arg(long, value_name = "DIR")]
    go_root: Option<PathBuf>,
    /// Further arguments of `gohang trace`; writes no file.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    trace_argument: Vec<String>,
}

/// A work's figures: those of the runs with nothing attached, and what tracing changes.
#[derive(Debug)]
struct Measured {
    work: &'static Work,
    changes: Vec<Change>,
}

/// Measures, prints, and writes the section.
///
/// # Errors
/// Not root, or a program cannot be built, started or traced.
pub fn chain_cost(options: &Options) -> Result<()> {
    if !is_root()? {
        bail!("measuring attaches kernel programs: run it as root");
    }
    let workspace = Workspace::find()?;
    let go_root = match &options.go_root {
        Some(root) => root.clone(),
        None => go::provide(&workspace.target_dir)?,
    };
    let program = build_service(&workspace, &go_root)?;
    // Other figures than those of this checkout as it is do not belong into its file.
    let writes = options.gohang.is_none() && options.trace_argument.is_empty();
    let product = Product {
        gohang: match &options.gohang {
            Some(path) => path.clone(),
            None => build(&workspace)?,
        },
        object: None,
    };
    let pairs = usize::from(options.pairs);
    let mut measured = Vec::new();
    for work in &WORKS {
        eprintln!("{}: {pairs} pairs", work.title);
        measured.push(measure(work, &program, &product, options)?);
    }
    let page = Page {
        kernel: kernel_release()?,
        cpus: std::thread::available_parallelism()?.get(),
        version: output(Command::new(&product.gohang).arg("--version"))?,
        go: GO,
        pairs,
        measured,
    };
    print!("{page}");
    if writes {
        section::write(&workspace.root.join(FILE), TITLE, &page.to_string())?;
        eprintln!("written to {FILE}");
    }
    Ok(())
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
