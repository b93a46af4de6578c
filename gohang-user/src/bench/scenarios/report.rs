//! What the scenarios came to. Field names are the published contract.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::report::Severity;

/// All scenarios.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenarios {
    /// Version of the Go tool chain that built the programs, as `go1.27.3`; null without one.
    pub go: Option<String>,
    /// Version of the cgroup hierarchy used, 1 or 2.
    pub cgroup_version: u8,
    /// Each of those that were asked for, by number.
    pub scenarios: Vec<Told>,
}

/// What became of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was made.
    Built,
    /// This machine lacks what it needs.
    Skipped,
    /// It was to be made and could not be.
    Failed,
    /// There is no such thing here.
    NotBuilt,
}

impl State {
    /// As text has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::NotBuilt => "not built",
        }
    }
}

/// Whether what gohang said of a scenario is right: whether every check holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Every one does.
    Right,
    /// One does not.
    Wrong,
}

/// One scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// Its name.
    pub id: String,
    /// What it is.
    pub title: String,
    /// Where it was reported; a bare `#` and number is an issue of golang/go.
    pub source: String,
    /// What was reported.
    pub reported: String,
    /// What differs here, by how much and why; null if it is not built.
    pub scale: Option<String>,
    /// What became of it.
    pub state: State,
    /// Why it was not made; null if it was.
    pub reason: Option<String>,
    /// Published figures beside those of here.
    pub rows: Vec<Row>,
    /// What gohang said, most important first in each setting.
    pub said: Vec<Said>,
    /// Where the time of preemption signals went, by setting.
    pub causes: Vec<Causes>,
    /// What the verdict is made of.
    pub checks: Vec<Check>,
    /// Whether gohang was right; null if it was not made.
    pub verdict: Option<Answer>,
    /// Records that were lost while it was traced.
    pub lost: u64,
    /// Things that cannot happen and were counted all the same.
    pub impossible: u64,
    /// Identities of the records that do not hold, in words.
    pub imbalances: Vec<String>,
}

impl Told {
    /// One of which nothing else is known yet.
    pub(super) fn new(id: &str, title: &str, state: State) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            source: String::new(),
            reported: String::new(),
            scale: None,
            state,
            reason: None,
            rows: Vec::new(),
            said: Vec::new(),
            causes: Vec::new(),
            checks: Vec::new(),
            verdict: None,
            lost: 0,
            impossible: 0,
            imbalances: Vec::new(),
        }
    }
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Under which circumstances, as `quota 10 %`; may be empty.
    pub setting: String,
    /// What it is.
    pub figure: String,
    /// What was published; null if nothing like it was.
    pub published: Option<f64>,
    /// What was measured here; null if there was nothing to measure it by.
    pub ours: Option<f64>,
    /// Of both.
    pub unit: Unit,
}

/// Unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// A number of things.
    Count,
    /// So many a second.
    PerSecond,
    /// A part of a whole, 0 to 1.
    Share,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Said {
    /// Under which circumstances.
    pub setting: String,
    /// Name of the rule, `advice` and its name, `run` for the verdict of `gohang run`, or `trace`
    /// for its line on the process.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// What it says.
    pub headline: String,
}

/// Where the time of delivered signals went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Causes {
    /// Under which circumstances.
    pub setting: String,
    /// Signals that were delivered.
    pub episodes: u64,
    /// Share of each cause in their time, 0 to 1.
    pub shares: BTreeMap<String, f64>,
}

impl Scenarios {
    /// What is wrong, in words; empty when all is well.
    #[must_use]
    pub fn imbalances(&self) -> Vec<String> {
        let mut found = Vec::new();
        for told in &self.scenarios {
            let id = &told.id;
            found.extend(told.imbalances.iter().map(|what| format!("{id}: {what}")));
            if told.state == State::Failed {
                let reason = told.reason.as_deref().unwrap_or_default();
                found.push(format!("{id}: failed: {reason}"));
            }
            let failing = told.checks.iter().filter(|check| !check.holds);
            found.extend(failing.map(|check| format!("{id}: {}", super::text::check(check))));
        }
        found
    }
}

#[cfg(test)]
pub(in crate::bench) mod tests {
    use super::*;

    /// One of each state.
    pub(in crate::bench) fn sample() -> Scenarios {
        let told = |id: &str, state| Told {
            source: "#1".to_owned(),
            reported: "80 ms".to_owned(),
            reason: Some("no Go here".to_owned()),
            ..Told::new(id, "A stall", state)
        };
        let mut built = told("B1", State::Built);
        built.reason = None;
        built.scale = Some("two CPUs".to_owned());
        built.verdict = Some(Answer::Right);
        built.rows.push(Row {
            setting: "quota 10 %".to_owned(),
            figure: "longest stop".to_owned(),
            published: Some(80e6),
            ours: Some(88e6),
            unit: Unit::Ns,
        });
        built.said.push(Said {
            setting: "quota 10 %".to_owned(),
            rule: "stop-the-world-held".to_owned(),
            severity: Severity::Warning,
            headline: "stopping the world took long".to_owned(),
        });
        built.causes.push(Causes {
            setting: "quota 10 %".to_owned(),
            episodes: 7,
            shares: BTreeMap::from([("throttled".to_owned(), 0.99)]),
        });
        built
            .checks
            .push(Check::at_least("share throttled", 0.99, 0.95, Unit::Share));
        Scenarios {
            go: Some("go1.27.3".to_owned()),
            cgroup_version: 1,
            scenarios: vec![
                built,
                told("B2", State::Skipped),
                told("B3", State::NotBuilt),
            ],
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(sample().imbalances(), Vec::<String>::new());
        let mut scenarios = sample();
        scenarios.scenarios[0].checks[0].holds = false;
        scenarios.scenarios[1].state = State::Failed;
        scenarios.scenarios[2].imbalances.push("seen".to_owned());
        let found = scenarios.imbalances();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("B1: share throttled"), "{found:?}");
        assert!(found[1].contains("B2: failed: no Go here"), "{found:?}");
    }
}
