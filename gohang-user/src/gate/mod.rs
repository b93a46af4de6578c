//! Gates: what makes `trace` and `replay` fail, for CI.
//!
//! A gate is the name of an alert rule (`slow-delivery`, `masked:critical`) or a
//! comparison of a process's figure with a limit (`delivery.p99>50ms`). It is
//! held against every process of the report; one that it holds for fails it.

mod evaluate;
mod metric;
mod parse;
#[cfg(test)]
mod tests;

pub use evaluate::evaluate;
pub use metric::{Figure, Metric, metrics};
pub use parse::{BadGate, MAX_EXPR};

use crate::report::{self, Severity};
use crate::units::{duration, percent};

/// What fails a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// As it was given.
    pub expr: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// Any alert of a rule, of this severity or worse.
    Rule { rule: &'static str, least: Severity },
    /// A figure of a process.
    Compare {
        metric: Metric,
        op: Op,
        limit: Figure,
    },
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Op {
    /// Every comparison with its sign, longest first.
    const ALL: [(&'static str, Self); 4] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    /// Whether a larger figure is worse.
    fn is_upper_limit(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }
}

/// A failed gate in one line: by which process, the worst of them, and with
/// what.
#[must_use]
pub fn failure(gate: &report::Gate) -> Option<String> {
    let worst = gate.violations.first()?;
    let value = match (worst.value_ns, worst.value_share, worst.value_count) {
        (Some(ns), ..) => format!("has {}", duration(ns)),
        (_, Some(share), _) => format!("has {}", percent(share)),
        (.., count) => {
            let count = count.unwrap_or(0);
            match worst.severity {
                Some(_) if count == 1 => "raised it once".to_owned(),
                Some(_) => format!("raised it {count} times"),
                None => format!("has {count}"),
            }
        }
    };
    let more = match gate.violations.len() - 1 {
        0 => String::new(),
        1 => ", and another process fails it".to_owned(),
        more => format!(", and {more} other processes fail it"),
    };
    // The name is escaped already.
    Some(format!(
        "gate failed: {}: process {} ({}) {value}{more}",
        gate.expr, worst.pid, worst.comm
    ))
}

/// A gate that no process had a figure for, in one line.
#[must_use]
pub fn unchecked(gate: &report::Gate) -> Option<String> {
    (gate.checked == 0 && !gate.failed).then(|| {
        format!(
            "gate not checked: {}: no traced process to hold it against",
            gate.expr
        )
    })
}
