//! The section on agreement with an independent recording.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::document::{day, duration};
use super::page::{plain, table};

/// The figures, relative to the workspace.
pub const DATA: &str = "docs/agreement/figures.json";

#[derive(Debug, Deserialize)]
struct Figures {
    made: Made,
    files: BTreeMap<String, File>,
    rounds: Vec<Round>,
    total: Sum,
    storms: Vec<Storm>,
    stops: Vec<Stops>,
}

#[derive(Debug, Deserialize)]
struct Made {
    gohang: String,
    kernel: String,
    cpus: u64,
    at_unix_s: u64,
}

#[derive(Debug, Deserialize)]
struct File {
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Round {
    name: String,
    what: String,
    handled: [u64; 2],
    #[serde(flatten)]
    sum: Sum,
}

#[derive(Debug, Deserialize)]
struct Sum {
    events: u64,
    episodes: u64,
    equal: u64,
    differing: u64,
    missing: u64,
    extra: u64,
    coalesced: [u64; 2],
    latency: Times,
    reference_latency: Times,
    difference: Times,
    apart: u64,
}

#[derive(Debug, Deserialize)]
struct Times {
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Storm {
    ring_bytes: Option<u32>,
    for_ms: u64,
    sends: u64,
    reference_episodes: u64,
    reference_deliveries: u64,
    deliveries: u64,
    loss: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Stops {
    go: String,
    figures: StopsFigures,
}

#[derive(Debug, Deserialize)]
struct StopsFigures {
    count: [u64; 2],
    gohang: Times,
    runtime_begin: Times,
    runtime_end: Times,
    buckets_apart: u64,
}

/// The section.
///
/// # Errors
/// The text is not that of the figures.
pub fn section(text: &str) -> Result<String> {
    let figures: Figures = serde_json::from_str(text).context(DATA)?;
    let mut out = "\n## Agreement with an independent recording\n".to_owned();
    rounds(&mut out, &figures)?;
    storms(&mut out, &figures.storms)?;
    stops(&mut out, &figures.stops);
    out.push_str("\nWhat was injected and found on each kernel is in [kernels.md](kernels.md).\n");
    Ok(out)
}

fn rounds(out: &mut String, figures: &Figures) -> Result<()> {
    let total = &figures.total;
    let bytes: u64 = figures.files.values().map(|file| file.bytes).sum();
    let made = &figures.made;
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "\n`cargo xtask bench verify` computes every figure here again, from the raw recordings of \
         both sides in\n[agreement](agreement) ({:.1} MiB): `reference.bin` has the signal events \
         that perf recorded, not yet paired,\nand `gohang.bin` the episodes that gohang printed. \
         `cargo xtask bench agreement` records anew (as root). The\nreference shares no code with \
         gohang and uses no BPF; its events are paired by a program of its own.\nRecorded on {} \
         with {}, kernel {}, {} CPUs.\n\n\
         Of {} episodes that both recorded from begin to end, {} are equal in process, thread, \
         sender, way,\noutcome and number of coalesced sends; {} differ, {} are missing in \
         gohang and {} are extra. The latencies of\nan episode differ by {} (p50), {} (p99), {} \
         (p99.9) and {} at most: both stand on the same hook, one\nbehind the other. {} of the \
         differences are above 1 ms: there the host had the CPU between the two stamps.",
        bytes as f64 / f64::from(1 << 20),
        day(made.at_unix_s)?,
        plain(&made.gohang),
        plain(&made.kernel),
        made.cpus,
        total.episodes,
        total.equal,
        total.differing,
        total.missing,
        total.extra,
        duration(total.difference.p50_ns),
        duration(total.difference.p99_ns),
        duration(total.difference.p999_ns),
        duration(total.difference.max_ns),
        total.apart,
    );
    let head = [
        "round",
        "events",
        "episodes",
        "equal",
        "differing",
        "missing",
        "extra",
        "coalesced",
        "p50",
        "p99",
        "max",
        "reference p50",
        "p99",
        "max",
        "difference p99",
        "max",
    ];
    // Rounds of one kind are one row.
    let mut kinds: Vec<(&str, Vec<&Round>)> = Vec::new();
    for round in &figures.rounds {
        match kinds.last_mut() {
            Some((what, rounds)) if *what == round.what => rounds.push(round),
            _ => kinds.push((&round.what, vec![round])),
        }
    }
    let mut rows: Vec<Vec<String>> = kinds.iter().map(|(_, rounds)| row(rounds)).collect();
    let mut sum = vec!["all".to_owned()];
    sum.extend(cells(&[total]));
    rows.push(sum);
    table(out, 1, &head, &rows);
    out.push_str("\nA row of several rounds has the largest of their quantiles. The rounds:\n\n");
    for (what, rounds) in &kinds {
        let handled: u64 = rounds.iter().map(|round| round.handled[0]).sum();
        let counted: u64 = rounds.iter().map(|round| round.handled[1]).sum();
        let _ = writeln!(
            out,
            "- {}: {}. The processes' own handlers counted {handled} signals, the reference \
             {counted}.",
            name(rounds),
            plain(what),
        );
    }
    Ok(())
}

fn name(rounds: &[&Round]) -> String {
    match rounds {
        [first, .., last] => format!("{} to {}", plain(&first.name), plain(&last.name)),
        _ => rounds.iter().map(|round| plain(&round.name)).collect(),
    }
}

fn row(rounds: &[&Round]) -> Vec<String> {
    let sums: Vec<&Sum> = rounds.iter().map(|round| &round.sum).collect();
    let mut row = vec![name(rounds)];
    row.extend(cells(&sums));
    row
}

fn cells(sums: &[&Sum]) -> Vec<String> {
    let count = |of: fn(&Sum) -> u64| sums.iter().map(|sum| of(sum)).sum::<u64>().to_string();
    let most = |of: fn(&Sum) -> u64| duration(sums.iter().map(|sum| of(sum)).max().unwrap_or(0));
    vec![
        count(|sum| sum.events),
        count(|sum| sum.episodes),
        count(|sum| sum.equal),
        count(|sum| sum.differing),
        count(|sum| sum.missing),
        count(|sum| sum.extra),
        count(|sum| sum.coalesced[1]),
        most(|sum| sum.latency.p50_ns),
        most(|sum| sum.latency.p99_ns),
        most(|sum| sum.latency.max_ns),
        most(|sum| sum.reference_latency.p50_ns),
        most(|sum| sum.reference_latency.p99_ns),
        most(|sum| sum.reference_latency.max_ns),
        most(|sum| sum.difference.p99_ns),
        most(|sum| sum.difference.max_ns),
    ]
}

fn storms(out: &mut String, storms: &[Storm]) -> Result<()> {
    out.push_str(
        "\n### Records in a storm\n\n\
         Two senders as fast as they can, one to a thread and one to its process. What gohang saw \
         is what it wrote and\nwhat it says was lost, and as much as the reference counts; the \
         distribution has those deliveries\ntoo that got no record: the kernel adds them to it.\n",
    );
    let head = [
        "ring",
        "for",
        "sends",
        "episodes of the reference",
        "seen",
        "submitted",
        "ring_full",
        "map_full",
        "received",
        "decoded",
        "emitted",
        "output_dropped",
        "deliveries of the reference",
        "in the distribution",
    ];
    let mut rows = Vec::new();
    for storm in storms {
        let loss = |name: &str| -> Result<String> {
            let found = storm.loss.get(name);
            Ok(found
                .with_context(|| format!("no {name} in a storm"))?
                .to_string())
        };
        let ring = storm.ring_bytes.map(|bytes| format!("{bytes} bytes"));
        rows.push(vec![
            ring.unwrap_or_else(|| "usual".to_owned()),
            duration(storm.for_ms * 1_000_000),
            storm.sends.to_string(),
            storm.reference_episodes.to_string(),
            loss("seen")?,
            loss("submitted")?,
            loss("ring_full")?,
            loss("map_full")?,
            loss("received")?,
            loss("decoded")?,
            loss("emitted")?,
            loss("output_dropped")?,
            storm.reference_deliveries.to_string(),
            storm.deliveries.to_string(),
        ]);
    }
    table(out, 1, &head, &rows);
    Ok(())
}

fn stops(out: &mut String, stops: &[Stops]) {
    out.push_str(
        "\n### Stops of the world\n\n\
         How long stopping took, beside the Go runtime's own histogram \
         (`/sched/pauses/stopping`), whose buckets are a\nfifth to a quarter wide: `runtime` is \
         the bucket of the same rank.\n",
    );
    let head = [
        "Go",
        "stops",
        "runtime",
        "p50",
        "runtime",
        "p99",
        "runtime",
        "max",
        "runtime",
        "buckets apart at most",
    ];
    let rows: Vec<Vec<String>> = stops
        .iter()
        .map(|stops| {
            let Stops { go, figures } = stops;
            let between = |of: fn(&Times) -> u64| {
                format!(
                    "{} to {}",
                    duration(of(&figures.runtime_begin)),
                    duration(of(&figures.runtime_end))
                )
            };
            vec![
                plain(go),
                figures.count[0].to_string(),
                figures.count[1].to_string(),
                duration(figures.gohang.p50_ns),
                between(|times| times.p50_ns),
                duration(figures.gohang.p99_ns),
                between(|times| times.p99_ns),
                duration(figures.gohang.max_ns),
                between(|times| times.max_ns),
                figures.buckets_apart.to_string(),
            ]
        })
        .collect();
    table(out, 1, &head, &rows);
}
