//! What a scenario is.

use std::time::Duration;

use super::outcome::Outcome;
use super::stand::Stand;
use crate::bench::Extent;
use crate::experiment::ExperimentError;

/// A stall that was reported elsewhere, and how it is made here.
#[derive(Debug)]
pub(super) struct Scenario {
    /// Its name: `B` and a number.
    pub id: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Where it was reported; a bare `#` and number is an issue of golang/go.
    pub source: &'static str,
    /// What was reported, with units.
    pub reported: &'static str,
    /// What differs here from what was reported, by how much, and why.
    pub scale: &'static str,
    /// What the machine must have.
    pub needs: &'static [Need],
    /// About how long it takes.
    pub estimate: fn(Extent) -> Duration,
    /// Makes it and judges what gohang says. An error fails this scenario alone, unless
    /// it was interrupted or gohang cannot work here at all.
    pub run: fn(&mut Stand<'_>) -> Result<Outcome, ExperimentError>,
}

/// Something that not every machine has. A group with a CPU quota is always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A Go tool chain.
    Go,
    /// At least so many CPUs that gohang may use.
    Cpus(usize),
    /// Groups that may save up quota: Linux 5.14 and later.
    Burst,
}
