//! Out of CPU quota, and what makes that worse.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::words;
use crate::run::evidence::{LiftOutcome, Process, ThrottledBy};

/// From this part of wall time out of quota on, it can be the reason.
const SHARE: f64 = 0.5;
/// From this version on the runtime takes the group's limit into account (`runtime/cgroup_linux.go`,
/// Go 1.25), but never less than two.
const KNOWS_QUOTA: (u32, u32) = (1, 25);
const LEAST_PROCS: u64 = 2;
/// Alerts of the tracer that tell of a `sysmon` that is out of quota itself.
const SYSMON: [&str; 2] = ["sysmon_starved", "sysmon-starved"];

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let evidence = case.evidence;
    let by = case.throttled();
    let condition = evidence
        .exceeded
        .as_ref()
        .and_then(|exceeded| exceeded.condition.as_deref());
    let enough = by.is_some_and(|by| by.share >= SHARE) || condition == Some("throttled");
    let above = !evidence.lift.still_limited_by.is_empty();
    let confidence = match evidence.lift.outcome {
        LiftOutcome::Resumed => Confidence::Certain,
        // A group above was still in the way: it proves nothing.
        LiftOutcome::NoProgress if !above => return None,
        _ if enough => Confidence::Likely,
        _ => return None,
    };
    let quota = by.and_then(|by| by.quota_cpus).or(evidence.lift.quota_cpus);
    let procs = quota.and_then(|quota| too_many_procs(case, quota));
    let sysmon = case.evidence.trace.report.as_ref().and_then(|report| {
        report
            .alerts
            .iter()
            .find(|alert| SYSMON.contains(&alert.rule.as_str()))
    });
    let kind = match (&procs, sysmon) {
        (_, Some(_)) => "sysmon_starved",
        (Some(_), None) => "gomaxprocs_above_quota",
        (None, None) => "quota_too_small",
    };
    let limit = quota.map_or_else(
        || "its CPU quota".to_owned(),
        |cpus| format!("its CPU quota of {} of a CPU", words::share(cpus)),
    );
    let summary = match (evidence.lift.outcome, confidence) {
        (LiftOutcome::Resumed, _) => format!("{limit} keeps it from getting on: without, it did"),
        _ => format!("it is out of {limit} most of the time"),
    };
    let need = evidence
        .lift
        .after
        .cpus
        .filter(|_| evidence.lift.outcome == LiftOutcome::Resumed);
    let more = need
        .into_iter()
        .chain(quota.map(|quota| quota * 4.0))
        .fold(0.1, f64::max);
    let more = (more * 20.0).ceil() * 5.0;
    let own = by.is_none_or(|by| by.own);
    let give = if own {
        case.again(&format!("--cpu-quota {more:.0}%"))
    } else {
        let path = by.map_or("", |by| by.path.as_str());
        format!(
            "raise the CPU limit of {path} (cpu.max, CPUQuota=, resources.limits.cpu) to {more:.0}%"
        )
    };
    let fewer = procs
        .map(|(_, _, wanted)| format!("GOMAXPROCS={wanted} {}", words::command(&evidence.command)));
    Some(
        Finding::new(Cause::Throttled, confidence, summary)
            .kind(kind)
            .because(case.lift())
            .because(by.map(throttled_words))
            .because(procs.map(|(process, procs, _)| format!(
                "{} (pid {}) runs up to {procs} threads of Go code at a time, which use up the quota together and then all stand still",
                process.comm, process.pid
            )))
            .because(sysmon.map(|alert| alert.headline.clone()))
            .next([give])
            .next(fewer),
    )
}

fn throttled_words(by: &ThrottledBy) -> String {
    let quota = by.quota_cpus.map_or_else(String::new, |cpus| {
        format!(", which allows {} of a CPU,", words::share(cpus))
    });
    format!(
        "{}{quota} was out of quota for {} of the last {}, in {} of {} periods",
        by.path,
        words::share(by.share),
        words::time(by.within_ns),
        by.periods,
        by.of
    )
}

/// A Go program that runs more threads at a time than twice what the quota has room for; how
/// many, and how many it should.
fn too_many_procs<'a>(case: &Case<'a>, quota: f64) -> Option<(&'a Process, u64, u64)> {
    let room = (quota.ceil() as u64).max(1);
    let go = case
        .evidence
        .processes
        .iter()
        .filter(|process| process.leaf);
    go.filter_map(|process| {
        let facts = process.go.as_ref()?;
        let known = knows_quota(&facts.version).then(|| room.max(LEAST_PROCS));
        let procs = facts.gomaxprocs.or(known).unwrap_or(case.evidence.cpus);
        (procs > 2 * room).then_some((process, procs, room))
    })
    .max_by_key(|(_, procs, _)| *procs)
}

fn knows_quota(version: &str) -> bool {
    let mut parts = version.trim_start_matches("go").split(['.', 'r', 'b', '-']);
    let mut number = || parts.next()?.parse::<u32>().ok();
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) >= KNOWS_QUOTA,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_know_the_quota() {
        for (version, want) in [
            ("go1.24.11", false),
            ("go1.25", true),
            ("go1.25rc1", true),
            ("go1.27.3", true),
            ("go2.0", true),
            ("devel", false),
        ] {
            assert_eq!(knows_quota(version), want, "{version}");
        }
    }
}
