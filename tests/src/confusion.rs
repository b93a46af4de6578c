//! Holds the causes that a program names against the labels of the injectors.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::label::{Cause, Label};
use crate::stream::Line;

/// What precision and recall must reach, percent.
const LEAST_PERCENT: u64 = 99;

/// Labels and episodes, each with its only partner.
#[derive(Debug, Default)]
pub struct Matching {
    /// Indices of the label and the episode.
    pub pairs: Vec<(usize, usize)>,
    /// Labels without an episode.
    pub missing: Vec<usize>,
    /// Episodes without a label, or beside the first one in a label.
    pub surplus: Vec<usize>,
}

/// Matches each label with the episode of its thread that was sent between its two times.
pub fn pair(labels: &[Label], lines: &[Line]) -> Matching {
    let mut sends: BTreeMap<(u32, u64), Vec<usize>> = BTreeMap::new();
    for (i, line) in lines.iter().enumerate() {
        sends.entry((line.tid, line.sent_ns)).or_default().push(i);
    }
    let mut out = Matching::default();
    let mut used = vec![false; lines.len()];
    for (n, label) in labels.iter().enumerate() {
        let within = (label.tid, label.before_ns)..=(label.tid, label.after_ns);
        let mut found = sends.range(within).flat_map(|(_, all)| all);
        match found.find(|i| !used[**i]) {
            Some(&i) => {
                used[i] = true;
                out.pairs.push((n, i));
            }
            None => out.missing.push(n),
        }
    }
    out.surplus = (0..lines.len()).filter(|i| !used[*i]).collect();
    out
}

/// The cause, or the other one for each of these two.
pub fn swapped(cause: Cause, (a, b): (Cause, Cause)) -> Cause {
    match cause {
        _ if cause == a => b,
        _ if cause == b => a,
        _ => cause,
    }
}

/// How often which cause was named for which label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// By label, then by named cause; the last is "none of them".
    counts: [[u64; 6]; 5],
}

impl Matrix {
    /// Counts the pairs of a label and a named cause.
    pub fn of<'a>(pairs: impl Iterator<Item = (Cause, Option<&'a str>)>) -> Self {
        let mut out = Self::default();
        for (label, named) in pairs {
            let named = Cause::ALL.iter().position(|c| Some(c.name()) == named);
            out.counts[label as usize][named.unwrap_or(Cause::ALL.len())] += 1;
        }
        out
    }

    /// How often this cause was named for this label; none of the five without one.
    pub fn count(&self, label: Cause, named: Option<Cause>) -> u64 {
        self.counts[label as usize][named.map_or(Cause::ALL.len(), |c| c as usize)]
    }

    /// How many episodes have this label.
    pub fn labelled(&self, label: Cause) -> u64 {
        self.counts[label as usize].iter().sum()
    }

    fn named(&self, named: Cause) -> u64 {
        self.counts.iter().map(|row| row[named as usize]).sum()
    }

    /// Of the episodes for which this cause was named, how many have it: (so many, of).
    pub fn precision(&self, cause: Cause) -> (u64, u64) {
        (self.count(cause, Some(cause)), self.named(cause))
    }

    /// Of the episodes that have this cause, for how many it was named: (so many, of).
    pub fn recall(&self, cause: Cause) -> (u64, u64) {
        (self.count(cause, Some(cause)), self.labelled(cause))
    }

    /// Whether every label was given `wanted` times at least.
    ///
    /// # Errors
    /// With the first that was not.
    pub fn check_counts(&self, wanted: u64) -> Result<()> {
        for cause in Cause::ALL {
            let n = self.labelled(cause);
            ensure!(n >= wanted, "{n} episodes of {cause}, wanted {wanted}");
        }
        Ok(())
    }

    /// Whether every cause's precision and recall is high enough.
    ///
    /// # Errors
    /// With the first that is not.
    pub fn check(&self) -> Result<()> {
        for cause in Cause::ALL {
            for (what, (right, of)) in [
                ("precision", self.precision(cause)),
                ("recall", self.recall(cause)),
            ] {
                ensure!(
                    of > 0 && right * 100 >= of * LEAST_PERCENT,
                    "{what} of {cause} is {right} of {of}, below {LEAST_PERCENT} %"
                );
            }
        }
        Ok(())
    }
}
