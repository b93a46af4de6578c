//! Alerts: one file a rule, registered in [`rules`].

mod book;
mod explain;
mod ignored;
mod masked;
mod preemption_disabled;
mod rank;
mod signal_storm;
mod slow_delivery;
mod undelivered;
mod unsafe_loop;

use std::collections::BTreeMap;
use std::time::Duration;

pub use book::{Book, Raised};
pub use explain::{Explained, Explanation, Explanations, Limit, UnknownRule, explain, names};
use serde_json::Value;
pub use signal_storm::name_senders;

use crate::event::{Episode, ProcessId, Request, Stop};
use crate::report::Severity;
use crate::source::Facts;

/// Limits that rules go by.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// A delivery, or a masked time, longer than this is slow.
    pub slow: Duration,
    /// A signal pending for longer than this does not arrive.
    pub pending: Duration,
    /// More sends a second, for each thread that gets any, are a storm.
    pub storm_rate: u64,
    /// A goroutine that runs on for longer after it was first asked to yield does not.
    pub no_yield: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            slow: Duration::from_millis(10),
            pending: Duration::from_secs(1),
            storm_rate: 1000,
            no_yield: Duration::from_millis(100),
        }
    }
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What happened, in one sentence.
    pub headline: String,
    /// Numbers, each with its unit in the name.
    pub evidence: BTreeMap<String, Value>,
    /// What to do.
    pub advice: &'static str,
    /// When it began, CLOCK_MONOTONIC ns, if not with what it was found in.
    pub since_ns: Option<u64>,
    /// Larger is worse: the worst of several findings is shown.
    pub weight: u64,
}

/// What an alert is about: there is one of a rule for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A thread.
    Thread,
    /// A process, whatever its threads.
    Process,
}

/// A rule. It looks at one thing at a time and may keep state.
pub trait Rule: std::fmt::Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// What it is, for `gohang explain`.
    fn explanation(&self) -> Explanation;

    /// What its alerts are about.
    fn scope(&self) -> Scope {
        Scope::Thread
    }

    /// What it finds in an episode, ended or (`pending_at_end`, with its
    /// components so far) still pending.
    fn look(&mut self, _episode: &Episode, _thresholds: &Thresholds) -> Option<Finding> {
        None
    }

    /// What it finds in a process that is traced from here on, or has executed
    /// another program. Of scope [`Scope::Process`] only.
    fn found(&mut self, _facts: &Facts, _thresholds: &Thresholds) -> Option<Finding> {
        None
    }

    /// What it finds in a request to yield that has ended.
    fn request(&mut self, _request: &Request, _thresholds: &Thresholds) -> Option<Finding> {
        None
    }

    /// What it finds in a stop of the world.
    fn stop(&mut self, _stop: &Stop, _thresholds: &Thresholds) -> Option<Finding> {
        None
    }

    /// The process has ended or is not traced after all, or, of none, tracing
    /// has ended: what is kept can go. Returns what it comes to.
    fn end(
        &mut self,
        _process: Option<ProcessId>,
        _thresholds: &Thresholds,
    ) -> Vec<(ProcessId, Finding)> {
        Vec::new()
    }
}

/// Every rule.
#[must_use]
pub fn rules() -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(undelivered::Undelivered),
        Box::new(ignored::Ignored),
        Box::new(masked::Masked),
        Box::new(preemption_disabled::PreemptionDisabled),
        Box::new(slow_delivery::SlowDelivery),
        Box::new(signal_storm::SignalStorm::default()),
        Box::new(unsafe_loop::UnsafeLoop::default()),
    ]
}

/// The components of an episode as evidence.
fn components(episode: &Episode) -> BTreeMap<String, Value> {
    let parts = &episode.parts;
    let mut evidence = BTreeMap::new();
    for (name, value) in [
        ("throttled_ns", parts.throttled),
        ("masked_ns", parts.masked),
        ("blocked_ns", parts.blocked),
        ("runqueue_ns", parts.runqueue),
        ("running_ns", parts.running),
    ] {
        evidence.insert(name.to_owned(), value.into());
    }
    evidence.insert("coalesced".to_owned(), episode.coalesced.into());
    evidence
}

#[cfg(test)]
mod tests;
