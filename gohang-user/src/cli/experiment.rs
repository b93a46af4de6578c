//! What the commands that experiment share: progress, results, failures, and the hidden command
//! that the experiment's own processes are.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use gohang::experiment::{self, ExperimentError, Progress, Role};
use gohang::report::Loss;
use gohang::sink::loss::{impossible_line, loss_line};
use gohang::sink::{json, pipe};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::{Document, ExperimentPartArgs, ExperimentRole};
use super::{Exit, Failure};

/// A process of an experiment.
pub(super) fn run_part(options: &ExperimentPartArgs) -> Result<Exit, Failure> {
    let role = match options.role {
        ExperimentRole::Target => Role::Target,
        ExperimentRole::Sender => Role::Sender,
        ExperimentRole::Load => Role::Load,
    };
    experiment::run_part(role, options.parent, &options.what).map_err(failure)?;
    Ok(Exit::Ok)
}

/// Says what was lost, and what was impossible.
pub(super) fn tell_loss(loss: &Loss, impossible: &BTreeMap<String, u64>) {
    eprintln!("gohang: {}", loss_line(loss));
    if let Some(line) = impossible_line(impossible) {
        eprintln!("gohang: {line}");
    }
}

/// Prints the document, as `text` where that is asked for, and says what does not add up.
pub(super) fn finish<T: Serialize>(
    output: Document,
    document: &T,
    text: impl FnOnce(&T) -> String,
    imbalances: &[String],
) -> Result<Exit, Failure> {
    let mut out = Vec::new();
    match output {
        Document::Text => out.extend_from_slice(text(document).as_bytes()),
        Document::Json => json::write_document(&mut out, document)?,
    }
    pipe::print(&out).context("cannot write the result to stdout")?;
    for imbalance in imbalances {
        eprintln!("gohang: does not add up: {imbalance}");
    }
    Ok(if imbalances.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// A failure with its exit code.
pub(super) fn failure(error: ExperimentError) -> Failure {
    if error.is_unable() {
        Failure::unable(error)
    } else {
        Failure::from(error)
    }
}

/// Progress on stderr: a bar on a terminal, else a line a run.
pub(super) struct Bar {
    command: &'static str,
    bar: Option<ProgressBar>,
}

impl Bar {
    /// Of this subcommand.
    pub(super) fn new(command: &'static str) -> Self {
        Self { command, bar: None }
    }

    /// Takes the bar from the terminal.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn begin(&mut self, name: &str, length: Duration) {
        self.clear();
        if !std::io::stderr().is_terminal() {
            let command = self.command;
            eprintln!("gohang: {command}: {name}, {:.1} s", length.as_secs_f64());
            return;
        }
        let bar = ProgressBar::new(length.as_millis() as u64).with_message(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{msg:52} [{bar:20}] {percent:3} %") {
            bar.set_style(style.progress_chars("=> "));
        }
        self.bar = Some(bar);
    }

    fn at(&mut self, elapsed: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_position(elapsed.as_millis() as u64);
        }
    }
}
