//! B11: the runtime's own time to stop the world beside gohang's.

use std::time::Duration;

use super::b01_stop_under_quota::{Ran, stop_program};
use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use crate::bench::Extent;
use crate::event::Stop;
use crate::experiment::ExperimentError;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B11",
    title: "The runtime's own time to stop the world",
    source: "#63340, #81657",
    reported: "most of the wall-clock cost of a stop is stopping, some 50 us until a thread takes \
               notice (darwin/arm64)",
    scale: "none: two busy threads for whatever there were; linux takes notice by a signal too",
    needs: &[Need::Go, Need::Cpus(2)],
    estimate: |extent| length(extent) + Duration::from_secs(3),
    run,
};

/// Work from stop to stop, us.
const PAUSE_US: u64 = 500;
/// gohang's clock starts at the entry of the function, the runtime's within it, after it has
/// its lock; each entry probe costs 2 to 3 us.
const APART_NS: f64 = 15_000.0;

const fn length(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(8),
        Extent::Quick => Duration::from_millis(1500),
    }
}

/// A filled bucket of the runtime's: from, to, count.
type Bucket = (f64, f64, u64);

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let Ran { job, traced, .. } = stop_program(stand, None, length(stand.extent), PAUSE_US)?;
    let setting = "two busy threads";
    outcome.heard(setting, &traced);
    let buckets = buckets(&job.output());
    let counted: u64 = buckets.iter().map(|(_, _, count)| count).sum();
    // The first is from before the program begins to count.
    let mut stops: Vec<&Stop> = traced.stops.iter().collect();
    stops.sort_by_key(|stop| stop.begin_ns);
    let mut times: Vec<u64> = stops
        .into_iter()
        .skip(1)
        .filter_map(Stop::stopping_ns)
        .collect();
    times.sort_unstable();
    let figure = "stops, by the runtime";
    outcome.row(setting, figure, None, Some(counted as f64), Unit::Count);
    outcome.row(
        setting,
        "stops, by gohang",
        None,
        Some(times.len() as f64),
        Unit::Count,
    );
    outcome.check(Check::at_least(
        "stops, by the runtime",
        counted as f64,
        100.0,
        Unit::Count,
    ));
    outcome.check(Check::equals(
        "stops, by gohang, against the runtime",
        times.len() as u64,
        counted,
    ));
    for (name, percent, published) in [("median", 50, Some(50e3)), ("p99", 99, None)] {
        let theirs = quantile(&buckets, percent);
        let rank = rank(times.len() as u64, percent);
        let ours = times.get(rank as usize).map(|ns| *ns as f64);
        let figure = format!("time to stop, {name}, by gohang");
        outcome.row(setting, &figure, published, ours, Unit::Ns);
        let Some((from, to)) = theirs else {
            continue;
        };
        let figure = format!("time to stop, {name}, by the runtime, at most");
        outcome.row(setting, &figure, published, Some(to), Unit::Ns);
        let what = format!("time to stop, {name}, by gohang, against the runtime's bucket");
        outcome.check(Check::at_least(what.clone(), ours, from, Unit::Ns));
        outcome.check(Check::at_most(what, ours, to + APART_NS, Unit::Ns));
    }
    Ok(outcome)
}

/// What the program tells of the runtime's histogram.
fn buckets(output: &str) -> Vec<Bucket> {
    let bucket = |line: &str| {
        let mut words = line.strip_prefix("bucket ")?.split(' ');
        let mut number = || words.next()?.parse::<f64>().ok();
        let (from, to, count) = (number()?, number()?, number()?);
        // Below zero stands for no bound.
        let to = if to < 0.0 { f64::INFINITY } else { to };
        Some((from.max(0.0), to, count as u64))
    };
    output.lines().filter_map(bucket).collect()
}

/// Index of the `ceil(percent/100 * count)`-th smallest.
fn rank(count: u64, percent: u64) -> u64 {
    (count * percent).div_ceil(100).saturating_sub(1)
}

/// Bounds of the bucket that a percentile lies in.
fn quantile(buckets: &[Bucket], percent: u64) -> Option<(f64, f64)> {
    let rank = rank(buckets.iter().map(|(_, _, count)| count).sum(), percent);
    let mut before = 0;
    buckets.iter().find_map(|(from, to, count)| {
        before += count;
        (rank < before).then_some((*from, *to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_percentile_is_found_in_its_bucket() {
        let told = "stop 7\nbucket 0 10 49\nbucket 10 20 50\nbucket 20 -1 1\nbucket x\n";
        let buckets = buckets(told);
        assert_eq!(buckets.len(), 3);
        assert_eq!(quantile(&buckets, 49), Some((0.0, 10.0)));
        assert_eq!(quantile(&buckets, 50), Some((10.0, 20.0)));
        assert_eq!(quantile(&buckets, 99), Some((10.0, 20.0)));
        assert_eq!(quantile(&buckets, 100), Some((20.0, f64::INFINITY)));
        assert_eq!(quantile(&[], 50), None);
    }

    proptest! {
        #[test]
        fn any_output_is_taken(output in "(\\PC|[ \n]|bucket |[0-9])*") {
            let _ = buckets(&output);
        }
    }
}
