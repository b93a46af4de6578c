//! Events: what the kernel side's records say, decoded in one place.

mod chain;
mod decode;
mod forms;
#[cfg(test)]
pub(crate) mod sample;

pub use chain::{Asker, Request, RequestEnd, Stop};
pub use decode::{DecodeError, decode};
use gohang_common::cause::{Cause, Outcome, Sums};
pub use gohang_common::record::ProcessEvent;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::golang::Place;

/// A decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An episode ended.
    Episode(Box<Episode>),
    /// A process forked, executed a program or ended.
    Process(Process),
    /// A request to yield came to an end.
    Request(Request),
    /// The world was stopped and started again.
    Stop(Stop),
}

impl Event {
    /// The process that it is about.
    #[must_use]
    pub const fn process(&self) -> ProcessId {
        match self {
            Self::Episode(episode) => episode.process,
            Self::Process(record) => record.id,
            Self::Request(request) => request.process,
            Self::Stop(stop) => stop.process,
        }
    }

    /// The latest time in it, `bpf_ktime_get_ns`.
    #[must_use]
    pub fn at_ns(&self) -> u64 {
        match self {
            Self::Episode(episode) => episode.end_ns,
            Self::Process(record) => record.at_ns,
            Self::Request(request) => request.end_ns,
            Self::Stop(stop) => stop.end_ns(),
        }
    }

    /// Instructions that it names, and where to put what lies there.
    pub(crate) fn instructions(&mut self) -> impl Iterator<Item = Instruction<'_>> {
        let (one, other) = match self {
            Self::Episode(episode) => (
                episode.pc.map(|pc| (pc, &mut episode.place)),
                episode.handler.map(|pc| (pc, &mut episode.handler_place)),
            ),
            Self::Request(request) => (request.pc.map(|pc| (pc, &mut request.place)), None),
            Self::Process(_) | Self::Stop(_) => (None, None),
        };
        one.into_iter().chain(other)
    }
}

/// An address, and where to put what lies there.
type Instruction<'a> = (u64, &'a mut Option<Arc<Place>>);

/// A process: an id alone may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Root PID namespace.
    pub pid: u32,
    /// Start time, CLOCK_MONOTONIC ns.
    pub start_ns: u64,
}

/// Time not runnable, by kind, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedKinds {
    /// Asleep, wakeable by signals.
    pub interruptible: u64,
    /// Asleep in the kernel.
    pub uninterruptible: u64,
    /// Stopped by a job-control signal.
    pub stopped: u64,
    /// Stopped by a tracer.
    pub traced: u64,
    /// In a frozen cgroup.
    pub frozen: u64,
}

/// One pending SIGURG, from its first send to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// Its process.
    pub process: ProcessId,
    /// The thread that took it, or that it was sent to; root PID namespace.
    pub tid: u32,
    /// Thread name, as raw bytes.
    pub comm: Vec<u8>,
    /// Goroutine interrupted, if known.
    pub goid: Option<u64>,
    /// User instruction pointer at delivery.
    pub pc: Option<u64>,
    /// What is there, if known: added to what the kernel side says. Pending episodes,
    /// the only ones that are written in this form, have none.
    #[serde(skip)]
    pub place: Option<Arc<Place>>,
    /// Address of the handler that it was delivered to.
    #[serde(default)]
    pub handler: Option<u64>,
    /// What is there, as `place`.
    #[serde(skip)]
    pub handler_place: Option<Arc<Place>>,
    /// Sent to the process rather than to one thread.
    pub process_directed: bool,
    /// Sending process, none if the kernel sent it.
    pub sender_pid: Option<u32>,
    /// Sending thread, none if the kernel sent it.
    #[serde(default)]
    pub sender_tid: Option<u32>,
    /// First send, `bpf_ktime_get_ns`.
    pub sent_ns: u64,
    /// Its end, `bpf_ktime_get_ns`.
    pub end_ns: u64,
    /// Later sends absorbed.
    pub coalesced: u32,
    /// How it ended.
    #[serde(with = "forms::OutcomeForm")]
    pub outcome: Outcome,
    /// Components in ns.
    #[serde(with = "forms::SumsForm")]
    pub parts: Sums,
    /// `parts.blocked` by kind.
    pub blocked_kinds: BlockedKinds,
    /// Largest component.
    #[serde(with = "forms::CauseForm")]
    pub cause: Cause,
    /// Part of `parts.throttled` is an estimate.
    pub estimate: bool,
    /// Kernel id of the cgroup that the CPU controller charges, none if unknown.
    pub cgroup_id: Option<u64>,
    /// Time on a CPU that the delivery ended and that the kernel side has added to no sum, ns:
    /// for who adds up the records.
    #[serde(skip)]
    pub ran_ns: u32,
}

impl Episode {
    /// First send to delivery in ns; none if it was not delivered.
    #[must_use]
    pub fn latency_ns(&self) -> Option<u64> {
        self.outcome
            .is_delivered()
            .then(|| self.end_ns.wrapping_sub(self.sent_ns))
    }
}

/// Life cycle of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process.
    pub id: ProcessId,
    /// When, `bpf_ktime_get_ns`.
    pub at_ns: u64,
    /// What happened.
    pub event: ProcessEvent,
    /// Fork: the parent. Exec: the calling thread's id before it.
    pub other: u32,
    /// Filter byte that the kernel side holds for it.
    pub filter: u8,
    /// Name, as raw bytes.
    pub comm: Vec<u8>,
}
