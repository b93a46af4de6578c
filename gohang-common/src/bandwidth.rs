//! When a run queue of a group (a `cfs_rq`) was out of quota.
//!
//! Written under the run queue's lock by the hooks on `tg_throttle_down` and
//! `tg_unthrottle_up`, of the queue itself and of its ancestors; read by every
//! thread that waits on it. The sum up to now is one word, so that a reader
//! without the lock never sees half of a change.

use crate::memory::{UNKNOWN, reload};

/// Edges that a queue remembers; two make one time out of quota.
pub const EDGES: usize = 8;

/// In [`CfsRq::clock`]: out of quota now.
const OUT: u64 = 1 << 63;

/// One `cfs_rq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CfsRq {
    /// Out of quota: [`OUT`], and what the time now must be reduced by to give
    /// the sum. In quota: the sum. ns.
    pub clock: u64,
    /// Edges so far; an even number of them means "in quota".
    pub edges: u64,
    /// The last edges' times by `edges` modulo [`EDGES`], ns; the first is 0
    /// for a queue that was out of quota before we looked.
    pub at_ns: [u64; EDGES],
    /// Kernel id of the group's cgroup.
    pub cgroup_id: u64,
    /// Kernel ids of the cgroups whose limits ran out, 0 if not known, of the times out of
    /// quota whose edges are remembered: see [`owner_slot`].
    pub owner_ids: [u64; EDGES / 2],
    /// 1 once a traced thread has waited on it.
    pub watched: u64,
}

/// A time out of quota that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it began, ns; 0 if that was before we looked.
    pub began_ns: u64,
    /// When quota came back, ns.
    pub ended_ns: u64,
    /// Kernel id of the cgroup whose limit ran out, 0 if not known.
    pub owner_id: u64,
}

/// Where the owner of a time out of quota is kept that this edge begins or ends.
#[inline(always)]
const fn owner_slot(edge: u64) -> usize {
    (edge / 2) as usize & (EDGES / 2 - 1)
}

/// Out of quota since before we looked, as of the first edge that we see.
pub const UNSEEN_CLOCK: u64 = OUT;

impl CfsRq {
    /// Time out of quota up to `now`, ns. Only differences mean something.
    #[inline(always)]
    #[must_use]
    pub fn total_at(clock: u64, now: u64) -> u64 {
        if clock & OUT != 0 {
            now.wrapping_sub(clock & !OUT)
        } else {
            clock
        }
    }

    /// Whether it is out of quota.
    #[inline(always)]
    #[must_use]
    pub fn is_out(&self) -> bool {
        reload(&self.clock) & OUT != 0
    }

    /// Begins anew for the group of this cgroup, at an edge that shows it: one that comes
    /// back (`out` is false) was out of quota before we looked.
    #[inline(always)]
    pub fn begin(&mut self, cgroup_id: u64, out: bool) {
        self.clock = if out { 0 } else { UNSEEN_CLOCK };
        self.edges = !out as u64;
        self.at_ns[0] = 0;
        self.owner_ids[0] = 0;
        self.watched = 0;
        self.cgroup_id = cgroup_id;
    }

    /// Quota runs out (`out`) or comes back at `now`. Returns false if it had
    /// already.
    #[inline(always)]
    pub fn edge(&mut self, out: bool, now: u64) -> bool {
        let clock = reload(&self.clock);
        if (clock & OUT != 0) == out {
            return false;
        }
        self.at_ns[self.edges as usize & (EDGES - 1)] = now;
        self.edges = self.edges.wrapping_add(1);
        let clock = if out {
            OUT | now.wrapping_sub(clock) & !OUT
        } else {
            Self::total_at(clock, now)
        };
        // SAFETY: a field of a map value. One store: a reader may be there.
        unsafe { core::ptr::write_volatile(&raw mut self.clock, clock) };
        true
    }

    /// Names the cgroup whose limit has run out, after the edge.
    #[inline(always)]
    pub fn set_owner(&mut self, id: u64) {
        self.owner_ids[owner_slot(self.edges.wrapping_sub(1))] = id;
    }

    /// The time out of quota that ended with the edge so many `back`, 1 being the last;
    /// `None` if that edge began one, or the queue does not remember so much.
    #[inline(always)]
    #[must_use]
    pub fn span(&self, back: u64) -> Option<Span> {
        let edges = reload(&self.edges);
        let edge = edges.wrapping_sub(back);
        let is_remembered = (1..EDGES as u64).contains(&back) && back < edges;
        if !is_remembered || edge & 1 == 0 {
            return None;
        }
        let at = |edge: u64| reload(&self.at_ns[edge as usize & (EDGES - 1)]);
        Some(Span {
            began_ns: at(edge.wrapping_sub(1)),
            ended_ns: at(edge),
            owner_id: reload(&self.owner_ids[owner_slot(edge)]),
        })
    }

    /// Time out of quota from `since` to `now`, ns, from the remembered edges;
    /// [`UNKNOWN`] where they do not reach back so far.
    #[inline(never)]
    #[must_use]
    pub fn out_since(&self, since: u64, now: u64) -> u64 {
        let mut out = 0u64;
        let mut end = now;
        let mut is_out = self.is_out();
        let edges = reload(&self.edges);
        for back in 1..=EDGES as u64 {
            if back > edges {
                return out;
            }
            let at = reload(&self.at_ns[edges.wrapping_sub(back) as usize & (EDGES - 1)]);
            let begin = if at > since { at } else { since };
            if is_out && end > begin {
                out += end - begin;
            }
            if at <= since {
                return out;
            }
            end = at;
            is_out = !is_out;
        }
        // All that there ever were?
        if edges <= EDGES as u64 { out } else { UNKNOWN }
    }

