//! A process's preemption chain, from the records.

use std::collections::BTreeMap;

use gohang_common::cause::{CAUSES, Cause, Sums};
use gohang_common::runtime::{Hits, hit};

use super::Histogram;
use crate::event::{Asker, Request, RequestEnd, Stop};
use crate::golang::SafePoint;
use crate::report::{Chain, LateCauses, Links, LongStop, Open, Stops};

/// Most stops that are kept one by one.
const LONGEST: usize = 5;

/// Requests and stops so far.
#[derive(Debug, Default)]
pub(super) struct ChainData {
    requests: u64,
    sent: u64,
    delivered: u64,
    yielded: u64,
    unexplained_yields: u64,
    askers: [u64; Asker::ALL.len()],
    ends: [u64; RequestEnd::ALL.len()],
    unsafe_points: [u64; SafePoint::ALL.len()],
    late: Histogram,
    request_sent: Histogram,
    sent_delivered: Histogram,
    delivered_yielded: Histogram,
    yielded_running: Histogram,
    request_yielded: Histogram,
    late_causes: LateCauses,
    stops: u64,
    stopping: Histogram,
    total: Histogram,
    last_ns: [u64; CAUSES],
    longest: Vec<LongStop>,
    hits: Hits,
    /// Requests that were not over when the process ended.
    left: Open,
    /// Those that are not over as of the report.
    open: Open,
}

/// Adds the time from one step to a later one, if both were seen.
fn link(to: &mut Histogram, from_ns: Option<u64>, until_ns: Option<u64>) {
    if let Some(ns) = from_ns
        .zip(until_ns)
        .and_then(|(from, until)| until.checked_sub(from))
    {
        to.add(ns);
    }
}

impl ChainData {
    /// Takes a request that has ended; `off` says that the process's asynchronous
    /// preemption is known to be off.
    pub fn request(&mut self, request: &Request, off: bool) {
        let unsent = if off {
            RequestEnd::Disabled
        } else {
            RequestEnd::NotSent
        };
        let end = match request.end {
            RequestEnd::NotSent => unsent,
            end => end,
        };
        // Those that repeat it end at once, by the same or as its signal is under way.
        let repeats = u64::from(request.repeats);
        let repeats_end = match (request.sent_ns, end) {
            (Some(_), _) | (_, RequestEnd::AlreadyPending) => RequestEnd::AlreadyPending,
            _ => unsent,
        };
        self.requests += 1 + repeats;
        self.askers[request.asker as usize] += 1 + repeats;
        self.ends[repeats_end as usize] += repeats;
        self.ends[end as usize] += 1;
        let is_delivered = request.delivered_ns.is_some();
        self.sent += u64::from(request.sent_ns.is_some() && !request.carried);
        self.delivered += u64::from(is_delivered);
        self.yielded += u64::from(is_delivered && end.is_yield());
        self.unexplained_yields += u64::from(is_delivered && end == RequestEnd::Superseded);
        if end == RequestEnd::UnsafePoint
            && let Some(class) = request.place.as_ref().and_then(|place| place.safe_point)
        {
            self.unsafe_points[class as usize] += 1;
        }
        self.links(request);
    }

    fn links(&mut self, request: &Request) {
        let requested = Some(request.requested_ns);
        link(&mut self.request_sent, requested, request.sent_ns);
        let sent = request.sent_ns;
        link(&mut self.sent_delivered, sent, request.delivered_ns);
        let delivered = request.delivered_ns;
        link(&mut self.delivered_yielded, delivered, request.yielded_ns);
        let yielded = request.yielded_ns;
        link(&mut self.yielded_running, yielded, request.resumed_ns);
        link(&mut self.request_yielded, Some(request.first_ns), yielded);
        // Those that repeat it find the same slice, only later.
        if let Some(late) = request.late_ns
            && request.first_ns == request.requested_ns
        {
            self.late.add(late);
            let throttled = request.sender_throttled_ns.min(late);
            let runqueue = request.sender_runqueue_ns.min(late - throttled);
            self.late_causes.throttled_ns += throttled;
            self.late_causes.runqueue_ns += runqueue;
            self.late_causes.other_ns += late - throttled - runqueue;
        }
    }

