//! What a run of a scenario comes to, while it is put together.

use std::collections::BTreeMap;

use super::check::Check;
use super::report::{Causes, Row, Said, Unit};
use super::trace::Traced;

/// Longest headline that is kept, in characters.
const MAX_HEADLINE: usize = 400;

/// Figures, what gohang said, and checks of that.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Published figures beside those of here.
    pub rows: Vec<Row>,
    /// Alerts.
    pub said: Vec<Said>,
    /// Where the time of signals went.
    pub causes: Vec<Causes>,
    /// All of them must hold.
    pub checks: Vec<Check>,
    /// Traced runs' identities that do not hold.
    pub imbalances: Vec<String>,
    /// Records that traced runs lost.
    pub lost: u64,
    /// Impossible values that traced runs counted.
    pub impossible: u64,
}

impl Outcome {
    /// Adds a figure: `published` and `ours` in `unit`.
    pub(super) fn row(
        &mut self,
        setting: &str,
        figure: &str,
        published: Option<f64>,
        ours: Option<f64>,
        unit: Unit,
    ) {
        self.rows.push(Row {
            setting: setting.to_owned(),
            figure: figure.to_owned(),
            published,
            ours,
            unit,
        });
    }

    /// Adds a check.
    pub(super) fn check(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Adds what gohang said of a traced run, and where the time of its signals went.
    pub(super) fn heard(&mut self, setting: &str, traced: &Traced) {
        let report = &traced.report;
        for alert in &report.alerts {
            self.said.push(Said {
                setting: setting.to_owned(),
                rule: alert.rule.clone(),
                severity: alert.severity,
                headline: alert.headline.chars().take(MAX_HEADLINE).collect(),
            });
        }
        let mut totals: BTreeMap<String, u64> = BTreeMap::new();
        for process in &report.processes {
            for (name, cause) in &process.causes {
                *totals.entry(name.clone()).or_default() += cause.total_ns;
            }
        }
        let all: u64 = totals.values().sum();
        if all > 0 {
            let share = |total: u64| total as f64 / all as f64;
            self.causes.push(Causes {
                setting: setting.to_owned(),
                episodes: report.processes.iter().map(|own| own.episodes).sum(),
                shares: totals
                    .into_iter()
                    .map(|(name, total)| (name, share(total)))
                    .collect(),
            });
        }
        let named = |found: String| format!("{setting}: {found}");
        self.imbalances
            .extend(report.loss.imbalances().into_iter().map(&named));
        self.lost += report.loss.lost();
        // Each by its kind: a sum says nothing of where to look.
        for (kind, count) in report.impossible.iter().filter(|(_, count)| **count > 0) {
            self.imbalances
                .push(named(format!("impossible: {kind}: {count}")));
        }
        self.impossible += report.impossible.values().sum::<u64>();
    }
}
