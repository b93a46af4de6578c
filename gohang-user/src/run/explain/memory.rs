//! Little memory left, or a collector that has no time for anything else.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::words;
use crate::golang::dump::Goroutine;

/// From this part of the limit on it is short of memory.
const SHARE: f64 = 0.8;
/// Functions in which a goroutine helps the collector instead of doing its own work
/// (`runtime/mgcmark.go`).
const ASSISTS: [&str; 4] = [
    "runtime.gcAssistAlloc",
    "runtime.gcAssistAlloc1",
    "runtime.gcParkAssist",
    "runtime.deductAssistCredit",
];

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let evidence = case.evidence;
    let condition = evidence
        .exceeded
        .as_ref()
        .and_then(|exceeded| exceeded.condition.as_deref());
    let memory = evidence
        .samples
        .last()
        .and_then(|sample| sample.memory.as_ref());
    let share = memory.map_or(0.0, |memory| {
        memory.used_bytes as f64 / memory.limit_bytes.max(1) as f64
    });
    let is_short = share >= SHARE;
    let hit = evidence.counts.memory_hits_lately > 0;
    let assisting: Vec<&Goroutine> = case.goroutines().filter(|one| assists(one)).collect();
    let mut leaves = evidence.processes.iter().filter(|process| process.leaf);
    let soft = leaves.find_map(|process| {
        let limit = process
            .environment
            .get("GOMEMLIMIT")
            .filter(|limit| *limit != "off")?;
        Some((process, limit))
    });
    // More resident than the collector is to allow: it never has enough to stop.
    let over = soft.is_some_and(|(process, limit)| {
        let near = |limit: u64| process.rss_bytes.is_some_and(|rss| rss >= limit / 10 * 9);
        soft_limit(limit).is_some_and(near)
    });
    let collecting = over || !assisting.is_empty() && (is_short || soft.is_some());
    let confidence = match () {
        () if condition == Some("memory_pressure") && is_short => Confidence::Certain,
        () if collecting && case.busy().is_some() => Confidence::Certain,
        () if is_short && hit => Confidence::Likely,
        () if collecting => Confidence::Likely,
        () => return None,
    };
    let kind = if collecting { "collector" } else { "limit" };
    let summary = match (collecting, memory) {
        (true, _) => {
            "the collector runs all the time, because there is hardly any memory to hand out"
                .to_owned()
        }
        (false, Some(memory)) => format!(
            "{} of {} of memory are in use, and the kernel reclaims instead of letting it get on",
            words::bytes(memory.used_bytes),
            words::bytes(memory.limit_bytes)
        ),
        (false, None) => "it is short of memory".to_owned(),
    };
    let more = memory
        .map(|memory| case.again(&format!("--memory-max {}M", (memory.limit_bytes * 2) >> 20)));
    Some(
        Finding::new(Cause::MemoryPressure, confidence, summary)
            .kind(kind)
            .because(memory.map(|memory| format!(
                "{} uses {} of the {} that it may", memory.path,
                words::bytes(memory.used_bytes), words::bytes(memory.limit_bytes)
            )))
            .because(hit.then(|| format!("the limit was reached {} times", evidence.counts.memory_hits_lately)))
            .because(soft.map(|(process, limit)| format!("{} (pid {}) runs with GOMEMLIMIT={limit}", process.comm, process.pid)))
            .because(over.then(|| "that much is in use, so that each collection is followed by the next".to_owned()))
            .because(assisting.first().map(|one| format!(
                "{} goroutines help the collector, as {}", assisting.len(), words::goroutine(one)
            )))
            .next(more.filter(|_| is_short))
            .next(soft.map(|(_, limit)| format!("raise GOMEMLIMIT ({limit}), or take a heap profile: go test -memprofile mem.out")))
            .next((soft.is_none()).then(|| "have Go keep within the limit (GOMEMLIMIT), or take a heap profile (go test -memprofile mem.out)".to_owned())),
    )
}

/// `GOMEMLIMIT` in bytes (runtime/mgcpacer.go, `parseByteCount`).
fn soft_limit(text: &str) -> Option<u64> {
    let units = [
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("KiB", 10),
        ("B", 0),
        ("", 0),
    ];
    units.into_iter().find_map(|(unit, shift)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(1 << shift)
    })
}

fn assists(goroutine: &Goroutine) -> bool {
    let mut frames = goroutine.frames.iter();
    goroutine.header.status.starts_with("GC assist")
        || frames.any(|frame| ASSISTS.contains(&frame.function.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_collector() {
        for (text, want) in [
            ("40MiB", Some(40 << 20)),
            ("1GiB", Some(1 << 30)),
            ("512B", Some(512)),
            ("99", Some(99)),
            ("off", None),
            ("99999999999TiB", None),
            ("", None),
        ] {
            assert_eq!(soft_limit(text), want, "{text}");
        }
    }
}
