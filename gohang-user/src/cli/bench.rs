//! `gohang bench`.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use gohang::bench::{self, Bench, Extent, Measured, PARTS, Part};
use gohang::sink::pipe;
use gohang::units::span;

use super::args::BenchArgs;
use super::experiment::{Bar, failure, finish, tell_loss};
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
    eprintln!("gohang: bench: about {}", span(estimate));
    let mut bar = Bar::new("bench");
    let outcome = bench::run(&parts, extent, &mut bar);
    bar.clear();
    let bench = outcome.map_err(failure)?;
    tell_losses(&bench);
    finish(options.output, &bench, bench::text, &bench.imbalances())
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
        match measured {
            Measured::Delivery(delivery) => tell_loss(&delivery.loss, &delivery.impossible),
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
