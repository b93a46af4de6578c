//! `gohang bench`.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use gohang::bench::{self, Bench, Choice, Extent, Measured, PARTS, Part, scenarios};
use gohang::sink::pipe;
use gohang::units::span;

use super::args::BenchArgs;
use super::experiment::{Bar, failure, finish, tell_loss};
use super::{Exit, Failure};

/// Runs parts of the suite and prints what they measured.
pub(super) fn run(options: &BenchArgs) -> Result<Exit, Failure> {
    let (parts, scenarios) = chosen(&options.names)?;
    if options.list {
        pipe::print(bench::list().as_bytes()).context("cannot write the list to stdout")?;
        return Ok(Exit::Ok);
    }
    let choice = Choice {
        extent: if options.quick {
            Extent::Quick
        } else {
            Extent::Full
        },
        scenarios,
        go: options.go.clone(),
    };
    let estimate: Duration = parts.iter().map(|part| part.estimate(&choice)).sum();
    eprintln!("gohang: bench: about {}", span(estimate));
    let mut bar = Bar::new("bench");
    let outcome = bench::run(&parts, &choice, &mut bar);
    bar.clear();
    let bench = outcome.map_err(failure)?;
    tell_losses(&bench);
    finish(options.output, &bench, bench::text, &bench.imbalances())
}

/// Parts, and of the scenarios which; all where there is none.
type Chosen = (Vec<&'static Part>, Vec<&'static str>);

/// The parts that are asked for, each once and in the suite's order. A scenario's name asks
/// for it alone.
fn chosen(names: &[String]) -> Result<Chosen, Failure> {
    let is_known = |name: &str| Part::find(name).is_some() || scenarios::find(name).is_some();
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        return Err(Failure::usage(anyhow!(
            "there is no part {unknown:?}; the parts are: {}, and the scenarios B1 to B20 (--list)",
            known.join(", ")
        )));
    }
    let ids: Vec<&str> = names
        .iter()
        .filter_map(|name| scenarios::find(name))
        .collect();
    let wanted = |part: &&Part| {
        names.is_empty()
            || names.iter().any(|name| name == part.name)
            || part.name == scenarios::NAME && !ids.is_empty()
    };
    Ok((PARTS.iter().filter(wanted).collect(), ids))
}

/// The loss line of each part that traced.
fn tell_losses(bench: &Bench) {
    for measured in &bench.measured {
        match measured {
            Measured::Delivery(delivery) => tell_loss(&delivery.loss, &delivery.impossible),
            Measured::Scenarios(told) => {
                let lost: u64 = told.scenarios.iter().map(|own| own.lost).sum();
                let impossible: u64 = told.scenarios.iter().map(|own| own.impossible).sum();
                eprintln!("gohang: scenarios: {lost} records lost, {impossible} impossible values");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_chosen_once_and_unknown_ones_are_named() {
        let names = ["delivery", "delivery"].map(str::to_owned);
        assert_eq!(chosen(&names).expect("known").0.len(), 1);
        assert_eq!(chosen(&[]).expect("all").0.len(), PARTS.len());
        let (parts, ids) = chosen(&["b5".to_owned(), "B1".to_owned()]).expect("known");
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].name, ids), ("scenarios", vec!["B5", "B1"]));
        let failure = chosen(&["nothing".to_owned()]).expect_err("unknown");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.error.to_string().contains("delivery"));
    }
}
