//! The figures as a section of the page.

use std::fmt;

use super::{PARTS, Part, Round};
use crate::bench::paired::Page;
use crate::bench::spread::Spread;

/// What tracing may take, percent.
const AIM: f64 = 1.0;

impl Part {
    const fn title(self) -> &'static str {
        match self {
            Self::Switch => "`sched_switch`",
            Self::Tracepoints => "the other tracepoints",
            Self::Functions => "programs in Go functions",
            Self::Traps => "the traps that lead to these",
            Self::Process => "gohang's own process",
        }
    }
}

/// Markdown, without the heading.
impl fmt::Display for Page<Round> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.begin(f, "parts")?;
        let rounds = &self.measured;
        writeln!(
            f,
            "what `gohang trace` takes from the HTTP service, which keeps all CPUs busy, as shares \
             of the\nservice's CPU time in the same run; medians of {} runs, with quartiles in \
             brackets. A difference\nbetween two runs has in it what the host did meanwhile; \
             these shares have it in both terms. Programs\nare those of the kernel's BPF run-time \
             statistics, with the statistics' own clock in it; a trap is an\nempty probe on a \
             function that is called after 4 MiB of other memory was written. Not in it: the \
             way\nto the program on a tracepoint (above: the empty set), and what the service \
             finds no more in the caches.\n\n\
             | part | a second | ns each | share of the CPU time, % |\n\
             | --- | ---: | ---: | ---: |",
            self.pairs
        )?;
        let spread = |figures: Vec<f64>| Spread::of(&figures).ok_or(fmt::Error);
        for (index, part) in PARTS.into_iter().enumerate() {
            let counted = rounds.iter().filter_map(|round| {
                let own = round.taken[index];
                let times = own.times? as f64;
                Some((times * 1e9 / round.elapsed_ns, own.ns / times))
            });
            let (rates, each): (Vec<f64>, Vec<f64>) = counted.unzip();
            write!(f, "| {} |", part.title())?;
            if rates.is_empty() {
                write!(f, " | |")?;
            } else {
                write!(f, " {:.0} | {:.0} |", spread(rates)?, spread(each)?)?;
            }
            let percent = rounds.iter().map(|round| round.percent(index)).collect();
            writeln!(f, " {:.3} |", spread(percent)?)?;
        }
        let whole: Vec<f64> = rounds.iter().map(Round::whole_percent).collect();
        let largest = whole.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let whole = spread(whole)?;
        writeln!(
            f,
            "| all | | | {:.3} |\n\n\
             The aim is below {AIM:.0} %: {}. The largest of the runs is {largest:.3} %.",
            whole,
            if whole.high < AIM {
                "met"
            } else if whole.low >= AIM {
                "missed"
            } else {
                "not shown either way"
            }
        )
    }
}
