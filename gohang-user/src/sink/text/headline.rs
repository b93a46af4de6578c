//! One sentence a process that needs no manual: what limits it, how much that
//! cost, how many signals there were, and what the slow ones waited for.

use gohang_common::cause::{Cause, Outcome};

use crate::process::escape;
use crate::report::{CauseShare, Clock, Process};
use crate::units::{cpus, duration, percent, rate};

/// A share from which on a side effect (waiting for a CPU, absorbed sends) is
/// worth a word of its own.
const NOTABLE_SHARE: f64 = 0.1;

/// The headline of a process. A delivery longer than `slow_ns` is slow.
#[must_use]
pub fn headline(process: &Process, clock: &Clock, slow_ns: u64) -> String {
    let mut clauses = Vec::new();
    clauses.extend(quota_clause(process));
    clauses.push(signals_clause(process, traced_ns(process, clock)));
    clauses.extend(delivery_clause(process, slow_ns));
    clauses.extend(rest_clauses(process));
    format!("{}: {}", subject(process), clauses.join("; "))
}

/// How long a process was in the window, in nanoseconds.
#[must_use]
pub fn traced_ns(process: &Process, clock: &Clock) -> u64 {
    let begin = process.traced_since_ns.max(clock.start.mono_ns);
    let end = process
        .ended_ns
        .unwrap_or(clock.end.mono_ns)
        .min(clock.end.mono_ns);
    end.saturating_sub(begin)
}

/// What it is and what limits it: `go1.27.3, quota 0.20 CPU`.
fn subject(process: &Process) -> String {
    let program = process
        .go
        .as_deref()
        .map_or_else(|| "not Go".to_owned(), escape);
    match &process.limit {
        Some(limit) => format!("{program}, quota {} CPU", cpus(limit.cpus)),
        // It was out of quota, so there was one; it is gone or was changed.
        None if process.stall.count > 0 => format!("{program}, quota unknown"),
        None => format!("{program}, no quota"),
    }
}

fn quota_clause(process: &Process) -> Option<String> {
    match (process.stall.count, process.stall_share()) {
        (0, _) | (_, None) => process.limit.as_ref().map(|_| {
            if process.wanted_ns() == 0 {
                "no thread ran"
            } else {
                "never out of quota"
            }
            .to_owned()
        }),
        (_, Some(share)) => {
            let longest = process
                .stall
                .max_ns
                .map(|ns| format!(" (longest {})", duration(ns)));
            Some(format!(
                "threads out of quota {} of the time{}",
                percent(share),
                longest.unwrap_or_default()
            ))
        }
    }
}

/// Sends of all kinds, also those absorbed by a pending one.
fn sends(process: &Process) -> u64 {
    process.outcomes.values().sum::<u64>() + process.coalesced
}

fn signals_clause(process: &Process, traced_ns: u64) -> String {
    let name = if process.go.is_some() {
        "preemption signals"
    } else {
        "SIGURG signals"
    };
    let sends = sends(process);
    if sends == 0 {
        return format!("no {name}");
    }
    let mut clause = match rate(sends, traced_ns) {
        Some(rate) => format!("{rate} {name}/s"),
        None => format!("{sends} {name}"),
    };
    let absorbed = process.coalesced as f64 / sends as f64;
    if absorbed >= NOTABLE_SHARE {
        clause.push_str(&format!(
            ", {} absorbed by one still pending",
            percent(absorbed)
        ));
    }
    clause
}

/// Causes with a slow episode, the one that cost most first.
fn slow_causes(process: &Process, slow_ns: u64) -> Vec<(Cause, CauseShare)> {
    let mut slow: Vec<(Cause, CauseShare)> = Cause::ALL
        .into_iter()
        .filter_map(|cause| Some((cause, *process.causes.get(cause.name())?)))
        .filter(|(_, share)| share.max_ns.is_some_and(|max| max > slow_ns))
        .collect();
    // Stable: ties stay in the order that settles ties of causes.
    slow.sort_by_key(|(_, share)| std::cmp::Reverse(share.total_ns));
    slow
}

