//! Dead entries of the map of run queues: those of removed groups, which no hook tells
//! of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aya::maps::HashMap;
use gohang_common::bandwidth::CfsRq;
use gohang_common::counter::Counter;

use super::load::{map, map_mut};
use super::read::{bad, remove};
use super::{Probe, ProbeError};

/// Dead entries go this often, if any was added.
const EVERY: Duration = Duration::from_secs(10);

/// They go at once when one in so many of what the map holds has been added: what a
/// look at all of them costs is bounded by what comes.
const SHARE: u64 = 8;

/// When dead entries were last removed.
#[derive(Debug)]
pub struct Sweeps {
    last: Instant,
    seen: u64,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self {
            last: Instant::now(),
            seen: 0,
        }
    }
}

impl Sweeps {
    /// Whether it is time, with so many queues taken up since the start by a map of so
    /// many.
    fn due(&mut self, seen: u64, capacity: u64, now: Instant) -> bool {
        let added = seen - self.seen;
        let due =
            added > 0 && (added >= capacity / SHARE || now.duration_since(self.last) >= EVERY);
        if due {
            self.last = now;
            self.seen = seen;
        }
        due
    }
}

impl Probe {
    /// Removes the entries of groups that do not exist any more, now and then, and says
    /// which groups those were. To be called about once a second.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn sweep_queues(
        &mut self,
        sweeps: &mut Sweeps,
        exists: impl Fn(u64) -> bool,
    ) -> Result<BTreeSet<u64>, ProbeError> {
        if !self.has_spans() {
            return Ok(BTreeSet::new());
        }
        let seen = self.counter(Counter::RunQueuesSeen)?;
        if !sweeps.due(seen, self.max_run_queues.into(), Instant::now()) {
            return Ok(BTreeSet::new());
        }
        let queues: HashMap<_, u64, CfsRq> = map(&self.ebpf, "CFS_RQS")?;
        // One question a group, which has a queue a CPU.
        let mut known = BTreeMap::new();
        let mut dead = Vec::new();
        for entry in queues.iter() {
            let (address, queue) = entry.map_err(bad("CFS_RQS"))?;
            let id = queue.cgroup_id;
            // Without a number it is an autogroup's: those have no limits.
            if id != 0 && !*known.entry(id).or_insert_with(|| exists(id)) {
                dead.push(address);
            }
        }
        let mut queues: HashMap<_, u64, CfsRq> = map_mut(&mut self.ebpf, "CFS_RQS")?;
        for address in &dead {
            remove(queues.remove(address)).map_err(bad("CFS_RQS"))?;
        }
        known.retain(|_, exists| !*exists);
        Ok(known.into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_when_enough_were_added_or_enough_time_has_passed() {
        let mut sweeps = Sweeps::default();
        let start = sweeps.last;
        assert!(!sweeps.due(0, 80, start + EVERY), "nothing was added");
        assert!(!sweeps.due(9, 80, start + EVERY / 2));
        assert!(sweeps.due(10, 80, start + EVERY / 2));
        assert!(!sweeps.due(11, 80, start + EVERY));
        assert!(sweeps.due(11, 80, start + EVERY * 3 / 2));
        assert!(!sweeps.due(11, 80, start + EVERY * 9));
    }
}
