//! `unsafe-loop`: signals arrive, but always where the goroutine cannot be preempted.

use std::collections::BTreeMap;

use serde_json::json;

use super::explain::NO_YIELD_LIMIT;
use super::{Explanation, Finding, Rule, Thresholds};
use crate::event::{Episode, ProcessId};
use crate::golang::{Place, SafePoint};
use crate::process::escape;
use crate::report::Severity;
use crate::units::{duration, percent};

/// From this length of a run on the program is stalled rather than slow.
const CRITICAL_NS: u64 = 1_000_000_000;
/// Fewest signals of a run: a goroutine that runs on is asked every 10 ms (sysmon's longest
/// sleep, runtime/proc.go), so a few are no loop.
const MIN_SIGNALS: u64 = 5;
/// Most threads with a run, and functions of one.
const MAX_RUNS: usize = 16_384;
const MAX_FUNCTIONS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct UnsafeLoop {
    runs: BTreeMap<(ProcessId, u32), Run>,
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

    /// Whether an episode may be of the goroutine that this run is of, without a pause in
    /// which it might have slept: one that runs on is asked again before `pause_ns` pass.
    fn goes_on(&self, episode: &Episode, pause_ns: u64) -> bool {
        let other = match (self.goid, episode.goid) {
            (Some(mine), Some(theirs)) => mine != theirs,
            _ => false,
        };
        !other && episode.sent_ns.saturating_sub(self.end_ns) <= pause_ns
    }

    fn add(&mut self, episode: &Episode, place: &Place, class: SafePoint) {
        self.goid = self.goid.or(episode.goid);
        self.end_ns = episode.end_ns;
        self.signals += 1;
        let key = (place.function.clone(), class);
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

impl Rule for UnsafeLoop {
    fn name(&self) -> &'static str {
        "unsafe-loop"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "preemption signals arrive, but always where the goroutine cannot be preempted",
            meaning: "A signal can stop a goroutine only at instructions where the runtime knows what every register and stack slot holds. Functions written in assembly, such as those that copy memory or compute hashes, have no such place, nor have the runtime's own code and sequences that the compiler marks. A loop that spends its time there runs on, however often it is asked, and with it waits a garbage collection or whoever wants its processor.",
            detection: "signals delivered to one thread in a row, of one goroutine where that is known, that all met assembly or code marked by the compiler (by the program's own tables), at least 5 over more than the limit, none of them later than the limit after the one before. One at a place where it can preempt ends the row, and so does one in the runtime's own code, from which a goroutine soon comes back. A single one is normal and reported nowhere but in the report's list of interrupted functions",
            severity: "warning; critical from 1 s on",
            limits: &[NO_YIELD_LIMIT],
            advice: "the evidence names the function that most signals met. Cut what it is given into pieces (copies and hashes of at most a megabyte at a time), or move the loop's body into a function that is not inlined: a call is a place to yield.",
        }
    }

    fn look(&mut self, episode: &Episode, thresholds: &Thresholds) -> Option<Finding> {
        if !episode.outcome.is_delivered() {
            return None;
        }
        let key = (episode.process, episode.tid);
        let place = episode.place.as_deref()?;
        // On the scheduler's stack (goroutine 0), nobody waits for a goroutine.
        let class = place
            .safe_point
            .filter(|class| matches!(class, SafePoint::Assembly | SafePoint::Marked))
            .filter(|_| episode.goid != Some(0));
        let Some(class) = class else {
            self.runs.remove(&key);
            return None;
        };
        let pause_ns = thresholds.no_yield.as_nanos() as u64;
        if self.runs.len() >= MAX_RUNS && !self.runs.contains_key(&key) {
            let at = episode.end_ns;
            self.runs
                .retain(|_, run| at.saturating_sub(run.end_ns) <= pause_ns);
            if self.runs.len() >= MAX_RUNS {
                return None;
            }
        }
        let run = self
            .runs
            .entry(key)
            .or_insert_with(|| Run::new(episode.sent_ns));
        if !run.goes_on(episode, pause_ns) {
            *run = Run::new(episode.sent_ns);
        }
        run.add(episode, place, class);
        run.judge(thresholds)
    }

    fn end(
        &mut self,
        process: Option<ProcessId>,
        _thresholds: &Thresholds,
    ) -> Vec<(ProcessId, Finding)> {
        // Each was judged with its last signal.
        match process {
            Some(process) => self.runs.retain(|(of, _), _| *of != process),
            None => self.runs.clear(),
        }
        Vec::new()
    }
}
