//! `gohang compare`: two reports side by side.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use gohang::compare::{compare, read_report, text};
use gohang::sink::text::layout::usable_width;
use gohang::sink::{json, pipe};

use super::args::{CompareArgs, Document};
use super::{Exit, Failure};

/// Reads both reports and prints the comparison.
///
/// # Errors
/// A file that is no report (usage), or output that cannot be written.
pub(super) fn run(arguments: CompareArgs) -> Result<Exit, Failure> {
    let a = read_report(&arguments.a).map_err(Failure::usage)?;
    let b = read_report(&arguments.b).map_err(Failure::usage)?;
    let comparison = compare(&a, &b);
    let mut out = Vec::new();
    match arguments.output {
        Document::Json => json::write_document(&mut out, &comparison)?,
        Document::Text => {
            let terminal = std::io::stdout().is_terminal();
            // An empty NO_COLOR counts as unset.
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            out.extend_from_slice(text(&comparison, usable_width(None), colour).as_bytes());
        }
    }
    pipe::print(&out).context("cannot write the comparison to stdout")?;
    Ok(Exit::Ok)
}
