use gohang_common::cause::{Outcome, Sums, cause};

use super::*;
use crate::event::{BlockedKinds, ProcessId};
use crate::golang::{Origin, PreemptionOff};
use crate::source::Facts;

fn episode(outcome: Outcome, parts: Sums) -> Episode {
    Episode {
        process: ProcessId {
            pid: 7,
            start_ns: 1,
        },
        tid: 8,
        comm: b"x".to_vec(),
        goid: Some(3),
        pc: None,
        place: None,
        handler: None,
        handler_place: None,
        sender_tid: None,
        process_directed: false,
        sender_pid: Some(7),
        sent_ns: 1000,
        end_ns: 1000 + parts.total(),
        coalesced: 0,
        outcome,
        cause: cause(&parts),
        parts,
        blocked_kinds: BlockedKinds::default(),
        estimate: false,
        cgroup_id: None,
        ran_ns: 0,
    }
}

fn raised(episode: &Episode) -> Vec<String> {
    let mut book = Book::new(Thresholds::default());
    book.look(episode, &|_| String::new())
        .into_iter()
        .map(|raised| raised.0.rule)
        .collect()
}

const MS: u64 = 1_000_000;

#[test]
fn each_rule_on_either_side_of_its_limit() {
    let delivered = |parts| episode(Outcome::Delivered, parts);
    let pending = |parts| episode(Outcome::PendingAtEnd, parts);
    let table: [(&str, Episode, &[&str]); 8] = [
        (
            "at the threshold",
            delivered(Sums {
                throttled: 10 * MS,
                ..Sums::default()
            }),
            &[],
        ),
        (
            "above it",
            delivered(Sums {
                throttled: 10 * MS + 1,
                ..Sums::default()
            }),
            &["slow-delivery"],
        ),
        (
            "masked",
            delivered(Sums {
                masked: 50 * MS,
                ..Sums::default()
            }),
            &["masked"],
        ),
        (
            "masked, but mostly throttled",
            delivered(Sums {
                masked: 20 * MS,
                throttled: 60 * MS,
                ..Sums::default()
            }),
            &["masked", "slow-delivery"],
        ),
        (
            "pending a while",
            pending(Sums {
                runqueue: 1000 * MS,
                ..Sums::default()
            }),
            &[],
        ),
        (
            "pending too long",
            pending(Sums {
                runqueue: 1001 * MS,
                ..Sums::default()
            }),
            &["undelivered"],
        ),
        (
            "ignored",
            episode(Outcome::Ignored, Sums::default()),
            &["ignored"],
        ),
        (
            "exited",
            episode(
                Outcome::Exited,
                Sums {
                    blocked: 99 * MS,
                    ..Sums::default()
                },
            ),
            &[],
        ),
    ];
    for (name, episode, want) in table {
        assert_eq!(raised(&episode), want, "{name}");
    }
}

#[test]
fn the_worst_is_kept_and_told_once() {
    let mut book = Book::new(Thresholds::default());
    let wall = |ns: u64| format!("t{ns}");
    let slow = |ms| {
        episode(
            Outcome::Delivered,
            Sums {
                throttled: ms * MS,
                ..Sums::default()
            },
        )
    };
    assert_eq!(book.look(&slow(20), &wall).len(), 1);
    assert_eq!(book.look(&slow(90), &wall).len(), 0);
    assert_eq!(book.look(&slow(30), &wall).len(), 0);
    let alerts = book.alerts(&wall);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].count, 3);
    assert_eq!(alerts[0].evidence["latency_ns"], 90 * MS);
    assert_eq!(alerts[0].wall, "t1000");
    assert!(
        alerts[0].headline.contains("90 ms"),
        "{}",
        alerts[0].headline
    );
}

#[test]
fn a_signal_still_pending_counts_once() {
    let mut book = Book::new(Thresholds::default());
    let wall = |_| String::new();
    for seconds in 2..5 {
        let parts = Sums {
            blocked: seconds * 1000 * MS,
            ..Sums::default()
        };
        book.look(&episode(Outcome::PendingAtEnd, parts), &wall);
    }
    let alerts = book.alerts(&wall);
    assert_eq!((alerts.len(), alerts[0].count), (1, 1));
    assert_eq!(alerts[0].evidence["pending_ns"], 4000 * MS);
}

