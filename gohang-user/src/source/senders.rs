//! Threads that send their own process's signals, and how they got to run.

use serde::{Deserialize, Serialize};

use crate::event::ProcessId;

/// What a thread that has sent SIGURG to its own process did since it is traced, up to its
/// last switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderUse {
    /// Its process.
    pub process: ProcessId,
    /// The thread, root PID namespace.
    pub tid: u32,
    /// As of when, CLOCK_MONOTONIC ns.
    pub at_ns: u64,
    /// Signals that it sent to its own process.
    pub sent: u32,
    /// Time on a CPU, ns.
    pub ran_ns: u64,
    /// Time out of quota, ns.
    pub stall_ns: u64,
    /// Time waiting for a CPU, ns.
    pub runqueue_ns: u64,
    /// Those waits (out of quota and for a CPU together) that took 10 ms or more, ns.
    pub long_wait_ns: u64,
    /// How many.
    pub long_waits: u32,
    /// Time that the process's other threads, of those that still live, were on a CPU, ns.
    pub others_ran_ns: u64,
}
