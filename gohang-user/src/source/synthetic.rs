//! Events made up by tests.

use std::collections::VecDeque;

use super::{Item, Source, SourceError, Taken};
use crate::event::Episode;
use crate::probe::{Counters, Snapshot};

/// A source that yields what it is given.
#[derive(Clone, Debug, Default)]
pub struct Synthetic {
    /// What the next drains yield, one batch each.
    pub batches: VecDeque<Vec<Item>>,
    /// Totals.
    pub totals: Snapshot,
    /// Counters.
    pub counted: Counters,
    /// What is pending.
    pub still_pending: Vec<Episode>,
    /// Records taken.
    pub records: Taken,
}

impl Source for Synthetic {
    fn drain(&mut self, into: &mut Vec<Item>) -> Result<(), SourceError> {
        into.extend(self.batches.pop_front().unwrap_or_default());
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
        Ok(self.totals.clone())
    }

    fn counters(&mut self) -> Result<Counters, SourceError> {
        Ok(self.counted.clone())
    }

    fn pending(&mut self, _now_ns: u64) -> Result<Vec<Episode>, SourceError> {
        Ok(self.still_pending.clone())
    }

    fn taken(&self) -> Taken {
        self.records
    }
}
