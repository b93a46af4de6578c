//! Changes within pairs of runs, and what can be said of their median.

use anyhow::Result;

/// What a run is measured by.
#[derive(Debug)]
pub struct Figure {
    /// What it is called.
    pub title: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Whether a smaller one is for the worse.
    pub more_is_better: bool,
}

/// Figures of one run, in an order that all runs share.
pub type Figures = Vec<f64>;

/// What gohang changes in a figure.
#[derive(Debug)]
pub struct Change {
    /// The figure.
    pub figure: &'static Figure,
    /// Its median without gohang.
    pub alone: f64,
    /// The pairs' changes for the worse, percent.
    pub percent: Middle,
    /// The same in the figure's unit.
    pub amount: Middle,
}

/// The middle of some changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Middle {
    /// Their median.
    pub median: f64,
    /// 95 % interval of that median; see [`ranks`].
    pub interval: (f64, f64),
}

impl Change {
    /// Of a figure in runs without and with gohang, pair by pair; none if there are too few
    /// for an interval.
    pub fn of(figure: &'static Figure, alone: &[f64], with: &[f64]) -> Option<Self> {
        let pairs = || alone.iter().zip(with);
        let percent = pairs().map(|(alone, with)| {
            let ratio = if figure.more_is_better {
                alone / with
            } else {
                with / alone
            };
            100.0 * (ratio - 1.0)
        });
        let amount = pairs().map(|(alone, with)| {
            if figure.more_is_better {
                alone - with
            } else {
                with - alone
            }
        });
        Some(Self {
            figure,
            alone: median(alone)?,
            percent: Middle::of(percent.collect())?,
            amount: Middle::of(amount.collect())?,
        })
    }

    /// Of each figure in such runs; none if there are too few.
    pub fn of_all(figures: &'static [Figure], runs: &[(Figures, Figures)]) -> Option<Vec<Self>> {
        let changes = figures.iter().enumerate().map(|(i, figure)| {
            let of = |pick: fn(&(Figures, Figures)) -> &Figures| {
                runs.iter().map(|run| pick(run)[i]).collect::<Vec<f64>>()
            };
            Self::of(figure, &of(|run| &run.0), &of(|run| &run.1))
        });
        changes.collect()
    }
}

/// Runs in pairs, now the one with gohang first and now the other.
///
/// # Errors
/// A run's own.
pub fn alternate(
    pairs: u16,
    mut alone: impl FnMut() -> Result<Figures>,
    mut with: impl FnMut() -> Result<Figures>,
) -> Result<Vec<(Figures, Figures)>> {
    let mut runs = Vec::with_capacity(pairs.into());
    for pair in 0..pairs {
        let (alone, with) = if pair % 2 == 0 {
            let alone = alone()?;
            (alone, with()?)
        } else {
            let with = with()?;
            (alone()?, with)
        };
        eprintln!("  {alone:.0?} {with:.0?}");
        runs.push((alone, with));
    }
    Ok(runs)
}

impl Middle {
    /// None if there are too few.
    fn of(mut changes: Vec<f64>) -> Option<Self> {
        changes.sort_by(f64::total_cmp);
        let (low, high) = ranks(changes.len())?;
        Some(Self {
            median: median(&changes)?,
            interval: (changes[low], changes[high]),
        })
    }

    /// What the interval says of an aim: that the change is below it, that it is above, or
    /// nothing.
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
        assert!((slower.percent.median - 1.0).abs() < 1e-9 && slower.alone == 100.0);
        assert_eq!(
            (slower.amount.median, slower.amount.interval),
            (1.0, (1.0, 1.0))
        );
        let faster = Change::of(&RATE, &ones, &more).expect("ten pairs");
        assert!(faster.percent.median < 0.0 && faster.percent.interval.1 < 0.0);
        assert_eq!(faster.amount.median, -1.0);
        assert!(Change::of(&TIME, &ones[..5], &more[..5]).is_none());
    }

    #[test]
    fn the_first_of_a_pair_alternates() {
        let order = std::cell::RefCell::new(String::new());
        let run = |name| {
            order.borrow_mut().push(name);
            Ok(vec![f64::from(u32::from(name))])
        };
        let runs = alternate(6, || run('a'), || run('w')).expect("six pairs");
        assert_eq!(*order.borrow(), "awwaawwaawwa");
        let changes = Change::of_all(&[TIME], &runs).expect("six pairs");
        assert_eq!(changes[0].alone, f64::from(u32::from('a')));
        assert!(alternate(1, || run('a'), || anyhow::bail!("no")).is_err());
    }

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let change = |low, high| Middle {
            median: f64::midpoint(low, high),
            interval: (low, high),
        };
        assert_eq!(change(-0.5, 0.9).verdict(1.0), "yes");
        assert_eq!(change(-0.5, 1.1).verdict(1.0), "not shown");
        assert_eq!(change(1.2, 3.0).verdict(1.0), "no");
    }
}
