use super::*;
use crate::cause::{Sums, sums};
use proptest::prelude::*;

const NONE: Shared = Shared { sent_ns: 0 };

fn running(now: u64) -> Thread {
    let mut thread = Thread::default();
    thread.prepare(state::ON_CPU, 0, NONE);
    thread.open(now);
    thread.publish_state();
    thread
}

fn send(thread: &mut Thread, now: u64, blocked: bool) {
    thread.private.blocked = blocked as u8;
    thread.private.sent_ns = now;
}

fn parts(thread: &Thread) -> Sums {
    sums(&thread.private_account.parts)
}

#[test]
fn classification_table() {
    let table = [
        // preempt, prev_state, throttled, frozen, expected
        (false, 0, false, false, state::RUNNABLE),
        (true, 0, false, false, state::RUNNABLE),
        (false, 0, true, false, state::PARKED),
        (true, 0, true, false, state::PARKED),
        // Preempted on its way to sleep: still runnable.
        (true, 1, false, false, state::RUNNABLE),
        (false, 1, false, false, state::INTERRUPTIBLE),
        // nanosleep's freezable modifier.
        (false, 0x2001, false, false, state::INTERRUPTIBLE),
        (false, 1, true, false, state::INTERRUPTIBLE),
        (false, 1, false, true, state::FROZEN),
        (false, 2, false, false, state::UNINTERRUPTIBLE),
        // Killable and idle.
        (false, 0x102, false, false, state::UNINTERRUPTIBLE),
        (false, 0x402, false, false, state::UNINTERRUPTIBLE),
        (false, 0x1000, false, false, state::UNINTERRUPTIBLE),
        (false, 4, false, false, state::STOPPED),
        (false, 0x104, false, false, state::STOPPED),
        (false, 8, false, false, state::TRACED),
        (false, 0x8000, false, false, state::FROZEN),
        (false, 0x80, false, false, state::DEAD),
    ];
    for (preempt, prev_state, throttled, frozen, want) in table {
        let got = classify(preempt, prev_state, throttled, frozen);
        assert_eq!(
            got, want,
            "preempt {preempt} state {prev_state:#x} throttled {throttled}"
        );
    }
}

#[test]
fn a_park_is_split_at_its_end() {
    let mut t = running(100);
    send(&mut t, 150, false);
    t.switch_out(200, state::PARKED, false, false, NONE);
    t.unpark(900);
    t.switch_in(1000, false, NONE);
    assert_eq!((t.stall_ns, t.runqueue_ns), (700, 100));
    t.deliver(1010, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            running: 60,
            throttled: 700,
            runqueue: 100,
            ..Sums::default()
        }
    );
}

/// A queue that is out of quota from each first time to each second.
fn queue(spans: &[(u64, u64)]) -> CfsRq {
    let mut queue = CfsRq::default();
    for (out, back) in spans {
        queue.edge(true, *out);
        queue.edge(false, *back);
    }
    queue
}

#[test]
fn a_wait_is_split_by_its_queue() {
    let mut t = running(100);
    t.switch_out(200, state::RUNNABLE, false, false, NONE);
    t.wait_on(7, 0);
    send(&mut t, 350, false);
    let queue = queue(&[(300, 900)]);
    t.look_at_queue(Some(&queue), true, 1000, NONE);
    t.switch_in(1000, false, NONE);
    assert_eq!((t.stall_ns, t.runqueue_ns), (600, 200));
    t.deliver(1010, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            throttled: 550,
            runqueue: 100,
            running: 10,
            ..Sums::default()
        }
    );
}

#[test]
fn a_wait_goes_on_on_another_queue() {
    let mut t = running(100);
    t.switch_out(200, state::RUNNABLE, false, false, NONE);
    t.wait_on(7, 0);
    send(&mut t, 210, false);
    let mut first = CfsRq::default();
    first.edge(true, 300);
    t.look_at_queue(Some(&first), true, 500, NONE);
    t.migrate(500, NONE);
    let other = queue(&[(100, 150), (600, 700)]);
    t.wait_on(8, 50);
    t.look_at_queue(Some(&other), true, 1000, NONE);
    t.switch_in(1000, false, NONE);
    // 300 to 500 on the first, and 600 to 700.
    assert_eq!((t.stall_ns, t.runqueue_ns), (300, 500));
    t.deliver(1000, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            throttled: 300,
            runqueue: 490,
            ..Sums::default()
        }
    );
}

