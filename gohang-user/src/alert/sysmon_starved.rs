//! `sysmon-starved`: the thread that asks goroutines to yield does not get to run itself.

use std::collections::BTreeMap;

use gohang_common::chain::Asker;
use serde_json::json;

use super::explain::LATE_LIMIT;
use super::{Explanation, Finding, Rule, Scope, Thresholds};
use crate::event::{ProcessId, Request};
use crate::report::Severity;
use crate::source::SenderUse;
use crate::units::{duration, percent};

/// Length of a window.
const WINDOW_NS: u64 = 1_000_000_000;
/// Fewest late requests, or long waits, of a window: one may be bad luck.
const MIN_LATE: u64 = 3;
/// A sender that itself runs for more of the time is a worker that happens to have sent
/// some, as for garbage collection, and not sysmon.
const MAX_RUN_SHARE: f64 = 0.05;
/// From this share of the time on that it cannot run, requests hardly come at all.
const CRITICAL_SHARE: f64 = 0.5;
/// Most processes that are kept.
const MAX_PROCESSES: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct SysmonStarved {
    windows: BTreeMap<ProcessId, Window>,
    /// As they were at the last look, by process and thread.
    senders: BTreeMap<(ProcessId, u32), SenderUse>,
}

/// A second of sysmon's requests in one process, from the first one on.
#[derive(Debug)]
struct Window {
    begin_ns: u64,
    requests: u64,
    /// Those later than the limit, mostly because its thread could not run.
    late: u64,
    late_ns: u64,
    longest_ns: u64,
    throttled_ns: u64,
    runqueue_ns: u64,
}

impl Window {
    fn new(begin_ns: u64) -> Self {
        Self {
            begin_ns,
            requests: 0,
            late: 0,
            late_ns: 0,
            longest_ns: 0,
            throttled_ns: 0,
            runqueue_ns: 0,
        }
    }

    fn add(&mut self, request: &Request, late_ns: u64, limits: &Thresholds) {
        self.requests += 1;
        let throttled = request.sender_throttled_ns.min(late_ns);
        let runqueue = request.sender_runqueue_ns.min(late_ns - throttled);
        // Else it slept, or the goroutine's slice was not seen in time.
        if u128::from(late_ns) > limits.late.as_nanos() && throttled + runqueue >= late_ns / 2 {
            self.late += 1;
            self.late_ns += late_ns;
            self.longest_ns = self.longest_ns.max(late_ns);
            self.throttled_ns += throttled;
            self.runqueue_ns += runqueue;
        }
    }

    fn judge(&self) -> Option<Finding> {
        if self.late < MIN_LATE {
            return None;
        }
        let share = self.throttled_ns as f64 / self.late_ns as f64;
        let evidence = [
            ("requests", json!(self.requests)),
            ("late_requests", json!(self.late)),
            ("longest_late_ns", json!(self.longest_ns)),
            ("late_ns", json!(self.late_ns)),
            ("throttled_ns", json!(self.throttled_ns)),
            ("runqueue_ns", json!(self.runqueue_ns)),
            ("throttled_share", json!(thousandths(share))),
        ];
        Some(Finding {
            severity: severity(self.late_ns),
            headline: format!(
                "sysmon, which asks goroutines to yield, asked late: {} of {} requests in a second, by up to {}; {} of that time its own thread was out of CPU quota",
                self.late,
                self.requests,
                duration(self.longest_ns),
                percent(share),
            ),
            evidence: evidence
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            advice: advice(self.throttled_ns, self.runqueue_ns),
            since_ns: Some(self.begin_ns),
            weight: self.late_ns,
        })
    }
}

/// What a sender did between two looks at it.
fn judge_sender(before: &SenderUse, now: &SenderUse, limits: &Thresholds) -> Option<Finding> {
    let length = now.at_ns.checked_sub(before.at_ns).filter(|ns| *ns > 0)?;
    let waits = u64::from(now.long_waits.wrapping_sub(before.long_waits));
    let waited = now.long_wait_ns.wrapping_sub(before.long_wait_ns);
    let ran = now.ran_ns.wrapping_sub(before.ran_ns);
    let others = now.others_ran_ns.saturating_sub(before.others_ran_ns);
    let each = waited.checked_div(waits)?;
    let is_sysmon = ran as f64 <= MAX_RUN_SHARE * length as f64;
    if waits < MIN_LATE || u128::from(each) <= limits.late.as_nanos() || !is_sysmon || others == 0 {
        return None;
    }
    let throttled = now.stall_ns.wrapping_sub(before.stall_ns);
    let runqueue = now.runqueue_ns.wrapping_sub(before.runqueue_ns);
    let share = throttled as f64 / (throttled + runqueue).max(1) as f64;
    let evidence = [
        ("sender_tid", json!(now.tid)),
        ("window_ns", json!(length)),
        ("long_waits", json!(waits)),
        ("long_wait_ns", json!(waited)),
        ("throttled_ns", json!(throttled)),
        ("runqueue_ns", json!(runqueue)),
        ("throttled_share", json!(thousandths(share))),
        ("others_ran_ns", json!(others)),
    ];
    Some(Finding {
        severity: severity(waited * WINDOW_NS / length.max(WINDOW_NS)),
        headline: format!(
            "thread {}, which sends the preemption signals, could not run for {} of {}, {} a time; {} of its waiting was for CPU quota, while other threads of the process ran",
            now.tid,
            duration(waited),
            duration(length),
            duration(each),
            percent(share),
        ),
        evidence: evidence
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        advice: advice(throttled, runqueue),
        since_ns: Some(before.at_ns),
        weight: waited,
    })
}

