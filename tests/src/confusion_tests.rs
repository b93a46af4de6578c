//! Tests of the matching and of the evaluation.

use serde_json::json;

use crate::confusion::{Matrix, pair, swapped};
use crate::label::{Cause, Label};
use crate::stream::Line;

fn label(tid: u32, before_ns: u64, after_ns: u64) -> Label {
    Label {
        tid,
        before_ns,
        after_ns,
        cause: Cause::Running,
        certain: true,
    }
}

fn line(tid: u32, sent_ns: u64) -> Line {
    let value = json!({"pid": 1, "tid": tid, "directed": "thread", "sender_pid": 3,
        "sent_ns": sent_ns, "delivered_ns": sent_ns + 5, "latency_ns": 5, "coalesced": 0,
        "outcome": "delivered", "throttled_ns": 0, "runqueue_ns": 0, "blocked_ns": 0,
        "running_ns": 5, "masked_ns": 0, "cause": "running"});
    serde_json::from_value(value).unwrap()
}

#[test]
fn each_label_finds_its_episode() {
    let labels = [label(1, 10, 20), label(1, 30, 40), label(2, 10, 20)];
    let lines = [line(2, 15), line(1, 10), line(1, 40)];
    let m = pair(&labels, &lines);
    assert_eq!(m.pairs, [(0, 1), (1, 2), (2, 0)]);
    assert!(m.missing.is_empty() && m.surplus.is_empty(), "{m:?}");
}

#[test]
fn another_thread_or_time_is_no_partner() {
    let labels = [label(1, 10, 20)];
    for other in [line(2, 15), line(1, 9), line(1, 21)] {
        let m = pair(&labels, &[other]);
        assert_eq!((m.pairs.len(), m.missing, m.surplus), (0, vec![0], vec![0]));
    }
}

#[test]
fn a_second_episode_in_a_label_is_surplus() {
    for second in [12, 15] {
        let m = pair(&[label(1, 10, 20)], &[line(1, 12), line(1, second)]);
        assert_eq!((m.pairs.len(), m.missing.len(), m.surplus), (1, 0, vec![1]));
    }
}

#[test]
fn an_episode_serves_one_label() {
    let m = pair(&[label(1, 10, 20), label(1, 20, 30)], &[line(1, 20)]);
    assert_eq!((m.pairs.len(), m.missing), (1, vec![1]));
}

/// 100 of each cause, of which `wrong` of `label` are named otherwise.
fn pairs(
    label: Cause,
    wrong: usize,
    named: Option<&'static str>,
) -> impl Iterator<Item = (Cause, Option<&'static str>)> {
    Cause::ALL.into_iter().flat_map(move |c| {
        let wrong = if c == label { wrong } else { 0 };
        let right = std::iter::repeat_n((c, Some(c.name())), 100 - wrong);
        right.chain(std::iter::repeat_n((c, named), wrong))
    })
}

fn matrix(label: Cause, wrong: usize, named: Option<&'static str>) -> Matrix {
    Matrix::of(pairs(label, wrong, named))
}

#[test]
fn all_right_passes() {
    let m = matrix(Cause::Masked, 0, None);
    assert!(m.check().is_ok() && m.check_counts(100).is_ok());
    assert!(m.check_counts(101).is_err());
    assert_eq!(m.precision(Cause::Masked), (100, 100));
}

#[test]
fn one_in_a_hundred_passes_and_two_do_not() {
    let one = matrix(Cause::Blocked, 1, Some("running"));
    assert_eq!(one.recall(Cause::Blocked), (99, 100));
    assert_eq!(one.precision(Cause::Running), (100, 101));
    assert_eq!(one.count(Cause::Blocked, Some(Cause::Running)), 1);
    assert!(one.check().is_ok());
    assert!(matrix(Cause::Blocked, 2, Some("running")).check().is_err());
    assert!(matrix(Cause::Blocked, 2, None).check().is_err());
    assert!(matrix(Cause::Blocked, 2, Some("asleep")).check().is_err());
}

#[test]
fn a_low_precision_alone_fails() {
    // 98.04 %: 100 right ones of 102, while every recall is 99 % or more.
    let pairs = Cause::ALL.into_iter().flat_map(|c| {
        let wrong = usize::from(c == Cause::Masked || c == Cause::Blocked);
        let right = std::iter::repeat_n((c, Some(c.name())), 100 - wrong);
        right.chain(std::iter::repeat_n((c, Some("running")), wrong))
    });
    let m = Matrix::of(pairs);
    assert_eq!(m.recall(Cause::Masked), (99, 100));
    let why = m.check().unwrap_err().to_string();
    assert!(why.starts_with("precision of running"), "{why}");
}

#[test]
fn nothing_named_fails() {
    assert!(Matrix::default().check().is_err());
    assert!(Matrix::default().check_counts(1).is_err());
}

#[test]
fn any_two_labels_swapped_are_refused() {
    for (i, a) in Cause::ALL.into_iter().enumerate() {
        for b in Cause::ALL.into_iter().skip(i + 1) {
            let run = pairs(Cause::Masked, 0, None);
            let m = Matrix::of(run.map(|(c, named)| (swapped(c, (a, b)), named)));
            assert!(m.check_counts(100).is_ok());
            assert_eq!(m.recall(a), (0, 100));
            assert!(m.check().is_err(), "{a} {b}");
        }
    }
}
