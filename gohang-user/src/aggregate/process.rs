//! What is kept of one process.

use std::collections::BTreeMap;

use gohang_common::cause::CAUSES;
use gohang_common::map::{Summary, series};

use super::Histogram;
use super::chain::ChainData;
use super::interrupted::InterruptedData;
use crate::event::Episode;
use crate::probe::OwnerSummary;
use crate::source::Facts;

/// Most threads with figures of their own.
const MAX_THREADS: usize = 4096;

/// One process.
#[derive(Debug, Default)]
pub(super) struct ProcessData {
    pub facts: Facts,
    /// Its key has the kernel's start time.
    pub exact_start: bool,
    pub known: bool,
    pub execs: u64,
    pub ended_ns: Option<u64>,
    pub pending_at_end: u64,
    /// Name in the last episode, for a process that ended before its facts
    /// could be read.
    pub comm: Vec<u8>,
    /// First episode's send.
    pub first_ns: u64,
    /// Totals taken out of the kernel's maps at its end, by group.
    pub kept: BTreeMap<u64, OwnerSummary>,
    pub threads: BTreeMap<u32, ThreadData>,
    pub interrupted: InterruptedData,
    pub chain: ChainData,
}

/// Episodes of one thread, from the records.
#[derive(Debug, Default)]
pub(super) struct ThreadData {
    pub comm: Vec<u8>,
    pub delivery: Histogram,
    pub causes: [Histogram; CAUSES],
    pub parts_ns: [u64; CAUSES],
}

impl ProcessData {
    pub fn found(&mut self, facts: &Facts) {
        if facts.executed {
            self.execs += 1;
        }
        let since = if self.known {
            self.facts.traced_since_ns
        } else {
            facts.traced_since_ns
        };
        self.facts = facts.clone();
        self.facts.traced_since_ns = since;
        self.known = true;
    }

    pub fn episode(&mut self, episode: &Episode) {
        if self.comm.is_empty() {
            self.comm.clone_from(&episode.comm);
            self.first_ns = episode.sent_ns;
        }
        let Some(latency) = episode.latency_ns() else {
            return;
        };
        if let Some(place) = &episode.place {
            self.interrupted.add(place, latency);
        }
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&episode.tid) {
            return;
        }
        let thread = self.threads.entry(episode.tid).or_default();
        thread.comm.clone_from(&episode.comm);
        thread.delivery.add(latency);
        thread.causes[episode.cause as usize].add(latency);
        let parts = &episode.parts;
        for (total, part) in thread.parts_ns.iter_mut().zip([
            parts.throttled,
            parts.masked,
            parts.blocked,
            parts.runqueue,
            parts.running,
        ]) {
            *total += part;
        }
    }

    /// Everything kept, and what the kernel still holds.
    pub fn totals(&self, live: &OwnerSummary) -> OwnerSummary {
        let mut totals = live.clone();
        for kept in self.kept.values() {
            totals.add(kept);
        }
        totals
    }

    /// Whether nothing shows that it was Go, or that it was signalled: one of the
    /// many that end before they can be looked at.
    pub fn is_nobody(&self, totals: &OwnerSummary) -> bool {
        self.facts.gone
            && self.pending_at_end == 0
            && totals.totals.outcomes.iter().all(|count| *count == 0)
    }

    /// How much it matters among ended ones.
    pub fn weight(&self) -> u64 {
        self.kept
            .values()
            .map(|kept| {
                kept.totals.series[series::STALL].sum
                    + kept.totals.series[..CAUSES]
                        .iter()
                        .map(|moments| moments.sum)
                        .sum::<u64>()
            })
            .sum()
    }
}

/// Delivered episodes.
pub(super) fn delivered(totals: &Summary) -> u64 {
    totals.series[..CAUSES]
        .iter()
        .map(|moments| moments.count)
        .sum()
}

/// One series of an owner.
pub(super) fn histogram(owner: &OwnerSummary, number: usize) -> Histogram {
    let mut histogram = Histogram {
        moments: owner.totals.series[number],
        ..Histogram::default()
    };
    for ((of, slot), count) in &owner.buckets {
        if usize::from(*of) == number {
            histogram.slots.insert(*slot, *count);
        }
    }
    histogram
}

/// Delivery latency over all causes.
pub(super) fn delivery(owner: &OwnerSummary) -> Histogram {
    let mut all = Histogram::default();
    for number in 0..CAUSES {
        all.merge(&histogram(owner, number));
    }
    all
}
