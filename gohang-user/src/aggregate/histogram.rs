//! A sparse histogram with the kernel side's buckets.

use std::collections::BTreeMap;

use gohang_common::hist;
use gohang_common::map::Moments;

use crate::report::{Bucket, Distribution, Waits};

/// Counts by slot, and the exact count, sum and extremes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Counts by slot.
    pub slots: BTreeMap<u16, u64>,
    /// Count, sum and extremes.
    pub moments: Moments,
}

impl Histogram {
    /// Adds a value in ns.
    pub fn add(&mut self, value: u64) {
        *self.slots.entry(hist::slot(value) as u16).or_insert(0) += 1;
        self.merge_moments(&Moments {
            count: 1,
            sum: value,
            min: value,
            max: value,
        });
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (slot, count) in &other.slots {
            *self.slots.entry(*slot).or_insert(0) += count;
        }
        self.merge_moments(&other.moments);
    }

    /// Adds count, sum and extremes.
    pub fn merge_moments(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        let mine = &mut self.moments;
        mine.min = if mine.count == 0 {
            other.min
        } else {
            mine.min.min(other.min)
        };
        mine.max = mine.max.max(other.max);
        mine.count += other.count;
        mine.sum = mine.sum.wrapping_add(other.sum);
    }

    /// The upper edge of the bucket that holds the quantile, capped at the
    /// largest value; none of nothing.
    ///
    /// The rank is that of the `ceil(q * count)`-th smallest value.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let total: u64 = self.slots.values().sum();
        if total == 0 {
            return None;
        }
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total);
        let mut below = 0;
        for (slot, count) in &self.slots {
            below += count;
            if below >= rank {
                return Some(hist::upper(u32::from(*slot)).min(self.moments.max));
            }
        }
        None
    }

    fn buckets(&self) -> Vec<Bucket> {
        self.slots
            .iter()
            .map(|(slot, count)| Bucket {
                lo_ns: hist::lower(u32::from(*slot)),
                hi_ns: hist::upper(u32::from(*slot)).saturating_add(1),
                count: *count,
            })
            .collect()
    }

    /// As the report has it.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let some = |value| (self.moments.count > 0).then_some(value);
        Distribution {
            count: self.moments.count,
            min_ns: some(self.moments.min),
            mean_ns: self.moments.sum.checked_div(self.moments.count),
            p50_ns: self.quantile(0.5),
            p90_ns: self.quantile(0.9),
            p99_ns: self.quantile(0.99),
            p999_ns: self.quantile(0.999),
            max_ns: some(self.moments.max),
            buckets: self.buckets(),
        }
    }

    /// As the report has waits.
    #[must_use]
    pub fn waits(&self) -> Waits {
        Waits {
            total_ns: self.moments.sum,
            count: self.moments.count,
            p99_ns: self.quantile(0.99),
            max_ns: (self.moments.count > 0).then_some(self.moments.max),
            buckets: self.buckets(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().distribution().max_ns, None);
    }

    #[test]
    fn quantiles_are_upper_edges_capped_at_the_largest() {
        let mut histogram = Histogram::default();
        for _ in 0..99 {
            histogram.add(1024);
        }
        histogram.add(1_000_000);
        assert_eq!(histogram.quantile(0.5), Some(1024));
        assert_eq!(histogram.quantile(0.99), Some(1024));
        assert_eq!(histogram.quantile(0.999), Some(1_000_000));
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_bucket(mut values in proptest::collection::vec(0u64..1 << 40, 1..300), q in 0.01f64..1.0) {
            let mut histogram = Histogram::default();
            for value in &values {
                histogram.add(*value);
            }
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let got = histogram.quantile(q).expect("of something");
            prop_assert!(got >= exact);
            prop_assert!(hist::slot(got) == hist::slot(exact));
        }
    }
}
