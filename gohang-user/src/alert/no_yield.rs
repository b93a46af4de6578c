//! `no-yield`: a goroutine ran on for long after it was first asked to yield.

use std::collections::{BTreeMap, VecDeque};

use gohang_common::cause::Outcome;
use gohang_common::chain::RequestEnd;
use serde_json::json;

use super::explain::NO_YIELD_LIMIT;
use super::{Explanation, Finding, Rule, Thresholds};
use crate::event::{Episode, ProcessId, Request};
use crate::process::escape;
use crate::report::Severity;
use crate::units::duration;

/// From here on the program is stalled rather than slow.
const CRITICAL_NS: u64 = 1_000_000_000;
/// A goroutine that runs on is asked again each time sysmon looks, every 10 ms (`sysmon`,
/// runtime/proc.go): where it was not for so long, it had left its P unseen for one that
/// took its slice over, and has come back, or sysmon could not run, which has its own alert.
const PAUSE_NS: u64 = 50_000_000;
/// Most threads with a slice that is asked to end, and with arrivals.
const MAX_SLICES: usize = 16_384;
/// Arrivals that are kept of a thread.
const MAX_ARRIVALS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct NoYield {
    slices: BTreeMap<(ProcessId, u32), Slice>,
    arrivals: BTreeMap<(ProcessId, u32), Arrivals>,
}

/// When signals arrived at a thread, as the kernel had it. The probe in the runtime's handler
/// may miss one whose request it knows of: while probes are taken off, for one.
#[derive(Debug, Default)]
struct Arrivals {
    last_ns: VecDeque<u64>,
    /// The last of those that are not kept any more, 0 if there is none.
    forgotten_ns: u64,
}

impl Arrivals {
    fn add(&mut self, at_ns: u64) {
        if self.last_ns.len() == MAX_ARRIVALS {
            self.forgotten_ns = self.last_ns.pop_front().unwrap_or_default();
        }
        self.last_ns.push_back(at_ns);
    }

    /// The first from then on, which ends the way of any signal that was sent then. Where it is
    /// not kept, it counts as one that came at once: how late it was is not known.
    fn first_from(&self, sent_ns: u64) -> Option<u64> {
        if self.forgotten_ns >= sent_ns {
            return Some(sent_ns);
        }
        self.last_ns.iter().copied().find(|at_ns| *at_ns >= sent_ns)
    }
}

/// Requests to yield within one slice of a goroutine.
#[derive(Debug, Default)]
struct Slice {
    first_ns: u64,
    /// From when on it was asked without a pause.
    begin_ns: u64,
    /// When it was last asked, or met.
    seen_ns: u64,
    requests: u64,
    ends: [u64; RequestEnd::ALL.len()],
    /// Time that signals were on their way to it.
    undelivered_ns: u64,
    /// Where it was met last where it cannot be preempted.
    function: Option<String>,
}

impl Slice {
    fn add(&mut self, request: &Request, arrivals: Option<&Arrivals>) {
        let repeats = u64::from(request.repeats);
        self.requests += 1 + repeats;
        self.ends[request.end as usize] += 1;
        if request.sent_ns.is_none() && request.end == RequestEnd::NotSent {
            self.ends[RequestEnd::NotSent as usize] += repeats;
        } else {
            self.ends[RequestEnd::AlreadyPending as usize] += repeats;
        }
        if let Some(sent_ns) = request.sent_ns
            && request.end != RequestEnd::AlreadyPending
        {
            let arrived_ns = arrivals.and_then(|own| own.first_from(sent_ns));
            let at_most = arrived_ns.map_or(request.end_ns, |at_ns| at_ns.min(request.end_ns));
            let until_ns = request.delivered_ns.unwrap_or(at_most);
            self.undelivered_ns += until_ns.saturating_sub(sent_ns);
        }
        if request.end == RequestEnd::UnsafePoint
            && let Some(place) = &request.place
        {
            self.function = place.function.as_deref().map(escape);
        }
    }

