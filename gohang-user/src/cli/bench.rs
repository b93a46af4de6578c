//! `gohang bench`.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use gohang::bench::{self, Bench, Extent, Measured, PARTS, Part};
use gohang::sink::loss::{impossible_line, loss_line};
use gohang::sink::{json, pipe};

use super::args::{BenchArgs, Document};
use super::experiment::{Bar, failure};
use super::{Exit, Failure};

/// Runs parts of the suite and prints what they measured.
pub(super) fn run(options: &BenchArgs) -> Result<Exit, Failure> {
    let parts = chosen(&options.names)?;
    if options.list {
        pipe::print(bench::list().as_bytes()).context("cannot write the list to stdout")?;
        return Ok(Exit::Ok);
    }
    let extent = if options.quick {
        Extent::Quick
    } else {
        Extent::Full
    };
    let estimate: Duration = parts.iter().map(|part| part.estimate(extent)).sum();
    eprintln!("gohang: bench: about {}", bench::duration(estimate));
    let mut bar = Bar::new("bench");
    let outcome = bench::run(&parts, extent, &mut bar);
    bar.clear();
    let bench = outcome.map_err(failure)?;
    tell_losses(&bench);
    let mut out = Vec::new();
    match options.output {
        Document::Text => out.extend_from_slice(bench::text(&bench).as_bytes()),
        Document::Json => json::write_document(&mut out, &bench)?,
    }
    pipe::print(&out).context("cannot write the result to stdout")?;
    let imbalances = bench.imbalances();
    for imbalance in &imbalances {
        eprintln!("gohang: does not add up: {imbalance}");
    }
    Ok(if imbalances.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// The parts that are asked for, each once and in the suite's order.
fn chosen(names: &[String]) -> Result<Vec<&'static Part>, Failure> {
    if let Some(unknown) = names.iter().find(|name| Part::find(name).is_none()) {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        return Err(Failure::usage(anyhow!(
            "there is no part {unknown:?}; the parts are: {}",
            known.join(", ")
        )));
    }
    let wanted = |part: &&Part| names.is_empty() || names.iter().any(|name| name == part.name);
    Ok(PARTS.iter().filter(wanted).collect())
}

/// The loss line of each part that traced.
fn tell_losses(bench: &Bench) {
    for measured in &bench.measured {
        let (loss, impossible) = match measured {
            Measured::Delivery(delivery) => (&delivery.loss, &delivery.impossible),
        };
        eprintln!("gohang: {}", loss_line(loss));
        if let Some(line) = impossible_line(impossible) {
            eprintln!("gohang: {line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_chosen_once_and_unknown_ones_are_named() {
        let names = ["delivery", "delivery"].map(str::to_owned);
        assert_eq!(chosen(&names).expect("known").len(), 1);
        assert_eq!(chosen(&[]).expect("all").len(), PARTS.len());
        let failure = chosen(&["nothing".to_owned()]).expect_err("unknown");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.error.to_string().contains("delivery"));
    }
}
