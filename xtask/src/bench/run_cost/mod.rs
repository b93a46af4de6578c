//! What `gohang run` costs a command that finishes normally: its time below gohang against its
//! time bare, in alternating pairs.

mod page;
mod work;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::pairs::{Change, alternate};
use super::{FILE, build, section};
use crate::go;
use crate::process::{kernel_release, output};
use crate::toolchain::is_root;
use crate::workspace::Workspace;

use self::page::Page;
use self::work::{FIGURES, Place, WORKS, Work};

/// The section's title.
pub const TITLE: &str = "`gohang run`";

/// The Go version whose packages are tested.
const GO: &str = "1.27.3";

/// What to measure, and with what.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Alternating pairs of runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(6..=1000))]
    pairs: u16,
    /// Measure this gohang instead of a release build, and write no file.
    #[arg(long, value_name = "PATH")]
    gohang: Option<PathBuf>,
    /// A folder of Go tool chains instead of the one in the target folder.
    #[arg(long, value_name = "DIR")]
    go_root: Option<PathBuf>,
    /// Further arguments of `gohang run`; writes no file.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    run_argument: Vec<String>,
}

/// A work's figures: those of the bare runs, and what gohang adds.
#[derive(Debug)]
struct Measured {
    work: &'static Work,
    changes: Vec<Change>,
}

/// Measures, prints, and writes the section.
///
/// # Errors
/// Not root, or something cannot be started or fails.
pub fn run_cost(options: &Options) -> Result<()> {
    if !is_root()? {
        bail!("gohang run traces where it may: run this as root, so that it may");
    }
    let workspace = Workspace::find()?;
    let go_root = match &options.go_root {
        Some(root) => root.clone(),
        None => go::provide(&workspace.target_dir)?,
    };
    // Other figures than those of this checkout as it is do not belong into its file.
    let writes = options.gohang.is_none() && options.run_argument.is_empty();
    let gohang = match &options.gohang {
        Some(path) => path.clone(),
        None => build(&workspace)?,
    };
    let place = Place::new(&workspace.target_dir.join("bench"), &go_root.join(GO))?;
    let wrapper: Vec<&str> = [gohang.to_str().context("not UTF-8")?, "run"]
        .into_iter()
        .chain(options.run_argument.iter().map(String::as_str))
        .collect();
    let mut measured = Vec::new();
    for work in &WORKS {
        eprintln!("{}: {} pairs", work.title, options.pairs);
        // What is built before the first run is not built again.
        work.run(&place, &[])?;
        let runs = alternate(
            options.pairs,
            || work.run(&place, &[]),
            || work.run(&place, &wrapper),
        )?;
        measured.push(Measured {
            work,
            changes: Change::of_all(&FIGURES, &runs).context("too few pairs")?,
        });
    }
    let page = Page {
        kernel: kernel_release()?,
        cpus: std::thread::available_parallelism()?.get(),
        version: output(Command::new(&gohang).arg("--version"))?,
        go: GO,
        pairs: options.pairs,
        measured,
    };
    print!("{page}");
    if writes {
        section::write(&workspace.root.join(FILE), TITLE, &page.to_string())?;
        eprintln!("written to {FILE}");
    }
    Ok(())
}
