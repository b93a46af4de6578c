//! From episodes and send times to what is shown.

use std::collections::BTreeMap;

use gohang_common::cause::Cause;

use super::report::Latency;
use crate::event::Episode;
use crate::report::CauseShare;

/// How [`restarted_clock`] is computed, for the reader.
pub(super) const METHOD: &str = "such a script's figure is the time from the last send before a \
    delivery; it is computed for the same run from the time that each sender read just before \
    each of its sends";

/// The exact distribution of `values`.
pub(super) fn latency(mut values: Vec<u64>) -> Latency {
    values.sort_unstable();
    let count = values.len() as u64;
    // Nearest rank: the smallest value that at least this share does not exceed.
    let quantile = |per_mille: u64| {
        let rank = (count * per_mille).div_ceil(1000).max(1);
        values.get(rank as usize - 1).copied()
    };
    let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
    Latency {
        count,
        min_ns: values.first().copied(),
        mean_ns: sum.checked_div(u128::from(count)).map(|mean| mean as u64),
        p50_ns: quantile(500),
        p90_ns: quantile(900),
        p99_ns: quantile(990),
        p999_ns: quantile(999),
        max_ns: values.last().copied(),
    }
}

/// Delivered episodes by cause; each cause is there, also when nothing has it.
pub(super) fn causes(episodes: &[Episode]) -> BTreeMap<String, CauseShare> {
    let mut causes: BTreeMap<Cause, CauseShare> = Cause::ALL
        .iter()
        .map(|cause| (*cause, CauseShare::default()))
        .collect();
    for episode in episodes {
        let Some(latency) = episode.latency_ns() else {
            continue;
        };
        for (cause, share) in &mut causes {
            share.total_ns += match cause {
                Cause::Throttled => episode.parts.throttled,
                Cause::Masked => episode.parts.masked,
                Cause::Blocked => episode.parts.blocked,
                Cause::RunQueue => episode.parts.runqueue,
                Cause::Running => episode.parts.running,
            };
            if *cause == episode.cause {
                share.count += 1;
                share.max_ns = share.max_ns.max(Some(latency));
            }
        }
    }
    causes
        .into_iter()
        .map(|(cause, share)| (cause.name().to_owned(), share))
        .collect()
}

/// A sender's process, and when it made each send, earliest first.
pub(super) struct Sender<'a> {
    pub pid: u32,
    pub at_ns: &'a [u64],
}

