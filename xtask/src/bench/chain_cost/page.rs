//! The figures as a section of the page.

use std::fmt;

use super::work::Work;
use crate::bench::paired::{Measured, Page};

/// What tracing may cost a program, percent.
const AIM: f64 = 1.0;

/// Markdown, without the heading.
impl fmt::Display for Page<Measured<Work>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.begin(f, "chain-cost")?;
        let pairs = self.pairs;
        writeln!(
            f,
            "runs that `gohang trace` traces with everything \
             attached against runs with nothing attached,\n{pairs} pairs, now the one first and \
             now the other. A change is one for the worse within a pair; its\nmedian is given with \
             the distribution-free 95 % interval from order statistics (that of the sign\ntest). \
             The aim is that the interval's upper end is below {AIM:.0} %; where the interval holds \
             {AIM:.0} %,\nneither that nor the contrary is shown.\n\n\
             | work | figure | nothing attached | change | 95 % interval | below {AIM:.0} % |\n\
             | --- | --- | ---: | ---: | ---: | --- |"
        )?;
        for Measured { work, changes } in &self.measured {
            for change in changes {
                let (low, high) = change.percent.interval;
                let digits = usize::from(change.alone < 1000.0);
                writeln!(
                    f,
                    "| {} | {} | {:.digits$}{}{} | {:+.2} % | {low:+.2} to {high:+.2} % | {} |",
                    work.title,
                    change.figure.title,
                    change.alone,
                    if change.figure.unit.is_empty() {
                        ""
                    } else {
                        " "
                    },
                    change.figure.unit,
                    change.percent.median,
                    change.percent.verdict(AIM),
                )?;
            }
        }
        Ok(())
    }
}
