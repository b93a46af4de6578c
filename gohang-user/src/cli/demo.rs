//! `gohang demo`.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use gohang::demo::{self, DemoError, Role};
use gohang::sink::loss::{impossible_line, loss_line};
use gohang::sink::{json, pipe};
use indicatif::{ProgressBar, ProgressStyle};

use super::args::{DemoArgs, DemoPartArgs, DemoRole, Document};
use super::{Exit, Failure};

/// Runs the demo and prints what it measured.
pub(super) fn run(options: DemoArgs) -> Result<Exit, Failure> {
    let mut bar = Bar(None);
    let outcome = demo::run(&mut bar);
    bar.clear();
    let demo = outcome.map_err(failure)?;
    eprintln!("gohang: {}", loss_line(&demo.loss));
    if let Some(line) = impossible_line(&demo.impossible) {
        eprintln!("gohang: {line}");
    }
    let mut out = Vec::new();
    match options.output {
        Document::Text => out.extend_from_slice(demo::text(&demo).as_bytes()),
        Document::Json => json::write_document(&mut out, &demo)?,
    }
    pipe::print(&out).context("cannot write the result to stdout")?;
    let imbalances = demo.imbalances();
    for imbalance in &imbalances {
        eprintln!("gohang: does not add up: {imbalance}");
    }
    Ok(if imbalances.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// A process of the demo.
pub(super) fn run_part(options: &DemoPartArgs) -> Result<Exit, Failure> {
    let role = match options.role {
        DemoRole::Target => Role::Target,
        DemoRole::Sender => Role::Sender,
    };
    demo::run_part(role, options.parent).map_err(failure)?;
    Ok(Exit::Ok)
}

fn failure(error: DemoError) -> Failure {
    if error.is_unable() {
        Failure::unable(error)
    } else {
        Failure::from(error)
    }
}

/// Progress on stderr: a bar on a terminal, else a line a phase.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn clear(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl demo::Progress for Bar {
    fn phase(&mut self, quota: Option<(u64, u64)>, length: Duration) {
        self.clear();
        let name = match quota {
            None => "without a quota".to_owned(),
            Some((quota_ns, period_ns)) => {
                format!(
                    "with {} ms in {} ms",
                    quota_ns / 1_000_000,
                    period_ns / 1_000_000
                )
            }
        };
        if !std::io::stderr().is_terminal() {
            eprintln!("gohang: demo: {name}, {:.1} s", length.as_secs_f64());
            return;
        }
        let bar = ProgressBar::new(length.as_millis() as u64).with_message(name);
        if let Ok(style) = ProgressStyle::with_template("{msg:28} [{bar:30}] {percent:3} %") {
            bar.set_style(style.progress_chars("=> "));
        }
        self.0 = Some(bar);
    }

    fn at(&mut self, elapsed: Duration) {
        if let Some(bar) = &self.0 {
            bar.set_position(elapsed.as_millis() as u64);
        }
    }
}
