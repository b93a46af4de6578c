//! Rules that are shown requests to yield and stops of the world.

use std::sync::Arc;

use gohang_common::chain::RequestEnd;

use super::*;
use crate::event::{Request, Stop, sample};
use crate::golang::{Place, SafePoint};
use crate::report::Alert;
use crate::source::SenderUse;

/// What is shown to the rules.
enum Shown {
    Request(Request),
    Stop(Stop),
    Sender(SenderUse),
    Episode(Episode),
    Found(Facts),
}

fn alerts(shown: impl IntoIterator<Item = Shown>) -> Vec<Alert> {
    let wall = |_| String::new();
    let mut book = Book::new(Thresholds::default());
    for one in shown {
        match one {
            Shown::Request(request) => book.request(&request, &wall),
            Shown::Stop(stop) => book.stop(&stop, &wall),
            Shown::Sender(sender) => book.sender(&sender, &wall),
            Shown::Episode(episode) => book.look(&episode, &wall),
            Shown::Found(facts) => book.found(&facts, &wall),
        };
    }
    book.end(None, 9_000 * MS, &wall);
    book.alerts(&wall)
}

fn rules(alerts: &[Alert]) -> Vec<&str> {
    alerts.iter().map(|alert| alert.rule.as_str()).collect()
}

/// A request at `ms` of the slice that was first asked at `first`, not late.
fn request(first: u64, ms: u64, end: RequestEnd) -> Request {
    Request {
        first_ns: first * MS,
        late_ns: None,
        ..sample::request(ms * MS, end)
    }
}

fn place(class: SafePoint) -> Option<Arc<Place>> {
    Some(Arc::new(Place {
        function: Some("runtime.memmove".to_owned()),
        safe_point: Some(class),
    }))
}

#[test]
fn a_goroutine_that_does_not_yield_and_why() {
    let asked = |count: u64, end: RequestEnd, class: SafePoint| {
        (0..count).map(move |number| {
            Shown::Request(Request {
                place: place(class),
                ..request(1000, 1000 + 10 * number, end)
            })
        })
    };
    let unsafe_ones = |count| asked(count, RequestEnd::UnsafePoint, SafePoint::Assembly);
    assert_eq!(rules(&alerts(unsafe_ones(1))), Vec::<&str>::new());
    assert_eq!(rules(&alerts(unsafe_ones(10))), Vec::<&str>::new());
    let found = alerts(unsafe_ones(20));
    assert_eq!(
        rules(&found),
        ["unsafe-loop", "no-yield"],
        "the cause first"
    );
    assert_eq!(
        (found[1].tid, found[1].goid, found[1].count),
        (Some(8), Some(3), 1)
    );
    assert_eq!(found[1].since_ns, 1000 * MS);
    assert_eq!(found[1].evidence["reason"], "unsafe_point");
    assert!(
        found[1]
            .headline
            .contains("cannot be preempted, in runtime.memmove"),
        "{}",
        found[1].headline
    );
    // The same requests, but a place where the tables say that it can be preempted: the
    // thread was parked on its way.
    let safe = asked(20, RequestEnd::UnsafePoint, SafePoint::Safe);
    assert_eq!(rules(&alerts(safe)), ["no-yield"]);
    let critical = alerts(unsafe_ones(110));
    assert_eq!(critical[1].severity, Severity::Critical);
}

#[test]
fn a_yield_ends_the_row_and_slow_signals_have_another_reason() {
    let rows = (0..60).map(|number| {
        let first = 1000 + 80 * (number / 8);
        let end = if number % 8 == 7 {
            RequestEnd::YieldedCooperatively
        } else {
            RequestEnd::UnsafePoint
        };
        Shown::Request(Request {
            place: place(SafePoint::Assembly),
            ..request(first, 1000 + 10 * number, end)
        })
    });
    assert_eq!(rules(&alerts(rows)), Vec::<&str>::new());
    let slow = Request {
        delivered_ns: Some(1150 * MS),
        yielded_ns: Some(1151 * MS),
        ..request(1000, 1000, RequestEnd::YieldedAsync)
    };
    let found = alerts([Shown::Request(slow)]);
    assert_eq!(rules(&found), ["no-yield"]);
    assert_eq!(found[0].evidence["reason"], "slow_delivery");
    assert_eq!(found[0].evidence["yielded"], true);
}

