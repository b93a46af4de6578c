//! Arithmetic on the buckets that reports hold: sums, differences, quantiles,
//! coarser rows.

use std::collections::BTreeMap;

use crate::process::{WentBack, growth};
use crate::report::{Bucket, Distribution, Waits};

/// Values above this lie in the last bucket, whatever they are: the upper edge
/// of the kernel side's highest bucket.
const OVERFLOW_NS: u64 =
    1 << (gohang_common::hist::MAX_BUCKET / gohang_common::hist::BUCKETS_PER_OCTAVE);

/// Number of values.
#[must_use]
pub fn count(buckets: &[Bucket]) -> u64 {
    buckets.iter().map(|bucket| bucket.count).sum()
}

/// All of them together, lowest first.
#[must_use]
pub fn merge<'a>(parts: impl IntoIterator<Item = &'a [Bucket]>) -> Vec<Bucket> {
    let mut sums: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for bucket in parts.into_iter().flatten() {
        *sums.entry((bucket.lo_ns, bucket.hi_ns)).or_default() += bucket.count;
    }
    sums.into_iter()
        .map(|((lo_ns, hi_ns), count)| Bucket {
            lo_ns,
            hi_ns,
            count,
        })
        .collect()
}

/// What was added since an earlier state of the same histogram.
///
/// # Errors
/// A count went back.
pub fn since(
    name: &'static str,
    before: &[Bucket],
    now: &[Bucket],
) -> Result<Vec<Bucket>, WentBack> {
    let mut old: BTreeMap<(u64, u64), u64> = before
        .iter()
        .map(|bucket| ((bucket.lo_ns, bucket.hi_ns), bucket.count))
        .collect();
    let mut added = Vec::new();
    for bucket in now {
        let was = old.remove(&(bucket.lo_ns, bucket.hi_ns)).unwrap_or(0);
        let count = growth(name, was, bucket.count)?;
        if count > 0 {
            added.push(Bucket { count, ..*bucket });
        }
    }
    match old.into_values().find(|count| *count > 0) {
        Some(before) => Err(WentBack {
            name,
            before,
            after: 0,
        }),
        None => Ok(added),
    }
}

/// The value that `per_mille` of a thousand values do not exceed: its bucket's
/// upper edge, capped at `max_ns`; none of nothing.
#[must_use]
pub fn quantile(buckets: &[Bucket], per_mille: u32, max_ns: Option<u64>) -> Option<u64> {
    let all = u128::from(count(buckets));
    let rank = (all * u128::from(per_mille)).div_ceil(1000).max(1);
    let mut below = 0;
    let bucket = buckets.iter().find(|bucket| {
        below += u128::from(bucket.count);
        below >= rank
    })?;
    let edge = bucket.hi_ns.saturating_sub(1);
    Some(max_ns.map_or(edge, |max| edge.min(max)))
}

/// All distributions as one.
#[must_use]
pub fn merge_distributions<'a>(
    parts: impl IntoIterator<Item = &'a Distribution> + Clone,
) -> Distribution {
    let all = || parts.clone().into_iter();
    let count: u64 = all().map(|part| part.count).sum();
    let sum: u128 = all()
        .map(|part| u128::from(part.mean_ns.unwrap_or(0)) * u128::from(part.count))
        .sum();
    let buckets = merge(all().map(|part| part.buckets.as_slice()));
    let max_ns = all().filter_map(|part| part.max_ns).max();
    Distribution {
        count,
        min_ns: all().filter_map(|part| part.min_ns).min(),
        mean_ns: sum
            .checked_div(u128::from(count))
            .and_then(|mean| mean.try_into().ok()),
        p50_ns: quantile(&buckets, 500, max_ns),
        p90_ns: quantile(&buckets, 900, max_ns),
        p99_ns: quantile(&buckets, 990, max_ns),
        p999_ns: quantile(&buckets, 999, max_ns),
        max_ns,
        buckets,
    }
}

/// All waits as one.
#[must_use]
pub fn merge_waits<'a>(parts: impl IntoIterator<Item = &'a Waits> + Clone) -> Waits {
    let all = || parts.clone().into_iter();
    let buckets = merge(all().map(|part| part.buckets.as_slice()));
    let max_ns = all().filter_map(|part| part.max_ns).max();
    Waits {
        total_ns: all().map(|part| part.total_ns).sum(),
        count: all().map(|part| part.count).sum(),
        p99_ns: quantile(&buckets, 990, max_ns),
        max_ns,
        buckets,
    }
}

/// An octave of a histogram: values above `above_ns` up to `up_to_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Octave {
    /// Values are larger than this; none in the row of zeros.
    pub above_ns: Option<u64>,
    /// And at most this; none in the row above all buckets.
    pub up_to_ns: Option<u64>,
    /// How many.
    pub count: u64,
}

