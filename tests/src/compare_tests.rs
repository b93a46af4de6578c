//! The comparison on synthetic lists.

use crate::compare::{MARGIN_NS, Quantiles, compare, differences};
use crate::reference::{Directed, Episode, Outcome};

const WINDOW: (u64, u64) = (0, u64::MAX - 1);

fn episode(sent_ns: u64, end_ns: u64) -> Episode {
    Episode {
        pid: 1,
        tid: 2,
        directed: Directed::Thread,
        sender_pid: Some(9),
        sent_ns,
        end_ns,
        coalesced: 0,
        outcome: Outcome::Delivered,
    }
}

/// A thousand episodes 25 us apart, as in a storm, each 4 us long.
fn storm() -> Vec<Episode> {
    (1..=1_000u64)
        .map(|i| episode(i * 25_000, i * 25_000 + 4_000))
        .collect()
}

fn shifted(list: &[Episode], by: u64) -> Vec<Episode> {
    let shift = |e: &Episode| Episode {
        sent_ns: e.sent_ns + by,
        end_ns: e.end_ns + by,
        ..*e
    };
    list.iter().map(shift).collect()
}

#[test]
fn equal_lists_match() {
    let a = storm();
    let c = compare(&shifted(&a, 700), &a, WINDOW);
    assert_eq!(
        (c.matched.len(), c.missing.len(), c.extra.len()),
        (1_000, 0, 0)
    );
    assert!(c.differing.is_empty());
    assert_eq!(
        Quantiles::of(&differences(&shifted(&a, 700), &a, &c.matched)).max,
        0
    );
}

#[test]
fn each_lost_episode_is_missing_and_only_it() {
    let a = storm();
    for lost in [
        vec![0],
        vec![999],
        vec![500],
        vec![300, 301, 302],
        vec![5, 900],
    ] {
        let mut ours = shifted(&a, 700);
        for i in lost.iter().rev() {
            ours.remove(*i);
        }
        let c = compare(&ours, &a, WINDOW);
        let missing: Vec<u64> = c.missing.iter().map(|e| e.sent_ns / 25_000 - 1).collect();
        assert_eq!(missing, lost.iter().map(|i| *i as u64).collect::<Vec<_>>());
        assert_eq!((c.matched.len(), c.extra.len()), (1_000 - lost.len(), 0));
        // And the other way round it is an extra one.
        let c = compare(&a, &ours, WINDOW);
        assert_eq!((c.missing.len(), c.extra.len()), (0, lost.len()));
    }
}

/// A storm in which the host takes the CPU away for `stolen_ns` between our stamp and the
/// reference's, at the send or at the end of one episode. Everything behind comes later in
/// both, as the lock holds it back.
fn stolen(stolen_ns: u64, at_send: bool) -> (Vec<Episode>, Vec<Episode>) {
    let a = storm();
    let mut late = shifted(&a[500..], stolen_ns);
    let mut reference = a[..500].to_vec();
    reference.append(&mut late);
    let mut ours = shifted(&reference, 700);
    if at_send {
        ours[499].sent_ns += stolen_ns;
        ours[499].end_ns += stolen_ns;
        reference[499].end_ns += stolen_ns;
    } else {
        ours[499].end_ns += stolen_ns;
    }
    (ours, reference)
}

#[test]
fn a_stolen_cpu_between_the_stamps_is_no_loss() {
    for (stolen_ns, at_send) in [
        (60_000, true),
        (60_000, false),
        (2_300_000, true),
        (18_000_000, false),
    ] {
        let (ours, reference) = stolen(stolen_ns, at_send);
        for (x, y) in [(&ours, &reference), (&reference, &ours)] {
            let c = compare(x, y, WINDOW);
            assert_eq!(
                (c.matched.len(), c.missing.len(), c.extra.len()),
                (1_000, 0, 0)
            );
            let q = Quantiles::of(&differences(x, y, &c.matched));
            assert_eq!(
                (q.max, q.apart),
                (stolen_ns, usize::from(stolen_ns > 1_000_000))
            );
            assert!(q.is_together());
        }
    }
}

