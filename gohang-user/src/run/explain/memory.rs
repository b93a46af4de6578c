//! Little memory left, or a collector that has no time for anything else.
//!
//! A program that is short of memory uses its CPUs like one that loops. What tells them apart:
//! the collector is seen at work ([`Collecting`]), and there is hardly any room for it, within
//! the limit that Go was given (`GOMEMLIMIT`), within the group's, or by `GOGC`.

use super::case::Case;
use super::cause::Cause;
use super::collector::Collecting;
use super::finding::{Confidence, Finding};
use super::words;
use crate::cgroup::Pressure;
use crate::run::evidence::Process;

/// From this part of the limit on it is short of memory.
const SHARE: f64 = 0.8;
/// From this part of `GOMEMLIMIT` on each collection is followed by the next; from this one
/// on it may be.
const FULL: f64 = 0.9;
const NEAR: f64 = 0.5;
/// From this `GOGC` down, collections follow each other however little is in use: each leaves
/// room for so many per cent of what lives.
const LOW_PERCENT: u32 = 25;
/// Per cent of the last 10 s in which something waited for memory (PSI) from which that is a
/// reason.
const STALLED: f64 = 20.0;

/// What bounds the heap of a Go program.
struct Bounds<'a> {
    process: &'a Process,
    /// `GOMEMLIMIT`, as it was given.
    soft: Option<&'a str>,
    /// The part of it that is resident.
    part: f64,
    /// `GOGC`, where that is low.
    percent: Option<u32>,
}

impl<'a> Bounds<'a> {
    /// `None` without either.
    fn of(process: &'a Process) -> Option<Self> {
        let value = |name: &str| process.environment.get(name).map(String::as_str);
        let soft = value("GOMEMLIMIT").filter(|limit| soft_limit(limit).is_some());
        let limit = soft.and_then(soft_limit).unwrap_or(u64::MAX).max(1);
        let percent = value("GOGC").and_then(|percent| percent.parse().ok());
        let percent = percent.filter(|percent| *percent <= LOW_PERCENT);
        (soft.is_some() || percent.is_some()).then(|| Self {
            process,
            soft,
            part: process.rss_bytes.unwrap_or(0) as f64 / limit as f64,
            percent,
        })
    }

    fn words(&self) -> String {
        let soft = self.soft.map(|limit| format!("GOMEMLIMIT={limit}"));
        let percent = self.percent.map(|percent| format!("GOGC={percent}"));
        let all: Vec<String> = soft.into_iter().chain(percent).collect();
        let resident = self.process.rss_bytes.map_or_else(String::new, |rss| {
            format!(", of which {} are in use", words::bytes(rss))
        });
        format!(
            "{} (pid {}) runs with {}{}",
            self.process.comm,
            self.process.pid,
            all.join(" and "),
            if self.soft.is_some() {
                resident.as_str()
            } else {
                ""
            }
        )
    }
}

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
    let stalled = memory.and_then(|memory| stalled(case, &memory.path));
    let leaves = evidence.processes.iter().filter(|process| process.leaf);
    // The tightest.
    let bounds = leaves
        .filter_map(Bounds::of)
        .max_by(|a, b| a.part.total_cmp(&b.part));
    let is_low = bounds.as_ref().is_some_and(|b| b.percent.is_some());
    let part = bounds.as_ref().map_or(0.0, |bounds| bounds.part);
    let collecting = Collecting::of(case);
    let seen = collecting.is_seen();
    let squeezed = part >= FULL || is_low || is_short && (hit || part >= NEAR);
    let confidence = match () {
        () if condition == Some("memory_pressure") && is_short => Confidence::Certain,
        () if seen && squeezed => Confidence::Certain,
        () if is_short && (hit || stalled.is_some()) => Confidence::Likely,
        () if seen && (part >= NEAR || is_short) => Confidence::Likely,
        // Busy for whatever reason: the collector was not seen.
        () if part >= FULL && case.busy().is_some() => Confidence::Possible,
        () => return None,
    };
    let is_collector = seen && bounds.is_some() || !is_short;
    let summary = match memory {
        _ if !seen && !is_short => {
            "GOMEMLIMIT is used up, so that the collector may be all that runs".to_owned()
        }
        _ if is_collector => {
            "the collector runs all the time, because there is hardly any memory to hand out"
                .to_owned()
        }
        Some(memory) => format!(
            "{} of {} of memory are in use, and the kernel reclaims instead of letting it get on",
            words::bytes(memory.used_bytes),
            words::bytes(memory.limit_bytes)
        ),
        None => "it is short of memory".to_owned(),
    };
    let more = memory
        .map(|memory| case.again(&format!("--memory-max {}M", (memory.limit_bytes * 2) >> 20)));
    let used = memory.map(|memory| {
        format!(
            "{} uses {} of the {} that it may",
            memory.path,
            words::bytes(memory.used_bytes),
            words::bytes(memory.limit_bytes)
        )
    });
    let hits = evidence.counts.memory_hits_lately;
    let profile = "take a heap profile: go test -memprofile mem.out";
    let advice = match &bounds {
        Some(Bounds {
            soft: Some(limit), ..
        }) => format!("raise GOMEMLIMIT ({limit}), or {profile}"),
        Some(_) => format!("raise GOGC, or {profile}"),
        None => format!("have Go keep within the limit (GOMEMLIMIT), or {profile}"),
    };
    Some(
        Finding::new(Cause::MemoryPressure, confidence, summary)
            .kind(if is_collector { "collector" } else { "limit" })
            .because(bounds.as_ref().map(Bounds::words))
            .because(used)
            .because(hit.then(|| format!("the limit was reached {hits} times")))
            .because(stalled.map(|share| {
                format!("for {share:.0} % of the last 10 s something waited for memory")
            }))
            .because(collecting.words())
            .next(more.filter(|_| is_short))
            .next([advice]),
    )
}

/// Per cent of time in which something in the group waited for memory, if that is much.
fn stalled(case: &Case<'_>, group: &str) -> Option<f64> {
    let end = format!("{}/memory.pressure", group.trim_end_matches('/'));
    let mut files = case.evidence.place.files.iter();
    let (_, text) = files.find(|(path, _)| path.ends_with(&end))?;
    let pressure = Pressure::parse(text).ok()?;
    Some(pressure.some.avg10).filter(|share| *share >= STALLED)
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
