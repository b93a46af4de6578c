//! Figures of a set of times, from every single one of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::Histogram;
use crate::report::Bucket;

/// Of times in ns, all of them kept: unlike a [`Distribution`](crate::report::Distribution),
/// whose percentiles are edges of buckets, all of it is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// Number of times.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Sum divided by count.
    pub mean_ns: Option<u64>,
    /// Standard deviation.
    pub deviation_ns: Option<u64>,
    /// Median.
    pub p50_ns: Option<u64>,
    /// 99th percentile: the `ceil(0.99 * count)`-th smallest.
    pub p99_ns: Option<u64>,
    /// Largest.
    pub max_ns: Option<u64>,
    /// Filled buckets, lowest first: the kernel side's.
    pub buckets: Vec<Bucket>,
}

impl Figures {
    /// Of these times.
    #[must_use]
    pub fn of(times: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = times.into_iter().collect();
        sorted.sort_unstable();
        let mut histogram = Histogram::default();
        for time in &sorted {
            histogram.add(*time);
        }
        let count = sorted.len() as u64;
        let total_ns = histogram.moments.sum;
        // The rank is an integer: no product of fractions decides it.
        let rank = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            sorted.get(rank as usize - 1).copied()
        };
        Self {
            count,
            total_ns,
            mean_ns: total_ns.checked_div(count),
            deviation_ns: deviation(&sorted),
            p50_ns: rank(50),
            p99_ns: rank(99),
            max_ns: sorted.last().copied(),
            buckets: histogram.distribution().buckets,
        }
    }
}

fn deviation(times: &[u64]) -> Option<u64> {
    let count = times.len() as f64;
    if times.is_empty() {
        return None;
    }
    let mean = times.iter().map(|time| *time as f64).sum::<f64>() / count;
    let squares: f64 = times.iter().map(|time| (*time as f64 - mean).powi(2)).sum();
    Some((squares / count).sqrt().round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_of_a_few_times() {
        let figures = Figures::of([7, 1, 3, 5]);
        assert_eq!(figures.count, 4);
        assert_eq!((figures.total_ns, figures.mean_ns), (16, Some(4)));
        // Squares of 3, 3, 1 and 1: 20 / 4.
        assert_eq!(figures.deviation_ns, Some(2));
        assert_eq!((figures.p50_ns, figures.p99_ns), (Some(3), Some(7)));
        assert_eq!(figures.max_ns, Some(7));
        assert_eq!(Figures::of([]), Figures::default());
        let hundred = Figures::of(1..=100);
        assert_eq!((hundred.p50_ns, hundred.p99_ns), (Some(50), Some(99)));
    }

    proptest! {
        #[test]
        fn they_agree_with_the_histogram(times in proptest::collection::vec(0u64..1 << 40, 1..200)) {
            let figures = Figures::of(times.clone());
            let mut histogram = Histogram::default();
            times.iter().for_each(|time| histogram.add(*time));
            let rough = histogram.distribution();
            prop_assert_eq!(figures.count, rough.count);
            prop_assert_eq!(figures.mean_ns, rough.mean_ns);
            prop_assert_eq!(figures.max_ns, rough.max_ns);
            prop_assert!(figures.p50_ns <= rough.p50_ns && figures.p99_ns <= rough.p99_ns);
            let counted: u64 = figures.buckets.iter().map(|bucket| bucket.count).sum();
            prop_assert_eq!(counted, figures.count);
            let spread = figures.max_ns.zip(times.iter().min().copied());
            let widest = spread.map_or(0, |(max, min)| max - min);
            prop_assert!(figures.deviation_ns.is_some_and(|own| own <= widest / 2 + 1));
        }
    }
}