#[test]
fn a_now_and_then_restarted_clock_does_not_pass() {
    // One in a hundred is long, and of those alone the clock is wrong, by 30 ms.
    let mut truth = Vec::new();
    let mut now = 0;
    for i in 0..1_000u64 {
        now += 50_000_000;
        let length = if i % 100 == 0 { 40_000_000 } else { 4_000 };
        truth.push(episode(now, now + length));
    }
    let restart = |e: &Episode| match e.end_ns - e.sent_ns {
        40_000_000 => Episode {
            sent_ns: e.sent_ns + 30_000_000,
            ..*e
        },
        _ => *e,
    };
    let ours: Vec<Episode> = truth.iter().map(restart).collect();
    let c = compare(&ours, &truth, WINDOW);
    let q = Quantiles::of(&differences(&ours, &truth, &c.matched));
    assert_eq!((q.p50, q.apart), (0, 10));
    assert!(!q.is_together() && !q.within(&q));
}

#[test]
fn a_restarted_clock_does_not_pass() {
    // The truth: 90 ms, a send each millisecond. The script: the time since the last send.
    let truth: Vec<Episode> = (1..=30u64)
        .map(|i| episode(i * 100_000_000, i * 100_000_000 + 90_000_000))
        .collect();
    let script: Vec<Episode> = truth
        .iter()
        .map(|e| episode(e.end_ns - 100_000, e.end_ns))
        .collect();
    let c = compare(&script, &truth, WINDOW);
    assert_eq!((c.missing.len(), c.extra.len()), (30, 30));
}

#[test]
fn a_small_restart_shows_in_the_quantiles() {
    let truth = storm();
    let ours: Vec<Episode> = truth
        .iter()
        .map(|e| Episode {
            sent_ns: e.sent_ns + 3_000,
            ..*e
        })
        .collect();
    let c = compare(&ours, &truth, WINDOW);
    assert_eq!(c.matched.len(), 1_000);
    let ours = Quantiles::of(&differences(&ours, &truth, &c.matched));
    assert_eq!(ours.p50, 3_000);
    assert!(!ours.within(&Quantiles::default()));
}

#[test]
fn the_margin_is_exact() {
    let of = |p50, p99, p999| Quantiles {
        p50,
        p99,
        p999,
        ..Quantiles::default()
    };
    let control = of(10, 20, 30);
    let at = |by| of(10 + by, 20 + by, 30 + by);
    assert!(at(MARGIN_NS).within(&control));
    assert!(!at(MARGIN_NS + 1).within(&control));
}

#[test]
fn outcomes_counts_senders_and_threads_are_compared() {
    let truth = [episode(1_000, 9_000)];
    let edits: [fn(&mut Episode); 4] = [
        |e| e.outcome = Outcome::DeliveredNoHandler,
        |e| e.coalesced = 1,
        |e| e.sender_pid = None,
        |e| e.pid = 7,
    ];
    for edit in edits {
        let mut ours = truth;
        edit(&mut ours[0]);
        assert_eq!(compare(&ours, &truth, WINDOW).differing.len(), 1);
    }
    let edits: [fn(&mut Episode); 3] = [
        |e| e.tid = 7,
        |e| e.directed = Directed::Process,
        |e| e.outcome = Outcome::Exited,
    ];
    for edit in edits {
        let mut ours = truth;
        edit(&mut ours[0]);
        let c = compare(&ours, &truth, WINDOW);
        assert_eq!((c.missing.len(), c.extra.len()), (1, 1));
    }
}

#[test]
fn the_edges_are_counted_apart() {
    let truth = [episode(50, 150), episode(200, 300), episode(400, 600)];
    let c = compare(&truth[1..2], &truth, (100, 500));
    assert_eq!((c.matched.len(), c.missing.len()), (1, 0));
    assert_eq!(c.outside, (0, 2));
}

#[test]
fn pending_at_our_end_needs_a_partner() {
    let pending = Episode {
        end_ns: u64::MAX,
        outcome: Outcome::PendingAtEnd,
        ..episode(400, 0)
    };
    let c = compare(&[pending], &[episode(400, 600)], (100, 500));
    assert_eq!(
        (c.matched_undelivered, c.missing.len(), c.extra.len()),
        (1, 0, 0)
    );
    let c = compare(&[pending], &[], (100, 500));
    assert_eq!(c.extra.len(), 1);
    // Begun behind the window's end: the other one may have stopped before.
    let c = compare(&[pending], &[], (100, 300));
    assert_eq!((c.extra.len(), c.outside.0), (0, 1));
}

#[test]
fn quantiles_are_nearest_rank() {
    let v: Vec<u64> = (1..=1_000).collect();
    let q = Quantiles::of(&v);
    assert_eq!(
        (q.p50, q.p99, q.p999, q.max, q.count),
        (500, 990, 999, 1_000, 1_000)
    );
    assert_eq!(Quantiles::of(&[]), Quantiles::default());
    assert_eq!(Quantiles::of(&[7]).p50, 7);
}
