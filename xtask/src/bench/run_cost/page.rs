//! The figures as a section of the page.

use std::fmt;

use super::work::Work;
use crate::bench::paired::{Measured, Page};

/// What gohang may add to a command's time, ms.
const AIM_MS: f64 = 50.0;
/// And percent.
const AIM_PERCENT: f64 = 1.0;

/// Markdown, without the heading.
impl fmt::Display for Page<Measured<Work>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.begin(f, "run-cost")?;
        let pairs = self.pairs;
        writeln!(
            f,
            "commands that finish normally below `gohang run` \
             against the same commands bare, from\ntheir start to the end of their output; \
             {pairs} pairs, now the one first and now the other. What is\nadded within a pair \
             is given by its median with the distribution-free 95 % interval from order\n\
             statistics (that of the sign test). CPU time is that of gohang and the command \
             together. Nothing is\ntraced of these: the kernel programs are loaded when a command \
             gives cause for doubt. What a look at\na command takes, every 0.5 s by default, is a \
             hundredth of what is added to `sleep`. The aim is that the \
             intervals of a suite's time end below {AIM_MS:.0} ms and below {AIM_PERCENT:.0} %;\n\
             where an interval holds that figure, neither is shown.\n\n\
             | command | figure | bare | added | 95 % interval | added | 95 % interval \
             | below {AIM_MS:.0} ms | below {AIM_PERCENT:.0} % |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |"
        )?;
        for Measured { work, changes } in &self.measured {
            for (index, change) in changes.iter().enumerate() {
                let (amount, percent) = (change.amount, change.percent);
                // The aims are for the time.
                let verdict = |is_aim: bool, word| if is_aim && index == 0 { word } else { "" };
                writeln!(
                    f,
                    "| {} | {} | {:.1} ms | {:+.1} ms | {:+.1} to {:+.1} ms | {:+.2} % | {:+.2} \
                     to {:+.2} % | {} | {} |",
                    work.title,
                    change.figure.title,
                    change.alone,
                    amount.median,
                    amount.interval.0,
                    amount.interval.1,
                    percent.median,
                    percent.interval.0,
                    percent.interval.1,
                    verdict(true, amount.verdict(AIM_MS)),
                    verdict(work.is_suite, percent.verdict(AIM_PERCENT)),
                )?;
            }
        }
        Ok(())
    }
}