/// A process found through /proc, whose start is rounded, with GODEBUG so.
fn found(off: Option<Origin>) -> Facts {
    Facts {
        pid: 7,
        proc_start_ns: 10 * MS,
        traced_since_ns: 500 * MS,
        comm: b"x".to_vec(),
        go: Some("go1.27.3".to_owned()),
        preemption_off: off.map(|origin| PreemptionOff {
            setting: "asyncpreemptoff=1".to_owned(),
            origin,
        }),
        ..Facts::default()
    }
}

#[test]
fn preemption_turned_off_is_told_once_a_process_and_not_of_its_twin() {
    let wall = |ns: u64| format!("t{ns}");
    let mut book = Book::new(Thresholds::default());
    assert_eq!(book.found(&found(None), &wall), []);
    let told = book.found(&found(Some(Origin::Environment)), &wall);
    assert_eq!(told.len(), 1);
    let alert = &told[0].0;
    assert_eq!(alert.rule, "preemption-disabled");
    assert_eq!(alert.severity, Severity::Critical);
    assert_eq!((alert.pid, alert.tid, alert.goid), (7, None, None));
    assert_eq!(alert.since_ns, 500 * MS);
    assert_eq!(alert.evidence["setting"], "asyncpreemptoff=1");
    assert_eq!(alert.evidence["origin"], "environment");
    assert!(
        alert
            .headline
            .contains("GODEBUG in its environment has asyncpreemptoff=1"),
        "{}",
        alert.headline
    );
    // It executes itself: now its start is exact, and it is the same process.
    let again = Facts {
        start_ns: Some(12 * MS),
        executed: true,
        ..found(Some(Origin::BuiltIn))
    };
    assert_eq!(book.found(&again, &wall), []);
    assert_eq!(book.alerts(&wall).len(), 1);
    // Another process with the same id.
    let other = Facts {
        start_ns: Some(9000 * MS),
        ..found(Some(Origin::BuiltIn))
    };
    let told = book.found(&other, &wall);
    assert!(told[0].0.advice.contains("GODEBUG=asyncpreemptoff=0"));
    assert_eq!(book.alerts(&wall).len(), 2);
    // One that is not traced after all.
    book.forget(ProcessId {
        pid: 7,
        start_ns: 12 * MS,
    });
    let left = book.alerts(&wall);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].evidence["origin"], "built_in");
}

/// One signal every so many ns for so long, to each of the threads.
fn storm(book: &mut Book, every: u64, ns: u64, tids: &[u32], edit: impl Fn(&mut Episode)) {
    let wall = |_| String::new();
    for at in (0..ns).step_by(every as usize) {
        for tid in tids {
            let mut episode = episode(
                Outcome::Delivered,
                Sums {
                    running: 1000,
                    ..Sums::default()
                },
            );
            episode.tid = *tid;
            episode.sent_ns = at;
            episode.end_ns = at + 1000;
            edit(&mut episode);
            book.look(&episode, &wall);
        }
    }
}

/// The alerts of a run that has ended.
fn ended(mut book: Book) -> Vec<crate::report::Alert> {
    let wall = |_| String::new();
    book.end(None, 9_000 * MS, &wall);
    book.alerts(&wall)
}

#[test]
fn a_storm_is_above_the_rate_for_each_thread() {
    let us = 1000;
    for (every, tids, storms) in [
        // 1000 a second are none, whatever the number of threads.
        (1000 * us, &[8][..], false),
        (990 * us, &[8], true),
        (1000 * us, &[8, 9, 10, 11], false),
        (990 * us, &[8, 9, 10, 11], true),
        // As the runtime preempts a busy thread.
        (10_000 * us, &[8, 9], false),
    ] {
        let mut book = Book::new(Thresholds::default());
        storm(&mut book, every, 3000 * MS, tids, |_| ());
        let alerts = ended(book);
        let rules: Vec<&str> = alerts.iter().map(|alert| alert.rule.as_str()).collect();
        let want: &[&str] = if storms { &["signal-storm"] } else { &[] };
        assert_eq!(rules, want, "every {every} ns to {tids:?}");
        if storms {
            let evidence = &alerts[0].evidence;
            assert_eq!(evidence["threads"], tids.len());
            let rate = evidence["sends_per_second"].as_u64().expect("a number");
            assert_eq!(rate / tids.len() as u64, 1011);
            assert_eq!(
                (alerts[0].tid, alerts[0].severity),
                (None, Severity::Warning)
            );
        }
    }
}

