//! What `gohang run` costs a command that finishes normally: its time below gohang against its
//! time bare, in alternating pairs.

mod page;
mod work;

use anyhow::{Context as _, Result};

use super::paired::{self, GO, Measured};
use super::pairs::{Change, alternate};

use self::work::{FIGURES, Place, WORKS};

/// The section's title.
pub const TITLE: &str = "`gohang run`";

/// What to measure, and with what.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Alternating pairs of runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(6..=1000))]
    pairs: u16,
    #[command(flatten)]
    with: paired::Options,
    /// Further arguments of `gohang run`; writes no file.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    run_argument: Vec<String>,
}

/// Measures, prints, and writes the section.
///
/// # Errors
/// Not root, or something cannot be started or fails.
pub fn run_cost(options: &Options) -> Result<()> {
    let stage = options.with.stage(&options.run_argument)?;
    let place = Place::new(
        &stage.workspace.target_dir.join("bench"),
        &stage.go_root.join(GO),
    )?;
    let wrapper: Vec<&str> = [stage.gohang.to_str().context("not UTF-8")?, "run"]
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
    stage.publish(TITLE, options.pairs, measured)
}
