//! The preemption chain: requests to yield, and stops of the world.

use std::sync::Arc;

use gohang_common::cause::Sums;
pub use gohang_common::chain::{Asker, RequestEnd};

use super::ProcessId;
use crate::golang::Place;

/// One request to yield and what came of it. Times are `bpf_ktime_get_ns`, none of a step
/// that was not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its process.
    pub process: ProcessId,
    /// The thread that runs the goroutine, root PID namespace.
    pub tid: u32,
    /// The thread that asked, root PID namespace.
    pub sender_tid: u32,
    /// Who asked.
    pub asker: Asker,
    /// First request for this slice, the same for those that repeat it.
    pub first_ns: u64,
    /// This request: entry of `preemptone`, of `suspendG`'s that of `signalM`.
    pub requested_ns: u64,
    /// Requests that this one stands for beside the first.
    pub repeats: u32,
    /// The signal is one that a request before this one, of the same slice, sent: it has
    /// been told with that.
    pub carried: bool,
    /// Entry of `signalM`.
    pub sent_ns: Option<u64>,
    /// Entry of the runtime's signal handler.
    pub delivered_ns: Option<u64>,
    /// The goroutine left its P.
    pub yielded_ns: Option<u64>,
    /// It ran again.
    pub resumed_ns: Option<u64>,
    /// Latest time that is known of it.
    pub end_ns: u64,
    /// What came of it.
    pub end: RequestEnd,
    /// Goroutine asked: the one that ran then or, once a signal met another on that P,
    /// that one, which yields in its place.
    pub goid: Option<u64>,
    /// User instruction pointer where the signal met it.
    pub pc: Option<u64>,
    /// What is there, if known.
    pub place: Option<Arc<Place>>,
    /// How long before `requested_ns` the slice of 10 ms had been over: at least, as
    /// sysmon's first sight of a slice is late too. Of [`Asker::Retake`] only.
    pub late_ns: Option<u64>,
    /// Time that the asking thread was out of quota since it last woke up.
    pub sender_throttled_ns: u64,
    /// Time that it waited for a CPU since then.
    pub sender_runqueue_ns: u64,
}

/// A stop of the world. Times are `bpf_ktime_get_ns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Its process.
    pub process: ProcessId,
    /// The thread that stops the others, root PID namespace.
    pub tid: u32,
    /// Entry of `stopTheWorldWithSema`.
    pub begin_ns: u64,
    /// Everybody had stopped; none if that was not seen.
    pub stopped_ns: Option<u64>,
    /// Entry of `startTheWorldWithSema`; none if that was not seen.
    pub started_ns: Option<u64>,
    /// The thread that stopped last, if any was waited for.
    pub last_tid: Option<u32>,
    /// The goroutine that ran on it.
    pub last_goid: Option<u64>,
    /// When that thread stopped.
    pub last_ns: Option<u64>,
    /// What that thread did meanwhile, in ns.
    pub parts: Sums,
}

impl Stop {
    /// Latest time that is known of it.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        let seen = self.started_ns.or(self.stopped_ns);
        seen.unwrap_or(self.begin_ns)
    }

    /// From the begin until everybody had stopped, in ns.
    #[must_use]
    pub fn stopping_ns(&self) -> Option<u64> {
        self.stopped_ns?.checked_sub(self.begin_ns)
    }

    /// From the begin until the program ran again, in ns.
    #[must_use]
    pub fn total_ns(&self) -> Option<u64> {
        self.started_ns?.checked_sub(self.begin_ns)
    }
}
