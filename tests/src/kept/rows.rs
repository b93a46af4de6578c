//! Rows of figures of two other tests: storms, and stops of the world.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::figures::Times;
use crate::reference::Episode;
use crate::run::{Report, Settings};
use crate::stream;
use crate::tests::{bucket, newest_stops, storm};

/// The storms: the ring's size (none: the usual one) and the length, ms.
const STORMS: [(Option<u32>, u64); 2] = [(None, 10_000), (Some(4_096), 2_000)];

/// As many signals as the machine can make, and what became of their records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StormRow {
    /// Size of the ring, bytes; null for the usual one.
    pub ring_bytes: Option<u32>,
    /// How long it lasted, ms.
    pub for_ms: u64,
    /// Signals sent.
    pub sends: u64,
    /// Episodes that the reference counts.
    pub reference_episodes: u64,
    /// Deliveries that the reference counts.
    pub reference_deliveries: u64,
    /// Deliveries in the distribution, which has those too that got no record.
    pub deliveries: u64,
    /// Member `loss` of gohang's last line.
    pub loss: Value,
}

impl StormRow {
    /// Makes the storms.
    ///
    /// # Errors
    /// As the storm test.
    pub fn make_all(settings: &Settings) -> Result<Vec<Self>> {
        STORMS
            .iter()
            .map(|(ring, for_ms)| Self::make(settings, *ring, *for_ms))
            .collect()
    }

    fn make(settings: &Settings, ring_bytes: Option<u32>, for_ms: u64) -> Result<Self> {
        let words = ring_bytes.map(|bytes| ["--ring-bytes".to_owned(), bytes.to_string()]);
        let words: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
        let storm = storm(settings, &mut Report::default(), for_ms, &words)?;
        let delivered = storm.reference.iter().filter(|e| Episode::is_delivered(e));
        let process = storm.stream.process(storm.pid)?;
        Ok(Self {
            ring_bytes,
            for_ms,
            sends: storm.sent,
            reference_episodes: storm.reference.len() as u64,
            reference_deliveries: delivered.count() as u64,
            deliveries: stream::number(process, "/delivery/count")?,
            loss: storm.stream.end["loss"].clone(),
        })
    }

    /// Holds the counts against each other.
    ///
    /// # Errors
    /// The loss identity does not hold, or the reference counts something else.
    pub fn check(&self) -> Result<()> {
        let end = json!({"loss": self.loss});
        stream::check_loss(&end)?;
        let seen = stream::number(&end, "/loss/seen")?;
        ensure!(
            seen == self.reference_episodes,
            "a storm: gohang saw {seen} episodes, the reference {}",
            self.reference_episodes
        );
        ensure!(
            self.deliveries == self.reference_deliveries,
            "a storm: gohang counts {} deliveries, the reference {}",
            self.deliveries,
            self.reference_deliveries
        );
        Ok(())
    }
}

/// How long stopping the world took, as gohang says and as the runtime does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopsRow {
    /// The Go version.
    pub go: String,
    /// Each of gohang's stops, ns.
    pub gohang_ns: Vec<u64>,
    /// The runtime's histogram `/sched/pauses/stopping`: where a bucket begins, ns, and how
    /// many it has.
    pub runtime: Vec<(u64, u64)>,
    /// What follows from both.
    pub figures: StopsFigures,
}

/// Quantiles of stops.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StopsFigures {
    /// How many: (gohang, the runtime).
    pub count: [u64; 2],
    /// gohang's.
    pub gohang: Times,
    /// Where the runtime's bucket of the same rank begins.
    pub runtime_begin: Times,
    /// Where the bucket behind it begins, of all buckets that such a histogram has.
    pub runtime_end: Times,
    /// How many buckets the k-th longest of both lie apart at most; a power of two has four.
    pub buckets_apart: u64,
}

impl StopsRow {
    /// Runs the program of the test of stops with the newest Go.
    ///
    /// # Errors
    /// As the test.
    pub fn make(settings: &Settings) -> Result<Self> {
        let (go, stops) = newest_stops(settings)?;
        let mut runtime = stops.runtime;
        runtime.retain(|(_, count)| *count > 0);
        let mut row = Self {
            go,
            gohang_ns: stops.ours_ns,
            runtime,
            figures: StopsFigures::default(),
        };
        row.figures = row.compute()?;
        Ok(row)
    }

    /// The figures.
    ///
    /// # Errors
    /// The counts are not those of a run.
    pub fn compute(&self) -> Result<StopsFigures> {
        let mut ours = self.gohang_ns.clone();
        ours.sort_unstable();
        let mut theirs = Vec::new();
        for (from_ns, count) in &self.runtime {
            let count = usize::try_from(*count)?;
            ensure!(count <= 1_000_000, "{count} stops in a bucket");
            theirs.extend(std::iter::repeat_n(*from_ns, count));
        }
        theirs.sort_unstable();
        ensure!(!theirs.is_empty(), "no stops");
        let ends: Vec<u64> = theirs.iter().map(|ns| bucket_end(*ns)).collect();
        let apart = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| (bucket(*a) - bucket(*b)).unsigned_abs())
            .max();
        Ok(StopsFigures {
            count: [ours.len() as u64, theirs.len() as u64],
            gohang: Times::of(&ours),
            runtime_begin: Times::of(&theirs),
            runtime_end: Times::of(&ends),
            buckets_apart: apart.context("no stops")?,
        })
    }
}

/// Where the bucket ends that begins here.
fn bucket_end(begin_ns: u64) -> u64 {
    let number = bucket(begin_ns);
    // A bucket is at most a quarter as wide as where the next power of two begins.
    let (mut low, mut high) = (begin_ns, begin_ns.saturating_mul(2).saturating_add(1_024));
    while high - low > 1 {
        let middle = low.midpoint(high);
        if bucket(middle) > number {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_end_where_the_next_begins() {
        for (begin, end) in [(0, 64), (64, 128), (448, 512), (512, 640), (896, 1024)] {
            assert_eq!(bucket_end(begin), end);
        }
    }

    #[test]
    fn stops_are_held_against_the_bucket_of_their_rank() {
        let row = StopsRow {
            go: "1".to_owned(),
            gohang_ns: vec![1_300, 520, 530],
            runtime: vec![(512, 2), (1_024, 1)],
            figures: StopsFigures::default(),
        };
        let figures = row.compute().unwrap();
        assert_eq!(figures.count, [3, 3]);
        assert_eq!(figures.buckets_apart, 1);
        assert_eq!(figures.gohang.max_ns, 1_300);
        assert_eq!(figures.runtime_begin.max_ns, 1_024);
        assert_eq!(figures.runtime_end.max_ns, 1_280);
        let none = StopsRow {
            runtime: Vec::new(),
            ..row
        };
        assert!(none.compute().is_err());
    }

    #[test]
    fn a_leak_in_a_storm_is_found() {
        let mut row = StormRow {
            ring_bytes: None,
            for_ms: 1,
            sends: 20,
            reference_episodes: 10,
            reference_deliveries: 9,
            deliveries: 9,
            loss: json!({"seen": 10, "submitted": 8, "ring_full": 2, "map_full": 0, "received": 8,
                "decoded": 8, "rejected": 0, "emitted": 8, "output_dropped": 0}),
        };
        row.check().unwrap();
        row.reference_episodes = 11;
        assert!(row.check().is_err());
        row.reference_episodes = 10;
        row.deliveries = 8;
        assert!(row.check().is_err());
        row.deliveries = 9;
        row.loss["ring_full"] = json!(1);
        assert!(row.check().is_err());
    }
}