fn thousandths(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}

/// By how much of a second it could not run.
fn severity(ns: u64) -> Severity {
    if ns as f64 >= CRITICAL_SHARE * WINDOW_NS as f64 {
        Severity::Critical
    } else {
        Severity::Warning
    }
}

fn advice(throttled_ns: u64, runqueue_ns: u64) -> &'static str {
    if throttled_ns >= runqueue_ns {
        "raise the CPU limit, or set GOMAXPROCS to at most the limit, rounded up (Go 1.25 and later do that by themselves): goroutines share processors only as well as sysmon gets to run"
    } else {
        "the CPUs are contended, not limited: look at what else runs there"
    }
}

impl Rule for SysmonStarved {
    fn name(&self) -> &'static str {
        "sysmon-starved"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the thread that asks goroutines to yield does not get to run itself",
            meaning: "sysmon, a thread of the Go runtime, asks each goroutine that has run for 10 ms to yield. It lives in the process's control group: when that is out of CPU quota, or other threads have the CPUs, it cannot run either, and the signals that it would send do not come. What is sent arrives in microseconds, and yet goroutines, timers and connections wait for hundreds of milliseconds: a hundred signals a second become ten.",
            detection: "with probes in the runtime: requests of sysmon that come later than the limit after the end of the goroutine's slice, by the runtime's own account (at least that late, as sysmon sees a slice's begin late too), half of it or more because its thread was out of quota or waited for a CPU since it last woke up; 3 in a second or more. Without them: the thread that sends the process's signals, if it runs for less than 5 % of the time as sysmon does, had 3 long waits a second or more (out of quota and for a CPU, of 10 ms or more each), longer than the limit on average, while other threads of the process ran. That no signals are sent proves nothing: goroutines that yield by themselves need none",
            severity: "warning; critical if it could not run for half of the time",
            limits: &[LATE_LIMIT],
            advice: "throttled: raise the CPU limit, or set GOMAXPROCS to at most the limit, rounded up, so that the quota lasts. Run queue: see what else runs on those CPUs.",
        }
    }

    fn scope(&self) -> Scope {
        Scope::Process
    }

    fn request(&mut self, request: &Request, limits: &Thresholds) -> Option<Finding> {
        // One that repeats another's slice is as late as it is.
        let late_ns = request.late_ns?;
        if request.asker != Asker::Retake || request.first_ns != request.requested_ns {
            return None;
        }
        let process = request.process;
        let at = request.requested_ns;
        let over = self
            .windows
            .get(&process)
            .is_some_and(|window| at.saturating_sub(window.begin_ns) >= WINDOW_NS);
        let finding = if over {
            self.windows.remove(&process)?.judge()
        } else {
            None
        };
        if self.windows.len() < MAX_PROCESSES || self.windows.contains_key(&process) {
            let window = self.windows.entry(process);
            let window = window.or_insert_with(|| Window::new(at));
            window.add(request, late_ns, limits);
        }
        finding
    }

    fn sender(&mut self, sender: &SenderUse, limits: &Thresholds) -> Option<Finding> {
        let key = (sender.process, sender.tid);
        if self.senders.len() >= MAX_PROCESSES && !self.senders.contains_key(&key) {
            return None;
        }
        let before = self.senders.get(&key);
        // Windows of a second, however often it is looked.
        if before
            .is_some_and(|before| sender.at_ns.saturating_sub(before.at_ns) < WINDOW_NS * 9 / 10)
        {
            return None;
        }
        let before = self.senders.insert(key, *sender)?;
        judge_sender(&before, sender, limits)
    }

    fn end(
        &mut self,
        process: Option<ProcessId>,
        _limits: &Thresholds,
    ) -> Vec<(ProcessId, Finding)> {
        let ended: Vec<(ProcessId, Window)> = match process {
            Some(process) => {
                self.senders.retain(|(of, _), _| *of != process);
                let window = self.windows.remove(&process);
                window.into_iter().map(|window| (process, window)).collect()
            }
            None => {
                self.senders.clear();
                std::mem::take(&mut self.windows).into_iter().collect()
            }
        };
        ended
            .iter()
            .filter_map(|(process, window)| Some((*process, window.judge()?)))
            .collect()
    }
}
