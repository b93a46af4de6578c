//! What tracing takes from a Go service, part by part.
//!
//! The difference between two runs carries all that the host did meanwhile; a part is measured
//! within the run whose CPU time it is a share of.

mod page;
mod trap;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::bpf;
use super::chain_cost::build_service;
use super::chain_cost::work::WORKS;
use super::paired;
use super::product::Product;
use super::set::Watch;

/// The section's title.
pub const TITLE: &str = "A Go service, part by part";

/// What to measure, and with what.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Runs of the service.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    #[command(flatten)]
    with: paired::Options,
}

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The program on switches.
    Switch,
    /// Those on the other tracepoints.
    Tracepoints,
    /// Those in Go functions.
    Functions,
    /// What probes take beside their programs.
    Traps,
    /// gohang's own process.
    Process,
}

const PARTS: [Part; 5] = [
    Part::Switch,
    Part::Tracepoints,
    Part::Functions,
    Part::Traps,
    Part::Process,
];

/// How much a part took in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Taken {
    /// How often; none if that is not counted.
    times: Option<u64>,
    /// How long in all, ns.
    ns: f64,
}

/// A run of the service.
#[derive(Debug)]
struct Round {
    /// How long it worked, ns.
    elapsed_ns: f64,
    /// Its CPU time meanwhile, ns.
    cpu_ns: f64,
    /// What gohang took, in the order of [`PARTS`].
    taken: [Taken; PARTS.len()],
}

impl Round {
    /// Share of the service's CPU time that a part took, percent.
    fn percent(&self, part: usize) -> f64 {
        100.0 * self.taken[part].ns / self.cpu_ns
    }

    /// That of all parts.
    fn whole_percent(&self) -> f64 {
        (0..PARTS.len()).map(|part| self.percent(part)).sum()
    }
}

/// Measures, prints, and writes the section.
///
/// # Errors
/// Not root, or a program cannot be built, started or traced.
pub fn parts(options: &Options) -> Result<()> {
    let stage = options.with.stage(&[])?;
    let service = build_service(&stage.workspace, &stage.go_root)?;
    let product = Product {
        gohang: stage.gohang.clone(),
        object: None,
    };
    let statistics = bpf::enable_statistics()?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let round = round(&service, &product)?;
        eprintln!("  {:.3} %", round.whole_percent());
        rounds.push(round);
    }
    drop(statistics);
    stage.publish(TITLE, options.rounds, rounds)
}

fn round(service: &std::path::Path, product: &Product) -> Result<Round> {
    let trap_ns = trap::ns()?;
    let mut started = WORKS[0].start(service, &[])?;
    let tracing = product.trace(&["--pid", &started.pid().to_string()])?;
    let watch = Watch::begin(tracing.pid())?;
    let process_before = tracing.cpu_time()?;
    let said = started.said()?;
    let process = tracing.cpu_time()?.saturating_sub(process_before);
    let spent = watch.spent()?;
    drop(tracing);
    Ok(Round {
        elapsed_ns: said.get("elapsed_ns")?,
        cpu_ns: said.get("cpu_ns")?,
        taken: taken(&spent, trap_ns, process)?,
    })
}

fn taken(programs: &[bpf::Info], trap_ns: f64, process: Duration) -> Result<[Taken; PARTS.len()]> {
    let of = |wanted: Part| {
        let own = programs.iter().filter(|info| part_of(info) == wanted);
        let (runs, ns) = own.fold((0, 0), |(runs, ns), info| {
            (runs + info.runs, ns + info.run_ns)
        });
        Taken {
            times: Some(runs),
            ns: ns as f64,
        }
    };
    let hits = of(Part::Functions).times.context("not counted")?;
    ensure!(hits > 0, "no Go function was probed");
    Ok(PARTS.map(|part| match part {
        Part::Traps => Taken {
            times: Some(hits),
            ns: hits as f64 * trap_ns,
        },
        Part::Process => Taken {
            times: None,
            ns: process.as_nanos() as f64,
        },
        _ => of(part),
    }))
}

/// Which part a kernel program belongs to, by its name.
fn part_of(info: &bpf::Info) -> Part {
    if info.name.starts_with(b"go_") {
        Part::Functions
    } else if info.name.starts_with(b"sched_switch") {
        Part::Switch
    } else {
        Part::Tracepoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_sorted_into_parts() {
        let programs = [
            bpf::Info::of_test(b"sched_switch4", 10, 900),
            bpf::Info::of_test(b"sched_waking", 3, 30),
            bpf::Info::of_test(b"signal_generat", 2, 70),
            bpf::Info::of_test(b"go_signal_m", 4, 40),
            bpf::Info::of_test(b"go_gcstopm", 1, 10),
        ];
        let taken = taken(&programs, 100.0, Duration::from_nanos(600)).expect("hits");
        let figures = taken.map(|own| (own.times, own.ns));
        assert_eq!(
            figures,
            [
                (Some(10), 900.0),
                (Some(5), 100.0),
                (Some(5), 50.0),
                (Some(5), 500.0),
                (None, 600.0)
            ]
        );
        let round = Round {
            elapsed_ns: 1e5,
            cpu_ns: 2e5,
            taken,
        };
        assert!((round.whole_percent() - 1.075).abs() < 1e-9);
        assert!(super::taken(&programs[..3], 1.0, Duration::ZERO).is_err());
    }
}
