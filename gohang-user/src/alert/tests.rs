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

#[test]
fn every_rule_is_explained_and_an_unknown_one_names_them() {
    let all = explain(None).expect("all");
    let of: Vec<&str> = all.rules.iter().map(|rule| rule.rule.as_str()).collect();
    assert_eq!(of, names());
    for rule in &all.rules {
        for text in [
            &rule.summary,
            &rule.meaning,
            &rule.detection,
            &rule.severity,
            &rule.advice,
        ] {
            assert!(text.len() > 10 && text.is_ascii(), "{}: {text}", rule.rule);
        }
        let one = explain(Some(&rule.rule)).expect("known");
        assert_eq!(one.rules, std::slice::from_ref(rule));
    }
    let error = explain(Some("slow\x1b")).expect_err("unknown").to_string();
    assert!(error.contains(r"no rule slow\x1b;"), "{error}");
    for name in names() {
        assert!(error.contains(name), "{error}");
    }
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
