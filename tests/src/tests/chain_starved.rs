//! sysmon under a quota: how late it asks, and that it is told to be starved of CPU.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::actor::pause_ms;
use crate::go::Workload;
use crate::group::Group;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test};
use crate::stream::{Stream, number};
use crate::sys;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "chain::starved",
        body: starved,
    }]
}

/// 20 % of one CPU.
const QUOTA_US: (u64, u64) = (20_000, 100_000);
/// Requests of one awakening of sysmon lie closer together than this, those of two further
/// apart, as the group is out of quota in between.
const APART_NS: u64 = 20_000_000;
/// How long each program is traced.
const WINDOW_MS: u64 = 4_000;

/// Four goroutines spin under 20 % of a CPU: sysmon asks once a period, late by about as much
/// as the group's own `cpu.stat` says that a run queue of it was out of quota.
fn starved(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut all = Workload::all(settings)?;
    all.retain(|workload| !workload.stripped);
    if !settings.full {
        all.drain(..all.len() - 1);
    }
    for workload in all {
        let group = Group::new(&settings.hierarchy()?, Some(QUOTA_US))?;
        let mut actor = workload.start(&["spin", "120"], Some(&group))?;
        actor.expect("ready")?;
        let pid = u32::try_from(actor.pid())?;
        let args = ["trace", "-o", "jsonl", "--events", "-p", &pid.to_string()];
        let mut gohang = Gohang::spawn(settings.gohang()?, &args.map(str::to_owned))?;
        gohang.wait_ready()?;
        let before = (group.throttled_ns()?, group.throttled_periods()?);
        pause_ms(WINDOW_MS);
        let after = (group.throttled_ns()?, group.throttled_periods()?);
        let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
        actor.kill();
        let periods = after.1 - before.1;
        let queues = (sys::online_cpus()?.len() as u64).min(2);
        let throttled_ns = (after.0 - before.0) / queues / periods.max(1);
        let wakes = wakes(&stream.requests)?;
        let late_ns: u64 = wakes.iter().map(|(late, _)| late).sum();
        let by_quota: u64 = wakes.iter().map(|(_, throttled)| throttled).sum();
        let each = by_quota / (wakes.len() as u64).max(1);
        report.note(format!(
            "{workload}: sysmon asked in {} bursts in {periods} throttled periods, {} ms late in \
             all, {} ms of it out of quota: {:.1} ms each; cpu.stat has {:.1} ms a period and \
             run queue",
            wakes.len(),
            late_ns / 1_000_000,
            by_quota / 1_000_000,
            each as f64 / 1e6,
            throttled_ns as f64 / 1e6,
        ));
        let alerts = stream.end["alerts"].as_array().context("no alerts")?;
        let first = alerts.first().context("no alert")?;
        ensure!(first["rule"] == "sysmon-starved", "first: {first}");
        let share = first["evidence"]["throttled_share"].as_f64();
        report.note(format!("{}", first["headline"]));
        ensure!(share.is_some_and(|share| share >= 0.8), "{first}");
        ensure!(
            (wakes.len() as u64) * 10 >= periods * 7,
            "{} bursts in {periods} periods",
            wakes.len()
        );
        ensure!(
            each.abs_diff(throttled_ns) * 10 <= throttled_ns * 2,
            "{each} ns out of quota each, cpu.stat has {throttled_ns} ns"
        );
        number(stream.process(pid)?, "/chain/requests")?;
    }
    Ok(())
}

/// sysmon's bursts of requests: how late the latest of each was, and how much of that its
/// thread was out of quota, ns.
fn wakes(requests: &[Value]) -> Result<Vec<(u64, u64)>> {
    let mut late = Vec::new();
    for line in requests.iter().filter(|line| line["asker"] == "retake") {
        let Some(ns) = line["late_ns"].as_u64() else {
            continue;
        };
        let throttled = number(line, "/sender_throttled_ns")?;
        late.push((number(line, "/requested_ns")?, ns, throttled.min(ns)));
    }
    late.sort_unstable();
    let bursts = late.chunk_by(|a, b| b.0 - a.0 < APART_NS);
    let latest = bursts.filter_map(|burst| burst.iter().map(|&(_, ns, out)| (ns, out)).max());
    Ok(latest.collect())
}