    /// The most frequent reason why a request came to nothing. That a signal is under
    /// way already is one only where nothing else is: the other signal has its own.
    fn reason(&self) -> Option<RequestEnd> {
        let failed = RequestEnd::ALL
            .iter()
            .filter(|end| !is_over(**end) && **end != RequestEnd::AlreadyPending)
            .max_by_key(|end| self.ends[**end as usize])
            .copied()?;
        (self.ends[failed as usize] > 0).then_some(failed)
    }

    /// What happened, as far as `until_ns`.
    fn judge(&self, request: &Request, until_ns: u64, limits: &Thresholds) -> Option<Finding> {
        let length = until_ns.saturating_sub(self.begin_ns);
        if u128::from(length) <= limits.no_yield.as_nanos() {
            return None;
        }
        // Most of it was the signal's way, of which other rules tell more.
        let is_delivery = self.undelivered_ns > length / 2;
        let reason = self.reason().filter(|_| !is_delivery);
        let (word, why, advice) = match reason {
            Some(end) => (end.name(), why(end), advice(end)),
            None if is_delivery => (
                "slow_delivery",
                "most of that time the signal was on its way",
                "see what held the signal up: the parts of slow-delivery, undelivered and masked, and the process's CPU quota",
            ),
            // Nothing failed: it left its P in between, unseen, for another goroutine that
            // took its slice over, and came back within that.
            None if is_over(request.end) => return None,
            None => {
                let end = RequestEnd::AlreadyPending;
                (end.name(), why(end), advice(end))
            }
        };
        let goroutine = request.goid.map_or_else(
            || "a goroutine".to_owned(),
            |goid| format!("goroutine {goid}"),
        );
        let at = match &self.function {
            Some(function) if reason == Some(RequestEnd::UnsafePoint) => format!(", in {function}"),
            _ => String::new(),
        };
        let evidence = [
            ("length_ns", json!(length)),
            ("requests", json!(self.requests)),
            ("reason", json!(word)),
            ("undelivered_ns", json!(self.undelivered_ns)),
            ("function", json!(self.function)),
            ("yielded", json!(request.end.is_yield())),
        ];
        Some(Finding {
            severity: if length >= CRITICAL_NS {
                Severity::Critical
            } else {
                Severity::Warning
            },
            headline: format!(
                "{goroutine} ran on for {} after it was first asked to yield: {why}{at}",
                duration(length)
            ),
            evidence: evidence
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            advice,
            since_ns: Some(self.begin_ns),
            weight: length,
        })
    }
}

/// Whether a goroutine was asked no longer: it had yielded, or it was not wanted any more,
/// as its P had run the scheduler since.
fn is_over(end: RequestEnd) -> bool {
    end.is_yield() || end == RequestEnd::NotWanted
}

/// Why such a request came to nothing.
fn why(end: RequestEnd) -> &'static str {
    match end {
        RequestEnd::YieldedAsync | RequestEnd::YieldedCooperatively => "it yielded",
        RequestEnd::NotRunning => "it was not running when it was asked",
        RequestEnd::AlreadyPending => "an earlier signal to its thread had not arrived",
        RequestEnd::Disabled => "no signal was sent, asynchronous preemption is off",
        RequestEnd::NotSent => "no signal was sent (is asynchronous preemption off?)",
        RequestEnd::NotWanted => "the signals came when the request was over",
        RequestEnd::WrongGoroutine => "the signals met its thread in the scheduler",
        RequestEnd::ThreadState => {
            "the signals met its thread while it held the runtime's locks or allocated"
        }
        RequestEnd::UnsafePoint => "the signals met it where it cannot be preempted",
        RequestEnd::Superseded => "what became of the signals was not seen",
        RequestEnd::Exited => "its thread ended",
        RequestEnd::NoHandler => "the signals did not reach the runtime's handler",
    }
}

