//! B4: garbage collection uses up the quota.

use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::trace::{Trace, Traced, Whom};
use crate::bench::Extent;
use crate::event::Asker;
use crate::experiment::{ExperimentError, Quota};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B4",
    title: "Garbage collection burns the quota",
    source: "#59715, #44163, #17969",
    reported: "GC workers take 25 % of GOMAXPROCS, idle ones up to 100 %",
    scale: "GOMAXPROCS 2 under half a CPU, four times the quota; gohang has no account of CPU \
            time by function: it tells whose requests there were and what signals met, the \
            runtime's own metrics stand beside",
    needs: &[Need::Go, Need::Cpus(2)],
    estimate: |extent| (length(extent) + Duration::from_secs(2)) * 2,
    run,
};

/// Hundredths of a CPU.
const QUOTA: u64 = 50;
/// Live heap in megabytes: enough for the collector to have something to do, and small enough
/// for several collections a second under this quota.
const HEAP_MIB: u64 = 16;
/// Who asks goroutines to yield for a garbage collection; stops of the world are for little
/// else here.
const COLLECTOR: [Asker; 4] = [
    Asker::StopTheWorld,
    Asker::ForEachP,
    Asker::EnlistWorker,
    Asker::Suspend,
];

const fn length(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(8),
        Extent::Quick => Duration::from_millis(1500),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let program = stand.program("collect", include_str!("go/collect.go"))?;
    let length = length(stand.extent);
    for (setting, allocates) in [("allocating", true), ("allocating nothing", false)] {
        let group = stand.group(Some(Quota::percent(QUOTA)))?;
        let mut trace = Trace::start(&[&group], Whom::Go)?;
        let mut command = Command::new(&program);
        let numbers = [length.as_millis() as u64, HEAP_MIB, u64::from(allocates)];
        command
            .env("GOMAXPROCS", "2")
            .env("GOGC", "100")
            .args(numbers.map(|number| number.to_string()));
        let mut job = stand.start("collect", command, Some(&group))?;
        let pid = job.pid();
        stand.until_ended(
            &mut job,
            Some(&mut trace),
            length * 4 + Duration::from_secs(20),
        )?;
        let traced = trace.finish()?;
        let stat = group.stat()?.unwrap_or_default();
        stand.close(group)?;
        outcome.heard(setting, &traced);

        let (gc, user) = (job.figure("gc")?, job.figure("user")?);
        let share = gc / (gc + user);
        let published = allocates.then_some(0.25);
        let figure = "CPU time for collection, by the runtime";
        outcome.row(setting, figure, published, Some(share), Unit::Share);
        let asked = asked(&traced, job.figure("begin")?..job.figure("end")?);
        outcome.row(
            setting,
            "requests to yield by the collector",
            None,
            asked,
            Unit::Share,
        );
        let met = met(&traced);
        outcome.row(
            setting,
            "signals that met the collector's code",
            None,
            met,
            Unit::Share,
        );
        let process = traced.process(pid)?;
        let waiting = process.stall_share();
        outcome.row(
            setting,
            "share of runnable time out of quota",
            None,
            waiting,
            Unit::Share,
        );
        let throttled = stat.nr_throttled.map(|times| times as f64);
        outcome.row(
            setting,
            "periods throttled, by cpu.stat",
            None,
            throttled,
            Unit::Count,
        );

        let named = |what: &str| format!("{setting}: {what}");
        if allocates {
            let what = named("CPU time for collection, by the runtime");
            outcome.check(Check::at_least(what, share, 0.1, Unit::Share));
            let what = named("share of requests to yield by the collector");
            outcome.check(Check::at_least(what, asked, 0.5, Unit::Share));
            let what = named("share of runnable time out of quota");
            outcome.check(Check::at_least(what, waiting, 0.2, Unit::Share));
        } else {
            let what = named("CPU time for collection, by the runtime");
            outcome.check(Check::at_most(what, share, 0.05, Unit::Share));
            let what = named("share of requests to yield by the collector");
            outcome.check(Check::at_most(
                what,
                asked.unwrap_or_default(),
                0.4,
                Unit::Share,
            ));
        }
    }
    Ok(outcome)
}

/// Share of the requests of a time, CLOCK_MONOTONIC ns, that the collector made.
fn asked(traced: &Traced, time: Range<f64>) -> Option<f64> {
    let count = |wanted: &dyn Fn(Asker) -> bool| {
        let requests = traced.requests.iter();
        let requests =
            requests.filter(|own| time.contains(&(own.requested_ns as f64)) && wanted(own.asker));
        requests.map(|own| 1 + u64::from(own.repeats)).sum::<u64>()
    };
    let (all, own) = (count(&|_| true), count(&|asker| COLLECTOR.contains(&asker)));
    (all > 0).then(|| own as f64 / all as f64)
}

/// Share of delivered signals that interrupted the collector's code, of those that are known to
/// have interrupted any.
fn met(traced: &Traced) -> Option<f64> {
    let functions = traced.episodes.iter().filter_map(|episode| {
        let place = episode.place.as_deref()?;
        place.function.as_deref()
    });
    let (mut all, mut own) = (0u64, 0u64);
    for function in functions {
        all += 1;
        own += u64::from(is_collector(function));
    }
    (all > 0).then(|| own as f64 / all as f64)
}

/// Whether a function of the runtime is part of marking or sweeping (runtime/mgc*.go,
/// runtime/mbitmap.go).
fn is_collector(function: &str) -> bool {
    let Some(name) = function.strip_prefix("runtime.") else {
        return false;
    };
    const BEGINNINGS: [&str; 12] = [
        "gc",
        "(*gc",
        "scan",
        "grey",
        "mark",
        "wb",
        "sweep",
        "bgsweep",
        "(*sweep",
        "findObject",
        "tryDeferToSpanScan",
        "spanOf",
    ];
    BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collectors_functions_are_known() {
        for name in [
            "runtime.gcDrain",
            "runtime.(*gcWork).balance",
            "runtime.scanobject",
        ] {
            assert!(is_collector(name), "{name}");
        }
        for name in ["runtime.mallocgc", "main.gcDrain", "runtime.memmove"] {
            assert!(!is_collector(name), "{name}");
        }
    }
}