/// For each delivered episode, the time since the last send before its delivery.
///
/// A send was noted just before it was made, so one noted before a delivery may have
/// been made after it. It then began the next episode, whose first send is known. What
/// is left undecided is a second sender within that instant.
pub(super) fn restarted_clock(episodes: &[Episode], senders: &[Sender<'_>]) -> Vec<u64> {
    let mut all: Vec<&Episode> = episodes.iter().collect();
    all.sort_unstable_by_key(|episode| episode.sent_ns);
    let mut values = Vec::with_capacity(all.len());
    for (index, episode) in all.iter().enumerate() {
        let Some(latency) = episode.latency_ns() else {
            continue;
        };
        if episode.coalesced == 0 {
            values.push(latency);
            continue;
        }
        let next = all.get(index + 1);
        let last = senders.iter().filter_map(|sender| {
            let mut before = noted_until(sender.at_ns, episode.end_ns);
            if let Some(next) = next.filter(|next| next.sender_pid == Some(sender.pid)) {
                let began_next = noted_until(sender.at_ns, next.sent_ns);
                if began_next == before {
                    before = before.checked_sub(1)?;
                }
            }
            sender.at_ns.get(before.checked_sub(1)?).copied()
        });
        let restarted = last
            .max()
            .map_or(episode.sent_ns, |last| last.max(episode.sent_ns));
        values.push(episode.end_ns.wrapping_sub(restarted));
    }
    values
}

/// How many sends were noted up to `at`.
fn noted_until(sends: &[u64], at: u64) -> usize {
    sends.partition_point(|send| *send <= at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BlockedKinds, ProcessId};
    use gohang_common::cause::{Outcome, Sums, cause};
    use proptest::prelude::*;

    fn episode(sent_ns: u64, end_ns: u64, coalesced: u32, sender: u32, parts: Sums) -> Episode {
        Episode {
            process: ProcessId {
                pid: 1,
                start_ns: 1,
            },
            tid: 2,
            comm: b"busy".to_vec(),
            goid: None,
            pc: None,
            process_directed: false,
            sender_pid: Some(sender),
            sent_ns,
            end_ns,
            coalesced,
            outcome: Outcome::Delivered,
            parts,
            blocked_kinds: BlockedKinds::default(),
            cause: cause(&parts),
            estimate: false,
            cgroup_id: None,
        }
    }

    fn plain(sent_ns: u64, end_ns: u64, coalesced: u32, sender: u32) -> Episode {
        let parts = Sums {
            running: end_ns - sent_ns,
            ..Sums::default()
        };
        episode(sent_ns, end_ns, coalesced, sender, parts)
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let found = latency((1..=1000).rev().collect());
        assert_eq!(
            (
                found.min_ns,
                found.p50_ns,
                found.p90_ns,
                found.p99_ns,
                found.p999_ns,
                found.max_ns
            ),
            (
                Some(1),
                Some(500),
                Some(900),
                Some(990),
                Some(999),
                Some(1000)
            )
        );
        assert_eq!((found.count, found.mean_ns), (1000, Some(500)));
        let one = latency(vec![7]);
        assert_eq!(
            (one.p50_ns, one.p999_ns, one.mean_ns),
            (Some(7), Some(7), Some(7))
        );
        assert_eq!(latency(Vec::new()), Latency::default());
        // No sum of 64-bit values overflows.
        assert_eq!(latency(vec![u64::MAX; 3]).mean_ns, Some(u64::MAX));
    }

    #[test]
    fn components_are_summed_over_all_and_episodes_counted_by_cause() {
        let throttled = Sums {
            throttled: 90,
            running: 10,
            ..Sums::default()
        };
        let running = Sums {
            running: 5,
            runqueue: 2,
            ..Sums::default()
        };
        let mut exited = episode(
            0,
            1000,
            0,
            9,
            Sums {
                masked: 1000,
                ..Sums::default()
            },
        );
        exited.outcome = Outcome::Exited;
        let found = causes(&[
            episode(0, 100, 0, 9, throttled),
            episode(200, 207, 0, 9, running),
            exited,
        ]);
        let share = |count, total_ns, max_ns| CauseShare {
            count,
            total_ns,
            max_ns,
        };
        assert_eq!(found["throttled"], share(1, 90, Some(100)));
        assert_eq!(found["running"], share(1, 15, Some(7)));
        assert_eq!(found["runqueue"], share(0, 2, None));
        assert_eq!(found["masked"], share(0, 0, None));
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn the_clock_restarts_at_the_last_send_before_the_delivery() {
        let outside = [99, 1099, 2099, 3098, 4099];
        let inside = [2499, 4199];
        let senders = [
            Sender {
                pid: 7,
                at_ns: &outside,
            },
            Sender {
                pid: 1,
                at_ns: &inside,
            },
        ];
        let episodes = [
            // First send at 100, then 1100, 2100, 2500; delivered before that of 3100.
            plain(100, 3000, 3, 7),
            // Its sender was between the reading of the clock and the send at the
            // delivery of the one before: see below.
            plain(3100, 3105, 0, 7),
            plain(4100, 4300, 1, 7),
        ];
        assert_eq!(restarted_clock(&episodes, &senders), [501, 5, 101]);
        // The same, delivered at 3099, after 3098 was noted: still not its send.
        let episodes = [plain(100, 3099, 3, 7), plain(3100, 3105, 0, 7)];
        assert_eq!(restarted_clock(&episodes, &senders), [600, 5]);
        // No send is known: the clock of the first one.
        assert_eq!(restarted_clock(&[plain(10, 20, 1, 7)], &senders), [10]);
    }

    proptest! {
        #[test]
        fn a_restarted_clock_never_shows_more(
            steps in proptest::collection::vec((1u64..1000, 1u64..1000, 0u32..3), 0..50),
            sends in proptest::collection::vec(0u64..50_000, 0..100),
        ) {
            let mut at = 0;
            let episodes: Vec<Episode> = steps.iter().map(|(gap, length, coalesced)| {
                let sent = at + gap;
                at = sent + length;
                plain(sent, at, *coalesced, 7)
            }).collect();
            let mut sends = sends;
            sends.sort_unstable();
            let found = restarted_clock(&episodes, &[Sender { pid: 7, at_ns: &sends }]);
            prop_assert_eq!(found.len(), episodes.len());
            for (value, episode) in found.iter().zip(&episodes) {
                prop_assert!(*value <= episode.end_ns - episode.sent_ns);
            }
        }
    }
}
