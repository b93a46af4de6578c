//! Changes within pairs of runs, and what can be said of their median.

use super::work::Figure;

/// What tracing changes in a figure.
#[derive(Debug)]
pub struct Change {
    /// The figure.
    pub figure: &'static Figure,
    /// Its median with nothing attached.
    pub alone: f64,
    /// Median of the pairs' changes for the worse, percent.
    pub median: f64,
    /// 95 % interval of that median, percent; see [`ranks`].
    pub interval: (f64, f64),
}

impl Change {
    /// Of a figure in runs without and with tracing, pair by pair; none if there are too few
    /// for an interval.
    pub fn of(figure: &'static Figure, alone: &[f64], traced: &[f64]) -> Option<Self> {
        let mut changes: Vec<f64> = alone
            .iter()
            .zip(traced)
            .map(|(alone, traced)| {
                let ratio = if figure.more_is_better {
                    alone / traced
                } else {
                    traced / alone
                };
                100.0 * (ratio - 1.0)
            })
            .collect();
        changes.sort_by(f64::total_cmp);
        let (low, high) = ranks(changes.len())?;
        Some(Self {
            figure,
            alone: median(alone)?,
            median: median(&changes)?,
            interval: (changes[low], changes[high]),
        })
    }

    /// What the interval says of an aim: that the change is below so many percent, that it is
    /// above, or nothing.
    pub fn verdict(&self, aim: f64) -> &'static str {
        if self.interval.1 < aim {
            "yes"
        } else if self.interval.0 > aim {
            "no"
        } else {
            "not shown"
        }
    }
}

fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]))
}

/// Between which of `n` figures in order (counted from 0) their distribution's median lies with
/// a probability of at least 95 %, whatever the distribution: the number of figures below it is
/// binomial with 1/2. None below six figures, which do not suffice.
pub fn ranks(n: usize) -> Option<(usize, usize)> {
    let (mut term, mut below) = (0.5_f64.powi(i32::try_from(n).ok()?), 0.0);
    let mut found = None;
    for k in 0..n / 2 {
        // The probability that at most k figures lie below the median.
        below += term;
        if below > 0.025 {
            break;
        }
        found = Some((k, n - 1 - k));
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Figure = Figure {
        title: "time",
        unit: "ns",
        more_is_better: false,
    };
    const RATE: Figure = Figure {
        title: "rate",
        unit: "/s",
        more_is_better: true,
    };

    #[test]
    fn ranks_are_those_of_the_sign_test() {
        // Tabulated for 95 %: for n figures, the d-th smallest and the d-th largest.
        for (n, d) in [
            (6, 1),
            (8, 1),
            (9, 2),
            (10, 2),
            (12, 3),
            (15, 4),
            (20, 6),
            (25, 8),
        ] {
            assert_eq!(ranks(n), Some((d - 1, n - d)), "{n}");
        }
        assert_eq!(ranks(5), None);
        assert_eq!(ranks(0), None);
    }

    #[test]
    fn a_change_is_one_for_the_worse() {
        let (ones, more) = ([100.0; 10], [101.0; 10]);
        let slower = Change::of(&TIME, &ones, &more).expect("ten pairs");
        assert!((slower.median - 1.0).abs() < 1e-9 && slower.alone == 100.0);
        let faster = Change::of(&RATE, &ones, &more).expect("ten pairs");
        assert!(faster.median < 0.0 && faster.interval.1 < 0.0);
        assert!(Change::of(&TIME, &ones[..5], &more[..5]).is_none());
    }

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let change = |low, high| Change {
            figure: &TIME,
            alone: 1.0,
            median: f64::midpoint(low, high),
            interval: (low, high),
        };
        assert_eq!(change(-0.5, 0.9).verdict(1.0), "yes");
        assert_eq!(change(-0.5, 1.1).verdict(1.0), "not shown");
        assert_eq!(change(1.2, 3.0).verdict(1.0), "no");
    }
}
