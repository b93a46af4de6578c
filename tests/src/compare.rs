//! Holds one list of episodes against another.

use std::collections::HashMap;

use crate::reference::{Directed, Episode, Outcome};

/// How far apart both stamps of one episode, of its send or of its end, may lie at most. Two
/// programs stamp an event inside one hold of the process's signal lock with interrupts off, so
/// only what stands between them on the hook parts the stamps, some hundred nanoseconds; but
/// the host may take the CPU away just there (18 ms have been seen in a virtual machine). That
/// strikes one of an episode's four stamps, so the nearer of the two distances finds its
/// partner, and this bounds the other one.
const SAME_NS: u64 = 50_000_000;

/// Episodes whose latencies differ by more than this are counted apart: they are no error of a
/// stamp but a stolen CPU, or a wrong clock.
pub const APART_NS: u64 = 1_000_000;

/// How many following pairs are looked at to decide where a gap is.
const LOOKAHEAD: usize = 16;

/// The most by which ours may differ from a copy of the reference beyond what two copies
/// differ from each other.
pub const MARGIN_NS: u64 = 1_000;

/// The result of one comparison of `ours` with `reference`.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Index pairs (ours, reference) of delivered episodes in both.
    pub matched: Vec<(usize, usize)>,
    /// Episodes in both that were not delivered.
    pub matched_undelivered: usize,
    /// In the reference, not in ours.
    pub missing: Vec<Episode>,
    /// In ours, not in the reference.
    pub extra: Vec<Episode>,
    /// Matched, but with another outcome, sender, count or target.
    pub differing: Vec<(Episode, Episode)>,
    /// Not counted because they are not wholly inside the window: (ours, reference).
    pub outside: (usize, usize),
}

