//! What the page states, computed from both recordings.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::events::Seen;
use super::lines::Said;
use super::rows::{StopsRow, StormRow};
use crate::compare::{self, Quantiles};
use crate::reference::record::What;
use crate::stream;

/// All of it, as the file `figures.json` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Where and when it was recorded.
    pub made: Made,
    /// The recordings.
    pub files: BTreeMap<String, File>,
    /// Each round.
    pub rounds: Vec<Round>,
    /// All rounds together.
    pub total: Sum,
    /// Storms, and what became of their records.
    pub storms: Vec<StormRow>,
    /// Stops of the world, beside the Go runtime's own histogram.
    pub stops: Vec<StopsRow>,
}

/// Where and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// What `gohang --version` says.
    pub gohang: String,
    /// The kernel's release.
    pub kernel: String,
    /// How many CPUs.
    pub cpus: usize,
    /// Seconds since 1970.
    pub at_unix_s: u64,
}

/// A recording's identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// A round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Its name.
    pub name: String,
    /// What happens.
    pub what: String,
    /// Signals that the processes' own handlers counted, and deliveries to handlers that the
    /// reference recorded in their lives.
    pub handled: [u64; 2],
    /// The figures.
    #[serde(flatten)]
    pub sum: Sum,
}

/// How far two recordings of the same agree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    /// Events of the reference.
    pub events: u64,
    /// Episodes of the reference that gohang must have: begun and ended while both recorded.
    pub episodes: u64,
    /// Those that gohang has with the same process, thread, sender, way, outcome and number of
    /// coalesced sends.
    pub equal: u64,
    /// Those that it has with another of these.
    pub differing: u64,
    /// Those that it has not.
    pub missing: u64,
    /// Episodes of gohang's that the reference has not.
    pub extra: u64,
    /// Episodes that began before, or ended after, both recorded: (gohang's, the reference's).
    pub outside: [u64; 2],
    /// Sends that found the signal pending, as both count them: (gohang, the reference).
    pub coalesced: [u64; 2],
    /// From first send to delivery, as gohang says.
    pub latency: Times,
    /// The same as the reference says.
    pub reference_latency: Times,
    /// By how much the two latencies of an episode differ.
    pub difference: Times,
    /// Differences above a millisecond: the host had the CPU between two stamps.
    pub apart: u64,
    /// Episodes by gohang's cause.
    pub causes: BTreeMap<String, u64>,
}

/// Quantiles by the nearest rank, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The median.
    pub p50_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The 99.9th percentile.
    pub p999_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

impl Times {
    /// Of some times.
    pub fn of(values: &[u64]) -> Self {
        let quantiles = Quantiles::of(values);
        Self {
            p50_ns: quantiles.p50,
            p99_ns: quantiles.p99,
            p999_ns: quantiles.p999,
            max_ns: quantiles.max,
        }
    }
}

/// Latencies of gohang's and of the reference's, and their differences, one an episode.
type Latencies = [Vec<u64>; 3];

/// Compares the rounds.
///
/// # Errors
/// The recordings are not of the same rounds, or one of them contradicts itself.
pub fn compute(seen: &[Seen], said: &[Said]) -> Result<(Vec<Round>, Sum)> {
    ensure!(
        seen.len() == said.len(),
        "{} rounds of the reference, {} of gohang",
        seen.len(),
        said.len()
    );
    let mut total = Sum::default();
    let mut all = Latencies::default();
    let mut rounds = Vec::new();
    for (seen, said) in seen.iter().zip(said) {
        let name = &seen.about.round;
        ensure!(
            *name == said.about.round,
            "round {name:?} of the reference is {:?} of gohang",
            said.about.round
        );
        let (round, latencies) = round(seen, said).with_context(|| format!("round {name:?}"))?;
        total.add(&round.sum);
        for (all, more) in all.iter_mut().zip(latencies) {
            all.extend(more);
        }
        rounds.push(round);
    }
    total.take_times(&all);
    Ok((rounds, total))
}

fn round(seen: &Seen, said: &Said) -> Result<(Round, Latencies)> {
    stream::check_loss(&serde_json::json!({"loss": said.about.loss}))?;
    let paired = seen.pair();
    let window = (said.about.from_ns, said.about.to_ns);
    let orphans = paired.orphans.iter().filter(|(_, _, ns)| *ns >= window.0);
    ensure!(orphans.count() == 0, "deliveries without a send");
    let reference = paired.episodes;
    let ours = said
        .lines
        .iter()
        .map(stream::Line::episode)
        .collect::<Result<Vec<_>>>()?;
    let found = compare::compare(&ours, &reference, window);
    let latency = |e: &crate::reference::Episode| e.latency_ns().unwrap_or(0);
    let latencies = [
        found.matched.iter().map(|m| latency(&ours[m.0])).collect(),
        found
            .matched
            .iter()
            .map(|m| latency(&reference[m.1]))
            .collect(),
        compare::differences(&ours, &reference, &found.matched),
    ];
    let both = found.matched.len() + found.matched_undelivered;
    let mut causes = BTreeMap::new();
    for line in &said.lines {
        if let Some(cause) = &line.cause {
            *causes.entry(cause.clone()).or_default() += 1;
        }
    }
    let coalesced = |all: &mut dyn Iterator<Item = u64>| all.sum();
    let mut sum = Sum {
        events: seen.events.len() as u64,
        episodes: (both + found.missing.len()) as u64,
        equal: (both - found.differing.len()) as u64,
        differing: found.differing.len() as u64,
        missing: found.missing.len() as u64,
        extra: found.extra.len() as u64,
        outside: [found.outside.0 as u64, found.outside.1 as u64],
        coalesced: [
            coalesced(&mut found.matched.iter().map(|m| ours[m.0].coalesced)),
            coalesced(&mut found.matched.iter().map(|m| reference[m.1].coalesced)),
        ],
        causes,
        ..Sum::default()
    };
    sum.take_times(&latencies);
    let handled = What::Deliver { handled: true };
    let handled = seen.events.iter().filter(|e| e.what == handled).count();
    let round = Round {
        name: seen.about.round.clone(),
        what: seen.about.what.clone(),
        handled: [seen.about.handled, handled as u64],
        sum,
    };
    Ok((round, latencies))
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.episodes += other.episodes;
        self.equal += other.equal;
        self.differing += other.differing;
        self.missing += other.missing;
        self.extra += other.extra;
        for (mine, other) in self.outside.iter_mut().zip(other.outside) {
            *mine += other;
        }
        for (mine, other) in self.coalesced.iter_mut().zip(other.coalesced) {
            *mine += other;
        }
        for (cause, count) in &other.causes {
            *self.causes.entry(cause.clone()).or_default() += count;
        }
    }

    fn take_times(&mut self, [ours, reference, differences]: &Latencies) {
        self.latency = Times::of(ours);
        self.reference_latency = Times::of(reference);
        self.difference = Times::of(differences);
        self.apart = Quantiles::of(differences).apart as u64;
    }
}
