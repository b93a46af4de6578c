//! `handler-replaced`: SIGURG goes to a handler that is not the Go runtime's.

use std::collections::BTreeMap;

use gohang_common::chain::RequestEnd;
use serde_json::json;

use super::{Explanation, Finding, Rule, Scope, Thresholds};
use crate::event::{Episode, ProcessId, Request};
use crate::golang::SafePoint;
use crate::report::Severity;

/// From so many signals on it is told at once. Fewer are told too, as a handler that does
/// not pass them on gets one a thread and never another (the runtime waits for the first,
/// `preemptM`, runtime/signal_unix.go), but only when there was time to see the runtime's.
const MANY: u64 = 3;
/// By then the runtime's handler has run, or what it took has been told.
const GRACE_NS: u64 = 200_000_000;
/// Most processes that are kept.
const MAX_PROCESSES: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct HandlerReplaced(BTreeMap<ProcessId, Seen>);

/// Signals of one process by where they went.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The last delivery went to Go's handler: a request that is asked again before that one has
    /// run was not missed by it, only the thread has not come to it yet (out of quota, say).
    is_own: bool,
    /// In a row, to a handler that is not Go's.
    foreign: u64,
    since_ns: u64,
    /// Requests whose signal was delivered, but not to the runtime's code.
    missed: u64,
    /// Requests whose signal reached it, since the first to a handler that is not Go's:
    /// that one passes them on.
    reached: u64,
}

impl Seen {
    /// What is to be told `now_ns`, when something of the process is seen.
    fn judge(&self, now_ns: u64) -> Option<Finding> {
        let late = now_ns.saturating_sub(self.since_ns) > GRACE_NS;
        let seen = self.foreign.max(self.missed);
        if seen >= MANY || (seen > 0 && late) {
            return self.finding();
        }
        None
    }

    fn finding(&self) -> Option<Finding> {
        let signals = self.foreign.max(self.missed);
        if self.reached > 0 || signals == 0 {
            return None;
        }
        let evidence = [
            ("signals", json!(signals)),
            ("missed_requests", json!(self.missed)),
        ];
        let (severity, headline) = if self.missed > 0 {
            (
                Severity::Critical,
                format!(
                    "preemption signals do not reach the Go runtime: another handler for SIGURG took {signals} of them"
                ),
            )
        } else {
            (
                Severity::Warning,
                format!(
                    "{signals} preemption signals went to a handler that is not the Go runtime's"
                ),
            )
        };
        Some(Finding {
            severity,
            headline,
            evidence: evidence
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            advice: "find the C code that installs a handler for SIGURG (sigaction, signal), and leave SIGURG to Go or call the handler that was there before, on the alternate stack (SA_ONSTACK)",
            since_ns: Some(self.since_ns),
            weight: u64::from(self.missed > 0) << 32 | signals.min(u64::from(u32::MAX)),
        })
    }
}

impl HandlerReplaced {
    fn seen(&mut self, process: ProcessId) -> Option<&mut Seen> {
        if self.0.len() >= MAX_PROCESSES && !self.0.contains_key(&process) {
            return None;
        }
        Some(self.0.entry(process).or_default())
    }
}

impl Rule for HandlerReplaced {
    fn name(&self) -> &'static str {
        "handler-replaced"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "SIGURG goes to a handler that is not the Go runtime's",
            meaning: "Code that is not Go's, in a library or in the program that a Go library is loaded into, has installed a handler for SIGURG. Unless that one calls the runtime's, goroutines are never preempted by signals: those that run without a call cannot be stopped.",
            detection: "the handler that the kernel calls, at each delivery: its address lies outside of Go's code, and the runtime's does not run after it; told after 3 in a row, after 200 ms, or at the end. With probes in the runtime it is seen whether the runtime's handler runs all the same (then there is no alert), and signals that did not reach it count, unless the kernel last called Go's own handler: that one may run later, when its thread has a CPU",
            severity: "warning; critical where it is seen that the runtime's handler does not run",
            limits: &[],
            advice: "leave SIGURG to Go, or call the handler that was there before. Handlers of a program with Go code need SA_ONSTACK.",
        }
    }

    fn scope(&self) -> Scope {
        Scope::Process
    }

    fn look(&mut self, episode: &Episode, _limits: &Thresholds) -> Option<Finding> {
        if !episode.outcome.is_delivered() {
            return None;
        }
        let class = episode.handler_place.as_deref()?.safe_point?;
        if class != SafePoint::NotGo {
            // It is Go's (again).
            let seen = self.seen(episode.process)?;
            *seen = Seen {
                is_own: true,
                ..Seen::default()
            };
            return None;
        }
        let seen = self.seen(episode.process)?;
        if seen.is_own || (seen.foreign == 0 && seen.missed == 0) {
            *seen = Seen {
                since_ns: episode.end_ns,
                ..Seen::default()
            };
        }
        seen.foreign += 1;
        seen.judge(episode.end_ns)
    }

    fn request(&mut self, request: &Request, _limits: &Thresholds) -> Option<Finding> {
        if self.0.get(&request.process).is_some_and(|seen| seen.is_own) {
            return None;
        }
        if request.end == RequestEnd::NoHandler {
            let seen = self.seen(request.process)?;
            if seen.foreign == 0 && seen.missed == 0 {
                seen.since_ns = request.requested_ns;
            }
            seen.missed += 1;
            return seen.judge(request.end_ns);
        }
        let seen = self.0.get_mut(&request.process)?;
        if request
            .delivered_ns
            .is_some_and(|at_ns| at_ns > seen.since_ns)
        {
            seen.reached += 1;
            seen.missed = 0;
        }
        seen.judge(request.end_ns)
    }

    fn end(
        &mut self,
        process: Option<ProcessId>,
        _limits: &Thresholds,
    ) -> Vec<(ProcessId, Finding)> {
        let ended = match process {
            Some(process) => self.0.remove(&process).map(|seen| (process, seen)),
            None => None,
        };
        let rest = match process {
            Some(_) => BTreeMap::new(),
            None => std::mem::take(&mut self.0),
        };
        let told = |(process, seen): (ProcessId, Seen)| Some((process, seen.finding()?));
        ended.into_iter().chain(rest).filter_map(told).collect()
    }
}
