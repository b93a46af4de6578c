//! `gohang inspect PID --migrate-to CGROUP`.

use std::path::Path;

use anyhow::Context as _;
use gohang::inspect::model::Inspection;
use gohang::inspect::{Collector, MoveError, look, migrate};
use gohang::sink::text::layout::usable_width;
use gohang::sink::{inspect_text, json, pipe};
use gohang::source::Selection;

use super::super::args::Document;
use super::super::{Exit, Failure};

/// Moves one process, or says what a move would change.
///
/// # Errors
/// More or fewer than one process (usage), a group that there is not (usage), or a move that
/// the kernel refuses.
pub(super) fn run(
    collector: &mut Collector,
    chosen: &Selection,
    group: &Path,
    yes: bool,
    output: Document,
) -> Result<Exit, Failure> {
    let mut pids = chosen.pids.iter();
    let (Some(&pid), None, false) = (pids.next(), pids.next(), chosen.is_open()) else {
        return Err(Failure::usage(anyhow::anyhow!(
            "--migrate-to moves one process: give its id, and nothing else to select by"
        )));
    };
    let made = migrate(collector, pid, group, yes).map_err(|error| match error {
        MoveError::Group(_) | MoveError::AlreadyThere { .. } | MoveError::Process(_) => {
            Failure::usage(error)
        }
        MoveError::NoCpu | MoveError::Refused { .. } => Failure::unable(error),
    })?;
    let mut out = Vec::new();
    match output {
        Document::Text => {
            let text = inspect_text::move_text(&made, usable_width(None));
            out.extend_from_slice(text.trim_start().as_bytes());
        }
        Document::Json => {
            let mut found: Inspection = look(collector, chosen, None);
            found.moves.push(made);
            json::write_document(&mut out, &found)?;
        }
    }
    pipe::print(&out).context("cannot write what was found to stdout")?;
    Ok(Exit::Ok)
}
