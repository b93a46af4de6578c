//! Gates from text.

use std::str::FromStr;

use super::metric::{self, Figure, Kind, Metric};
use super::{Gate, Op, Test};
use crate::alert;
use crate::process::escape;
use crate::report::Severity;

/// Longest expression, in bytes.
pub const MAX_EXPR: usize = 200;

const SEVERITIES: [(&str, Severity); 3] = [
    ("info", Severity::Info),
    ("warning", Severity::Warning),
    ("critical", Severity::Critical),
];

/// A text that is no gate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGate {
    /// Far too long.
    #[error("it is longer than {MAX_EXPR} bytes")]
    TooLong,
    /// Neither a rule nor a comparison.
    #[error(
        "there is no rule {}; give a rule ({}), RULE:SEVERITY (info, warning, critical: that or worse), or METRIC>VALUE (also >=, <, <=) with one of {}",
        escape(.0), alert::names().join(", "), metric::allowed()
    )]
    Rule(String),
    /// A rule with something else behind it.
    #[error("there is no severity {}; give info, warning or critical", escape(.0))]
    Severity(String),
    /// A comparison of something else.
    #[error("there is no metric {}; give one of {}", escape(.0), metric::allowed())]
    Metric(String),
    /// A comparison with something else.
    #[error("{metric} cannot be compared with {}: give {want}", escape(value))]
    Value {
        /// What is compared.
        metric: String,
        /// Given.
        value: String,
        /// What can be given.
        want: &'static str,
    },
}

impl FromStr for Gate {
    type Err = BadGate;

    fn from_str(text: &str) -> Result<Self, BadGate> {
        if text.len() > MAX_EXPR {
            return Err(BadGate::TooLong);
        }
        let test = match text.find(['<', '>']) {
            Some(at) => compare(text, at)?,
            None => rule(text)?,
        };
        Ok(Self {
            // Control bytes cannot be in it: every part is known.
            expr: text.trim().to_owned(),
            test,
        })
    }
}

fn rule(text: &str) -> Result<Test, BadGate> {
    let (name, severity) = match text.split_once(':') {
        Some((name, severity)) => (name.trim(), Some(severity.trim())),
        None => (text.trim(), None),
    };
    let rule = alert::names()
        .into_iter()
        .find(|rule| *rule == name)
        .ok_or_else(|| BadGate::Rule(name.to_owned()))?;
    let least = match severity {
        None => Severity::Info,
        Some(given) => SEVERITIES
            .into_iter()
            .find(|(name, _)| *name == given)
            .map(|(_, severity)| severity)
            .ok_or_else(|| BadGate::Severity(given.to_owned()))?,
    };
    Ok(Test::Rule { rule, least })
}

/// METRIC OP VALUE, with OP at `at`.
fn compare(text: &str, at: usize) -> Result<Test, BadGate> {
    let (name, rest) = text.split_at(at);
    let name = name.trim();
    let metric = Metric::named(name).ok_or_else(|| BadGate::Metric(name.to_owned()))?;
    let (op, value) = Op::ALL
        .into_iter()
        .find_map(|(sign, op)| rest.strip_prefix(sign).map(|value| (op, value.trim())))
        .unwrap_or((Op::Above, ""));
    let (limit, want) = match metric.kind() {
        Kind::Time => (time(value), "a time with its unit, as 250us, 40ms or 0s"),
        Kind::Count => (
            value.parse().ok().map(Figure::Count),
            "a whole number, as 100",
        ),
        Kind::Share => (share(value), "a share from 0% to 100%, as 12.5%"),
    };
    let limit = limit.ok_or_else(|| BadGate::Value {
        metric: name.to_owned(),
        value: value.to_owned(),
        want,
    })?;
    Ok(Test::Compare { metric, op, limit })
}

fn time(text: &str) -> Option<Figure> {
    let time = humantime::parse_duration(text).ok()?;
    u64::try_from(time.as_nanos()).ok().map(Figure::Ns)
}

fn share(text: &str) -> Option<Figure> {
    let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0)
        .contains(&percent)
        .then_some(Figure::Share(percent / 100.0))
}
