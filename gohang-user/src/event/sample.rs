//! Events for tests.

use gohang_common::cause::Sums;

use super::{Asker, ProcessId, Request, RequestEnd, Stop};

/// A request of sysmon at this time, which ended so, with steps 10, 20, 30 and 40 ns apart
/// as far as its end implies them; 500 ns late.
pub(crate) fn request(requested_ns: u64, end: RequestEnd) -> Request {
    let is_sent = !matches!(
        end,
        RequestEnd::NotRunning
            | RequestEnd::AlreadyPending
            | RequestEnd::Disabled
            | RequestEnd::NotSent
    );
    let is_delivered = is_sent && !matches!(end, RequestEnd::Exited | RequestEnd::NoHandler);
    Request {
        process: ProcessId {
            pid: 7,
            start_ns: 1,
        },
        tid: 8,
        sender_tid: 6,
        asker: Asker::Retake,
        first_ns: requested_ns,
        requested_ns,
        repeats: 0,
        carried: false,
        sent_ns: is_sent.then_some(requested_ns + 10),
        delivered_ns: is_delivered.then_some(requested_ns + 30),
        yielded_ns: end.is_yield().then_some(requested_ns + 60),
        resumed_ns: end.is_yield().then_some(requested_ns + 100),
        end_ns: requested_ns + 100,
        end,
        goid: Some(3),
        pc: None,
        place: None,
        late_ns: Some(500),
        sender_throttled_ns: 300,
        sender_runqueue_ns: 50,
    }
}

/// A stop of the world that began then and took so long to stop everybody, the last of
/// which was out of quota; 1 us later the program ran again.
pub(crate) fn stop(begin_ns: u64, stopping_ns: u64) -> Stop {
    Stop {
        process: ProcessId {
            pid: 7,
            start_ns: 1,
        },
        tid: 6,
        begin_ns,
        stopped_ns: Some(begin_ns + stopping_ns),
        started_ns: Some(begin_ns + stopping_ns + 1000),
        last_tid: Some(9),
        last_goid: Some(5),
        last_ns: Some(begin_ns + stopping_ns),
        parts: Sums {
            throttled: stopping_ns,
            ..Sums::default()
        },
    }
}