#[test]
fn a_queue_that_was_out_before_we_looked() {
    let mut t = running(100);
    t.switch_out(200, state::RUNNABLE, false, false, NONE);
    t.wait_on(7, 200);
    send(&mut t, 250, false);
    t.look_at_queue(None, true, 400, NONE);
    t.switch_in(400, false, NONE);
    assert_eq!((t.stall_ns, t.runqueue_ns), (200, 0));
    t.deliver(400, false, NONE);
    assert_eq!(parts(&t).throttled, 150);
}

#[test]
fn what_a_queue_does_not_remember_is_an_estimate() {
    let spans: Vec<(u64, u64)> = (0..6).map(|i| (300 + 10 * i, 305 + 10 * i)).collect();
    let mut t = running(100);
    t.switch_out(200, state::RUNNABLE, false, false, NONE);
    t.wait_on(7, 0);
    send(&mut t, 210, false);
    t.look_at_queue(Some(&queue(&spans)), true, 400, NONE);
    t.switch_in(400, false, NONE);
    // The wait itself is exact: it stands on the sum.
    assert_eq!((t.stall_ns, t.runqueue_ns), (30, 170));
    assert_eq!(t.private_account.estimate, 1);
    t.deliver(400, false, NONE);
    assert_eq!(parts(&t).total(), 190);
}

#[test]
fn a_park_ends_when_its_queue_says() {
    let mut t = running(100);
    t.switch_out(200, state::PARKED, false, false, NONE);
    t.wait_on(7, 0);
    // Parked on when quota came back for the first time and went again at once.
    // What comes after the flag was seen down is no matter of this park.
    t.unpark(850);
    t.unpark_by_queue(Some(&queue(&[(190, 700), (750, 800), (860, 880)])), 900);
    t.switch_in(900, false, NONE);
    assert_eq!((t.stall_ns, t.runqueue_ns), (600, 100));
}

#[test]
fn a_park_whose_flag_nobody_looked_at_ends_with_the_last_return_of_quota() {
    let mut t = running(100);
    t.switch_out(200, state::PARKED, false, false, NONE);
    t.wait_on(7, 0);
    t.unpark_by_queue(Some(&queue(&[(190, 700), (750, 800)])), 900);
    t.switch_in(900, false, NONE);
    assert_eq!((t.stall_ns, t.runqueue_ns), (600, 100));
}

#[test]
fn a_park_that_no_queue_tells_of_ends_when_its_flag_is_seen_down() {
    // None, one that has not come back since, one that came back later.
    for queue in [None, Some(queue(&[(50, 150)])), Some(queue(&[(190, 870)]))] {
        let mut t = running(100);
        t.switch_out(200, state::PARKED, false, false, NONE);
        t.wait_on(7, 0);
        t.unpark(850);
        t.unpark_by_queue(queue.as_ref(), 900);
        t.switch_in(900, false, NONE);
        assert_eq!((t.stall_ns, t.runqueue_ns), (650, 50));
    }
}

#[test]
fn out_of_quota_for_longer_than_was_waited_is_seen() {
    let mut t = running(100);
    t.switch_out(200, state::RUNNABLE, false, false, NONE);
    send(&mut t, 200, false);
    t.out_ns = 1_000;
    t.out_private_ns = 1_000;
    t.switch_in(300, false, NONE);
    assert_eq!(t.anomalies, anomaly::OUT_TOO_LONG);
}

#[test]
fn a_send_after_the_unpark_waits_for_a_cpu() {
    let mut t = running(100);
    t.switch_out(200, state::PARKED, false, false, NONE);
    t.unpark(300);
    send(&mut t, 400, false);
    t.switch_in(500, false, NONE);
    t.deliver(510, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            runqueue: 100,
            running: 10,
            ..Sums::default()
        }
    );
}

#[test]
fn a_stale_unpark_is_not_taken() {
    let mut t = running(100);
    t.switch_out(200, state::PARKED, false, false, NONE);
    // Written by a handler that read its clock before the park began.
    t.unpark_ns = 150;
    send(&mut t, 250, false);
    t.switch_in(1000, false, NONE);
    t.deliver(1000, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            throttled: 750,
            ..Sums::default()
        }
    );
}

#[test]
fn a_send_seen_one_transition_late_takes_its_share_of_both_intervals() {
    let mut t = running(100);
    t.switch_out(200, state::RUNNABLE, false, false, NONE);
    // Sent at 190, visible only now.
    send(&mut t, 190, false);
    t.switch_in(300, false, NONE);
    assert_eq!(t.anomalies, 0);
    t.deliver(350, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            running: 60,
            runqueue: 100,
            ..Sums::default()
        }
    );
}

