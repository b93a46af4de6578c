//! The figures of all runs, as they are kept, and what is made of them.

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Told};
use super::setting::Setting;
use super::tool::Takes;
use crate::bench::spread::Spread;

/// Everything measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Document {
    /// Day of the run, UTC.
    pub date: String,
    /// Kernel release.
    pub kernel: String,
    /// Number of CPUs.
    pub cpus: usize,
    /// Go version of the service.
    pub go: String,
    /// What the tools say of themselves.
    pub versions: Vec<String>,
    /// Peers that could not be had.
    pub missing: Vec<String>,
    /// What the thread that signals itself made in each run.
    pub made: Counts,
    /// The runs by setting, run by run of the same round.
    pub settings: Vec<Runs>,
}

/// A kind of cost.
#[derive(Debug)]
pub struct Cost {
    /// Of what it is.
    pub what: &'static str,
    /// The figure, ns of CPU time.
    pub pick: fn(&Run) -> f64,
    /// Whether there is an aim for it.
    pub has_aim: bool,
}

/// All of them, in the page's order.
pub const COSTS: [Cost; 3] = [
    Cost {
        what: "a switch, not traced",
        pick: |run| run.untraced_ns,
        has_aim: false,
    },
    Cost {
        what: "a switch, traced",
        pick: |run| run.traced_ns,
        has_aim: true,
    },
    Cost {
        what: "an episode",
        pick: |run| run.episode_ns,
        has_aim: true,
    },
];

/// The runs of a setting.
#[derive(Debug, Serialize, Deserialize)]
pub struct Runs {
    /// What was attached.
    pub setting: Setting,
    /// A run a round.
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// A switch of a process that is not traced, ns of CPU time.
    pub untraced_ns: f64,
    /// A switch of one that is.
    pub traced_ns: f64,
    /// A signal that a thread sends itself, ns of CPU time.
    pub episode_ns: f64,
    /// Requests a second of the Go service.
    pub requests: f64,
    /// 99th percentile of their times, microseconds.
    pub p99_us: f64,
    /// What the tool took.
    pub takes: Option<Takes>,
    /// What it counted.
    pub told: Option<Told>,
}

impl Runs {
    /// None yet.
    pub fn of(setting: Setting) -> Self {
        Self {
            setting,
            runs: Vec::new(),
        }
    }

    /// Of what its tool took; none if it is no tool.
    pub fn taken(&self, pick: impl Fn(&Takes) -> f64) -> Option<Spread> {
        let figures: Vec<f64> = self
            .runs
            .iter()
            .filter_map(|run| run.takes.as_ref().map(&pick))
            .collect();
        Spread::of(&figures)
    }
}

impl Document {
    /// The runs of a setting, if there are any.
    pub fn of(&self, setting: Setting) -> Option<&Runs> {
        self.settings.iter().find(|runs| runs.setting == setting)
    }

    /// Whether the run of a setting in a round counts: a tool's counts must be gohang's of the
    /// same round, and gohang's what was made.
    fn counts(&self, runs: &Runs, round: usize) -> bool {
        let told = |runs: &Runs| Some(runs.runs.get(round)?.told?.counts);
        match runs.setting {
            setting if !setting.counts_signals() => true,
            Setting::Gohang => told(runs) == Some(self.made),
            _ => told(runs).is_some() && told(runs) == self.of(Setting::Gohang).and_then(told),
        }
    }

    /// In how many of its runs a setting's counts are right, and of how many.
    pub fn equal(&self, runs: &Runs) -> (usize, usize) {
        let all = runs.runs.len();
        let equal = (0..all).filter(|&round| self.counts(runs, round)).count();
        (equal, all)
    }

    /// What a setting adds to a cost; of nothing, the cost itself.
    pub fn cost(&self, runs: &Runs, pick: fn(&Run) -> f64) -> Option<Spread> {
        if runs.setting == Setting::Nothing {
            self.added(runs, pick, |_, without| without)
        } else {
            self.added(runs, pick, |with, without| with - without)
        }
    }

    /// How many requests more there are in percent with nothing attached.
    pub fn lost_requests(&self, runs: &Runs) -> Option<Spread> {
        let lost = |with, without| 100.0 * (without / with - 1.0);
        self.added(runs, |run| run.requests, lost)
    }

    /// What a setting adds to a figure of the same round with nothing attached, by `add` of
    /// the two, in the runs that count.
    pub fn added(
        &self,
        runs: &Runs,
        pick: impl Fn(&Run) -> f64,
        add: impl Fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        let nothing = &self.of(Setting::Nothing)?.runs;
        let rounds = runs.runs.iter().zip(nothing).enumerate();
        let figures: Vec<f64> = rounds
            .filter(|(round, _)| self.counts(runs, *round))
            .map(|(_, (with, without))| add(pick(with), pick(without)))
            .collect();
        Spread::of(&figures)
    }
}
