//! The figures as a section of the page.

use std::collections::BTreeSet;
use std::fmt;

use super::{Measured, Runs};
use crate::bench::paired::Page;
use crate::bench::spread::Spread;

/// Runs in a round from which on their mean says something.
const ENOUGH: u64 = 30;

impl Measured {
    /// How often a program ran a second, and how long a run took, ns, over the rounds; none
    /// where it hardly ran in one.
    fn figures(&self, program: &str) -> Option<(Spread, Spread)> {
        let rounds = self.rounds.iter().map(|round| {
            let Runs { count, ns } = *round.programs.get(program)?;
            let rate = count as f64 / round.elapsed.as_secs_f64();
            (count >= ENOUGH).then(|| (rate, ns as f64 / count as f64))
        });
        let (rates, each): (Vec<f64>, Vec<f64>) =
            rounds.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        Some((Spread::of(&rates)?, Spread::of(&each)?))
    }
}

/// Markdown, without the heading.
impl fmt::Display for Page<Measured> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.begin(f, "programs")?;
        writeln!(
            f,
            "what the kernel programs of `gohang trace` take a run, from the kernel's BPF run-time \
             statistics,\nwith the statistics' own clock in it (what an empty one takes is \
             above); medians of {} rounds, with\nquartiles in brackets. Between runs that are \
             rare, the work takes the caches: the same program is\nfaster where it runs often. \
             Programs in functions of the Go runtime (`go_`) have the names that\nthe kernel \
             keeps, 15 characters of them. A work in which a program ran fewer than {ENOUGH} times \
             in a\nround is not listed.\n\n\
             | program | at work | runs a second | ns a run |\n\
             | --- | --- | ---: | ---: |",
            self.pairs
        )?;
        let names: BTreeSet<&String> = self
            .measured
            .iter()
            .flat_map(|own| &own.rounds)
            .flat_map(|round| round.programs.keys())
            .collect();
        let mut idle = Vec::new();
        for name in names {
            let mut has_run = false;
            for own in &self.measured {
                if let Some((rate, each)) = own.figures(name) {
                    has_run = true;
                    let title = own.work.title;
                    writeln!(f, "| `{name}` | {title} | {rate:.0} | {each:.0} |")?;
                }
            }
            if !has_run {
                idle.push(format!("`{name}`"));
            }
        }
        if !idle.is_empty() {
            writeln!(f, "\nHardly ever run at these: {}.", idle.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::work::WORKS;
    use super::super::{Round, Runs};
    use super::*;

    #[test]
    fn a_program_that_hardly_ran_has_no_figures() {
        let round = |count| Round {
            elapsed: Duration::from_secs(2),
            programs: BTreeMap::from([(
                "go_it".to_owned(),
                Runs {
                    count,
                    ns: count * 70,
                },
            )]),
        };
        let of = |counts: [u64; 3]| Measured {
            work: &WORKS[0],
            rounds: counts.map(round).to_vec(),
        };
        let (rate, each) = of([40, 60, 80]).figures("go_it").expect("it ran");
        assert!((rate.median - 30.0).abs() < 1e-9 && (each.median - 70.0).abs() < 1e-9);
        assert!(of([40, 29, 80]).figures("go_it").is_none());
        assert!(of([40, 60, 80]).figures("go_other").is_none());
    }
}
