//! Sums of the episodes that have come as records.
//!
//! The kernel side adds up only those for which the ring had no room: a look into its maps costs
//! a signal more than all the rest. Together the two have every episode.

use gohang_common::hist;
use gohang_common::map::Summary;

use crate::event::Episode;
use crate::probe::Snapshot;

/// What the records have told so far, by process and group.
#[derive(Debug, Default)]
pub(super) struct Counted(Snapshot);

impl Counted {
    /// Adds an episode.
    pub fn add(&mut self, episode: &Episode) {
        let key = (episode.process, episode.cgroup_id.unwrap_or(0));
        let owner = self.0.owners.entry(key).or_default();
        let Summary {
            series,
            outcomes,
            coalesced,
            parts_ns,
            running_ns,
            scratch: _,
        } = &mut owner.totals;
        outcomes[episode.outcome as usize] += 1;
        *coalesced += u64::from(episode.coalesced);
        let Some(latency) = episode.latency_ns() else {
            return;
        };
        *running_ns = running_ns.wrapping_add(u64::from(episode.ran_ns));
        let number = episode.cause as usize;
        series[number].add(latency);
        let parts = &episode.parts;
        for (total, part) in parts_ns.iter_mut().zip([
            parts.throttled,
            parts.masked,
            parts.blocked,
            parts.runqueue,
            parts.running,
        ]) {
            *total = total.wrapping_add(part);
        }
        let bucket = (number as u16, hist::slot(latency) as u16);
        *owner.buckets.entry(bucket).or_insert(0) += 1;
    }

    /// Adds all to what the kernel side has.
    pub fn add_to(&self, snapshot: &mut Snapshot) {
        for (key, owner) in &self.0.owners {
            snapshot.owners.entry(*key).or_default().add(owner);
        }
    }

    /// Removes what `gone` holds.
    pub fn forget(&mut self, gone: &Snapshot) {
        self.0
            .owners
            .retain(|key, _| !gone.owners.contains_key(key));
    }
}

#[cfg(test)]
mod tests {
    use gohang_common::cause::{Cause, Outcome};

    use super::*;
    use crate::probe::OwnerSummary;
    use crate::sink::sample;

    #[test]
    fn records_and_the_kernels_sums_make_a_whole() {
        let delivered = sample::episode();
        let latency = delivered.latency_ns().expect("delivered");
        let ignored = Episode {
            outcome: Outcome::Ignored,
            ran_ns: 7,
            ..delivered.clone()
        };
        let mut counted = Counted::default();
        counted.add(&delivered);
        counted.add(&Episode {
            ran_ns: 300,
            ..delivered.clone()
        });
        counted.add(&ignored);
        let key = (delivered.process, 42);
        let mut kernel = OwnerSummary::default();
        kernel.totals.running_ns = 1_000;
        kernel.totals.outcomes[Outcome::Delivered as usize] = 5;
        let bucket = (delivered.cause as u16, hist::slot(latency) as u16);
        kernel.buckets.insert(bucket, 5);
        let mut snapshot = Snapshot::default();
        snapshot.owners.insert(key, kernel);
        counted.add_to(&mut snapshot);
        let owner = &snapshot.owners[&key];
        assert_eq!(owner.totals.outcomes[Outcome::Delivered as usize], 7);
        assert_eq!(owner.totals.outcomes[Outcome::Ignored as usize], 1);
        assert_eq!(owner.totals.running_ns, 1_300);
        assert_eq!(owner.buckets[&bucket], 7);
        let moments = &owner.totals.series[delivered.cause as usize];
        let seen = (moments.count, moments.sum, moments.min, moments.max);
        assert_eq!(seen, (2, 2 * latency, latency, latency));
        assert_eq!(
            owner.totals.parts_ns[Cause::Throttled as usize],
            2 * delivered.parts.throttled
        );
        counted.forget(&snapshot);
        let mut rest = Snapshot::default();
        counted.add_to(&mut rest);
        assert!(rest.owners.is_empty());
    }
}