#[test]
fn requests_without_signals_are_preemption_that_is_off() {
    let asked = |count: u64, sent: bool| {
        (0..count).map(move |number| {
            Shown::Request(Request {
                repeats: 4,
                sent_ns: sent.then_some(1),
                ..request(
                    1000 + 100 * number,
                    1000 + 100 * number,
                    RequestEnd::NotSent,
                )
            })
        })
    };
    assert_eq!(
        rules(&alerts(asked(10, false))),
        Vec::<&str>::new(),
        "0.9 s"
    );
    let found = alerts(asked(12, false));
    assert_eq!(rules(&found), ["preemption-disabled"]);
    assert_eq!(found[0].evidence["setting"], Value::Null);
    assert_eq!(found[0].evidence["requests_without_signal"], 60);
    assert_eq!(rules(&alerts(asked(12, true))), Vec::<&str>::new());
    // With the setting known, it is one alert with both.
    let facts = Facts {
        start_ns: Some(1),
        proc_start_ns: 1,
        ..super::found(Some(Origin::Environment))
    };
    let found = alerts([Shown::Found(facts)].into_iter().chain(asked(12, false)));
    assert_eq!(rules(&found), ["preemption-disabled"]);
    assert_eq!(found[0].evidence["setting"], "asyncpreemptoff=1");
    assert!(
        found[0]
            .headline
            .ends_with("60 requests to yield in 1.10 s sent none"),
        "{}",
        found[0].headline
    );
}

#[test]
fn a_long_stop_says_who_was_last_and_why() {
    let stop = |ms| Shown::Stop(sample::stop(1000, ms * MS));
    assert_eq!(rules(&alerts([stop(20)])), Vec::<&str>::new());
    let found = alerts([stop(21), stop(80), stop(30)]);
    assert_eq!(rules(&found), ["stop-the-world-held"]);
    assert_eq!((found[0].tid, found[0].count), (None, 3));
    assert_eq!(found[0].evidence["stopping_ns"], 80 * MS);
    assert_eq!(found[0].evidence["last_goid"], 5);
    assert_eq!(
        found[0].headline,
        "stopping the world took 80 ms; thread 9 (goroutine 5) stopped last, and was out of CPU quota for 80 ms of that"
    );
    let unknown = Stop {
        last_tid: None,
        parts: Sums::default(),
        ..sample::stop(1000, 2000 * MS)
    };
    let found = alerts([Shown::Stop(unknown)]);
    assert_eq!(found[0].severity, Severity::Critical);
    assert_eq!(found[0].evidence["cause"], Value::Null);
}

#[test]
fn a_stop_that_its_last_thread_does_not_explain_gives_way_to_one_that_it_does() {
    let stop = |ms: u64, last_ms: u64, running: u64| {
        let parts = Sums {
            running,
            ..Sums::default()
        };
        Stop {
            last_ns: Some(1000 + last_ms * MS),
            parts,
            ..sample::stop(1000, ms * MS)
        }
    };
    let told = |stops: &[&Stop]| alerts(stops.iter().map(|stop| Shown::Stop((*stop).clone())));
    // The stopping thread itself was late; what the last one did is known of its end alone.
    let (alone, unseen) = (stop(80, 1, MS), stop(85, 84, MS));
    let found = told(&[&alone]);
    assert_eq!(
        found[0].headline,
        "stopping the world took 80 ms; thread 9 (goroutine 5) stopped last, but for 79 ms of \
         that it had, and thread 6, which stops the others, did not go on"
    );
    assert_eq!(found[0].evidence["cause"], Value::Null);
    assert_eq!(found[0].evidence["after_last_ns"], 79 * MS);
    let found = told(&[&unseen]);
    assert_eq!(
        found[0].headline,
        "stopping the world took 85 ms; thread 9 (goroutine 5) stopped last; what it did meanwhile \
         is known of 1.0 ms alone"
    );
    assert_eq!(found[0].evidence["cause"], Value::Null);
    let found = told(&[&alone, &stop(70, 70, 69 * MS), &unseen]);
    assert_eq!(found[0].evidence["cause"], "running");
    assert_eq!(
        (found[0].count, &found[0].evidence["stopping_ns"]),
        (3, &(70 * MS).into())
    );
    // Much longer ones are told all the same.
    let found = told(&[&alone, &stop(30, 30, 30 * MS)]);
    assert_eq!(found[0].evidence["stopping_ns"], 80 * MS);
}

