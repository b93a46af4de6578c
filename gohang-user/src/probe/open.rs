//! Requests to yield that are not over.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::HashMap as KernelMap;
use gohang_common::record::{REQUEST_CARRIED, Request};
use gohang_common::runtime::{Chain, GoroutineKey, ThreadKey};

use super::load::map_mut;
use super::read::bad;
use super::{Probe, ProbeError};
use crate::event::ProcessId;
use crate::report::Open;

impl Open {
    fn add(&mut self, request: &Request) {
        let is_sent = request.sent_ns != 0 && request.flags & REQUEST_CARRIED == 0;
        let first_ns = request.first_ns;
        self.requests += 1 + u64::from(request.repeats);
        self.sent += u64::from(is_sent);
        self.delivered += u64::from(request.delivered_ns != 0);
        self.yielded += u64::from(request.yielded_ns != 0);
        self.first_ns = Some(self.first_ns.map_or(first_ns, |known| known.min(first_ns)));
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
    ) -> Result<BTreeMap<ProcessId, Open>, ProbeError> {
        let mut open = BTreeMap::new();
        let ids: BTreeMap<u32, ProcessId> = processes.iter().map(|id| (id.pid, *id)).collect();
        let mut add = |tgid: u32, request: &Request| {
            if let Some(id) = ids.get(&tgid)
                && request.first_ns != 0
            {
                let open: &mut Open = open.entry(*id).or_default();
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
        let mut open = Open::default();
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
        let wanted = Open {
            requests: 4,
            sent: 1,
            delivered: 1,
            yielded: 0,
            first_ns: Some(40),
        };
        assert_eq!(open, wanted);
    }
}
