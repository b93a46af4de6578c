//! The pairing on synthetic streams.

use super::pair::{Directed, Episode, Outcome, pair};
use super::record::{Event, What};

const PID: u32 = 100;
const TID: u32 = 101;
const SENDER: u32 = 900;

fn at(time_ns: u64, pid: u32, tid: u32, what: What) -> Event {
    Event {
        time_ns,
        pid,
        tid,
        what,
    }
}

fn send(time_ns: u64, target: u32, group: bool, result: u8) -> Event {
    let what = What::Generate {
        target,
        group,
        result,
        code: 0,
    };
    at(time_ns, SENDER, SENDER, what)
}

fn take(time_ns: u64, tid: u32) -> Event {
    at(time_ns, PID, tid, What::Deliver { handled: true })
}

fn run(events: &[Event]) -> super::Pairing {
    pair(events, &[(PID, PID), (PID, TID), (PID, 102)], 1_000)
}

fn outcomes(e: &[Episode]) -> Vec<(u64, u64, u64, Outcome)> {
    e.iter()
        .map(|e| (e.sent_ns, e.end_ns, e.coalesced, e.outcome))
        .collect()
}

#[test]
fn the_clock_starts_at_the_first_send() {
    let p = run(&[
        send(10, TID, false, 0),
        send(20, TID, false, 2),
        send(90, TID, false, 2),
        take(100, TID),
    ]);
    // A clock restarted at each send would say 10.
    assert_eq!(p.episodes.len(), 1);
    assert_eq!(p.episodes[0].latency_ns(), Some(90));
    assert_eq!(p.episodes[0].coalesced, 2);
    assert_eq!(p.episodes[0].sender_pid, Some(SENDER));
    assert!(p.orphans.is_empty());
}

#[test]
fn ignored_sends_start_no_clock() {
    let p = run(&[
        send(10, TID, false, 1),
        send(20, TID, false, 0),
        take(30, TID),
    ]);
    assert_eq!(
        outcomes(&p.episodes),
        [
            (10, 10, 0, Outcome::Ignored),
            (20, 30, 0, Outcome::Delivered)
        ]
    );
}

#[test]
fn own_and_shared_signals_pend_apart_and_the_own_one_is_first() {
    let p = run(&[
        send(10, PID, true, 0),
        send(20, TID, false, 0),
        send(25, PID, true, 2),
        take(30, TID),
        take(40, TID),
    ]);
    assert_eq!(
        p.episodes
            .iter()
            .map(|e| (e.directed, e.sent_ns, e.end_ns, e.coalesced))
            .collect::<Vec<_>>(),
        [
            (Directed::Thread, 20, 30, 0),
            (Directed::Process, 10, 40, 1)
        ]
    );
}

#[test]
fn a_process_signal_belongs_to_the_thread_that_takes_it() {
    let p = run(&[send(10, PID, true, 0), take(30, 102)]);
    assert_eq!(p.episodes[0].tid, 102);
}

#[test]
fn a_second_first_send_means_consumed_unseen() {
    let p = run(&[
        send(10, TID, false, 0),
        send(20, TID, false, 0),
        take(30, TID),
    ]);
    assert_eq!(
        outcomes(&p.episodes),
        [
            (10, 20, 0, Outcome::ConsumedUnseen),
            (20, 30, 0, Outcome::Delivered)
        ]
    );
}

#[test]
fn a_thread_that_exits_ends_its_own_signal_but_not_the_shared_one() {
    let p = run(&[
        send(10, TID, false, 0),
        send(11, PID, true, 0),
        at(20, PID, TID, What::Exit),
        send(21, TID, false, 0),
        take(30, 102),
    ]);
    assert_eq!(
        outcomes(&p.episodes),
        [
            (10, 20, 0, Outcome::Exited),
            (11, 30, 0, Outcome::Delivered)
        ]
    );
    assert_eq!(p.to_exiting, 1);
}

#[test]
fn the_last_thread_ends_the_shared_one() {
    let exits = [(20, PID), (21, TID), (22, 102)].map(|(t, tid)| at(t, PID, tid, What::Exit));
    let mut events = vec![send(10, PID, true, 0)];
    events.extend(exits);
    assert_eq!(
        outcomes(&run(&events).episodes),
        [(10, 22, 0, Outcome::Exited)]
    );
}

#[test]
fn exec_by_another_thread_moves_its_signal_to_the_leaders_id() {
    let p = run(&[
        send(10, TID, false, 0),
        send(11, PID, false, 0),
        at(20, PID, PID, What::Exit),
        at(30, PID, PID, What::Exec { old_tid: TID }),
        send(35, PID, false, 2),
        at(40, PID, PID, What::Deliver { handled: false }),
    ]);
    assert_eq!(
        outcomes(&p.episodes),
        [
            (11, 20, 0, Outcome::Exited),
            (10, 40, 1, Outcome::DeliveredNoHandler)
        ]
    );
    assert_eq!(p.episodes[1].tid, PID);
}

#[test]
fn exec_by_the_leader_changes_nothing() {
    let p = run(&[
        send(10, PID, false, 0),
        at(30, PID, PID, What::Exec { old_tid: PID }),
        take(40, PID),
    ]);
    assert_eq!(outcomes(&p.episodes), [(10, 40, 0, Outcome::Delivered)]);
}

#[test]
fn a_reused_id_starts_clean() {
    let p = run(&[
        send(10, TID, false, 0),
        at(20, PID, TID, What::Exit),
        at(25, 500, TID, What::Fork),
        send(30, TID, false, 0),
        at(40, 500, TID, What::Deliver { handled: true }),
    ]);
    assert_eq!(p.episodes[1].pid, 500);
    assert_eq!(p.episodes[1].latency_ns(), Some(10));
    assert_eq!(p.to_exiting, 0);
}

#[test]
fn what_is_pending_at_the_end_is_kept() {
    let p = run(&[send(10, TID, false, 0), send(12, PID, true, 0)]);
    assert_eq!(
        outcomes(&p.episodes),
        [
            (10, 1_000, 0, Outcome::PendingAtEnd),
            (12, 1_000, 0, Outcome::PendingAtEnd)
        ]
    );
}

#[test]
fn the_kernel_as_sender_has_no_process() {
    let what = What::Generate {
        target: PID,
        group: true,
        result: 0,
        code: 0x80,
    };
    let p = run(&[at(10, 5, 5, what), take(11, PID)]);
    assert_eq!(p.episodes[0].sender_pid, None);
}

#[test]
fn a_delivery_without_a_send_is_an_orphan() {
    let p = run(&[
        take(11, PID),
        send(12, 4_242, true, 0),
        send(13, TID, false, 2),
    ]);
    assert_eq!(p.orphans, [(PID, PID, 11)]);
    assert_eq!((p.unresolved, p.begun_before), (1, 1));
}
