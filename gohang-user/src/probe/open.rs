//! Requests to yield that are not over.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::HashMap as KernelMap;
use gohang_common::record::{REQUEST_CARRIED, Request};
use gohang_common::runtime::{Chain, GoroutineKey, ThreadKey};
use serde::{Deserialize, Serialize};

use super::load::map_mut;
use super::read::bad;
use super::{Probe, ProbeError};
use crate::event::ProcessId;

/// Requests of one process of which no record has told yet, by how far they have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequests {
    /// Requests, also those repeated while a signal was under way.
    pub requests: u64,
    /// Of these, those that a signal was sent for.
    pub sent: u64,
    /// Of these, those whose signal's handler ran.
    pub delivered: u64,
    /// Of these, those whose goroutine left its P and has not run again.
    pub yielded: u64,
    /// When the first of them was made, CLOCK_MONOTONIC ns; 0 if there is none.
    pub first_ns: u64,
}

impl OpenRequests {
    fn add(&mut self, request: &Request) {
        let is_sent = request.sent_ns != 0 && request.flags & REQUEST_CARRIED == 0;
        self.requests += 1 + u64::from(request.repeats);
        self.sent += u64::from(is_sent);
        self.delivered += u64::from(request.delivered_ns != 0);
        self.yielded += u64::from(request.yielded_ns != 0);
        self.first_ns = if self.first_ns == 0 {
            request.first_ns
        } else {
            self.first_ns.min(request.first_ns)
        };
    }
}

impl Probe {
    /// The open requests of some processes; of a process without any there is no entry.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn open_of(
        &mut self,
        processes: &BTreeSet<ProcessId>,
    ) -> Result<BTreeMap<ProcessId, OpenRequests>, ProbeError> {
        let mut open = BTreeMap::new();
        if !self.probes_go() {
            return Ok(open);
        }
        let ids: BTreeMap<u32, ProcessId> = processes.iter().map(|id| (id.pid, *id)).collect();
        let mut add = |tgid: u32, request: &Request| {
            if let Some(id) = ids.get(&tgid)
                && request.first_ns != 0
            {
                let open: &mut OpenRequests = open.entry(*id).or_default();
                open.add(request);
            }
        };
        // Of a map that changes meanwhile, an entry can come twice.
        let chains: KernelMap<_, ThreadKey, Chain> = map_mut(&mut self.ebpf, "CHAINS")?;
        let mut seen = BTreeSet::new();
        for entry in chains.iter() {
            let (key, chain) = entry.map_err(bad("CHAINS"))?;
            if seen.insert((key.tgid, key.tid)) {
                add(key.tgid, &chain.request);
            }
        }
        let yielded: KernelMap<_, GoroutineKey, Request> = map_mut(&mut self.ebpf, "YIELDED")?;
        let mut seen = BTreeSet::new();
        for entry in yielded.iter() {
            let (key, request) = entry.map_err(bad("YIELDED"))?;
            if seen.insert((key.tgid, key.g)) {
                add(key.tgid, &request);
            }
        }
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_for_the_steps_that_it_has_come_to() {
        let mut open = OpenRequests::default();
        open.add(&Request {
            first_ns: 50,
            sent_ns: 60,
            delivered_ns: 70,
            ..Request::default()
        });
        // Its signal was told of with the request before it.
        open.add(&Request {
            first_ns: 40,
            sent_ns: 41,
            repeats: 2,
            flags: REQUEST_CARRIED,
            ..Request::default()
        });
        let wanted = OpenRequests {
            requests: 4,
            sent: 1,
            delivered: 1,
            yielded: 0,
            first_ns: 40,
        };
        assert_eq!(open, wanted);
    }
}
