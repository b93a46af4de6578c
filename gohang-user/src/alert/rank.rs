//! In which order alerts stand: the one place that says so.
//!
//! What goes wrong in one process is told together, and there the root cause comes first:
//! a process without preemption, say, raises `preemption-disabled`, and its goroutines that
//! do not yield and its stops that wait for them are what comes of it. Of several
//! processes, the one with the worst severity comes first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::event::ProcessId;
use crate::report::Severity;

/// Rules from cause to symptom:
///
/// - those that say why no signal can do its work: a setting, a handler that is not the
///   runtime's or none, a mask, a thread that takes nothing;
/// - those that say why a signal that arrives does nothing, or is not sent in time;
/// - who is flooded with signals, which may be what is asked of it again and again;
/// - a slow signal, which follows from most of the above;
/// - what the program suffers: a goroutine that runs on, everybody stopped for it.
const ORDER: [&str; 11] = [
    "preemption-disabled",
    "handler-replaced",
    "ignored",
    "masked",
    "undelivered",
    "unsafe-loop",
    "sysmon-starved",
    "signal-storm",
    "slow-delivery",
    "no-yield",
    "stop-the-world-held",
];

/// What an alert's place depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub process: ProcessId,
    pub rule: &'static str,
    pub severity: Severity,
    pub weight: u64,
    pub count: u64,
}

/// The rule's place among the others, the smaller the nearer to the cause.
pub(super) fn rank(rule: &str) -> usize {
    ORDER
        .iter()
        .position(|known| *known == rule)
        .unwrap_or(ORDER.len())
}

/// Sorts alerts, most important first.
pub(super) fn sort<T>(alerts: &mut [T], standing: impl Fn(&T) -> Standing) {
    // Of each process: its worst severity, the nearest to the cause that has it, and the
    // largest weight of that rule.
    let mut processes = BTreeMap::new();
    for alert in alerts.iter() {
        let Standing {
            process,
            rule,
            severity,
            weight,
            ..
        } = standing(alert);
        let best = (severity, Reverse(rank(rule)), weight);
        let known = processes.entry(process).or_insert(best);
        *known = best.max(*known);
    }
    alerts.sort_by_key(|alert| {
        let Standing {
            process,
            rule,
            severity,
            weight,
            count,
        } = standing(alert);
        (
            Reverse(processes[&process]),
            process,
            rank(rule),
            Reverse((severity, weight, count)),
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::names;
    use proptest::prelude::*;

    fn standing(pid: u32, rule: &'static str, severity: Severity, weight: u64) -> Standing {
        Standing {
            process: ProcessId { pid, start_ns: 1 },
            rule,
            severity,
            weight,
            count: 1,
        }
    }

    fn sorted(mut alerts: Vec<Standing>) -> Vec<(u32, &'static str, u64)> {
        sort(&mut alerts, |alert| *alert);
        alerts
            .iter()
            .map(|alert| (alert.process.pid, alert.rule, alert.weight))
            .collect()
    }

    #[test]
    fn every_rule_has_a_place_of_its_own() {
        let mut names = names();
        names.sort_by_key(|name| rank(name));
        assert_eq!(names, ORDER);
    }

    #[test]
    fn the_cause_comes_first_and_the_worst_process() {
        use Severity::{Critical, Warning};
        let alerts = vec![
            standing(1, "slow-delivery", Warning, 900),
            standing(2, "slow-delivery", Critical, 700),
            standing(1, "signal-storm", Warning, 5),
            standing(2, "unsafe-loop", Warning, 1),
            standing(2, "unsafe-loop", Warning, 2),
            standing(3, "preemption-disabled", Critical, 1),
        ];
        assert_eq!(
            sorted(alerts),
            [
                (3, "preemption-disabled", 1),
                (2, "unsafe-loop", 2),
                (2, "unsafe-loop", 1),
                (2, "slow-delivery", 700),
                (1, "signal-storm", 5),
                (1, "slow-delivery", 900),
            ]
        );
    }

    proptest! {
        #[test]
        fn processes_are_not_torn_apart(alerts in proptest::collection::vec(
            (0u32..5, 0..ORDER.len(), any::<bool>(), 0u64..9), 0..40)
        ) {
            let alerts: Vec<Standing> = alerts
                .into_iter()
                .map(|(pid, rule, critical, weight)| {
                    let severity = if critical { Severity::Critical } else { Severity::Warning };
                    standing(pid, ORDER[rule], severity, weight)
                })
                .collect();
            let sorted = sorted(alerts);
            for run in sorted.chunk_by(|a, b| a.0 == b.0) {
                let pid = run[0].0;
                prop_assert_eq!(run.len(), sorted.iter().filter(|one| one.0 == pid).count());
                prop_assert!(run.is_sorted_by_key(|one| rank(one.1)));
            }
        }
    }
}
