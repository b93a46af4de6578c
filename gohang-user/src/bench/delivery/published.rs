//! Figures of this experiment that are in circulation, and whether they hold here.

use super::report::{Cell, Claim, Statistic, Verdict, Way};
use crate::experiment::Quota;

/// The figures: hundredths of a CPU, what of the distribution, ns.
const PUBLISHED: [(Option<u64>, Statistic, u64); 4] = [
    (None, Statistic::Mean, 82_000),
    (None, Statistic::P99, 110_000),
    (Some(10), Statistic::Mean, 412_000),
    (Some(10), Statistic::P99, 1_800_000),
];

/// A figure holds within this factor, up or down: machines differ.
const FACTOR: u64 = 2;

/// Each figure beside what was measured in each way.
pub(super) fn judge(cells: &[Cell]) -> Vec<Claim> {
    PUBLISHED
        .iter()
        .map(|(percent, statistic, published_ns)| {
            let quota = percent.map(Quota::percent);
            let quota_ns = quota.map(|quota| quota.quota_ns);
            let ways = cells
                .iter()
                .filter(|cell| cell.quota_ns == quota_ns)
                .filter_map(|cell| way(cell, *statistic, *published_ns))
                .collect::<Vec<_>>();
            Claim {
                quota_ns,
                period_ns: quota.map(|quota| quota.period_ns),
                statistic: *statistic,
                published_ns: *published_ns,
                verdict: verdict(&ways),
                ways,
            }
        })
        .collect()
}

/// None if nothing was delivered.
fn way(cell: &Cell, statistic: Statistic, published_ns: u64) -> Option<Way> {
    let measured_ns = statistic.of(&cell.latency)?;
    let restarted_ns = statistic.of(&cell.restarted.latency)?;
    let holds = agrees(measured_ns, published_ns);
    Some(Way {
        method: cell.method,
        from: cell.from,
        measured_ns,
        restarted_ns,
        holds,
        like_restarted: !holds
            && distance(restarted_ns, published_ns) < distance(measured_ns, published_ns),
    })
}

fn agrees(measured: u64, published: u64) -> bool {
    measured <= published * FACTOR && measured.saturating_mul(FACTOR) >= published
}

/// How far apart two times are, as a ratio.
fn distance(one: u64, other: u64) -> f64 {
    let (low, high) = (one.min(other).max(1), one.max(other).max(1));
    high as f64 / low as f64
}

fn verdict(ways: &[Way]) -> Verdict {
    match (ways.len(), ways.iter().filter(|way| way.holds).count()) {
        (0, _) => Verdict::NotMeasured,
        (_, 0) => Verdict::Refuted,
        (all, holds) if all == holds => Verdict::Confirmed,
        _ => Verdict::InPart,
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{cell, sample};
    use super::*;

    #[test]
    fn figures_are_held_against_what_was_measured() {
        let claims = sample().published;
        assert_eq!(claims.len(), PUBLISHED.len());
        let limited = &claims[2];
        assert_eq!(limited.quota_ns, Some(10_000_000));
        assert_eq!(limited.verdict, Verdict::Refuted);
        // 8.2 ms is twenty times the published 412 us, and 500 us about the same.
        assert!(limited.ways.iter().all(|way| way.like_restarted));
    }

    #[test]
    fn a_figure_may_hold_in_some_ways_or_not_be_measured() {
        let mut cells = vec![cell(None, 60_000, 60_000), cell(None, 6_000, 6_000)];
        assert_eq!(judge(&cells)[0].verdict, Verdict::InPart);
        assert_eq!(judge(&cells)[2].verdict, Verdict::NotMeasured);
        cells.truncate(1);
        assert_eq!(judge(&cells)[0].verdict, Verdict::Confirmed);
    }

    #[test]
    fn a_factor_of_two_is_the_limit() {
        assert!(agrees(50, 100) && agrees(200, 100));
        assert!(!agrees(49, 100) && !agrees(201, 100));
        assert!(!agrees(u64::MAX, 100) && !agrees(0, 100));
    }
}