#[test]
fn a_send_seen_too_late_is_reported() {
    let mut t = running(100);
    t.switch_out(200, state::RUNNABLE, false, false, NONE);
    t.switch_in(300, false, NONE);
    send(&mut t, 150, false);
    t.deliver(350, false, NONE);
    assert_eq!(t.anomalies, anomaly::LATE_GENERATE);
    // What is not remembered counts like the wait after it; the sum holds.
    assert_eq!(
        parts(&t),
        Sums {
            running: 50,
            runqueue: 150,
            ..Sums::default()
        }
    );
    assert_eq!(t.private_account.estimate, 1);
}

#[test]
fn sleep_without_a_wakeup_was_run_queue() {
    let mut t = running(100);
    send(&mut t, 150, false);
    t.switch_out(200, state::INTERRUPTIBLE, false, false, NONE);
    t.switch_in(500, false, NONE);
    t.deliver(500, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            running: 50,
            runqueue: 300,
            ..Sums::default()
        }
    );
}

#[test]
fn sleep_ends_at_the_wakeup() {
    let mut t = running(100);
    send(&mut t, 150, false);
    t.switch_out(200, state::UNINTERRUPTIBLE, false, false, NONE);
    t.wake(400, false, NONE);
    // A second wake-up of a runnable thread means nothing.
    t.wake(450, false, NONE);
    t.switch_in(500, false, NONE);
    t.deliver(500, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            running: 50,
            blocked: 200,
            runqueue: 100,
            ..Sums::default()
        }
    );
}

#[test]
fn woken_into_a_throttled_queue() {
    let mut t = running(100);
    t.switch_out(200, state::INTERRUPTIBLE, false, false, NONE);
    send(&mut t, 300, false);
    t.wake(300, true, NONE);
    t.unpark(800);
    t.switch_in(900, false, NONE);
    assert_eq!((t.stall_ns, t.runqueue_ns), (500, 100));
    t.deliver(900, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            throttled: 500,
            runqueue: 100,
            ..Sums::default()
        }
    );
}

#[test]
fn blocked_wins_over_the_rest_but_not_in_the_own_handler() {
    for (own, want) in [
        (
            false,
            Sums {
                masked: 850,
                ..Sums::default()
            },
        ),
        (
            true,
            Sums {
                running: 50,
                throttled: 800,
                ..Sums::default()
            },
        ),
    ] {
        let mut t = running(100);
        t.own_handler = own as u8;
        send(&mut t, 150, true);
        t.switch_out(200, state::PARKED, true, own, NONE);
        t.switch_in(1000, true, NONE);
        t.deliver(1000, own, NONE);
        assert_eq!(parts(&t), want, "own handler {own}");
    }
}

#[test]
fn masked_while_spinning_needs_no_switch() {
    let mut t = running(100);
    send(&mut t, 150, true);
    t.deliver(50_000_150, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            masked: 50_000_000,
            ..Sums::default()
        }
    );
}

#[test]
fn the_shared_signal_is_accounted_apart() {
    let mut t = running(100);
    let shared = Shared { sent_ns: 120 };
    send(&mut t, 150, false);
    t.switch_out(200, state::RUNNABLE, false, false, shared);
    t.switch_in(300, false, shared);
    t.deliver(310, false, shared);
    assert_eq!(parts(&t).total(), 160);
    assert_eq!(sums(&t.shared_account.parts).total(), 190);
    t.private.sent_ns = 0;
    t.deliver(320, false, shared);
    assert_eq!(sums(&t.shared_account.parts).total(), 200);
}

#[test]
fn a_thread_is_on_its_cpu_until_all_of_its_leaving_is_written() {
    let mut t = running(100);
    t.leave(200, state::INTERRUPTIBLE, false, false, NONE);
    assert_eq!((t.state, t.since_ns, t.ran_ns), (state::ON_CPU, 200, 100));
    // Woken on its way to sleep: it goes on waiting from where it left.
    t.wake(190, false, NONE);
    assert_eq!((t.since_ns, t.anomalies), (200, 0));
    t.publish_state();
    assert_eq!(t.state, state::INTERRUPTIBLE);
    t.switch_in(230, false, NONE);
    assert_eq!((t.runqueue_ns, t.anomalies), (30, 0));
}

