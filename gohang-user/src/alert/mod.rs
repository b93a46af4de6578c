//! Alerts: one file a rule, registered in [`rules`].

mod book;
mod explain;
mod handler_replaced;
mod ignored;
mod masked;
mod no_yield;
mod preemption_disabled;
mod rank;
mod signal_storm;
mod slow_delivery;
mod stop_the_world_held;
mod sysmon_starved;
mod undelivered;
mod unsafe_loop;

use std::collections::BTreeMap;
use std::time::Duration;

pub use book::{Book, Raised};
pub use explain::{Explanation, Limit, names};
use serde_json::Value;
pub use signal_storm::name_senders;

use crate::event::{Episode, ProcessId, Request, Stop};
use crate::report::Severity;
use crate::source::{Facts, SenderUse};

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
    /// Stopping all goroutines of a process for longer is long.
    pub stop: Duration,
    /// sysmon asks too late if it asks later than this after the end of a slice.
    pub late: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            slow: Duration::from_millis(10),
            pending: Duration::from_secs(1),
            storm_rate: 1000,
            no_yield: Duration::from_millis(100),
            stop: Duration::from_millis(20),
            late: Duration::from_millis(30),
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
    /// another program; about the process, whatever the rule's scope.
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

    /// What it finds in how a thread that sends its process's signals got to run, as of
    /// now. Of scope [`Scope::Process`] only.
    fn sender(&mut self, _sender: &SenderUse, _thresholds: &Thresholds) -> Option<Finding> {
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
        Box::new(preemption_disabled::PreemptionDisabled::default()),
        Box::new(slow_delivery::SlowDelivery),
        Box::new(signal_storm::SignalStorm::default()),
        Box::new(unsafe_loop::UnsafeLoop::default()),
        Box::new(handler_replaced::HandlerReplaced::default()),
        Box::new(sysmon_starved::SysmonStarved::default()),
        Box::new(no_yield::NoYield::default()),
        Box::new(stop_the_world_held::StopTheWorldHeld),
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
mod found_tests;
#[cfg(test)]
mod tests;
