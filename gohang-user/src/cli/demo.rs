//! `gohang demo`.

use anyhow::Context as _;
use gohang::demo;
use gohang::sink::loss::{impossible_line, loss_line};
use gohang::sink::{json, pipe};

use super::args::{DemoArgs, Document};
use super::experiment::{Bar, failure};
use super::{Exit, Failure};

/// Runs the demo and prints what it measured.
pub(super) fn run(options: DemoArgs) -> Result<Exit, Failure> {
    let mut bar = Bar::new("demo");
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
