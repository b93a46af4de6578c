//! `gohang diff`: two bundles side by side.

use anyhow::Context as _;
use gohang::bundle;
use gohang::run::keep;
use gohang::sink::{json, pipe};

use super::args::{DiffArgs, Document};
use super::{Exit, Failure, open};

/// Reads both bundles and prints what differs.
///
/// # Errors
/// A file that is no bundle (usage); output that cannot be written.
pub(super) fn run(arguments: DiffArgs) -> Result<Exit, Failure> {
    let a = bundle::read(&arguments.a).map_err(Failure::usage)?;
    let b = bundle::read(&arguments.b).map_err(Failure::usage)?;
    let difference = keep::diff(&a, &b);
    let mut out = Vec::new();
    match arguments.output {
        Document::Json => json::write_document(&mut out, &difference)?,
        Document::Text => out.extend_from_slice(keep::diff_text(&difference).as_bytes()),
    }
    pipe::print(&out).context("cannot write the difference to stdout")?;
    let both = [open::whole(&a), open::whole(&b)];
    Ok(if both.contains(&Exit::Failed) {
        Exit::Failed
    } else {
        Exit::Ok
    })
}