fn delivery_clause(process: &Process, slow_ns: u64) -> Option<String> {
    let delivered = process.delivery.count;
    if delivered == 0 {
        return (sends(process) > 0).then(|| "none was delivered".to_owned());
    }
    let slow = slow_causes(process, slow_ns);
    let Some(((first, share), others)) = slow.split_first() else {
        return Some(all_fast(process));
    };
    let mut clause = match first {
        Cause::Running => ran(share),
        cause => format!("{} of {delivered} {}", share.count, waited(*cause, share)),
    };
    for (cause, share) in others {
        clause.push_str(&match cause {
            Cause::Running => format!(", {}", ran(share)),
            cause => format!(", {} {}", share.count, waited(*cause, share)),
        });
    }
    clause.push_str(&contrast(process, *first, &slow));
    Some(clause)
}

fn all_fast(process: &Process) -> String {
    let delivery = &process.delivery;
    let within = delivery
        .max_ns
        .map(|max| format!(" within {}", duration(max)));
    let who = match delivery.count {
        1 => "the only one was".to_owned(),
        count => format!("all {count} were"),
    };
    format!("{who} delivered{}", within.unwrap_or_default())
}

/// `waited for quota (longest 88 ms)`.
fn waited(cause: Cause, share: &CauseShare) -> String {
    let how = match cause {
        Cause::Throttled => "waited for quota",
        Cause::Masked => "waited because SIGURG was masked",
        Cause::Blocked => "waited because the thread was asleep or stopped",
        Cause::RunQueue => "waited for a CPU",
        Cause::Running => "waited while the thread ran on",
    };
    let longest = share
        .max_ns
        .map_or_else(String::new, |max| match share.count {
            1 => format!(" ({})", duration(max)),
            _ => format!(" (longest {})", duration(max)),
        });
    format!("{how}{longest}")
}

/// Every fast delivery is of this cause too, so that its count says nothing.
fn ran(share: &CauseShare) -> String {
    let max = share.max_ns.map_or_else(|| "long".to_owned(), duration);
    format!("a thread ran on for up to {max} before it took one (kernel code, interrupts or steal)")
}

/// What it was not, or was as well.
fn contrast(process: &Process, first: Cause, slow: &[(Cause, CauseShare)]) -> String {
    let is_slow = |cause| slow.iter().any(|(slow, _)| *slow == cause);
    let on_queue = process.runqueue_share();
    match first {
        Cause::Throttled if is_slow(Cause::RunQueue) => String::new(),
        Cause::Throttled => match on_queue {
            Some(share) if share < NOTABLE_SHARE => {
                format!(", not for a CPU (run queue {})", percent(share))
            }
            Some(share) => format!(
                " (its threads also waited for a CPU {} of the time)",
                percent(share)
            ),
            None => String::new(),
        },
        _ if is_slow(Cause::Throttled) => String::new(),
        Cause::RunQueue => {
            let queue =
                on_queue.map(|share| format!(" (run queue {} of the time)", percent(share)));
            let quota = if process.limit.is_some() {
                ", not for quota"
            } else {
                ""
            };
            format!("{quota}{}", queue.unwrap_or_default())
        }
        _ if process.limit.is_some() => ", not for quota".to_owned(),
        _ => String::new(),
    }
}

