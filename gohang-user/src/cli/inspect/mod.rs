//! `gohang inspect` and `gohang advise`.

pub mod args;
mod migrate;
mod watch;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use gohang::inspect::{Collector, Inspection, look};
use gohang::process::ProcRoot;
use gohang::sink::text::layout::usable_width;
use gohang::sink::{inspect_text, json, pipe};
use gohang::source::{Selection, check_pids};

use super::args::Document;
use super::group::group;
use super::trace::selection;
use super::{Exit, Failure};
use args::InspectArgs;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Everything.
    Inspect,
    /// Only what to change.
    Advise,
}

/// How long `advise` watches statistics unless told.
const ADVISE_SAMPLE: Duration = Duration::from_secs(1);

/// Looks at processes and prints what was found.
///
/// # Errors
/// A process id that there is not (usage), or output that cannot be written.
pub(super) fn run(mut options: InspectArgs, verb: Verb) -> Result<Exit, Failure> {
    options.select.pid.append(&mut options.pids);
    let chosen = selection(options.select)?;
    let proc = ProcRoot::default();
    // Given ids are shown whatever they run, but they must be processes' ids.
    let given = Selection {
        pids: chosen.pids.clone(),
        non_go: true,
        ..Selection::default()
    };
    check_pids(&proc, &given).map_err(Failure::usage)?;
    let sample = options
        .sample
        .or((verb == Verb::Advise).then_some(ADVISE_SAMPLE));
    let mut collector = Collector::new(proc, Path::new("/"));
    if let Some(to) = options.migrate_to {
        let to = group(&to)?;
        return migrate::run(&mut collector, &chosen, &to, options.yes, options.output);
    }
    if let Some(every) = options.watch {
        let watch = watch::Watch {
            selection: chosen,
            sample: options.sample,
            every,
            output: options.output,
        };
        return watch::run(&mut collector, &watch);
    }
    let found = look(&mut collector, &chosen, sample);
    print(&found, options.output, verb)?;
    all_gone(&found, &chosen)?;
    Ok(Exit::Ok)
}

fn print(found: &Inspection, output: Document, verb: Verb) -> Result<(), Failure> {
    let mut out = Vec::new();
    let width = usable_width(None);
    match (output, verb) {
        (Document::Json, _) => json::write_document(&mut out, found)?,
        (Document::Text, Verb::Inspect) => {
            out.extend_from_slice(inspect_text::text(found, width).as_bytes());
        }
        (Document::Text, Verb::Advise) => {
            out.extend_from_slice(inspect_text::advice_text(found, width).as_bytes());
        }
    }
    pipe::print(&out).context("cannot write what was found to stdout")?;
    Ok(())
}

/// Every process that was given by id has ended meanwhile.
fn all_gone(found: &Inspection, chosen: &Selection) -> Result<(), Failure> {
    if chosen.pids.is_empty() || chosen.is_open() || !found.processes.is_empty() {
        return Ok(());
    }
    let reasons = found.failed.iter().map(|failed| failed.reason.clone());
    let reasons: Vec<String> = reasons.collect();
    Err(Failure::usage(anyhow::anyhow!(
        "none of the given processes could be looked at: {}",
        reasons.join("; ")
    )))
}
