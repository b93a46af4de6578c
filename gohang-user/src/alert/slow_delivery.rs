//! `slow-delivery`: a signal took longer than the threshold to reach its thread.

use gohang_common::cause::Cause;

use super::explain::THRESHOLD;
use super::{Explanation, Finding, Rule, Thresholds, components};
use crate::event::Episode;
use crate::report::Severity;
use crate::units::duration;

#[derive(Debug)]
pub(super) struct SlowDelivery;

/// From this latency on the program is stalled rather than slow.
const CRITICAL_NS: u64 = 1_000_000_000;

impl Rule for SlowDelivery {
    fn name(&self) -> &'static str {
        "slow-delivery"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "a preemption signal took long to reach its thread",
            meaning: "From the first send to the delivery the goroutine ran on, or its thread could not run at all; whoever waited for it (the garbage collector, another goroutine) waited as long. The headline names where most of that time went: out of CPU quota, waiting for a CPU, blocked in the kernel, or running without returning to user mode.",
            detection: "time from signal_generate to signal_deliver of one episode, sends into a pending signal not counted anew; its parts add up to it exactly. One that was mostly masked is left to the rule masked",
            severity: "warning; critical from 1 s on",
            limits: &[THRESHOLD],
            advice: "throttled: raise the CPU limit, or set GOMAXPROCS to at most the limit, rounded up. Run queue: see what else runs on those CPUs. Blocked: see what the thread waits for (/proc/PID/task/TID/stack), and whether it is stopped or frozen. Running: look for long system calls, steal and interrupt time.",
        }
    }

    fn look(&mut self, episode: &Episode, thresholds: &Thresholds) -> Option<Finding> {
        let latency = episode.latency_ns()?;
        // A masked signal has a rule of its own.
        if u128::from(latency) <= thresholds.slow.as_nanos() || episode.cause == Cause::Masked {
            return None;
        }
        let (share, why, advice) = match episode.cause {
            Cause::Throttled => (
                episode.parts.throttled,
                "out of CPU quota",
                "raise the CPU limit, or set GOMAXPROCS to at most the limit, rounded up",
            ),
            Cause::RunQueue => (
                episode.parts.runqueue,
                "waiting for a CPU",
                "the CPUs are contended, not limited: look at what else runs there",
            ),
            Cause::Blocked => (
                episode.parts.blocked,
                "blocked in the kernel",
                "look at what the thread waits for (/proc/PID/task/TID/stack), or whether it is stopped or frozen",
            ),
            Cause::Running | Cause::Masked => (
                episode.parts.running,
                "running without returning to user mode",
                "a long system call or interrupts keep the thread in the kernel; look at steal and interrupt time",
            ),
        };
        let mut evidence = components(episode);
        evidence.insert("latency_ns".to_owned(), latency.into());
        Some(Finding {
            severity: if latency >= CRITICAL_NS {
                Severity::Critical
            } else {
                Severity::Warning
            },
            headline: format!(
                "a preemption signal took {} to arrive; for {} of that the thread was {why}",
                duration(latency),
                duration(share),
            ),
            evidence,
            advice,
            since_ns: None,
            weight: latency,
        })
    }
}