#[test]
fn impossible_sequences_are_reported() {
    let mut t = running(100);
    t.switch_in(200, false, NONE);
    assert_eq!(t.anomalies, anomaly::IN_WHILE_ON);
    let mut t = running(100);
    t.switch_out(200, state::RUNNABLE, false, false, NONE);
    t.switch_out(300, state::RUNNABLE, false, false, NONE);
    assert_eq!(t.anomalies, anomaly::OUT_WHILE_OFF);
    let mut t = running(100);
    t.deliver(50, false, NONE);
    assert_eq!(t.anomalies, anomaly::CLOCK_BACKWARDS);
}

#[test]
fn a_guessed_state_gives_no_stall_and_no_anomaly() {
    let mut t = Thread {
        state: state::RUNNABLE,
        guessed: 1,
        ..Thread::default()
    };
    t.switch_out(300, state::PARKED, false, false, NONE);
    assert_eq!((t.ran_ns, t.anomalies), (UNKNOWN, 0));
    let mut t = Thread {
        state: state::PARKED,
        guessed: 1,
        ..Thread::default()
    };
    send(&mut t, 100, false);
    t.switch_in(300, false, NONE);
    assert_eq!(
        (t.stall_ns, t.runqueue_ns, t.anomalies),
        (UNKNOWN, UNKNOWN, 0)
    );
    t.deliver(310, false, NONE);
    assert_eq!(
        parts(&t),
        Sums {
            throttled: 200,
            running: 10,
            ..Sums::default()
        }
    );
}

#[test]
fn pending_at_the_end_is_accounted_up_to_then() {
    let mut t = running(100);
    send(&mut t, 150, false);
    t.switch_out(200, state::UNINTERRUPTIBLE, false, false, NONE);
    let account = sums(&t.private_until(1200).parts);
    assert_eq!(
        account,
        Sums {
            running: 50,
            blocked: 1000,
            ..Sums::default()
        }
    );
    // Looking changes nothing.
    assert_eq!(t.private_until(1200), t.private_until(1200));
}

#[derive(Clone, Debug)]
enum Step {
    Out(u8, bool),
    In,
    Wake(bool),
    Unpark,
    Send(bool),
    Deliver,
    Quota,
    Migrate,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        (state::RUNNABLE..=state::FROZEN, any::<bool>()).prop_map(|(s, b)| Step::Out(s, b)),
        Just(Step::In),
        any::<bool>().prop_map(Step::Wake),
        Just(Step::Unpark),
        any::<bool>().prop_map(Step::Send),
        Just(Step::Deliver),
        Just(Step::Quota),
        Just(Step::Migrate),
    ];
    proptest::collection::vec((0u64..1_000_000, step), 1..200)
}

proptest! {
    // Whatever happens in whatever order, components add up exactly, and no
    // possible order is called impossible.
    #[test]
    fn components_add_up(steps in steps()) {
        let mut t = running(1);
        let mut now = 1;
        // The queue of its group, whose quota comes and goes meanwhile.
        let mut queue = CfsRq::default();
        let wait = |t: &mut Thread, queue: &CfsRq, now| {
            t.wait_on(1, CfsRq::total_at(queue.clock, now));
        };
        for (delta, step) in steps {
            now += delta;
            let on = t.state == state::ON_CPU;
            match step {
                Step::Out(next, blocked) if on => {
                    let own = blocked && t.own_handler != 0;
                    t.switch_out(now, next, blocked, own, NONE);
                    wait(&mut t, &queue, now);
                }
                Step::In if !on => {
                    if t.state == state::RUNNABLE {
                        t.look_at_queue(Some(&queue), true, now, NONE);
                    }
                    t.switch_in(now, t.blocked != 0, NONE);
                }
                Step::Wake(parked) => {
                    let asleep = is_asleep(t.state);
                    t.wake(now, parked, NONE);
                    if asleep {
                        wait(&mut t, &queue, now);
                    }
                }
                Step::Quota => {
                    let out = !queue.is_out();
                    queue.edge(out, now);
                }
                Step::Migrate if t.state == state::RUNNABLE => {
                    t.look_at_queue(Some(&queue), true, now, NONE);
                    t.migrate(now, NONE);
                    wait(&mut t, &queue, now);
                }
                Step::Unpark => t.unpark(now),
                Step::Send(blocked) if t.private.sent_ns == 0 => send(&mut t, now, blocked),
                Step::Deliver if on && t.private.sent_ns != 0 => {
                    t.deliver(now, false, NONE);
                    prop_assert_eq!(parts(&t).total(), now - t.private.sent_ns);
                    t.private.sent_ns = 0;
                    t.own_handler = 1;
                }
                _ => {}
            }
            prop_assert_eq!(t.anomalies, 0);
        }
    }
}
