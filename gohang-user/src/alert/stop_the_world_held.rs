//! `stop-the-world-held`: stopping all goroutines took long, and who was waited for.

use gohang_common::cause::{Cause, cause};
use serde_json::json;

use super::explain::STOP_LIMIT;
use super::{Explanation, Finding, Rule, Scope, Thresholds};
use crate::event::Stop;
use crate::report::Severity;
use crate::units::duration;

#[derive(Debug)]
pub(super) struct StopTheWorldHeld;

/// From here on the program is stalled rather than slow.
const CRITICAL_NS: u64 = 1_000_000_000;

/// How long the thread that stops the others took to go on once the last had stopped, ns.
fn alone_for(stop: &Stop) -> Option<u64> {
    stop.stopped_ns?.checked_sub(stop.last_ns?)
}

impl Rule for StopTheWorldHeld {
    fn name(&self) -> &'static str {
        "stop-the-world-held"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "stopping all goroutines took long",
            meaning: "Garbage collection, and some calls such as runtime.GOMAXPROCS or a heap profile, stop all goroutines for a moment. Those that have stopped wait until the last one has, so one thread that cannot run, or one goroutine that does not yield, holds up the whole program.",
            detection: "time from stopTheWorldWithSema's begin to its return, and what the thread that stopped last did meanwhile, by the kernel's account; where most of the time came after that, it was the stopping thread's own. Needs the probes in the runtime (not with --no-uprobes)",
            severity: "warning; critical from 1 s on",
            limits: &[STOP_LIMIT],
            advice: "throttled: raise the CPU limit, or set GOMAXPROCS to at most the limit, rounded up. Run queue: see what else runs on those CPUs. Running: see what that goroutine runs (unsafe-loop, no-yield). Masked: see masked. Blocked: see the thread's stack (/proc/PID/task/TID/stack).",
        }
    }

    fn scope(&self) -> Scope {
        Scope::Process
    }

    fn stop(&mut self, stop: &Stop, limits: &Thresholds) -> Option<Finding> {
        // One that was never done is as long as it is known to have lasted.
        let length = match stop.stopping_ns() {
            Some(length) => length,
            None => stop.last_ns?.checked_sub(stop.begin_ns)?,
        };
        if u128::from(length) <= limits.stop.as_nanos() {
            return None;
        }
        let parts = &stop.parts;
        let cause = cause(parts);
        let (share, what, advice) = match cause {
            Cause::Throttled => (
                parts.throttled,
                "out of CPU quota",
                "raise the CPU limit, or set GOMAXPROCS to at most the limit, rounded up",
            ),
            Cause::RunQueue => (
                parts.runqueue,
                "waiting for a CPU",
                "the CPUs are contended, not limited: look at what else runs there",
            ),
            Cause::Blocked => (
                parts.blocked,
                "asleep or stopped",
                "look at what the thread waits for (/proc/PID/task/TID/stack), or whether it is stopped or frozen",
            ),
            Cause::Masked => (
                parts.masked,
                "holding SIGURG blocked",
                "find the code that blocks signals and leave SIGURG out of the set",
            ),
            Cause::Running => (
                parts.running,
                "running on",
                "look at what that goroutine runs: a loop in assembly or runtime code cannot be preempted (see unsafe-loop and no-yield)",
            ),
        };
        let last = match (stop.last_tid, stop.last_goid) {
            (Some(tid), Some(goid)) => Some(format!("thread {tid} (goroutine {goid})")),
            (Some(tid), None) => Some(format!("thread {tid}")),
            (None, _) => None,
        };
        let alone = alone_for(stop);
        let is_alone = alone.is_some_and(|alone| alone > length / 2);
        let known = parts.total();
        let is_known = known > 0 && known >= (length - alone.unwrap_or(0).min(length)) / 2;
        let (who, advice) = match (last, alone) {
            (Some(last), Some(alone)) if is_alone => (
                format!(
                    "; {last} stopped last, but for {} of that it had, and thread {}, which stops \
                     the others, did not go on",
                    duration(alone),
                    stop.tid
                ),
                "the thread that stops the others was kept from running: see what the process waits for (stalls and run queues in the report), and its other alerts",
            ),
            (Some(last), _) if is_known => (
                format!(
                    "; {last} stopped last, and was {what} for {} of that",
                    duration(share)
                ),
                advice,
            ),
            (Some(last), _) => (
                format!(
                    "; {last} stopped last; what it did meanwhile is known of {} alone",
                    duration(known)
                ),
                "look at what that thread did: the process's other alerts, and its deliveries by cause",
            ),
            (None, _) => (
                String::new(),
                "who was waited for was not seen: look at the process's other alerts, and its deliveries by cause",
            ),
        };
        let explains = is_known && !is_alone;
        let evidence = [
            ("stopping_ns", json!(length)),
            ("total_ns", json!(stop.total_ns())),
            ("stopping_tid", json!(stop.tid)),
            ("last_tid", json!(stop.last_tid)),
            ("last_goid", json!(stop.last_goid)),
            ("after_last_ns", json!(alone)),
            ("cause", json!(explains.then(|| cause.name()))),
            ("throttled_ns", json!(parts.throttled)),
            ("masked_ns", json!(parts.masked)),
            ("blocked_ns", json!(parts.blocked)),
            ("runqueue_ns", json!(parts.runqueue)),
            ("running_ns", json!(parts.running)),
        ];
        Some(Finding {
            severity: if length >= CRITICAL_NS {
                Severity::Critical
            } else {
                Severity::Warning
            },
            headline: format!("stopping the world took {}{who}", duration(length)),
            evidence: evidence
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            advice,
            since_ns: None,
            // Of stops that are much as long the one that says why is told.
            weight: if explains { length } else { length / 2 },
        })
    }
}