#[test]
fn the_storm_says_who_sends_and_what_was_coalesced() {
    let run = |edit: &dyn Fn(&mut Episode)| {
        let mut book = Book::new(Thresholds::default());
        storm(&mut book, 5 * MS, 2500 * MS, &[8], edit);
        ended(book).pop()
    };
    assert_eq!(run(&|_| ()), None);
    let alert = run(&|episode| {
        episode.coalesced = 9;
        // One in four by itself.
        if episode.sent_ns % (20 * MS) != 0 {
            episode.sender_pid = Some(55);
        }
    })
    .expect("2000 a second");
    let mut alerts = [alert];
    name_senders(&mut alerts, &mut |pid| {
        (pid == 55).then(|| "kill".to_owned())
    });
    let [alert] = alerts;
    let evidence = &alert.evidence;
    assert_eq!(evidence["sends_per_second"], 2000);
    assert_eq!(evidence["coalesced_share"], 0.9);
    assert_eq!(evidence["senders"][0]["pid"], 55);
    assert_eq!(evidence["senders"][0]["comm"], "kill");
    assert_eq!(evidence["senders"][0]["self"], false);
    assert_eq!(evidence["senders"][1]["self"], true);
    assert!(
        alert
            .headline
            .contains("75 % of those taken were sent by process 55"),
        "{}",
        alert.headline
    );
    let alert = run(&|episode| {
        episode.coalesced = 9;
        episode.sender_pid = None;
    })
    .expect("2000 a second");
    assert!(
        alert.headline.ends_with("sent by the kernel"),
        "{}",
        alert.headline
    );
    assert_eq!(alert.evidence["senders"][0]["pid"], Value::Null);
}

#[test]
fn what_is_coalesced_over_a_long_time_is_no_storm_of_a_second() {
    let long = |outcome, seconds: u64| {
        let mut episode = episode(
            outcome,
            Sums {
                blocked: seconds * 1000 * MS,
                ..Sums::default()
            },
        );
        episode.coalesced = 5000;
        episode
    };
    for (outcome, seconds, storms) in [
        (Outcome::Exited, 2, true),
        (Outcome::Exited, 6, false),
        (Outcome::PendingAtEnd, 2, true),
        (Outcome::PendingAtEnd, 6, false),
    ] {
        let mut book = Book::new(Thresholds::default());
        book.look(&long(outcome, seconds), &|_| String::new());
        let found = ended(book).iter().any(|alert| alert.rule == "signal-storm");
        assert_eq!(found, storms, "{outcome:?} {seconds}");
    }
}

#[test]
fn a_storm_ends_with_its_process_or_is_nobody_s() {
    let wall = |_: u64| String::new();
    let id = ProcessId {
        pid: 7,
        start_ns: 1,
    };
    let mut book = Book::new(Thresholds::default());
    storm(&mut book, MS / 4, 500 * MS, &[8], |_| ());
    assert_eq!(book.alerts(&wall), []);
    let told = book.end(Some(id), 500 * MS, &wall);
    assert_eq!(told[0].0.evidence["sends_per_second"], 2000);
    assert_eq!(told[0].0.since_ns, 1000);
    assert_eq!(book.end(None, 600 * MS, &wall), []);
    // A program that turned out not to be traced.
    let mut book = Book::new(Thresholds::default());
    storm(&mut book, MS / 4, 2500 * MS, &[8], |_| ());
    assert_eq!(book.alerts(&wall).len(), 1);
    book.forget(id);
    assert_eq!(ended(book), []);
}

mod chain;
mod unsafe_loop;
