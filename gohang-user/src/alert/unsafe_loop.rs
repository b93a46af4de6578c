//! `unsafe-loop`: signals arrive, but always where the goroutine cannot be preempted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::explain::NO_YIELD_LIMIT;
use super::{Explanation, Finding, Rule, Thresholds};
use crate::event::{Episode, ProcessId, Request, RequestEnd};
use crate::golang::{Place, SafePoint};
use crate::process::escape;
use crate::report::Severity;
use crate::units::{duration, percent};

/// From this length of a run on the program is stalled rather than slow.
const CRITICAL_NS: u64 = 1_000_000_000;
/// Fewest signals of a run: a goroutine that runs on is asked every 10 ms (sysmon's longest
/// sleep, runtime/proc.go), so a few are no loop.
const MIN_SIGNALS: u64 = 5;
/// Most threads with a run, functions of one, and processes with requests.
const MAX_RUNS: usize = 16_384;
const MAX_FUNCTIONS: usize = 16;
const MAX_CHAINS: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct UnsafeLoop {
    runs: BTreeMap<(ProcessId, u32), Run>,
    /// Processes whose requests are seen, which tell more than their signals.
    chains: BTreeSet<ProcessId>,
}

/// Signals that one thread took in a row, of one goroutine as far as that is known, and
/// none of which could preempt it.
#[derive(Debug)]
struct Run {
    goid: Option<u64>,
    /// First send of the first.
    begin_ns: u64,
    /// Delivery of the last.
    end_ns: u64,
    signals: u64,
    functions: BTreeMap<(Option<String>, SafePoint), u64>,
}

/// A signal that was delivered where it could not preempt.
struct Met<'a> {
    thread: (ProcessId, u32),
    goid: Option<u64>,
    sent_ns: u64,
    delivered_ns: u64,
    place: &'a Place,
    class: SafePoint,
}

impl Run {
    fn new(begin_ns: u64) -> Self {
        Self {
            goid: None,
            begin_ns,
            end_ns: begin_ns,
            signals: 0,
            functions: BTreeMap::new(),
        }
    }

    /// Whether a signal may be of the goroutine that this run is of, without a pause in
    /// which it might have slept: one that runs on is asked again before `pause_ns` pass.
    fn goes_on(&self, met: &Met<'_>, pause_ns: u64) -> bool {
        let other = match (self.goid, met.goid) {
            (Some(mine), Some(theirs)) => mine != theirs,
            _ => false,
        };
        !other && met.sent_ns.saturating_sub(self.end_ns) <= pause_ns
    }

    fn add(&mut self, met: &Met<'_>) {
        self.goid = self.goid.or(met.goid);
        self.end_ns = met.delivered_ns;
        self.signals += 1;
        let key = (met.place.function.clone(), met.class);
        if self.functions.len() < MAX_FUNCTIONS || self.functions.contains_key(&key) {
            *self.functions.entry(key).or_insert(0) += 1;
        }
    }

    fn judge(&self, thresholds: &Thresholds) -> Option<Finding> {
        let length = self.end_ns.saturating_sub(self.begin_ns);
        if self.signals < MIN_SIGNALS || u128::from(length) <= thresholds.no_yield.as_nanos() {
            return None;
        }
        let ((function, class), most) = self.functions.iter().max_by_key(|(_, count)| **count)?;
        let share = *most as f64 / self.signals as f64;
        let name = function.as_deref().map(escape);
        let at = name.as_deref().unwrap_or("code without a name");
        let evidence = [
            ("length_ns", json!(length)),
            ("signals", json!(self.signals)),
            ("function", json!(name)),
            ("class", json!(class.name())),
            ("share", json!((share * 1000.0).round() / 1000.0)),
        ];
        Some(Finding {
            severity: if length >= CRITICAL_NS {
                Severity::Critical
            } else {
                Severity::Warning
            },
            headline: format!(
                "for {} each of {} preemption signals met code where a goroutine cannot be preempted: {} of them in {at}, {}",
                duration(length),
                self.signals,
                percent(share),
                class.describe(),
            ),
            evidence: evidence
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            advice: advice(*class),
            since_ns: Some(self.begin_ns),
            weight: length,
        })
    }
}

/// What to do about code of a class.
fn advice(class: SafePoint) -> &'static str {
    match class {
        SafePoint::Assembly => {
            "assembly runs to its end: cut large copies, comparisons, hashes and the like into pieces of at most a megabyte, so that the loop around them can be preempted"
        }
        SafePoint::Runtime | SafePoint::Marked => {
            "the loop spends its time in the runtime or in sequences that may not be cut: move the work of the loop's body into a function that is not inlined, whose call is a place to yield"
        }
        SafePoint::NotGo => {
            "code that is not Go's runs to its end: call it from a goroutine of its own, or in smaller pieces"
        }
        SafePoint::Safe => "see gohang explain unsafe-loop",
    }
}

