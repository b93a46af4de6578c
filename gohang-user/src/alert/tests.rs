use gohang_common::cause::{Outcome, Sums, cause};

use super::*;
use crate::event::{BlockedKinds, ProcessId};

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