/// Compares delivered episodes thread by thread and the others process by process. An episode
/// that touches the time outside `window` may have a partner, but need not.
pub fn compare(ours: &[Episode], reference: &[Episode], window: (u64, u64)) -> Comparison {
    let mut out = Comparison::default();
    let inside = |e: &Episode| {
        let end = if e.end_ns == u64::MAX {
            e.sent_ns
        } else {
            e.end_ns
        };
        e.sent_ns >= window.0 && end <= window.1 && e.outcome != Outcome::PendingAtEnd
    };
    let begun_inside = |e: &Episode| (window.0..=window.1).contains(&e.sent_ns);
    let (a, b) = (keyed(ours), keyed(reference));
    let mut keys: Vec<Key> = a.keys().chain(b.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let none = Vec::new();
    // Left over: candidates for a partner that is still pending at one of the two ends.
    let (mut left_ours, mut left_reference) = (Vec::new(), Vec::new());
    for key in keys {
        let (xs, ys) = (a.get(&key).unwrap_or(&none), b.get(&key).unwrap_or(&none));
        let aligned = align(ours, reference, xs, ys);
        for &(i, j) in &aligned.pairs {
            let (x, y) = (&ours[i], &reference[j]);
            if key.delivered {
                out.matched.push((i, j));
            } else {
                out.matched_undelivered += 1;
            }
            let same = x.outcome == y.outcome
                && x.coalesced == y.coalesced
                && x.pid == y.pid
                && x.sender_pid == y.sender_pid;
            // What both saw whole must be equal; at the edges a send more or less is no fault.
            if !same && inside(x) && inside(y) {
                out.differing.push((*x, *y));
            }
        }
        left_ours.extend(aligned.left_a);
        left_reference.extend(aligned.left_b);
    }
    let mut used = vec![false; left_reference.len()];
    for i in left_ours {
        let x = &ours[i];
        // Pending at the end of ours, delivered (or ended) later in the reference's longer run.
        let partner = left_reference.iter().zip(&used).position(|(&j, used)| {
            let y = &reference[j];
            !*used
                && x.outcome == Outcome::PendingAtEnd
                && x.pid == y.pid
                && x.directed == y.directed
                && x.sent_ns.abs_diff(y.sent_ns) <= SAME_NS
                && y.end_ns > window.1
        });
        if let Some(n) = partner {
            used[n] = true;
            out.matched_undelivered += 1;
        } else if inside(x) || (x.outcome == Outcome::PendingAtEnd && begun_inside(x)) {
            out.extra.push(*x);
        } else {
            out.outside.0 += 1;
        }
    }
    for (&j, used) in left_reference.iter().zip(&used) {
        if !used && inside(&reference[j]) {
            out.missing.push(reference[j]);
        } else if !used {
            out.outside.1 += 1;
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    delivered: bool,
    /// The thread of a delivered episode, the process of another: who would have taken it is
    /// not known.
    id: u32,
    directed: Directed,
    outcome: Option<Outcome>,
}

fn keyed(episodes: &[Episode]) -> HashMap<Key, Vec<usize>> {
    let mut map: HashMap<Key, Vec<usize>> = HashMap::new();
    for (i, e) in episodes.iter().enumerate() {
        let delivered = e.is_delivered();
        let key = Key {
            delivered,
            id: if delivered { e.tid } else { e.pid },
            directed: e.directed,
            outcome: (!delivered).then_some(e.outcome),
        };
        map.entry(key).or_default().push(i);
    }
    for list in map.values_mut() {
        list.sort_by_key(|&i| (episodes[i].sent_ns, episodes[i].end_ns));
    }
    map
}

#[derive(Default)]
struct Aligned {
    pairs: Vec<(usize, usize)>,
    left_a: Vec<usize>,
    left_b: Vec<usize>,
}

/// The nearer of the two distances, `None` for what cannot be the same episode.
fn distance(x: &Episode, y: &Episode) -> Option<u64> {
    let sent = x.sent_ns.abs_diff(y.sent_ns);
    let both = x.is_delivered() && y.is_delivered();
    let end = if both {
        x.end_ns.abs_diff(y.end_ns)
    } else {
        sent
    };
    (sent.max(end) <= SAME_NS).then_some(sent.min(end))
}

/// Walks two ordered lists; where they go apart, the hypothesis (pair, skip in the first, skip
/// in the second) under which the next pairs lie closest wins.
fn align(a: &[Episode], b: &[Episode], xs: &[usize], ys: &[usize]) -> Aligned {
    let mut out = Aligned::default();
    let (mut i, mut j) = (0, 0);
    while i < xs.len() && j < ys.len() {
        let d = |i: usize, j: usize| {
            let (x, y) = (xs.get(i)?, ys.get(j)?);
            distance(&a[*x], &b[*y])
        };
        let ahead = |i, j| {
            (0..LOOKAHEAD)
                .map(|k| d(i + k, j + k).unwrap_or(SAME_NS))
                .sum::<u64>()
        };
        let skip_a = if let Some(here) = d(i, j) {
            let closer = |n: Option<u64>| n.is_some_and(|n| n < here);
            if !closer(d(i + 1, j)) && !closer(d(i, j + 1)) {
                None
            } else {
                let (pair, a, b) = (ahead(i, j), ahead(i + 1, j), ahead(i, j + 1));
                if pair <= a.min(b) { None } else { Some(a < b) }
            }
        } else {
            Some(a[xs[i]].sent_ns < b[ys[j]].sent_ns)
        };
        match skip_a {
            None => {
                out.pairs.push((xs[i], ys[j]));
                i += 1;
                j += 1;
            }
            Some(true) => {
                out.left_a.push(xs[i]);
                i += 1;
            }
            Some(false) => {
                out.left_b.push(ys[j]);
                j += 1;
            }
        }
    }
    out.left_a.extend(&xs[i..]);
    out.left_b.extend(&ys[j..]);
    out
}

/// Differences in latency of matched episodes, nanoseconds.
pub fn differences(ours: &[Episode], reference: &[Episode], pairs: &[(usize, usize)]) -> Vec<u64> {
    let latency = |e: &Episode| e.end_ns - e.sent_ns;
    pairs
        .iter()
        .map(|&(i, j)| latency(&ours[i]).abs_diff(latency(&reference[j])))
        .collect()
}

/// p50, p99, p99.9 and the largest of some differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The 99.9th percentile.
    pub p999: u64,
    /// The largest.
    pub max: u64,
    /// How many there are.
    pub count: usize,
    /// How many of them are above [`APART_NS`].
    pub apart: usize,
}

impl Quantiles {
    /// By the nearest rank; zeros for nothing.
    pub fn of(values: &[u64]) -> Self {
        let mut v = values.to_vec();
        v.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (v.len() * per_mille).div_ceil(1000).max(1);
            v.get(rank - 1).copied().unwrap_or(0)
        };
        let apart = v.len() - v.partition_point(|d| *d <= APART_NS);
        let [p50, p99, p999, max] = [500, 990, 999, 1000].map(at);
        Self {
            p50,
            p99,
            p999,
            max,
            count: v.len(),
            apart,
        }
    }

    /// Whether these differences from a copy exceed those between two copies by no more than
    /// the margin, at all three quantiles; and those far apart are as rare as a stolen CPU
    /// makes them.
    pub fn within(&self, control: &Self) -> bool {
        self.is_together()
            && self.p50 <= control.p50 + MARGIN_NS
            && self.p99 <= control.p99 + MARGIN_NS
            && self.p999 <= control.p999 + MARGIN_NS
    }

    /// Whether at most one in ten thousand (of a short list: two) is far apart.
    pub fn is_together(&self) -> bool {
        self.apart <= (self.count / 10_000).max(2)
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            p50,
            p99,
            p999,
            max,
            apart,
            ..
        } = self;
        write!(
            f,
            "p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns, max {max} ns, {apart} above 1 ms"
        )
    }
}
