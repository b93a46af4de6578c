//! Signs that the garbage collector is at work all the time. What Go prints of its goroutines
//! leaves its own out, so that its work shows by what it does to others.

use super::case::Case;
use super::wait::Wait;
use super::words;
use crate::golang::dump::Goroutine;
use crate::run::evidence::Process;

/// Functions in which a goroutine helps the collector instead of doing its own work
/// (`runtime/mgcmark.go`), or waits for its turn to start it (`gcStart` in `runtime/mgc.go`).
const ASSISTS: [&str; 5] = [
    "runtime.gcAssistAlloc",
    "runtime.gcAssistAlloc1",
    "runtime.gcParkAssist",
    "runtime.deductAssistCredit",
    "runtime.gcStart",
];
/// So much more of a CPU than the goroutines that run can use is the collector's: it may use a
/// quarter of all for certain, and half of them at its limit (`gcBackgroundUtilization` in
/// `runtime/mgcpacer.go`, `runtime/mgclimit.go`).
const BEYOND: f64 = 0.3;
/// Stops of the world a second from which it collects again and again: each collection has
/// two; where there is no need it has one every two minutes (`forcegcperiod` in
/// `runtime/proc.go`).
const STOPS_A_SECOND: f64 = 4.0;

/// What shows of the collector's work.
#[derive(Debug)]
pub(super) struct Collecting<'c> {
    /// Goroutines that help it, or wait for it.
    pub assisting: Vec<&'c Goroutine>,
    /// CPUs that the program used, and how many goroutines could have used them, where it is
    /// more.
    beyond: Option<(f64, usize)>,
    /// Stops of the world that the tracer saw, and how long it traced, in nanoseconds.
    stops: Option<(u64, u64)>,
}

impl<'c> Collecting<'c> {
    pub fn of(case: &'c Case<'_>) -> Self {
        Self {
            assisting: case.goroutines().filter(|one| assists(one)).collect(),
            beyond: beyond(case),
            stops: stops(case),
        }
    }

    /// Whether anything shows.
    pub fn is_seen(&self) -> bool {
        !self.assisting.is_empty() || self.beyond.is_some() || self.stops.is_some()
    }

    /// What shows, in sentences.
    pub fn words(&self) -> Vec<String> {
        let assisting = self.assisting.first().map(|one| {
            let number = self.assisting.len();
            let who = if number == 1 {
                "a goroutine helps".to_owned()
            } else {
                format!("{number} goroutines help")
            };
            format!(
                "{who} the collector instead of getting on: {}",
                words::goroutine(one)
            )
        });
        let beyond = self.beyond.map(|(cpus, running)| {
            let who = match running {
                0 => "no goroutine runs".to_owned(),
                1 => "one goroutine runs".to_owned(),
                _ => format!("{running} goroutines run"),
            };
            format!(
                "{who}, but {} of a CPU are used: the rest is the collector's",
                words::share(cpus)
            )
        });
        let stops = self.stops.map(|(count, within_ns)| {
            format!(
                "the world was stopped {count} times within {}, twice for each collection",
                words::time(within_ns)
            )
        });
        stops.into_iter().chain(beyond).chain(assisting).collect()
    }
}

/// Of a Go program whose goroutines are known, more CPU time than these can use.
fn beyond(case: &Case<'_>) -> Option<(f64, usize)> {
    let mut leaves = case.evidence.processes.iter().filter(|one| one.leaf);
    let (Some(leaf), None, [dump]) = (leaves.next(), leaves.next(), &case.dumps[..]) else {
        return None;
    };
    let running = dump.goroutines.iter().filter(|goroutine| {
        // In a call it may be anywhere, as in C, and be busy.
        let wait = Wait::of(goroutine);
        matches!(wait, Wait::Running | Wait::Syscall) && !assists(goroutine)
    });
    let running = running.count();
    let cpus = leaf.cpus?;
    (cpus >= running as f64 + BEYOND).then_some((cpus, running))
}

/// What the tracer saw of the program that was stopped most.
fn stops(case: &Case<'_>) -> Option<(u64, u64)> {
    let report = case.evidence.trace.report.as_ref()?;
    let is_leaf = |pid: u32| case.process(pid).is_none_or(|one: &Process| one.leaf);
    let chains = report.processes.iter().filter(|one| is_leaf(one.pid));
    let chains = chains.filter_map(|process| process.chain.as_ref());
    let count = chains.map(|chain| chain.stops.count).max()?;
    let within = report.duration_ns;
    let often = count as f64 * 1e9 >= STOPS_A_SECOND * within as f64;
    (count > 0 && often).then_some((count, within))
}

fn assists(goroutine: &Goroutine) -> bool {
    let mut frames = goroutine.frames.iter();
    goroutine.header.status.starts_with("GC assist")
        || frames.any(|frame| ASSISTS.contains(&frame.function.as_str()))
            && !is_asked_for(goroutine)
}

/// The program has it collect: that is no sign of anything.
fn is_asked_for(goroutine: &Goroutine) -> bool {
    let asked = ["runtime.GC", "runtime/debug.FreeOSMemory"];
    let mut frames = goroutine.frames.iter();
    frames.any(|frame| asked.contains(&frame.function.as_str()))
}
