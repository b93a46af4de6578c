//! Something runs without end.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::wait::Wait;
use super::words;
use crate::golang::dump::Goroutine;

/// From this part of wall time out of quota on, no more CPU time can be asked for.
const THROTTLED: f64 = 0.5;
/// Most goroutines that are named.
const NAMED: usize = 3;
/// Functions by which goroutines that get in each other's way show.
const TRIES: [&str; 5] = [
    "runtime.Gosched",
    "sync.(*Mutex).TryLock",
    "sync.(*RWMutex).TryLock",
    "internal/sync.(*Mutex).TryLock",
    "time.Sleep",
];

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let cpus = case.busy()?;
    // A goroutine that can run is one that does; those that wait for it wait for that.
    let running: Vec<&Goroutine> = case.waiting(Wait::Running);
    let throttled = case.throttled().is_some_and(|by| by.share >= THROTTLED);
    let confidence = match (running.is_empty(), throttled && !case.quota_is_ruled_out()) {
        (_, true) => Confidence::Possible,
        (false, false) => Confidence::Certain,
        (true, false) => Confidence::Likely,
    };
    let tries = |goroutine: &&Goroutine| {
        let mut frames = goroutine.frames.iter();
        frames.any(|frame| TRIES.contains(&frame.function.as_str()))
    };
    let is_livelock = running
        .iter()
        .copied()
        .filter(|goroutine| tries(goroutine))
        .count()
        > 1;
    let busiest = case
        .evidence
        .processes
        .iter()
        .filter(|process| process.cpus.is_some());
    let busiest = busiest.max_by(|a, b| a.cpus.unwrap_or(0.0).total_cmp(&b.cpus.unwrap_or(0.0)));
    // The place where a signal that came often met it, if the tracer saw that.
    let report = case.evidence.trace.report.as_ref();
    let interrupted = report.and_then(|report| {
        let mut all: Vec<_> = report
            .processes
            .iter()
            .flat_map(|process| &process.interrupted)
            .collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.count));
        all.into_iter()
            .find_map(|one| Some((one.function.clone()?, one.count)))
    });
    let place = running
        .iter()
        .find_map(|goroutine| goroutine.place())
        .map(words::place);
    let place = place
        .or_else(|| interrupted.as_ref().map(|(function, _)| function.clone()))
        .or_else(|| running.first().map(|goroutine| words::at(goroutine)));
    let name = busiest.map(|process| format!("{} (pid {})", process.comm, process.pid));
    let who = match (&place, &name) {
        (Some(place), _) => place.clone(),
        (None, Some(name)) => name.clone(),
        (None, None) => "it".to_owned(),
    };
    let summary = if is_livelock {
        format!("goroutines get in each other's way and none gets on: {who}")
    } else {
        format!("{who} runs without end")
    };
    let used = format!(
        "it used {} of a CPU, without output, reads, writes or new memory for {}",
        words::share(cpus),
        words::time(case.evidence.progress.idle_ns)
    );
    let pid = busiest.map_or(case.evidence.pid, |process| process.pid);
    let look = if running.is_empty() {
        format!("perf top -p {pid}; gdb -p {pid} -batch -ex bt")
    } else {
        "look at the loop in that function: what should end it, and who changes that".to_owned()
    };
    Some(
        Finding::new(Cause::BusyLoop, confidence, summary)
            .kind(if is_livelock {
                "livelock"
            } else {
                "endless_loop"
            })
            .because(case.lift())
            .because([used])
            .because(running.iter().take(NAMED).map(|one| words::goroutine(one)))
            .because(interrupted.map(|(function, count)| {
                let within = report.map_or(0, |report| report.duration_ns);
                format!(
                    "within {} preemption signals interrupted {function} {count} times",
                    words::time(within)
                )
            }))
            .next([look])
            .next(case.test().map(|_| case.again("--idle-timeout 30s"))),
    )
}