/// The buckets as rows of powers of two, without gaps from the first filled row
/// to the last.
#[must_use]
pub fn octaves(buckets: &[Bucket]) -> Vec<Octave> {
    // Row 0 holds zero, row k + 1 holds (2^(k-1), 2^k].
    let mut rows: BTreeMap<u32, u64> = BTreeMap::new();
    let overflow = OVERFLOW_NS.trailing_zeros() + 2;
    for bucket in buckets.iter().filter(|bucket| bucket.count > 0) {
        let row = match bucket.hi_ns.saturating_sub(1) {
            0 => 0,
            _ if bucket.lo_ns > OVERFLOW_NS => overflow,
            upper => (u64::BITS - (upper - 1).leading_zeros() + 1).min(overflow),
        };
        *rows.entry(row).or_default() += bucket.count;
    }
    let (Some(first), Some(last)) = (
        rows.first_key_value().map(|row| *row.0),
        rows.last_key_value().map(|row| *row.0),
    ) else {
        return Vec::new();
    };
    (first..=last)
        .map(|row| Octave {
            above_ns: match row {
                0 => None,
                1 => Some(0),
                row => Some(1 << (row - 2)),
            },
            up_to_ns: match row {
                0 => Some(0),
                row if row == overflow => None,
                row => Some(1 << (row - 1)),
            },
            count: rows.get(&row).copied().unwrap_or(0),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gohang_common::hist;
    use proptest::prelude::*;

    fn bucket_of(value: u64, count: u64) -> Bucket {
        let slot = hist::slot(value);
        Bucket {
            lo_ns: hist::lower(slot),
            hi_ns: hist::upper(slot).saturating_add(1),
            count,
        }
    }

    fn histogram(values: &[u64]) -> Vec<Bucket> {
        let each: Vec<Bucket> = values.iter().map(|value| bucket_of(*value, 1)).collect();
        merge([each.as_slice()])
    }

    #[test]
    fn quantiles_are_upper_edges_capped_at_the_largest() {
        let buckets = histogram(&[1000, 1000, 1000, 90_000_000]);
        let upper = hist::upper(hist::slot(1000));
        assert_eq!(quantile(&buckets, 500, Some(90_000_000)), Some(upper));
        assert_eq!(quantile(&buckets, 750, Some(90_000_000)), Some(upper));
        assert_eq!(quantile(&buckets, 751, Some(90_000_000)), Some(90_000_000));
        assert_eq!(
            quantile(&buckets, 999, None),
            Some(hist::upper(hist::slot(90_000_000)))
        );
        assert_eq!(quantile(&[], 500, None), None);
    }

    #[test]
    fn growth_is_a_difference_or_an_error() {
        let before = histogram(&[5, 1000]);
        let now = histogram(&[5, 1000, 1000, 70]);
        let added = since("delivery", &before, &now).expect("it grew");
        assert_eq!(added, histogram(&[70, 1000]));
        let back = |before, after| {
            Err(WentBack {
                name: "delivery",
                before,
                after,
            })
        };
        assert_eq!(since("delivery", &now, &before), back(2, 1));
        assert_eq!(since("delivery", &before, &[]), back(1, 0));
    }

    #[test]
    fn octaves_are_powers_of_two_without_gaps() {
        let rows = octaves(&histogram(&[0, 1, 2, 3, 4, 5, 17]));
        let text: Vec<_> = rows
            .iter()
            .map(|row| (row.above_ns, row.up_to_ns, row.count))
            .collect();
        assert_eq!(
            text,
            [
                (None, Some(0), 1),
                (Some(0), Some(1), 1),
                (Some(1), Some(2), 1),
                (Some(2), Some(4), 2),
                (Some(4), Some(8), 1),
                (Some(8), Some(16), 0),
                (Some(16), Some(32), 1),
            ]
        );
        let over = octaves(&histogram(&[u64::MAX]));
        assert_eq!(
            over,
            [Octave {
                above_ns: Some(1 << 44),
                up_to_ns: None,
                count: 1
            }]
        );
        assert_eq!(octaves(&[]), []);
    }

    #[test]
    fn merged_distributions_are_those_of_all_values() {
        let part = |values: &[u64]| Distribution {
            count: values.len() as u64,
            min_ns: values.iter().min().copied(),
            mean_ns: Some(values.iter().sum::<u64>() / values.len() as u64),
            max_ns: values.iter().max().copied(),
            buckets: histogram(values),
            ..Distribution::default()
        };
        let (a, b) = (part(&[100, 300]), part(&[8000]));
        let all = merge_distributions([&a, &b, &Distribution::default()]);
        assert_eq!(
            (all.count, all.min_ns, all.mean_ns),
            (3, Some(100), Some(2800))
        );
        assert_eq!(all.max_ns, Some(8000));
        assert_eq!(all.p50_ns, Some(hist::upper(hist::slot(300))));
        assert_eq!(all.p999_ns, Some(8000));
        assert_eq!(merge_distributions([]), Distribution::default());
    }

    proptest! {
        #[test]
        fn octaves_keep_every_value(values in proptest::collection::vec(any::<u64>(), 0..50)) {
            let buckets = histogram(&values);
            for row in octaves(&buckets) {
                let here = values.iter().filter(|value| {
                    row.above_ns.is_none_or(|above| **value > above)
                        && row.up_to_ns.is_none_or(|up_to| **value <= up_to)
                });
                prop_assert_eq!(here.count() as u64, row.count);
            }
            prop_assert_eq!(count(&buckets), values.len() as u64);
        }

        #[test]
        fn foreign_buckets_never_panic(
            raw in proptest::collection::vec((any::<u64>(), any::<u64>(), 0u64..1000), 0..20),
            per_mille in 0u32..=1000,
        ) {
            let buckets: Vec<Bucket> =
                raw.into_iter().map(|(lo_ns, hi_ns, count)| Bucket { lo_ns, hi_ns, count }).collect();
            prop_assert!(octaves(&buckets).len() <= 66);
            let _ = quantile(&buckets, per_mille, None);
            let _ = since("delivery", &buckets, &[]);
        }
    }
}
