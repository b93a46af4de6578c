//! `gohang inspect --watch`: what changes, until it is ended.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use gohang::inspect::model::Process;
use gohang::inspect::{Collector, Inspection, has_moved, look, watch_move};
use gohang::sink::text::layout::usable_width;
use gohang::sink::{inspect_text, json, pipe};
use gohang::source::Selection;
use tokio::signal::unix::{SignalKind, signal};

use super::super::args::Document;
use super::super::{Exit, Failure};

/// What to watch, and how.
pub(super) struct Watch {
    pub selection: Selection,
    pub sample: Option<Duration>,
    pub every: Duration,
    pub output: Document,
}

/// Looks again and again: text tells everything once and then what changed, JSON is one
/// line for each look. Ends with Ctrl-C or SIGTERM, or when all given processes have ended.
///
/// # Errors
/// Output that cannot be written.
pub(super) fn run(collector: &mut Collector, watch: &Watch) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals")?;
    // Looks are made outside of the runtime: they wait for systemd in one of their own.
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        let interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        anyhow::Ok((interrupt, terminate))
    })?;
    let mut known = BTreeMap::new();
    let mut first = true;
    loop {
        let mut found = look(collector, &watch.selection, watch.sample);
        moves(collector, &known, &mut found);
        print(&known, &found, first, watch.output)?;
        first = false;
        known = found
            .processes
            .into_iter()
            .map(|own| (own.pid, own))
            .collect();
        if known.is_empty() && !watch.selection.is_open() {
            return Ok(Exit::Ok);
        }
        let ended = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                () = tokio::time::sleep(watch.every) => false,
            }
        });
        if ended {
            return Ok(Exit::Ok);
        }
    }
}

/// Follows processes that someone else has moved since the last look.
fn moves(collector: &mut Collector, known: &BTreeMap<u32, Process>, found: &mut Inspection) {
    for now in &found.processes {
        let Some(before) = known.get(&now.pid).filter(|before| has_moved(before, now)) else {
            continue;
        };
        // One that ends meanwhile is missed by the next look.
        if let Ok(made) = watch_move(collector, before, false) {
            found.moves.push(made);
        }
    }
}

fn print(
    known: &BTreeMap<u32, Process>,
    found: &Inspection,
    first: bool,
    output: Document,
) -> Result<(), Failure> {
    let mut out = Vec::new();
    match output {
        Document::Json => json::write_line(&mut out, found),
        Document::Text if first => {
            let text = inspect_text::text(found, usable_width(None));
            out.extend_from_slice(text.as_bytes());
        }
        Document::Text => {
            let text = inspect_text::changes_text(known, found, usable_width(None));
            out.extend_from_slice(text.as_bytes());
        }
    }
    pipe::print(&out).context("cannot write what was found to stdout")?;
    Ok(())
}
