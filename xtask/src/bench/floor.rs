//! What something takes while the host leaves the machine alone.

use std::fmt;

/// The lower decile of figures, with its distribution-free 95 % interval from order statistics.
///
/// What a host's other guests take comes on top of a figure and lasts for seconds: the decile is
/// of those rounds that had least of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Lower end of the interval.
    pub low: f64,
    /// A tenth lies below.
    pub decile: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Floor {
    /// Fewest figures that the interval can be told of.
    pub const LEAST: u16 = 40;

    /// Of figures; `None` of too few.
    pub fn of(figures: &[f64]) -> Option<Self> {
        const SHARE: f64 = 0.1;
        if figures.len() < usize::from(Self::LEAST) {
            return None;
        }
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len() as f64;
        // How many lie below is binomial; its normal approximation.
        let middle = SHARE * count;
        let reach = 1.96 * (SHARE * (1.0 - SHARE) * count).sqrt();
        let at = |rank: f64| sorted[(rank.max(0.0) as usize).min(sorted.len() - 1)];
        Some(Self {
            low: at(middle - reach),
            decile: at(middle),
            high: at((middle + reach).ceil()),
        })
    }

    /// What it is above another, with the ends of both intervals that are furthest apart.
    pub fn above(&self, base: &Self) -> Self {
        Self {
            low: self.low - base.high,
            decile: self.decile - base.decile,
            high: self.high - base.low,
        }
    }
}

/// `decile (low to high)`.
impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, decile, high } = self;
        write!(f, "{decile:.0} ({low:.0} to {high:.0})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decile_lies_within_its_interval() {
        let figures: Vec<f64> = (0..300).rev().map(f64::from).collect();
        let floor = Floor::of(&figures).expect("enough");
        // 30 of 300 lie below; 1.96 times the deviation of that is 10.2.
        assert_eq!(floor.to_string(), "30 (19 to 41)");
        let shifted: Vec<f64> = figures.iter().map(|own| own + 100.0).collect();
        let above = Floor::of(&shifted).expect("enough").above(&floor);
        assert_eq!(above.to_string(), "100 (78 to 122)");
        assert_eq!(Floor::of(&figures[..39]), None);
    }
}