impl UnsafeLoop {
    /// Adds a signal that could not preempt, and judges the run that it belongs to.
    fn met(&mut self, met: &Met<'_>, thresholds: &Thresholds) -> Option<Finding> {
        let pause_ns = thresholds.no_yield.as_nanos() as u64;
        if self.runs.len() >= MAX_RUNS && !self.runs.contains_key(&met.thread) {
            let at = met.delivered_ns;
            self.runs
                .retain(|_, run| at.saturating_sub(run.end_ns) <= pause_ns);
            if self.runs.len() >= MAX_RUNS {
                return None;
            }
        }
        let run = self
            .runs
            .entry(met.thread)
            .or_insert_with(|| Run::new(met.sent_ns));
        if !run.goes_on(met, pause_ns) {
            *run = Run::new(met.sent_ns);
        }
        run.add(met);
        run.judge(thresholds)
    }
}

impl Rule for UnsafeLoop {
    fn name(&self) -> &'static str {
        "unsafe-loop"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "preemption signals arrive, but always where the goroutine cannot be preempted",
            meaning: "A signal can stop a goroutine only at instructions where the runtime knows what every register and stack slot holds. Functions written in assembly, such as those that copy memory or compute hashes, have no such place, nor have the runtime's own code and sequences that the compiler marks. A loop that spends its time there runs on, however often it is asked, and with it waits a garbage collection or whoever wants its processor.",
            detection: "signals delivered to one thread in a row, of one goroutine where that is known, none of which could preempt it: at least 5 over more than the limit, none of them later than the limit after the one before. Where requests are seen (uprobes), it is the runtime itself that found no safe point, and a yield of any kind ends the row. Else the program's own tables tell: only assembly and code marked by the compiler count, and a signal at a place where it can preempt ends the row, as does one in the runtime's own code, from which a goroutine soon comes back. A single one is normal and reported nowhere but in the report's list of interrupted functions",
            severity: "warning; critical from 1 s on",
            limits: &[NO_YIELD_LIMIT],
            advice: "the evidence names the function that most signals met. Cut what it is given into pieces (copies and hashes of at most a megabyte at a time), or move the loop's body into a function that is not inlined: a call is a place to yield.",
        }
    }

    fn look(&mut self, episode: &Episode, thresholds: &Thresholds) -> Option<Finding> {
        if !episode.outcome.is_delivered() || self.chains.contains(&episode.process) {
            return None;
        }
        let thread = (episode.process, episode.tid);
        let place = episode.place.as_deref()?;
        // On the scheduler's stack (goroutine 0), nobody waits for a goroutine.
        let class = place
            .safe_point
            .filter(|class| matches!(class, SafePoint::Assembly | SafePoint::Marked))
            .filter(|_| episode.goid != Some(0));
        let Some(class) = class else {
            self.runs.remove(&thread);
            return None;
        };
        let met = Met {
            thread,
            goid: episode.goid,
            sent_ns: episode.sent_ns,
            delivered_ns: episode.end_ns,
            place,
            class,
        };
        self.met(&met, thresholds)
    }

    fn request(&mut self, request: &Request, thresholds: &Thresholds) -> Option<Finding> {
        let thread = (request.process, request.tid);
        if self.chains.len() < MAX_CHAINS && self.chains.insert(request.process) {
            // What its signals told up to now counts no more.
            self.runs.retain(|(of, _), _| *of != request.process);
        }
        let met = match request.end {
            RequestEnd::UnsafePoint => request.place.as_deref().and_then(|place| {
                Some(Met {
                    thread,
                    goid: request.goid,
                    sent_ns: request.sent_ns.unwrap_or(request.requested_ns),
                    delivered_ns: request.delivered_ns?,
                    place,
                    // Where the tables say that it is safe, it was not the place.
                    class: place.safe_point.filter(|class| !class.is_safe())?,
                })
            }),
            // Says nothing of where the goroutine is.
            RequestEnd::AlreadyPending | RequestEnd::NotRunning => return None,
            _ => None,
        };
        match met {
            Some(met) => self.met(&met, thresholds),
            None => {
                self.runs.remove(&thread);
                None
            }
        }
    }

    fn end(
        &mut self,
        process: Option<ProcessId>,
        _thresholds: &Thresholds,
    ) -> Vec<(ProcessId, Finding)> {
        // Each was judged with its last signal.
        match process {
            Some(process) => {
                self.runs.retain(|(of, _), _| *of != process);
                self.chains.remove(&process);
            }
            None => {
                self.runs.clear();
                self.chains.clear();
            }
        }
        Vec::new()
    }
}
