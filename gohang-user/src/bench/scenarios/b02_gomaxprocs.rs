//! B2: a service with a quota and more and more Ps.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::trace::{Trace, Whom};
use crate::bench::Extent;
use crate::experiment::{ExperimentError, Quota};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B2",
    title: "GOMAXPROCS above the quota",
    source: "uber-go/automaxprocs, #33803, #73193",
    reported: "2 CPUs of quota, GOMAXPROCS 2 or 24: 44,715 or 22,191 requests/s, p99.9 26.4 or \
               76.2 ms",
    scale: "half a CPU of quota for 2, as the load needs one of 2 CPUs here: 2 of 24 Ps and more \
            can run at a time, so that GOMAXPROCS 8 wastes what 2 does, and requests/s are a \
            quarter at most",
    needs: &[Need::Go, Need::Cpus(2)],
    estimate: |extent| (length(extent) + Duration::from_secs(2)) * RUNS.len() as u32,
    run,
};

/// Quota in hundredths of a CPU, GOMAXPROCS, and the requests a second and p99.9 in ns that
/// were published of the like.
type Run = (Option<u64>, u64, Option<(f64, f64)>);
const RUNS: [Run; 4] = [
    (None, 2, None),
    (Some(QUOTA), 1, Some((44_715.0, 26.4e6))),
    (Some(QUOTA), 2, None),
    (Some(QUOTA), 8, Some((22_191.0, 76.2e6))),
];
/// Hundredths of a CPU.
const QUOTA: u64 = 50;
/// Connections of the load.
const CONNECTIONS: u64 = 8;
/// Longest wait for a line or an end, beyond what it should take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the longest wait for quota may exceed its formula by: a slice that a CPU still had
/// (`sched_cfs_bandwidth_slice_us`), and the timer.
const SLACK_NS: f64 = 15e6;
/// The rule that tells of a GOMAXPROCS above the quota.
const RULE: &str = "gomaxprocs-above-quota";

const fn length(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(8),
        Extent::Quick => Duration::from_millis(1500),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    for one in RUNS {
        serve(stand, one, &mut outcome)?;
    }
    Ok(outcome)
}

fn serve(
    stand: &mut Stand<'_>,
    (quota, procs, published): Run,
    outcome: &mut Outcome,
) -> Result<(), ExperimentError> {
    let limit = quota.map_or_else(
        || "no quota".to_owned(),
        |percent| format!("quota {percent} %"),
    );
    let setting = format!("{limit}, GOMAXPROCS {procs}");
    let length = length(stand.extent);
    let program = stand.program("http", include_str!("go/http.go"))?;
    let group = stand.group(quota.map(Quota::percent))?;
    let mut trace = Trace::start(&[&group], Whom::Go)?;
    let mut service = Command::new(&program);
    service.arg("serve").env("GOMAXPROCS", procs.to_string());
    let mut service = stand.start("http-serve", service, Some(&group))?;
    stand.wait(Some(&mut trace), PATIENCE, || {
        Ok(!service.figures("port").is_empty() || service.ended()?.is_some())
    })?;
    let port = service.figure("port")? as u64;
    let before = group.stat()?.unwrap_or_default();
    let mut load = Command::new(&program);
    let numbers = [port, CONNECTIONS, length.as_millis() as u64];
    load.arg("load")
        .args(numbers.map(|number| number.to_string()));
    let mut load = stand.start("http-load", load, None)?;
    stand.until_ended(&mut load, Some(&mut trace), length * 2 + PATIENCE)?;
    let after = group.stat()?.unwrap_or_default();
    let advised = advised(stand, service.pid())?;
    let traced = trace.finish()?;
    service.kill();
    stand.close(group)?;
    outcome.heard(&setting, &traced);

    let rate = load.figure("requests")? * 1e9 / load.figure("elapsed")?;
    let (their_rate, their_tail) = published.unzip();
    outcome.row(
        &setting,
        "requests",
        their_rate,
        Some(rate),
        Unit::PerSecond,
    );
    outcome.row(
        &setting,
        "request, p99",
        None,
        Some(load.figure("p99")?),
        Unit::Ns,
    );
    outcome.row(
        &setting,
        "request, p99.9",
        their_tail,
        Some(load.figure("p999")?),
        Unit::Ns,
    );
    let process = traced.process(service.pid())?;
    let longest = process.stall.max_ns.unwrap_or_default() as f64;
    outcome.row(
        &setting,
        "thread out of quota, longest",
        None,
        Some(longest),
        Unit::Ns,
    );
    let share = process.stall_share();
    outcome.row(
        &setting,
        "share of runnable time out of quota",
        None,
        share,
        Unit::Share,
    );

    let named = |what: &str| format!("{setting}: {what}");
    let times = after.nr_throttled.zip(before.nr_throttled);
    let times = times.map_or(0, |(after, before)| after.saturating_sub(before));
    if let Some(percent) = quota {
        outcome.check(Check::at_least(
            named("periods throttled, by cpu.stat"),
            times as f64,
            1.0,
            Unit::Count,
        ));
        outcome.check(Check::at_least(
            named("waits for quota seen"),
            process.stall.count as f64,
            1.0,
            Unit::Count,
        ));
        // As the rule has it; no more threads run at a time than there are CPUs.
        let running = procs.min(stand.cpus() as u64);
        let formula = (100 - percent.min(100) / running) as f64 * 1e6;
        let what = named("longest wait for quota against period - quota / running threads");
        outcome.check(Check::at_most(what, longest, formula + SLACK_NS, Unit::Ns));
    } else {
        outcome.check(Check::at_most(
            named("time out of quota"),
            process.stall.total_ns as f64,
            0.0,
            Unit::Ns,
        ));
    }
    // Two are what the runtime itself uses at least.
    let wanted = u64::from(quota.is_some() && procs > 2);
    let count = advised.iter().filter(|rule| *rule == RULE).count() as u64;
    outcome.check(Check::equals(
        named("advises gomaxprocs-above-quota"),
        count,
        wanted,
    ));
    Ok(())
}

/// Rules of what `gohang advise` says of a process.
fn advised(stand: &mut Stand<'_>, pid: u32) -> Result<Vec<String>, ExperimentError> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["advise", "-o", "json", &pid.to_string()]);
    let mut job = stand.start("advise", command, None)?;
    let mut status = None;
    // Something to change is another code than 0.
    stand.wait(None, PATIENCE, || {
        status = job.ended()?;
        Ok(status.is_some())
    })?;
    let document: Value =
        serde_json::from_str(&job.output()).map_err(|error| ExperimentError::Workload {
            what: format!("gohang advise printed no document: {error}"),
        })?;
    let mut rules = Vec::new();
    find_rules(&document, &mut rules);
    Ok(rules)
}

/// Every `rule` in a document.
fn find_rules(value: &Value, rules: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(rule)) = members.get("rule") {
                rules.push(rule.clone());
            }
            members
                .values()
                .for_each(|member| find_rules(member, rules));
        }
        Value::Array(items) => items.iter().for_each(|item| find_rules(item, rules)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_wherever_they_are() {
        let document = serde_json::json!({"a": [{"rule": "x", "b": {"rule": "y"}}], "rule": 1});
        let mut rules = Vec::new();
        find_rules(&document, &mut rules);
        assert_eq!(rules, ["x", "y"]);
    }
}
