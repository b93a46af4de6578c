//! Folds events and the kernel side's totals into a report.

mod chain;
mod groups;
mod histogram;
mod interrupted;
mod process;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use groups::{Groups, Remembering};
pub use histogram::Histogram;
pub use report::{Context, loss};

use process::ProcessData;

use crate::event::{Episode, Event, ProcessEvent, ProcessId};
use crate::probe::{OwnerSummary, Snapshot};
use crate::source::{Facts, Item, same_start};

/// Most ended processes that are listed; the least important of the others are
/// only counted.
const MAX_ENDED: usize = 1000;

/// Most pairs of a removed group and a limit whose spans are kept for groups without a
/// listed process.
const MAX_SPANS: usize = 4096;

/// Everything seen so far.
#[derive(Debug, Default)]
pub struct Aggregate {
    processes: BTreeMap<ProcessId, ProcessData>,
    /// The process that has an id now.
    current: HashMap<u32, ProcessId>,
    folded: crate::report::Folded,
    /// Spans of removed groups, by group and by the group whose limit it was.
    spans: BTreeMap<(u64, u64), OwnerSummary>,
}

impl Aggregate {
    /// Takes one item. Episodes of processes that turned out foreign are
    /// dropped, and false is returned for them.
    pub fn take(&mut self, item: &Item) -> bool {
        match item {
            Item::Event(Event::Episode(episode)) => {
                self.entry(episode.process).episode(episode);
            }
            Item::Event(Event::Process(record)) => {
                let known = self.processes.contains_key(&record.id) || self.is_rounded(&record.id);
                if record.event == ProcessEvent::Exit && known {
                    self.entry(record.id).ended_ns = Some(record.at_ns);
                    self.current.remove(&record.id.pid);
                }
            }
            Item::Event(Event::Request(request)) => {
                let data = self.entry(request.process);
                let off = data.facts.preemption_off.is_some();
                data.chain.request(request, off);
            }
            Item::Event(Event::Stop(stop)) => self.entry(stop.process).chain.stop(stop),
            Item::Found(facts) => self.found(facts),
            Item::Foreign(id) => {
                self.processes.remove(id);
                self.current.remove(&id.pid);
                return false;
            }
            Item::Ended(snapshot) => self.harvest(snapshot),
            Item::Senders(_) => {}
        }
        true
    }

    /// The process's data, under its exact start time: one found through /proc
    /// has a rounded one until the kernel side names it.
    fn entry(&mut self, id: ProcessId) -> &mut ProcessData {
        if !self.processes.contains_key(&id) {
            let rounded = self.current.get(&id.pid).copied().filter(|known| {
                self.processes.get(known).is_some_and(|data| {
                    !data.exact_start && same_start(&id, data.facts.proc_start_ns)
                })
            });
            let mut data = rounded
                .and_then(|known| self.processes.remove(&known))
                .unwrap_or_default();
            data.exact_start = true;
            self.processes.insert(id, data);
            self.current.insert(id.pid, id);
        }
        self.processes.entry(id).or_default()
    }

    fn found(&mut self, facts: &Facts) {
        let id = match facts.start_ns {
            Some(start_ns) => ProcessId {
                pid: facts.pid,
                start_ns,
            },
            None => ProcessId {
                pid: facts.pid,
                start_ns: facts.proc_start_ns,
            },
        };
        if facts.start_ns.is_some() {
            self.entry(id).found(facts);
        } else {
            // Found again by a later look: the entry is there under its exact
            // start time.
            let known = self.current.get(&facts.pid).copied().filter(|known| {
                known.start_ns == id.start_ns || same_start(known, facts.proc_start_ns)
            });
            let id = known.unwrap_or(id);
            self.current.insert(id.pid, id);
            self.processes.entry(id).or_default().found(facts);
        }
    }

    fn harvest(&mut self, snapshot: &Snapshot) {
        for ((id, cgroup_id), summary) in &snapshot.owners {
            if self.processes.contains_key(id) || self.is_rounded(id) {
                let data = self.entry(*id);
                data.kept.entry(*cgroup_id).or_default().add(summary);
            }
        }
        for (id, hits) in &snapshot.hits {
            if self.processes.contains_key(id) || self.is_rounded(id) {
                self.entry(*id).chain.hits(hits);
            }
        }
        for (id, open) in &snapshot.open {
            if self.processes.contains_key(id) || self.is_rounded(id) {
                self.entry(*id).chain.left(*open);
            }
        }
        self.fold();
        for (of, summary) in &snapshot.spans {
            self.spans.entry(*of).or_default().add(summary);
        }
        if self.spans.len() > MAX_SPANS {
            // Those of processes that are not listed any more.
            let kept = self.processes.values().flat_map(|data| data.kept.keys());
            let kept: BTreeSet<u64> = kept.copied().collect();
            self.spans.retain(|(group, _), _| kept.contains(group));
        }
    }

    /// Spans of all groups, with those that live now.
    fn all_spans(
        &self,
        live: &BTreeMap<(u64, u64), OwnerSummary>,
    ) -> BTreeMap<(u64, u64), OwnerSummary> {
        let mut all = self.spans.clone();
        for (of, summary) in live {
            all.entry(*of).or_default().add(summary);
        }
        all
    }

    fn is_rounded(&self, id: &ProcessId) -> bool {
        self.current
            .get(&id.pid)
            .and_then(|known| self.processes.get(known))
            .is_some_and(|data| !data.exact_start && same_start(id, data.facts.proc_start_ns))
    }

    /// Bounds what is kept of ended processes.
    fn fold(&mut self) {
        self.processes.retain(|_, data| {
            data.ended_ns.is_none() || !data.is_nobody(&data.totals(&OwnerSummary::default()))
        });
        let ended: Vec<ProcessId> = self
            .processes
            .iter()
            .filter(|(_, data)| data.ended_ns.is_some())
            .map(|(id, _)| *id)
            .collect();
        if ended.len() <= MAX_ENDED + MAX_ENDED / 4 {
            return;
        }
        let mut ranked: Vec<(u64, ProcessId)> = ended
            .into_iter()
            .map(|id| (self.processes[&id].weight(), id))
            .collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        for (_, id) in ranked.into_iter().skip(MAX_ENDED) {
            if let Some(data) = self.processes.remove(&id) {
                let totals = data.totals(&OwnerSummary::default());
                self.folded.processes += 1;
                self.folded.episodes += process::delivered(&totals.totals);
                self.folded.stall_ns += totals.totals.series[gohang_common::map::series::STALL].sum;
            }
        }
    }

    /// Adds episodes that are pending at the end.
    pub fn pending_at_end(&mut self, episodes: &[Episode]) {
        for episode in episodes {
            self.entry(episode.process).pending_at_end += 1;
        }
    }

    /// The process that has this id now, if it is traced.
    #[must_use]
    pub fn facts(&self, pid: u32) -> Option<&Facts> {
        self.current
            .get(&pid)
            .and_then(|id| self.processes.get(id))
            .map(|data| &data.facts)
    }
}

#[cfg(test)]
mod tests;
