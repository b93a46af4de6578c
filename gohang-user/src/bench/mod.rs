//! `gohang bench`: the benchmark suite, on the machine that it runs on.
//!
//! A part is a module with a [`Part`] of its own, a line in [`PARTS`] and a variant of
//! [`Measured`].

mod delivery;
mod figures;
mod machine;
mod report;
pub mod scenarios;
mod table;
mod text;

use std::path::PathBuf;
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

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Choice {
    /// How much.
    pub extent: Extent,
    /// Of the scenarios, which; all of them if empty.
    pub scenarios: Vec<&'static str>,
    /// The Go tool chain that builds their programs, instead of the one that is found.
    pub go: Option<PathBuf>,
}

impl Choice {
    /// All of it, so much.
    #[must_use]
    pub const fn all(extent: Extent) -> Self {
        Self {
            extent,
            scenarios: Vec::new(),
            go: None,
        }
    }
}

/// A part of the suite.
#[derive(Debug)]
pub struct Part {
    /// As the command line has it.
    pub name: &'static str,
    /// What it measures, in a line.
    pub about: &'static str,
    estimate: fn(&Choice) -> Duration,
    run: fn(&Choice, &mut dyn Progress) -> Result<Measured, ExperimentError>,
}

/// Every part, in the order in which they run.
pub const PARTS: [Part; 2] = [delivery::PART, scenarios::PART];

impl Part {
    /// About how long it takes.
    #[must_use]
    pub fn estimate(&self, choice: &Choice) -> Duration {
        (self.estimate)(choice)
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
    choice: &Choice,
    progress: &mut dyn Progress,
) -> Result<Bench, ExperimentError> {
    let start = now();
    let machine = machine::read()?;
    let measured = parts
        .iter()
        .map(|part| (part.run)(choice, progress))
        .collect::<Result<_, _>>()?;
    Ok(Bench {
        schema_version: SCHEMA_VERSION,
        gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
        started: start.wall_of(start.mono_ns),
        quick: choice.extent == Extent::Quick,
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
            let [quick, full] =
                [Extent::Quick, Extent::Full].map(|extent| part.estimate(&Choice::all(extent)));
            assert!(quick < Duration::from_secs(120));
            assert!(quick < full);
        }
        assert!(Part::find("deliver").is_none());
    }
}