/// Signals that did not end in a handler.
fn rest_clauses(process: &Process) -> Vec<String> {
    let of = |outcome: Outcome| process.outcomes.get(outcome.name()).copied().unwrap_or(0);
    let mut clauses = Vec::new();
    let mut say = |count: u64, what: &str| {
        if count > 0 {
            clauses.push(format!("{count} {what}"));
        }
    };
    say(of(Outcome::PendingAtEnd), "still pending at the end");
    say(of(Outcome::Ignored), "ignored for want of a handler");
    say(of(Outcome::DeliveredNoHandler), "taken without a handler");
    say(
        of(Outcome::ConsumedUnseen),
        "taken by signalfd, sigwait or a tracer",
    );
    // Threads end with signals pending all the time; it matters if that is all.
    if process.delivery.count == 0 {
        say(of(Outcome::Exited), "pending when their thread ended");
    }
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Distribution, Waits};
    use crate::sink::sample::{self, causes, distribution};
    use std::collections::BTreeMap;

    const SLOW_NS: u64 = 10_000_000;

    fn of(change: impl FnOnce(&mut Process)) -> String {
        let mut process = sample::process();
        // 2 % on the run queue, 78 % out of quota.
        process.runqueue.total_ns = 164_000_000;
        process.stall = Waits {
            total_ns: 6_396_000_000,
            count: 81,
            ..process.stall
        };
        process.running_ns = 1_640_000_000;
        process.coalesced = 0;
        change(&mut process);
        headline(&process, &sample::report().clock, SLOW_NS)
    }

    fn outcomes(given: &[(Outcome, u64)]) -> BTreeMap<String, u64> {
        given
            .iter()
            .map(|(outcome, count)| (outcome.name().to_owned(), *count))
            .collect()
    }

    fn no_quota(process: &mut Process) {
        process.limit = None;
        process.stall = Waits::default();
    }

    fn all_fast(process: &mut Process) {
        process.delivery = distribution(&[(6_400, 92), (412_000, 1)]);
        process.causes = causes(&[(Cause::Running, 93, 1_000_000, 412_000)]);
    }

    const QUOTA: &str =
        "go1.27.3, quota 0.20 CPU: threads out of quota 78 % of the time (longest 96 ms)";

    #[test]
    fn throttled() {
        assert_eq!(
            of(|_| ()),
            format!(
                "{QUOTA}; 11 preemption signals/s; 1 of 93 waited for quota (88 ms), not for a CPU \
                 (run queue 2 %)"
            )
        );
        assert_eq!(
            of(|p| p.causes.get_mut("throttled").expect("there").count = 4),
            format!(
                "{QUOTA}; 11 preemption signals/s; 4 of 93 waited for quota (longest 88 ms), not \
                 for a CPU (run queue 2 %)"
            )
        );
        let busy = of(|p| {
            p.running_ns = 1_000_000_000;
            p.runqueue.total_ns = 1_849_000_000;
            p.stall.total_ns = 1_000_000_000;
        });
        assert!(
            busy.ends_with("(88 ms) (its threads also waited for a CPU 48 % of the time)"),
            "{busy}"
        );
        let both = of(|p| {
            p.causes = causes(&[
                (Cause::Throttled, 2, 150_000_000, 88_000_000),
                (Cause::RunQueue, 3, 40_000_000, 20_000_000),
                (Cause::Running, 88, 900_000, 6_400),
            ]);
        });
        assert!(
            both.ends_with(
                "; 2 of 93 waited for quota (longest 88 ms), 3 waited for a CPU (longest 20 ms)"
            ),
            "{both}"
        );
        let swapped = of(|p| {
            p.causes = causes(&[
                (Cause::Throttled, 1, 15_000_000, 15_000_000),
                (Cause::RunQueue, 3, 40_000_000, 20_000_000),
            ]);
        });
        assert!(
            swapped.ends_with(
                "; 3 of 93 waited for a CPU (longest 20 ms), 1 waited for quota (15 ms)"
            ),
            "{swapped}"
        );
    }

    #[test]
    fn other_causes() {
        for (cause, count, want) in [
            (
                Cause::RunQueue,
                80,
                "80 of 93 waited for a CPU (longest 14 ms), not for quota (run queue 2 % of the time)",
            ),
            (
                Cause::Masked,
                1,
                "1 of 93 waited because SIGURG was masked (14 ms), not for quota",
            ),
            (
                Cause::Blocked,
                2,
                "2 of 93 waited because the thread was asleep or stopped (longest 14 ms), not for quota",
            ),
            (
                Cause::Running,
                93,
                "a thread ran on for up to 14 ms before it took one (kernel code, interrupts or \
                 steal), not for quota",
            ),
        ] {
            let set =
                |p: &mut Process| p.causes = causes(&[(cause, count, 50_000_000, 14_000_000)]);
            assert_eq!(of(set), format!("{QUOTA}; 11 preemption signals/s; {want}"));
            let without = of(|p| {
                set(p);
                no_quota(p);
            });
            assert!(
                without.starts_with("go1.27.3, no quota: 11 preemption"),
                "{without}"
            );
            assert!(!without.contains("not for quota"), "{without}");
        }
        let mixed = of(|p| {
            p.causes = causes(&[
                (Cause::Masked, 1, 55_000_000, 55_000_000),
                (Cause::Running, 92, 20_000_000, 14_000_000),
            ]);
        });
        assert!(
            mixed.contains(
                "1 of 93 waited because SIGURG was masked (55 ms), a thread ran on for up to 14 ms"
            ),
            "{mixed}"
        );
    }

    #[test]
    fn fast_ones() {
        assert_eq!(
            of(all_fast),
            format!("{QUOTA}; 11 preemption signals/s; all 93 were delivered within 412 us")
        );
        let plain = |p: &mut Process| {
            all_fast(p);
            no_quota(p);
        };
        assert_eq!(
            of(plain),
            "go1.27.3, no quota: 11 preemption signals/s; all 93 were delivered within 412 us"
        );
        let one = of(|p| {
            plain(p);
            p.outcomes = outcomes(&[(Outcome::Delivered, 1)]);
            p.delivery = distribution(&[(6_400, 1)]);
        });
        assert_eq!(
            one,
            "go1.27.3, no quota: 0.1 preemption signals/s; the only one was delivered within 6.4 us"
        );
        // On the threshold is not over it.
        let edge = of(|p| p.causes = causes(&[(Cause::Throttled, 1, SLOW_NS, SLOW_NS)]));
        assert!(
            edge.ends_with("all 93 were delivered within 88 ms"),
            "{edge}"
        );
    }

    #[test]
    fn quota_but_no_stall_and_unknown_quota() {
        let free = of(|p| {
            all_fast(p);
            p.stall = Waits::default();
            p.limit.as_mut().expect("there").cpus = 2.0;
        });
        assert_eq!(
            free,
            "go1.27.3, quota 2.00 CPU: never out of quota; 11 preemption signals/s; all 93 were \
             delivered within 412 us"
        );
        let gone = of(|p| p.limit = None);
        assert!(
            gone.starts_with("go1.27.3, quota unknown: threads out of quota 78 %"),
            "{gone}"
        );
        let idle = of(|p| {
            *p = Process {
                limit: p.limit.clone(),
                ..sample::idle()
            }
        });
        assert_eq!(
            idle,
            "go1.24.11, quota 0.20 CPU: no thread ran; no preemption signals"
        );
    }

    #[test]
    fn no_episodes_and_not_go() {
        let nothing = |p: &mut Process| {
            p.outcomes.clear();
            p.delivery = Distribution::default();
            p.causes = causes(&[]);
        };
        assert_eq!(of(nothing), format!("{QUOTA}; no preemption signals"));
        let other = of(|p| {
            nothing(p);
            no_quota(p);
            p.go = None;
        });
        assert_eq!(other, "not Go, no quota: no SIGURG signals");
        let undelivered = of(|p| {
            nothing(p);
            no_quota(p);
            p.go = None;
            p.outcomes = outcomes(&[
                (Outcome::PendingAtEnd, 1),
                (Outcome::Ignored, 819),
                (Outcome::Exited, 2),
            ]);
        });
        assert_eq!(
            undelivered,
            "not Go, no quota: 100 SIGURG signals/s; none was delivered; 1 still pending at the \
             end; 819 ignored for want of a handler; 2 pending when their thread ended"
        );
    }

    #[test]
    fn the_rest_is_said() {
        let rest = of(|p| {
            all_fast(p);
            no_quota(p);
            p.coalesced = 837;
            p.outcomes = outcomes(&[
                (Outcome::Delivered, 84),
                (Outcome::DeliveredNoHandler, 3),
                (Outcome::ConsumedUnseen, 4),
                (Outcome::Exited, 1),
                (Outcome::PendingAtEnd, 1),
            ]);
        });
        assert_eq!(
            rest,
            "go1.27.3, no quota: 113 preemption signals/s, 90 % absorbed by one still pending; all \
             93 were delivered within 412 us; 1 still pending at the end; 3 taken without a \
             handler; 4 taken by signalfd, sigwait or a tracer"
        );
    }

    #[test]
    fn the_rate_is_over_the_time_it_was_traced() {
        let clock = sample::report().clock;
        let mut process = sample::process();
        assert_eq!(traced_ns(&process, &clock), 8_200_000_000);
        process.traced_since_ns = 9_000_000_000;
        assert_eq!(traced_ns(&process, &clock), 1_000_000_000);
        process.ended_ns = Some(9_300_000_000);
        assert_eq!(traced_ns(&process, &clock), 300_000_000);
        process.ended_ns = Some(9_000_000_000);
        assert!(headline(&process, &clock, SLOW_NS).contains("; 96 preemption signals; 1 of 93"));
        process.go = Some("go1\x1b[2J".to_owned());
        assert!(headline(&process, &clock, SLOW_NS).starts_with("go1\\x1b[2J, quota"));
    }
}
