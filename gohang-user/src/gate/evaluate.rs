//! Gates held against a report.

use std::cmp::Ordering;

use super::{Figure, Gate, Metric, Op, Test};
use crate::report::{self, Report, Severity, Violation};

/// Holds every gate against the report's processes and alerts.
#[must_use]
pub fn evaluate(gates: &[Gate], report: &Report) -> Vec<report::Gate> {
    gates
        .iter()
        .map(|gate| {
            let (checked, violations) = match &gate.test {
                Test::Rule { rule, least } => by_rule(rule, *least, report),
                Test::Compare { metric, op, limit } => by_metric(metric, *op, *limit, report),
            };
            report::Gate {
                expr: gate.expr.clone(),
                failed: !violations.is_empty(),
                checked,
                violations,
            }
        })
        .collect()
}

/// Processes with an alert of the rule; alerts are sorted, so the worst comes
/// first.
fn by_rule(rule: &str, least: Severity, report: &Report) -> (u64, Vec<Violation>) {
    let mut violations: Vec<Violation> = Vec::new();
    let alerts = report.alerts.iter();
    for alert in alerts.filter(|alert| alert.rule == rule && alert.severity >= least) {
        if let Some(known) = violations.iter_mut().find(|known| known.pid == alert.pid) {
            let count = known.value_count.unwrap_or(0);
            known.value_count = Some(count + alert.count);
            continue;
        }
        let process = report
            .processes
            .iter()
            .find(|process| process.pid == alert.pid);
        violations.push(Violation {
            pid: alert.pid,
            comm: process.map_or_else(String::new, |process| process.comm.clone()),
            value_ns: None,
            value_count: Some(alert.count),
            value_share: None,
            severity: Some(alert.severity),
        });
    }
    let listed = report.processes.len() as u64;
    (listed.max(violations.len() as u64), violations)
}

/// Processes whose figure is beyond the limit, the worst first.
fn by_metric(metric: &Metric, op: Op, limit: Figure, report: &Report) -> (u64, Vec<Violation>) {
    let mut checked = 0;
    let mut beyond: Vec<(Figure, Violation)> = Vec::new();
    for process in &report.processes {
        let Some(figure) = metric.of(process) else {
            continue;
        };
        checked += 1;
        if holds(figure, op, limit) {
            let (mut ns, mut count, mut share) = (None, None, None);
            match figure {
                Figure::Ns(value) => ns = Some(value),
                Figure::Count(value) => count = Some(value),
                Figure::Share(value) => share = Some(value),
            }
            let violation = Violation {
                pid: process.pid,
                comm: process.comm.clone(),
                value_ns: ns,
                value_count: count,
                value_share: share,
                severity: None,
            };
            beyond.push((figure, violation));
        }
    }
    beyond.sort_by(|(a, _), (b, _)| {
        let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
        if op.is_upper_limit() {
            order.reverse()
        } else {
            order
        }
    });
    let violations = beyond.into_iter().map(|(_, violation)| violation);
    (checked, violations.collect())
}

fn holds(figure: Figure, op: Op, limit: Figure) -> bool {
    let Some(order) = figure.partial_cmp(&limit) else {
        return false;
    };
    match op {
        Op::Above => order == Ordering::Greater,
        Op::AtLeast => order != Ordering::Less,
        Op::Below => order == Ordering::Less,
        Op::AtMost => order != Ordering::Greater,
    }
}