#[test]
fn sysmon_that_asks_late_because_it_cannot_run() {
    let asked = |every: u64, late: u64, throttled: u64| {
        (0..20).map(move |number| {
            let at = 1000 + every * number;
            Shown::Request(Request {
                late_ns: Some(late * MS),
                sender_throttled_ns: throttled * MS,
                sender_runqueue_ns: 0,
                ..request(at, at, RequestEnd::YieldedAsync)
            })
        })
    };
    let found = alerts(asked(100, 80, 70));
    assert_eq!(rules(&found), ["sysmon-starved"]);
    assert_eq!(found[0].severity, Severity::Critical);
    assert_eq!(found[0].evidence["throttled_share"], 0.875);
    assert_eq!(found[0].evidence["longest_late_ns"], 80 * MS);
    for (name, every, late, throttled) in [
        ("not later than the limit", 100, 30, 30),
        ("it slept", 100, 80, 30),
        ("too few in a second", 600, 80, 70),
    ] {
        assert_eq!(
            rules(&alerts(asked(every, late, throttled))),
            Vec::<&str>::new(),
            "{name}"
        );
    }
}

#[test]
fn a_sender_that_cannot_run_while_others_do_is_sysmon_without_probes() {
    let process = ProcessId {
        pid: 7,
        start_ns: 1,
    };
    // At each second so far: long waits and their time, time on a CPU, others'.
    let looked = |waits: u32, waited: u64, ran: u64, others: u64| {
        (1..4u32).map(move |second| {
            let times = u64::from(second);
            Shown::Sender(SenderUse {
                process,
                tid: 8,
                at_ns: times * 1000 * MS,
                sent: 10 * second,
                ran_ns: times * ran * MS,
                stall_ns: times * waited * MS,
                runqueue_ns: 0,
                long_wait_ns: times * waited * MS,
                long_waits: second * waits,
                others_ran_ns: times * others * MS,
            })
        })
    };
    let found = alerts(looked(10, 800, 2, 190));
    assert_eq!(rules(&found), ["sysmon-starved"]);
    let evidence = &found[0].evidence;
    assert_eq!(evidence["long_wait_ns"], 800 * MS);
    assert_eq!(evidence["throttled_share"], 1.0);
    assert_eq!(evidence["sender_tid"], 8);
    for (name, waits, waited, ran, others) in [
        ("few", 2, 800, 2, 190),
        ("short", 40, 800, 2, 190),
        ("a worker", 10, 800, 51, 190),
        ("nobody runs", 10, 800, 2, 0),
        ("none", 0, 0, 2, 190),
    ] {
        let found = alerts(looked(waits, waited, ran, others));
        assert_eq!(rules(&found), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn signals_that_another_handler_takes() {
    let taken = |class: SafePoint| {
        let mut episode = episode(
            Outcome::Delivered,
            Sums {
                running: 1000,
                ..Sums::default()
            },
        );
        episode.handler = Some(0x7f00_0000);
        episode.handler_place = place(class);
        Shown::Episode(episode)
    };
    let foreign = || taken(SafePoint::NotGo);
    // One is all that a thread ever gets, if it is not passed on.
    for signals in [1, 3] {
        let found = alerts((0..signals).map(|_| foreign()));
        assert_eq!(rules(&found), ["handler-replaced"]);
        assert_eq!(found[0].severity, Severity::Warning);
    }
    let go = taken(SafePoint::Assembly);
    assert_eq!(
        rules(&alerts([foreign(), foreign(), go])),
        Vec::<&str>::new(),
        "Go's again"
    );
    // It passes them on: the runtime sees them.
    let seen = || Shown::Request(request(1, 1, RequestEnd::YieldedAsync));
    let passed = [foreign(), seen(), foreign(), foreign()];
    assert_eq!(rules(&alerts(passed)), Vec::<&str>::new());
    // Or it does not, and is seen not to.
    let missed = || (0..3).map(|ms| Shown::Request(request(ms, ms, RequestEnd::NoHandler)));
    let found = alerts(missed());
    assert_eq!(rules(&found), ["handler-replaced"]);
    assert_eq!(found[0].severity, Severity::Critical);
    // Go's own has been called, and its thread was not let run: it will see them.
    let go = || std::iter::once(taken(SafePoint::Assembly));
    assert!(alerts(go().chain(missed())).is_empty());
    // Until it is replaced, which what it saw before does not excuse.
    let replaced = || go().chain([seen(), foreign()]);
    let found = alerts(replaced());
    assert_eq!(rules(&found), ["handler-replaced"]);
    assert_eq!(found[0].severity, Severity::Warning);
    let found = alerts(replaced().chain(missed()));
    assert_eq!(rules(&found), ["handler-replaced"]);
    assert_eq!(found[0].severity, Severity::Critical);
}

#[test]
fn a_storm_says_which_part_of_the_runtime_asks() {
    let wall = |_| String::new();
    let mut book = Book::new(Thresholds::default());
    for number in 0..2000u64 {
        let at = number * MS / 2;
        let mut episode = episode(
            Outcome::Delivered,
            Sums {
                running: 1000,
                ..Sums::default()
            },
        );
        episode.sent_ns = at;
        episode.end_ns = at + 1000;
        book.look(&episode, &wall);
        let asked = Request {
            asker: crate::event::Asker::Suspend,
            late_ns: None,
            ..sample::request(at, RequestEnd::YieldedAsync)
        };
        book.request(&asked, &wall);
    }
    book.end(None, 9_000 * MS, &wall);
    let alerts = book.alerts(&wall);
    assert_eq!(rules(&alerts), ["signal-storm"]);
    assert_eq!(alerts[0].evidence["asked_by"]["suspend"], 2000);
}

/// A signal that the handler's probe missed is not on its way once the kernel has delivered it.
#[test]
fn what_the_kernel_delivered_is_not_under_way() {
    // Sent at 0, not seen in the handler; the goroutine yielded 900 ms later.
    let missed = || Request {
        sent_ns: Some(10),
        delivered_ns: None,
        yielded_ns: Some(900 * MS),
        resumed_ns: None,
        end_ns: 900 * MS,
        ..request(0, 0, RequestEnd::YieldedCooperatively)
    };
    let arrived = |at_ns: u64| {
        Shown::Episode(Episode {
            sent_ns: at_ns - 1,
            end_ns: at_ns,
            ..episode(Outcome::Delivered, Sums::default())
        })
    };
    assert_eq!(rules(&alerts([Shown::Request(missed())])), ["no-yield"]);
    let soon = [arrived(3_000), Shown::Request(missed())];
    assert!(alerts(soon).is_empty());
    // Before it was sent; and too late.
    for at_ns in [9, 800 * MS] {
        let found = alerts([arrived(at_ns), Shown::Request(missed())]);
        assert_eq!(rules(&found), ["no-yield"], "{at_ns}");
    }
    // So many that the first is not kept.
    let flood = (0..100).map(|i| arrived(3_000 + i));
    assert!(alerts(flood.chain([Shown::Request(missed())])).is_empty());
}
