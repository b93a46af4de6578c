//! `gohang bench`: the benchmark suite, on the machine that it runs on.
//!
//! A part is a module with a [`Part`] of its own, a line in [`PARTS`] and a variant of
//! [`Measured`].

mod delivery;
mod figures;
mod machine;
mod report;
mod table;
mod text;

use std::time::Duration;

pub use delivery::{Cell, Claim, Delivery, Restarted, Statistic, Verdict, Way};
pub use figures::Figures;
pub use report::{Bench, Machine, Measured, SCHEMA_VERSION};
pub use text::{list, text};

use crate::experiment::{ExperimentError, Progress};
use crate::source::now;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As much as the figures need.
    Full,
    /// As much as shows that all of it works.
    Quick,
}

/// A part of the suite.
#[derive(Debug)]
pub struct Part {
    /// As the command line has it.
    pub name: &'static str,
    /// What it measures, in a line.
    pub about: &'static str,
    estimate: fn(Extent) -> Duration,
    run: fn(Extent, &mut dyn Progress) -> Result<Measured, ExperimentError>,
}

/// Every part, in the order in which they run.
pub const PARTS: [Part; 1] = [delivery::PART];

impl Part {
    /// About how long it takes.
    #[must_use]
    pub fn estimate(&self, extent: Extent) -> Duration {
        (self.estimate)(extent)
    }

    /// The part of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        PARTS.iter().find(|part| part.name == name)
    }
}

/// Runs parts. It needs the calling process to have no other threads that take SIGINT,
/// SIGTERM or SIGHUP: any of them ends it, with everything removed.
///
/// # Errors
/// See [`ExperimentError`].
pub fn run(
    parts: &[&Part],
    extent: Extent,
    progress: &mut dyn Progress,
) -> Result<Bench, ExperimentError> {
    let start = now();
    let machine = machine::read()?;
    let measured = parts
        .iter()
        .map(|part| (part.run)(extent, progress))
        .collect::<Result<_, _>>()?;
    Ok(Bench {
        schema_version: SCHEMA_VERSION,
        gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
        started: start.wall_of(start.mono_ns),
        quick: extent == Extent::Quick,
        machine,
        measured,
    })
}

#[cfg(test)]
pub(crate) use report::tests::sample;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_names_of_their_own() {
        for part in &PARTS {
            let found = Part::find(part.name).expect("found");
            assert_eq!(found.name, part.name);
            assert!(!part.about.is_empty());
            assert!(part.estimate(Extent::Quick) < Duration::from_secs(30));
            assert!(part.estimate(Extent::Quick) < part.estimate(Extent::Full));
        }
        assert!(Part::find("deliver").is_none());
    }
}
