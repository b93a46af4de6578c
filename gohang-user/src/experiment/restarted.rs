//! What a script that restarts its clock at every send would have shown.

use crate::event::Episode;

/// How [`clock`] is computed, for the reader.
pub(crate) const METHOD: &str = "such a script's figure is the time from the last send before a \
    delivery; it is computed for the same run from the time that each sender read just before \
    each of its sends";

/// A sender, and when it made each send, earliest first.
pub(super) struct Sender<'a> {
    /// Its process as its signals tell it; none where the kernel sends for it.
    pub pid: Option<u32>,
    pub at_ns: &'a [u64],
}

/// What is to be told of a delivered episode, and what such a script tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pairing {
    /// From its first send to its delivery.
    pub latency_ns: u64,
    /// From the last send before its delivery.
    pub restarted_ns: u64,
}

/// For each delivered episode, the time since the last send before its delivery.
///
/// A send was noted just before it was made, so one noted before a delivery may have
/// been made after it. It then began the next episode, whose first send is known. What
/// is left undecided is a second sender within that instant.
pub(super) fn clock(episodes: &[&Episode], senders: &[Sender<'_>]) -> Vec<Pairing> {
    let mut all = episodes.to_vec();
    all.sort_unstable_by_key(|episode| episode.sent_ns);
    let mut values = Vec::with_capacity(all.len());
    for (index, episode) in all.iter().enumerate() {
        let Some(latency_ns) = episode.latency_ns() else {
            continue;
        };
        if episode.coalesced == 0 {
            values.push(Pairing {
                latency_ns,
                restarted_ns: latency_ns,
            });
            continue;
        }
        let next = all.get(index + 1);
        let last = senders.iter().filter_map(|sender| {
            let mut before = noted_until(sender.at_ns, episode.end_ns);
            if let Some(next) = next.filter(|next| next.sender_pid == sender.pid) {
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
        values.push(Pairing {
            latency_ns,
            restarted_ns: episode.end_ns.wrapping_sub(restarted),
        });
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

    fn clock_of(episodes: &[Episode], senders: &[Sender<'_>]) -> Vec<u64> {
        let pairings = clock(&episodes.iter().collect::<Vec<_>>(), senders);
        pairings
            .iter()
            .map(|pairing| pairing.restarted_ns)
            .collect()
    }

    fn plain(sent_ns: u64, end_ns: u64, coalesced: u32, sender: u32) -> Episode {
        let parts = Sums {
            running: end_ns - sent_ns,
            ..Sums::default()
        };
        Episode {
            process: ProcessId {
                pid: 1,
                start_ns: 1,
            },
            tid: 2,
            comm: b"busy".to_vec(),
            goid: None,
            pc: None,
            place: None,
            handler: None,
            handler_place: None,
            sender_tid: None,
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
            ran_ns: 0,
        }
    }

    #[test]
    fn the_clock_restarts_at_the_last_send_before_the_delivery() {
        let outside = [99, 1099, 2099, 3098, 4099];
        let inside = [2499, 4199];
        let senders = [
            Sender {
                pid: Some(7),
                at_ns: &outside,
            },
            Sender {
                pid: Some(1),
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
        assert_eq!(clock_of(&episodes, &senders), [501, 5, 101]);
        // The same, delivered at 3099, after 3098 was noted: still not its send.
        let episodes = [plain(100, 3099, 3, 7), plain(3100, 3105, 0, 7)];
        assert_eq!(clock_of(&episodes, &senders), [600, 5]);
        // No send is known: the clock of the first one.
        assert_eq!(clock_of(&[plain(10, 20, 1, 7)], &senders), [10]);
    }

    #[test]
    fn what_the_kernel_sends_for_a_sender_is_its() {
        let sends = [99, 1099, 2098, 3099];
        let of_kernel = |sent, end, coalesced| Episode {
            sender_pid: None,
            ..plain(sent, end, coalesced, 7)
        };
        // The send noted at 2098 began the second one.
        let episodes = [of_kernel(100, 2099, 1), of_kernel(2100, 2110, 0)];
        let by_kernel = Sender {
            pid: None,
            at_ns: &sends,
        };
        assert_eq!(clock_of(&episodes, &[by_kernel]), [1000, 10]);
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
            let found = clock_of(&episodes, &[Sender { pid: Some(7), at_ns: &sends }]);
            prop_assert_eq!(found.len(), episodes.len());
            for (value, episode) in found.iter().zip(&episodes) {
                prop_assert!(*value <= episode.end_ns - episode.sent_ns);
            }
        }
    }
}