    /// Takes a stop of the world.
    pub fn stop(&mut self, stop: &Stop) {
        self.stops += 1;
        if let Some(total) = stop.total_ns() {
            self.total.add(total);
        }
        let Some(stopping_ns) = stop.stopping_ns() else {
            return;
        };
        self.stopping.add(stopping_ns);
        for (to, cause) in self.last_ns.iter_mut().zip(Cause::ALL) {
            *to += part(&stop.parts, cause);
        }
        let at = self
            .longest
            .partition_point(|known| known.stopping_ns >= stopping_ns);
        if at < LONGEST {
            let long = LongStop {
                begin_ns: stop.begin_ns,
                stopping_ns,
                total_ns: stop.total_ns(),
                tid: stop.tid,
                last_tid: stop.last_tid,
                last_goid: stop.last_goid,
                last_ns: by_cause(|cause| part(&stop.parts, cause)),
            };
            self.longest.insert(at, long);
            self.longest.truncate(LONGEST);
        }
    }

    /// What was counted so far of the functions that the process entered.
    pub fn hits(&mut self, hits: &Hits) {
        // A process's last counts can come twice.
        for (own, new) in self.hits.iter_mut().zip(hits) {
            *own = (*own).max(*new);
        }
    }

    /// Requests that are not over as of now, which replace those of before.
    pub fn open(&mut self, open: Open) {
        self.open = open;
    }

    /// Requests that were not over when the process ended.
    pub fn left(&mut self, open: Open) {
        self.left = open;
    }

    /// As the report has it; none if nothing was seen.
    pub fn report(&self) -> Option<Chain> {
        let open = match self.open.requests {
            0 => self.left,
            _ => self.open,
        };
        let is_empty = self.requests == 0 && open.requests == 0 && self.stops == 0;
        if is_empty && self.hits == Hits::default() {
            return None;
        }
        let unsafe_points = SafePoint::ALL.iter().zip(self.unsafe_points);
        Some(Chain {
            requests: self.requests,
            sent: self.sent,
            delivered: self.delivered,
            yielded: self.yielded,
            askers: counts(Asker::ALL.iter().map(|asker| asker.name()), &self.askers),
            ends: counts(RequestEnd::ALL.iter().map(|end| end.name()), &self.ends),
            unexplained_sends: self.ends[RequestEnd::NotSent as usize],
            unexplained_yields: self.unexplained_yields,
            open,
            unsafe_points: unsafe_points
                .filter(|(class, _)| !class.is_safe())
                .map(|(class, count)| (class.name().to_owned(), count))
                .collect(),
            links: Links {
                late: self.late.distribution(),
                request_sent: self.request_sent.distribution(),
                sent_delivered: self.sent_delivered.distribution(),
                delivered_yielded: self.delivered_yielded.distribution(),
                yielded_running: self.yielded_running.distribution(),
                request_yielded: self.request_yielded.distribution(),
            },
            counts: counts(hit::NAMES.into_iter(), &self.hits),
            late_causes: self.late_causes,
            stops: Stops {
                count: self.stops,
                stopping: self.stopping.distribution(),
                total: self.total.distribution(),
                last_ns: by_cause(|cause| self.last_ns[cause as usize]),
                longest: self.longest.clone(),
            },
        })
    }
}

fn counts<'a>(names: impl Iterator<Item = &'a str>, counts: &[u64]) -> BTreeMap<String, u64> {
    names
        .zip(counts)
        .map(|(name, count)| (name.to_owned(), *count))
        .collect()
}

fn by_cause(of: impl Fn(Cause) -> u64) -> BTreeMap<String, u64> {
    Cause::ALL
        .iter()
        .map(|cause| (cause.name().to_owned(), of(*cause)))
        .collect()
}

fn part(parts: &Sums, cause: Cause) -> u64 {
    match cause {
        Cause::Throttled => parts.throttled,
        Cause::Masked => parts.masked,
        Cause::Blocked => parts.blocked,
        Cause::RunQueue => parts.runqueue,
        Cause::Running => parts.running,
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
