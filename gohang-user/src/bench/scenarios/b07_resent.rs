//! B7: a goroutine that does not stop is signalled again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::b06_clear::clear_program;
use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use crate::bench::Extent;
use crate::event::{Request, Stop};
use crate::experiment::ExperimentError;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B7",
    title: "A spinning goroutine is signalled again and again",
    source: "#37741",
    reported: "an init that spins is signalled again and again: up to 20 s more a push",
    scale: "a stop of the world waits for a goroutine that clears memory, for some 100 ms rather \
            than for the seconds of an init: the rate is the runtime's, one signal in 100 us \
            (stopTheWorldWithSema, runtime/proc.go)",
    needs: &[Need::Go, Need::Cpus(2)],
    estimate: |extent| length(extent) + Duration::from_secs(2),
    run,
};

/// Times 64 MiB in a row, for a stop that waits well beyond what the rule allows.
const CLEARS: u64 = 32;

const fn length(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(6),
        Extent::Quick => Duration::from_millis(1500),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let setting = "stops beside clears";
    let (job, traced) = clear_program(stand, length(stand.extent), CLEARS, true)?;
    outcome.heard(setting, &traced);
    let process = traced.process(job.pid())?;

    // By thread and slice: how often it was asked within it.
    let mut slices: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for request in &traced.requests {
        *slices.entry((request.tid, request.first_ns)).or_default() +=
            1 + u64::from(request.repeats);
    }
    let most = slices.values().max().map(|most| *most as f64);
    outcome.row(
        setting,
        "requests to yield within a slice, most",
        None,
        most,
        Unit::Count,
    );
    let what = "requests to yield within a slice, most";
    outcome.check(Check::at_least(what, most, 50.0, Unit::Count));

    let rate = requests_while_stopping(&traced.requests, &traced.stops);
    let rate = Some(rate).filter(|rate| rate.is_finite());
    let figure = "requests while a stop waits";
    outcome.row(setting, figure, Some(10_000.0), rate, Unit::PerSecond);
    let what = "requests while a stop waits, against one in 100 us";
    outcome.check(Check::at_least(what, rate, 1000.0, Unit::PerSecond));
    outcome.check(Check::at_most(what, rate, 12_000.0, Unit::PerSecond));

    // At this rate the probes are taken off, and the kernel's own count remains.
    let outcomes: u64 = process.outcomes.values().sum();
    let seen = Some((outcomes + process.coalesced) as f64);
    outcome.row(setting, "signals sent", None, seen, Unit::Count);
    let longest = traced.stops.iter().filter_map(Stop::stopping_ns).max();
    let longest = longest.map(|ns| ns as f64);
    outcome.row(setting, "longest time to stop", None, longest, Unit::Ns);
    outcome.check(Check::raised(setting, &traced, "stop-the-world-held"));
    let running = traced.of_rule("stop-the-world-held");
    let throttled = running.filter(|alert| alert.evidence["cause"] == "throttled");
    let what = "alerts stop-the-world-held with the cause throttled";
    outcome.check(Check::at_most(
        what,
        throttled.count() as f64,
        0.0,
        Unit::Count,
    ));
    Ok(outcome)
}

/// Requests to yield while stops of the world waited, a second. Those of one slice are told
/// together, of whoever asked first: that is sysmon where the slice was over before the stop.
/// Stops that no request met are none to count in: at such a rate the probes on requests are taken
/// off in the end, and those on stops remain.
fn requests_while_stopping(requests: &[Request], stops: &[Stop]) -> f64 {
    let meets = |own: &Request, stop: &Stop| {
        let stopped = stop.stopped_ns.unwrap_or(stop.begin_ns);
        own.requested_ns <= stopped && own.end_ns >= stop.begin_ns
    };
    let met = stops
        .iter()
        .filter(|stop| requests.iter().any(|own| meets(own, stop)));
    let stopping: u64 = met.filter_map(Stop::stopping_ns).sum();
    let asked = requests
        .iter()
        .filter(|own| stops.iter().any(|stop| meets(own, stop)));
    let asked: u64 = asked.map(|own| 1 + u64::from(own.repeats)).sum();
    asked as f64 * 1e9 / stopping as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{RequestEnd, sample};

    #[test]
    fn requests_of_stops_are_counted_whoever_asked_first() {
        let own = |at, repeats| Request {
            repeats,
            ..sample::request(at, RequestEnd::YieldedAsync)
        };
        // One before the stop, one that it met, one within, one behind.
        let requests = [own(1_000, 50), own(1_950, 6), own(2_500, 1), own(3_100, 50)];
        // The probes on requests are gone by the second.
        let stops = [sample::stop(2_000, 1_000), sample::stop(9_000, 5_000)];
        assert_eq!(requests_while_stopping(&requests, &stops), 9e6);
        assert!(!requests_while_stopping(&[], &[]).is_finite());
    }
}
