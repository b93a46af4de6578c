//! Lines of the preemption chain.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use super::jsonl::name;
use crate::event::{Request, Stop};

/// One request to yield and what came of it. Times are CLOCK_MONOTONIC; null of a step that
/// was not seen.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RequestLine<'a> {
    /// Process, root PID namespace.
    pub pid: u32,
    /// Thread that runs the goroutine, root PID namespace; 0 if unknown.
    pub tid: u32,
    /// Start of the process: with `pid` it names the process.
    pub start_ns: u64,
    /// Thread that asked, root PID namespace.
    pub sender_tid: u32,
    /// Who asked.
    #[schemars(extend("enum" = [
        "other", "retake", "stop_the_world", "for_each_p", "freeze", "enlist_worker", "suspend"
    ]))]
    pub asker: &'static str,
    /// What came of it.
    #[schemars(extend("enum" = [
        "yielded_async", "yielded_cooperatively", "not_running", "already_pending", "disabled",
        "not_wanted", "wrong_goroutine", "thread_state", "unsafe_point", "superseded", "exited",
        "no_handler", "not_sent"
    ]))]
    pub end: &'static str,
    /// Goroutine asked, null if unknown.
    pub goid: Option<u64>,
    /// First request for this slice, the same for those that repeat it.
    pub first_ns: u64,
    /// This request.
    pub requested_ns: u64,
    /// Further requests that this one stands for.
    pub repeats: u32,
    /// Its signal is the one of the line before for this thread, told while it was pending.
    pub carried: bool,
    /// Its signal was sent.
    pub sent_ns: Option<u64>,
    /// The runtime's handler ran.
    pub delivered_ns: Option<u64>,
    /// The goroutine left its P.
    pub yielded_ns: Option<u64>,
    /// It ran again.
    pub resumed_ns: Option<u64>,
    /// Latest time that is known of it.
    pub end_ns: u64,
    /// How late sysmon was, at least; null for other askers.
    pub late_ns: Option<u64>,
    /// Time that the asking thread was out of quota since it last woke up.
    pub sender_throttled_ns: u64,
    /// Time that it waited for a CPU since then.
    pub sender_runqueue_ns: u64,
    /// Function interrupted, escaped; null if unknown.
    pub function: Option<Cow<'a, str>>,
    /// What hinders a yield there, or that nothing does; null if unknown.
    pub safe_point: Option<&'static str>,
}

impl<'a> RequestLine<'a> {
    /// The line of a request.
    #[must_use]
    pub fn new(request: &'a Request) -> Self {
        let place = request.place.as_deref();
        Self {
            pid: request.process.pid,
            tid: request.tid,
            start_ns: request.process.start_ns,
            sender_tid: request.sender_tid,
            asker: request.asker.name(),
            end: request.end.name(),
            goid: request.goid,
            first_ns: request.first_ns,
            requested_ns: request.requested_ns,
            repeats: request.repeats,
            carried: request.carried,
            sent_ns: request.sent_ns,
            delivered_ns: request.delivered_ns,
            yielded_ns: request.yielded_ns,
            resumed_ns: request.resumed_ns,
            end_ns: request.end_ns,
            late_ns: request.late_ns,
            sender_throttled_ns: request.sender_throttled_ns,
            sender_runqueue_ns: request.sender_runqueue_ns,
            function: place
                .and_then(|place| place.function.as_ref())
                .map(|function| name(function.as_bytes())),
            safe_point: place
                .and_then(|place| place.safe_point)
                .map(|class| class.name()),
        }
    }
}

/// A stop of the world. Times are CLOCK_MONOTONIC; null of a step that was not seen.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StopLine {
    /// Process, root PID namespace.
    pub pid: u32,
    /// Start of the process: with `pid` it names the process.
    pub start_ns: u64,
    /// Thread that stops the others, root PID namespace.
    pub tid: u32,
    /// It began to.
    pub begin_ns: u64,
    /// Everybody had stopped.
    pub stopped_ns: Option<u64>,
    /// The program ran again.
    pub started_ns: Option<u64>,
    /// Thread that stopped last; null if nobody was waited for.
    pub last_tid: Option<u32>,
    /// Goroutine that ran on it, null if unknown.
    pub last_goid: Option<u64>,
    /// When that thread stopped.
    pub last_ns: Option<u64>,
    /// What it did until then: time out of quota.
    pub throttled_ns: u64,
    /// Time waiting for a CPU.
    pub runqueue_ns: u64,
    /// Time not runnable.
    pub blocked_ns: u64,
    /// Time on a CPU.
    pub running_ns: u64,
    /// Time with SIGURG blocked.
    pub masked_ns: u64,
}

impl StopLine {
    /// The line of a stop.
    #[must_use]
    pub const fn new(stop: &Stop) -> Self {
        Self {
            pid: stop.process.pid,
            start_ns: stop.process.start_ns,
            tid: stop.tid,
            begin_ns: stop.begin_ns,
            stopped_ns: stop.stopped_ns,
            started_ns: stop.started_ns,
            last_tid: stop.last_tid,
            last_goid: stop.last_goid,
            last_ns: stop.last_ns,
            throttled_ns: stop.parts.throttled,
            runqueue_ns: stop.parts.runqueue,
            blocked_ns: stop.parts.blocked,
            running_ns: stop.parts.running,
            masked_ns: stop.parts.masked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Asker, RequestEnd};

    #[test]
    fn the_schema_has_every_word() {
        let schema = schemars::schema_for!(RequestLine<'static>);
        let text = serde_json::to_string(&schema).expect("JSON");
        let asker = Asker::ALL.iter().map(|word| word.name());
        let words = asker.chain(RequestEnd::ALL.iter().map(|word| word.name()));
        for word in words {
            assert!(text.contains(&format!("\"{word}\"")), "{word}");
        }
    }
}
