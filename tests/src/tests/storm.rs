//! As many signals as the machine can make, into a full-sized and a tiny ring.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::actor::{Sends, Target, pause_ms};
use crate::compare;
use crate::product::Gohang;
use crate::reference::{self, Episode, Recorder};
use crate::run::{Report, Settings, Test};
use crate::stage::wait_senders;
use crate::stream::{self, Stream};

/// How far a latency of ours may lie from the reference's for the two distributions to count
/// as one: both stand on the same hooks, one behind the other.
const SHIFT_NS: u64 = 3_000;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "storm::tiny_ring",
            body: tiny_ring,
        },
        Test {
            name: "storm::ten_seconds",
            body: ten_seconds,
        },
    ]
}

/// A storm, and what both said of it.
pub struct Storm {
    /// How many signals were sent.
    pub sent: u64,
    /// What gohang said.
    pub stream: Stream,
    /// The reference's episodes.
    pub reference: Vec<Episode>,
    /// The process.
    pub pid: u32,
    window: (u64, u64),
}

/// Two senders as fast as they can, one to a thread and one to the process.
///
/// # Errors
/// When something cannot be started or recorded, or the loss line does not add up.
pub fn storm(
    settings: &Settings,
    report: &mut Report,
    for_ms: u64,
    more: &[&str],
) -> Result<Storm> {
    let gohang = settings.gohang()?;
    let recorder = Recorder::start()?;
    let target = Target::start("spin", &[], None)?;
    let pid = target.pid.to_string();
    let args = [
        &["trace", "-o", "jsonl", "--events", "--non-go", "-p", &pid],
        more,
    ]
    .concat();
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let mut gohang = Gohang::spawn(gohang, &args)?;
    gohang.wait_ready()?;
    let from_ns = gohang.tracing_ns;
    let sent = wait_senders(vec![
        Sends::to_workers(0, for_ms).start(&target, None)?,
        Sends::to_process(0, for_ms).start(&target, None)?,
    ])?;
    pause_ms(100);
    let window = (from_ns, crate::sys::mono_ns());
    let finished = gohang.interrupt()?;
    let recording = recorder.stop()?;
    let pid = u32::try_from(target.pid)?;
    target.finish()?;
    recording.check_whole()?;
    let pairing = reference::pair::pair(&recording.events, &recording.threads, recording.to_ns);
    let mut reference = pairing.episodes;
    reference.retain(|e| e.pid == pid);
    let stream = Stream::parse(&finished.stdout)?;
    report.note(format!(
        "{sent} sends, {} episodes by the reference",
        reference.len()
    ));
    report.note(stream::check_loss(&stream.end)?);
    for line in &stream.lines {
        line.check().map_err(anyhow::Error::msg)?;
    }
    Ok(Storm {
        sent,
        stream,
        reference,
        pid,
        window,
    })
}

/// The distribution against the reference's, records or not: at every bucket edge, no more and no
/// fewer below it than the reference has within the shift.
fn same_distribution(process: &Value, reference: &[Episode], report: &mut Report) -> Result<()> {
    let count = stream::number(process, "/delivery/count")?;
    let mut latencies: Vec<u64> = reference.iter().filter_map(Episode::latency_ns).collect();
    latencies.sort_unstable();
    report.note(format!(
        "delivery.count {count}, the reference {}",
        latencies.len()
    ));
    ensure!(
        count == latencies.len() as u64,
        "the kernel counted {count} deliveries"
    );
    let below = |ns: u64| latencies.partition_point(|l| *l < ns) as u64;
    let buckets = process["delivery"]["buckets"]
        .as_array()
        .context("no buckets")?;
    let mut ours = 0;
    for bucket in buckets {
        ours += stream::number(bucket, "/count")?;
        let edge = stream::number(bucket, "/hi_ns")?;
        let (least, most) = (below(edge.saturating_sub(SHIFT_NS)), below(edge + SHIFT_NS));
        // A stolen CPU between two stamps may move one in a thousand further.
        let slack = count.div_ceil(1_000);
        ensure!(
            ours + slack >= least && ours <= most + slack,
            "{ours} below {edge} ns, the reference has {least} to {most}"
        );
    }
    ensure!(ours == count, "the buckets hold {ours} of {count}");
    report.note(format!(
        "{} buckets agree with the reference",
        buckets.len()
    ));
    Ok(())
}

/// Ten seconds: the loss identity holds, nothing is impossible, and what was not lost agrees.
fn ten_seconds(settings: &Settings, report: &mut Report) -> Result<()> {
    let storm = storm(settings, report, 10_000, &[])?;
    same_distribution(storm.stream.process(storm.pid)?, &storm.reference, report)?;
    let lost = ["ring_full", "map_full", "output_dropped"]
        .map(|n| storm.stream.number(&format!("/loss/{n}")));
    let lost = lost.into_iter().sum::<Result<u64>>()?;
    let ours = storm
        .stream
        .lines
        .iter()
        .map(stream::Line::episode)
        .collect::<Result<Vec<_>>>()?;
    let c = compare::compare(&ours, &storm.reference, storm.window);
    report.note(format!(
        "matched {} and {}, missing {}, extra {}, lost by the program {lost}",
        c.matched.len(),
        c.matched_undelivered,
        c.missing.len(),
        c.extra.len()
    ));
    ensure!(
        c.extra.is_empty(),
        "extra episodes, the first {:?}",
        c.extra.first()
    );
    ensure!(
        c.missing.len() as u64 <= lost,
        "more are missing than were lost"
    );
    Ok(())
}

/// A ring of one page: records are lost, counted exactly, and bias nothing.
fn tiny_ring(settings: &Settings, report: &mut Report) -> Result<()> {
    let storm = storm(settings, report, 2_000, &["--ring-bytes", "4096"])?;
    let n = |name: &str| storm.stream.number(&format!("/loss/{name}"));
    let (submitted, ring_full) = (n("submitted")?, n("ring_full")?);
    ensure!(
        ring_full > 0,
        "the tiny ring was never full: the test proves nothing"
    );
    ensure!(
        submitted + ring_full == storm.reference.len() as u64,
        "submitted {submitted} + ring_full {ring_full}, the reference has {}",
        storm.reference.len()
    );
    same_distribution(storm.stream.process(storm.pid)?, &storm.reference, report)
}
