//! Stalls that were reported elsewhere, made here, and what gohang says of each.
//!
//! A scenario is a file with a [`Scenario`](scenario::Scenario) in it and a line in
//! [`registry`]; one that cannot be made has its reason in [`not_built`].

mod b01_stop_under_quota;
mod b02_gomaxprocs;
mod b04_collector;
mod b05_loop;
mod b06_clear;
mod b07_resent;
mod b08_flood;
mod b11_stopping;
mod b12_unspent;
mod b13_slices;
mod b14_burst;
mod b15_refill;
mod b17_lease;
mod b18_mean_use;
mod b19_quota_use;
mod b20_starved;
mod check;
mod go_tool;
mod job;
mod not_built;
mod outcome;
mod registry;
mod report;
mod scenario;
mod stand;
mod text;
mod trace;
mod work;

use std::time::Duration;

pub use check::{Check, Relation};
pub use report::{Answer, Causes, Row, Said, Scenarios, State, Told, Unit};
pub(super) use text::text;

use self::not_built::NotBuilt;
use self::outcome::Outcome;
use self::registry::Entry;
use self::scenario::Scenario;
use self::stand::Stand;
use super::{Choice, Measured, Part};
use crate::cgroup::Version;
use crate::experiment::{ExperimentError, Progress};

/// This part.
pub(super) const PART: Part = Part {
    name: NAME,
    about: "stalls reported elsewhere, and gohang's verdict",
    estimate,
    run,
};

/// Its name.
pub const NAME: &str = "scenarios";

/// The name of a scenario, in whatever case; none if there is no such.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    registry::find(name)
}

/// Every scenario's name, title, and about how long it takes; none for one that is not built.
pub(super) fn list(choice: &Choice) -> Vec<(&'static str, &'static str, Option<Duration>)> {
    let line = |entry| match entry {
        Entry::Built(own) => (own.id, own.title, Some((own.estimate)(choice.extent))),
        Entry::NotBuilt(own) => (own.id, own.title, None),
    };
    registry::all().into_iter().map(line).collect()
}

/// Those that are asked for.
fn chosen(choice: &Choice) -> impl Iterator<Item = Entry> {
    let all = registry::all().into_iter();
    all.filter(|entry| choice.scenarios.is_empty() || choice.scenarios.contains(&entry.id()))
}

fn estimate(choice: &Choice) -> Duration {
    let time = |entry| match entry {
        Entry::Built(own) => (own.estimate)(choice.extent),
        Entry::NotBuilt(_) => Duration::ZERO,
    };
    chosen(choice).map(time).sum()
}

fn run(choice: &Choice, progress: &mut dyn Progress) -> Result<Measured, ExperimentError> {
    let mut stand = Stand::new(choice.extent, choice.go.as_deref(), progress)?;
    let mut scenarios = Vec::new();
    for entry in chosen(choice) {
        scenarios.push(match entry {
            Entry::Built(own) => make(own, &mut stand)?,
            Entry::NotBuilt(own) => not_built(own),
        });
    }
    Ok(Measured::Scenarios(Scenarios {
        go: stand.go_version().map(str::to_owned),
        cgroup_version: match stand.cgroup_version() {
            Version::V1 => 1,
            Version::V2 => 2,
        },
        scenarios,
    }))
}

/// Makes one, unless the machine lacks something.
fn make(own: &Scenario, stand: &mut Stand<'_>) -> Result<Told, ExperimentError> {
    let mut told = Told {
        source: own.source.to_owned(),
        reported: own.reported.to_owned(),
        scale: Some(own.scale.to_owned()),
        ..Told::new(own.id, own.title, State::Built)
    };
    for need in own.needs {
        if let Some(why) = stand.lacks(*need) {
            told.state = State::Skipped;
            told.reason = Some(why);
            return Ok(told);
        }
    }
    stand.begin(
        &format!("{}: {}", own.id, own.title),
        (own.estimate)(stand.extent),
    );
    match (own.run)(stand) {
        Ok(outcome) => judge(&mut told, outcome),
        // Nothing else could be made either.
        Err(error) if error.is_unable() || matches!(error, ExperimentError::Interrupted) => {
            return Err(error);
        }
        Err(error) => {
            told.state = State::Failed;
            told.reason = Some(error.to_string());
        }
    }
    Ok(told)
}

/// Takes over what was found: right is what meets every check, of which there is one at least.
fn judge(told: &mut Told, outcome: Outcome) {
    let Outcome {
        rows,
        said,
        causes,
        mut checks,
        imbalances,
        lost,
        impossible,
    } = outcome;
    checks.push(Check::equals("impossible values", impossible, 0));
    let holds = checks.len() > 1 && checks.iter().all(|check| check.holds);
    told.verdict = Some(if holds { Answer::Right } else { Answer::Wrong });
    told.rows = rows;
    told.said = said;
    told.causes = causes;
    told.checks = checks;
    told.imbalances = imbalances;
    told.lost = lost;
    told.impossible = impossible;
}

fn not_built(own: &NotBuilt) -> Told {
    Told {
        source: own.source.to_owned(),
        reported: own.reported.to_owned(),
        reason: Some(own.why.to_owned()),
        ..Told::new(own.id, own.title, State::NotBuilt)
    }
}

#[cfg(test)]
pub(super) use report::tests::sample;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_a_check_and_each_to_hold() {
        let own = &not_built::NOT_BUILT[0];
        let judged = |checks: Vec<Check>, impossible| {
            let mut told = not_built(own);
            let outcome = Outcome {
                checks,
                impossible,
                ..Outcome::default()
            };
            judge(&mut told, outcome);
            told.verdict
        };
        let check = |found| Check::equals("one", found, 1);
        assert_eq!(judged(vec![check(1)], 0), Some(Answer::Right));
        assert_eq!(judged(vec![check(1), check(2)], 0), Some(Answer::Wrong));
        assert_eq!(judged(vec![], 0), Some(Answer::Wrong));
        assert_eq!(judged(vec![check(1)], 3), Some(Answer::Wrong));
    }
}
