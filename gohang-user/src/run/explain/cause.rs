//! The causes that are told apart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a command hangs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Out of CPU quota.
    Throttled,
    /// A goroutine does not stop when the runtime asks it to, and others wait for that.
    PreemptionFailure,
    /// Goroutines or threads wait for each other, or for what nobody does.
    Deadlock,
    /// Something runs without end.
    BusyLoop,
    /// The kernel killed some of it for want of memory.
    OomKilled,
    /// It was refused new processes or threads.
    OutOfTasks,
    /// Its memory is nearly used up, or the collector has no time for anything else.
    MemoryPressure,
    /// It waits for an answer from the network.
    Network,
    /// An address is taken, or a server was left listening.
    Port,
    /// A process that was left behind, or a child, keeps it from seeing an end.
    PipeHeld,
    /// It waits for input.
    Input,
    /// It was stopped by a signal.
    Stopped,
    /// It was still getting on.
    Slow,
    /// None of these.
    None,
}

impl Cause {
    /// All.
    pub const ALL: [Self; 14] = [
        Self::Throttled,
        Self::PreemptionFailure,
        Self::Deadlock,
        Self::BusyLoop,
        Self::OomKilled,
        Self::OutOfTasks,
        Self::MemoryPressure,
        Self::Network,
        Self::Port,
        Self::PipeHeld,
        Self::Input,
        Self::Stopped,
        Self::Slow,
        Self::None,
    ];

    /// Its name in JSON and in fingerprints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::PreemptionFailure => "preemption_failure",
            Self::Deadlock => "deadlock",
            Self::BusyLoop => "busy_loop",
            Self::OomKilled => "oom_killed",
            Self::OutOfTasks => "out_of_tasks",
            Self::MemoryPressure => "memory_pressure",
            Self::Network => "network",
            Self::Port => "port",
            Self::PipeHeld => "pipe_held",
            Self::Input => "input",
            Self::Stopped => "stopped",
            Self::Slow => "slow",
            Self::None => "none",
        }
    }

    /// In a person's words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Throttled => "throttled, out of CPU quota",
            Self::PreemptionFailure => "preemption failure",
            Self::Deadlock => "deadlock",
            Self::BusyLoop => "busy without progress, as in an endless loop",
            Self::OomKilled => "out of memory",
            Self::OutOfTasks => "out of tasks",
            Self::MemoryPressure => "short of memory",
            Self::Network => "waiting for the network",
            Self::Port => "a port is taken, or a server was left listening",
            Self::PipeHeld => "a child process holds the pipe",
            Self::Input => "waiting for input",
            Self::Stopped => "stopped by a signal",
            Self::Slow => "slow, it was still getting on",
            Self::None => "waiting for something that does not come; none of the known causes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
    }
}
