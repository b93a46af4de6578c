//! The preemption chain in the report: from the request to yield until the goroutine runs
//! again, and stops of the world.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;

/// Requests to yield of one process and what came of them. From records: where those were
/// lost, `loss.chain_lost` says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chain {
    /// Requests, also those repeated while a signal was under way.
    pub requests: u64,
    /// Of these, those that a signal was sent for.
    pub sent: u64,
    /// Of these, those whose signal's handler ran.
    pub delivered: u64,
    /// Of these, those whose goroutine left its P by that.
    pub yielded: u64,
    /// Requests by who asked: retake (sysmon, a slice is over), `stop_the_world`,
    /// `for_each_p`, freeze, `enlist_worker` (garbage collection), suspend (a stack is
    /// scanned), other.
    pub askers: BTreeMap<String, u64>,
    /// Requests by what came of them.
    pub ends: BTreeMap<String, u64>,
    /// Requests without a signal that no reason is known of: requests - sent - those that
    /// ended for want of one to send.
    pub unexplained_sends: u64,
    /// Deliveries without a yield that no reason is known of.
    pub unexplained_yields: u64,
    /// Requests that were not over at the end of the trace, or of their process. They are
    /// in none of the figures above, nor in `links`.
    #[serde(default)]
    pub open: Open,
    /// Deliveries that met code where a goroutine cannot be preempted, by its class.
    pub unsafe_points: BTreeMap<String, u64>,
    /// Entries of the runtime's functions, counted in the kernel: of `preemptone`,
    /// `not_running` asked a P without a goroutine to ask and `repeated` one whose signal was
    /// under way; `signal_m` is the sum of `sent`, `sent_again`, `sent_late` (after the end
    /// of the request) and `sent_unasked`, and `do_sig_preempt` of `delivered`,
    /// `delivered_again`, `late` and `unasked`, each with those of `open`.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    /// The time from step to step.
    pub links: Links,
    /// What made requests late: parts of `links.late`, summed over all requests of sysmon.
    pub late_causes: LateCauses,
    /// Stops of the world.
    pub stops: Stops,
}

/// Requests that are not over, by how far they have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Open {
    /// Requests, also those repeated while a signal was under way.
    pub requests: u64,
    /// Of these, those that a signal was sent for.
    pub sent: u64,
    /// Of these, those whose signal's handler ran.
    pub delivered: u64,
    /// Of these, those whose goroutine left its P and has not run again.
    pub yielded: u64,
    /// When the first of them was made, CLOCK_MONOTONIC; null if there is none.
    pub first_ns: Option<u64>,
}

/// The time from each step to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Links {
    /// End of the slice of 10 ms to sysmon's request: at least, as sysmon's first sight of
    /// the slice is late too.
    pub late: Distribution,
    /// Request to signal sent.
    pub request_sent: Distribution,
    /// Signal sent to the runtime's handler.
    pub sent_delivered: Distribution,
    /// Handler to the goroutine leaving its P.
    pub delivered_yielded: Distribution,
    /// Leaving its P to running again.
    pub yielded_running: Distribution,
    /// First request of a slice to the goroutine leaving its P, all of it.
    pub request_yielded: Distribution,
}

impl Links {
    /// All of them with their names, in the order of the chain.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Distribution); 6] {
        [
            ("late", &self.late),
            ("request_sent", &self.request_sent),
            ("sent_delivered", &self.sent_delivered),
            ("delivered_yielded", &self.delivered_yielded),
            ("yielded_running", &self.yielded_running),
            ("request_yielded", &self.request_yielded),
        ]
    }
}

/// What made sysmon's requests late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LateCauses {
    /// Its thread was out of quota.
    pub throttled_ns: u64,
    /// It waited for a CPU.
    pub runqueue_ns: u64,
    /// The rest: it slept, which it does for up to 10 ms at a time.
    pub other_ns: u64,
}

/// Stops of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stops {
    /// Stops that were seen to begin.
    pub count: u64,
    /// From the begin until everybody had stopped.
    pub stopping: Distribution,
    /// From the begin until the program ran again.
    pub total: Distribution,
    /// What the thread that stopped last did until it did, summed over all stops:
    /// throttled, masked, blocked, runqueue, running.
    pub last_ns: BTreeMap<String, u64>,
    /// Those that took longest to stop, longest first, at most 5.
    pub longest: Vec<LongStop>,
}

/// One stop of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LongStop {
    /// Its begin, CLOCK_MONOTONIC.
    pub begin_ns: u64,
    /// Until everybody had stopped.
    pub stopping_ns: u64,
    /// Until the program ran again; null if that was not seen.
    pub total_ns: Option<u64>,
    /// Thread that stopped the others.
    pub tid: u32,
    /// Thread that stopped last, null if nobody was waited for.
    pub last_tid: Option<u32>,
    /// Goroutine that ran on it, null if unknown.
    pub last_goid: Option<u64>,
    /// What that thread did until it stopped: throttled, masked, blocked, runqueue,
    /// running.
    pub last_ns: BTreeMap<String, u64>,
}