    /// When quota last came back by `limit_ns`, ns; 0 if it did not, as far as the queue
    /// remembers.
    #[inline(never)]
    #[must_use]
    pub fn back_by(&self, limit_ns: u64) -> u64 {
        let edges = reload(&self.edges);
        for back in 1..=EDGES as u64 {
            if back > edges {
                break;
            }
            let edge = edges.wrapping_sub(back);
            let at = reload(&self.at_ns[edge as usize & (EDGES - 1)]);
            if edge & 1 == 1 && at <= limit_ns {
                return at;
            }
        }
        0
    }
}

const _: () = {
    assert!(size_of::<CfsRq>() == 8 * (4 + EDGES + EDGES / 2));
    assert!(EDGES.is_power_of_two());
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sum_grows_only_while_out() {
        let mut queue = CfsRq::default();
        assert!(!queue.edge(false, 50), "in quota from the start");
        assert!(queue.edge(true, 100));
        assert!(!queue.edge(true, 120), "an ancestor runs out as well");
        assert_eq!(CfsRq::total_at(queue.clock, 130), 30);
        assert!(queue.edge(false, 200));
        assert_eq!(CfsRq::total_at(queue.clock, 1000), 100);
        assert!(queue.edge(true, 1000));
        assert_eq!(CfsRq::total_at(queue.clock, 1001), 101);
    }

    #[test]
    fn out_from_before_we_looked() {
        let mut queue = CfsRq {
            clock: UNSEEN_CLOCK,
            edges: 1,
            ..CfsRq::default()
        };
        // A reader before the first edge took the time itself for the sum.
        assert_eq!(CfsRq::total_at(UNSEEN_CLOCK, 700), 700);
        assert!(queue.edge(false, 1000));
        assert_eq!(CfsRq::total_at(queue.clock, 5000) - 700, 300);
        assert_eq!(queue.out_since(700, 5000), 300);
        let began_ns = queue.span(1).map(|span| span.began_ns);
        assert_eq!(began_ns, Some(0), "nobody knows when");
        assert_eq!(queue.back_by(5000), 1000);
        assert_eq!(queue.back_by(999), 0);
    }

    #[test]
    fn another_group_begins_anew() {
        let mut queue = CfsRq::default();
        queue.begin(7, true);
        for edge in 0..5 {
            queue.edge(edge % 2 == 0, 100 * (edge + 1));
        }
        assert!(queue.is_out(), "removed while out of quota");
        queue.begin(8, true);
        assert!(!queue.is_out() && queue.cgroup_id == 8);
        assert!(queue.edge(true, 2000) && queue.edge(false, 2050));
        assert_eq!(CfsRq::total_at(queue.clock, 9000), 50);
        assert_eq!(queue.out_since(100, 9000), 50);
        queue.begin(9, false);
        assert!(queue.edge(false, 3000));
        assert_eq!(queue.out_since(2900, 9000), 100);
        assert_eq!(queue.back_by(9000), 3000);
    }

    #[test]
    fn more_edges_than_it_remembers() {
        let mut queue = CfsRq::default();
        for edge in 0..20 {
            queue.edge(edge % 2 == 0, 100 * (edge + 1));
        }
        assert_eq!(queue.out_since(1350, 3000), 50 + 100 * 3);
        assert_eq!(queue.out_since(1250, 3000), UNKNOWN);
        assert_eq!(queue.back_by(3000), 2000);
        assert_eq!(queue.back_by(1999), 1800);
        assert_eq!(queue.back_by(1350), 0, "forgotten");
    }

    proptest! {
        // All ways to ask agree with a plain list of edges.
        #[test]
        fn agrees_with_a_list(
            steps in proptest::collection::vec(1u64..1000, 0..30),
            since in 0u64..10_000,
            tail in 0u64..1000,
        ) {
            let mut queue = CfsRq::default();
            let (mut list, mut now) = (Vec::new(), 0);
            for (index, step) in steps.iter().enumerate() {
                now += step;
                queue.edge(index % 2 == 0, now);
                if index % 2 == 0 {
                    queue.set_owner(index as u64 / 2 + 1);
                }
                list.push(now);
            }
            now += tail;
            let since = since.min(now);
            let out = |from: u64, to: u64| -> u64 {
                list.chunks(2)
                    .map(|pair| {
                        let end = pair.get(1).copied().unwrap_or(now).min(to);
                        end.saturating_sub(pair[0].max(from))
                    })
                    .sum()
            };
            prop_assert_eq!(CfsRq::total_at(queue.clock, now), out(0, now));
            let remembered = list.len() <= EDGES || list[list.len() - EDGES] <= since;
            let want = if remembered { out(since, now) } else { UNKNOWN };
            prop_assert_eq!(queue.out_since(since, now), want);
            for back in 1..12 {
                let edge = list.len().checked_sub(back).filter(|edge| edge % 2 == 1);
                let want = edge.filter(|_| back < EDGES).map(|edge| Span {
                    began_ns: list[edge - 1],
                    ended_ns: list[edge],
                    owner_id: edge as u64 / 2 + 1,
                });
                prop_assert_eq!(queue.span(back as u64), want);
            }
            let known = &list[list.len().saturating_sub(EDGES)..];
            let backs = known.iter().zip(list.len() - known.len()..);
            let back = backs.filter(|(at, edge)| edge % 2 == 1 && **at <= since).last();
            prop_assert_eq!(queue.back_by(since), back.map_or(0, |(at, _)| *at));
        }
    }
}