/// What to do about it.
fn advice(end: RequestEnd) -> &'static str {
    match end {
        RequestEnd::Disabled | RequestEnd::NotSent => {
            "start the process without asyncpreemptoff in GODEBUG, or call something in the loop"
        }
        RequestEnd::UnsafePoint => {
            "cut what the function is given into pieces, or move the loop's body into a function that is not inlined: a call is a place to yield"
        }
        RequestEnd::ThreadState => {
            "the goroutine keeps the runtime busy: look at how much it allocates, and at gctrace=1"
        }
        RequestEnd::NoHandler => {
            "find the code that installs a handler for SIGURG, and have it call the one that it replaces"
        }
        _ => {
            "see the chain's counts of what came of requests, and the other alerts of this process"
        }
    }
}

impl Rule for NoYield {
    fn name(&self) -> &'static str {
        "no-yield"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "a goroutine ran on for long after it was first asked to yield",
            meaning: "The runtime asked a goroutine to leave its processor, because its slice was over, garbage collection wanted to look at its stack or the world was to stop, and it did not. Until it does, the others wait for that processor, or all of them for that goroutine.",
            detection: "time from the first request of a goroutine's slice, among those that follow each other within 50 ms, to its yield, or to the last request so far. The reason is what most of the requests in between ended with; where the signal was on its way for more than half of the time, that. Needs the probes in the runtime (not with --no-uprobes)",
            severity: "warning; critical from 1 s on",
            limits: &[NO_YIELD_LIMIT],
            advice: "see the reason: preemption that is off, code without safe points, a handler that is not the runtime's, or a signal that is slow to arrive. Each of the first three has an alert of its own.",
        }
    }

    fn look(&mut self, episode: &Episode, _limits: &Thresholds) -> Option<Finding> {
        let key = (episode.process, episode.tid);
        let has_room = self.arrivals.len() < MAX_SLICES || self.arrivals.contains_key(&key);
        if episode.outcome == Outcome::Delivered && has_room {
            self.arrivals.entry(key).or_default().add(episode.end_ns);
        }
        None
    }

    fn request(&mut self, request: &Request, limits: &Thresholds) -> Option<Finding> {
        if request.end == RequestEnd::NotRunning {
            return None;
        }
        let key = (request.process, request.tid);
        if self.slices.len() >= MAX_SLICES && !self.slices.contains_key(&key) {
            return None;
        }
        let slice = self.slices.entry(key).or_default();
        let same = slice.first_ns == request.first_ns;
        let is_pause = request.requested_ns.saturating_sub(slice.seen_ns) > PAUSE_NS;
        if !same || is_pause {
            *slice = Slice {
                first_ns: request.first_ns,
                begin_ns: if same {
                    request.requested_ns
                } else {
                    request.first_ns
                },
                ..Slice::default()
            };
        }
        slice.add(request, self.arrivals.get(&key));
        // Of one that has not yielded, the end may be that of its next slice: it ran on
        // at least until it was asked, or met by a signal.
        let until_ns = match request.yielded_ns {
            Some(yielded_ns) => yielded_ns,
            None => request.delivered_ns.unwrap_or(request.requested_ns),
        };
        slice.seen_ns = match request.repeats {
            0 => until_ns,
            _ => request.end_ns.max(until_ns),
        };
        let finding = slice.judge(request, until_ns, limits);
        if request.end.is_yield() || request.end == RequestEnd::Exited {
            self.slices.remove(&key);
        }
        finding
    }

    fn end(
        &mut self,
        process: Option<ProcessId>,
        _limits: &Thresholds,
    ) -> Vec<(ProcessId, Finding)> {
        // Each was judged with its last request.
        match process {
            Some(process) => {
                self.slices.retain(|(of, _), _| *of != process);
                self.arrivals.retain(|(of, _), _| *of != process);
            }
            None => {
                self.slices.clear();
                self.arrivals.clear();
            }
        }
        Vec::new()
    }
}
