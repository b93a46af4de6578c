//! What each kernel program takes a run, at several works.

mod page;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::bpf;
use super::btf;
use super::chain_cost::build_service;
use super::paired;
use super::product::Product;

use self::work::{Place, WORKS, Work};

/// The section's title.
pub const TITLE: &str = "Each kernel program at work";

/// What to measure, and with what.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Rounds of all works.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    #[command(flatten)]
    with: paired::Options,
}

/// How often a program ran in a round, and how long in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Runs {
    count: u64,
    ns: u64,
}

/// What a round of a work took.
#[derive(Debug, Clone)]
struct Round {
    elapsed: Duration,
    /// By the programs' names.
    programs: BTreeMap<String, Runs>,
}

/// A work and its rounds.
#[derive(Debug)]
struct Measured {
    work: &'static Work,
    rounds: Vec<Round>,
}

/// Measures, prints, and writes the section.
///
/// # Errors
/// Not root, or a program cannot be built, started or traced.
pub fn programs(options: &Options) -> Result<()> {
    let stage = options.with.stage(&[])?;
    let place = Place {
        service: build_service(&stage.workspace, &stage.go_root)?,
        product: Product {
            gohang: stage.gohang.clone(),
            object: None,
        },
        hooks: btf::tracepoints()?,
    };
    let statistics = bpf::enable_statistics()?;
    let mut measured: Vec<Measured> = WORKS
        .iter()
        .map(|work| Measured {
            work,
            rounds: Vec::new(),
        })
        .collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for own in &mut measured {
            own.rounds.push((own.work.run)(&place)?);
        }
    }
    drop(statistics);
    stage.publish(TITLE, options.rounds, measured)
}

impl Round {
    /// Of what the programs have spent: by tracepoint, else by the name that the kernel keeps.
    fn of(elapsed: Duration, spent: &[bpf::Info], hooks: &BTreeMap<u32, String>) -> Self {
        let mut programs: BTreeMap<String, Runs> = BTreeMap::new();
        for info in spent {
            let name = hooks.get(&info.hook).cloned().unwrap_or_else(|| {
                let name = info.name.split(|byte| *byte == 0).next();
                String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
            });
            let own = programs.entry(name).or_insert(Runs { count: 0, ns: 0 });
            own.count += info.runs;
            own.ns += info.run_ns;
        }
        Self { elapsed, programs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_one_hook_are_one() {
        let hooks = BTreeMap::from([(7, "sched_it_is".to_owned())]);
        let info = bpf::Info::of_test(b"go_it", 2, 70);
        let long = bpf::Info {
            name: *b"go_other_of_them",
            ..info
        };
        let hooked = bpf::Info { hook: 7, ..info };
        let round = Round::of(
            Duration::from_secs(1),
            &[info, long, hooked, hooked],
            &hooks,
        );
        assert_eq!(round.programs.len(), 3);
        assert_eq!(round.programs["go_it"], Runs { count: 2, ns: 70 });
        assert_eq!(round.programs["go_other_of_them"].count, 2);
        assert_eq!(round.programs["sched_it_is"], Runs { count: 4, ns: 140 });
    }
}
