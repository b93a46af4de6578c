//! sysmon under a quota: how late it asks, and that it is told to be starved of CPU.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::chain_life::spawn;
use crate::actor::pause_ms;
use crate::go::Workload;
use crate::group::Group;
use crate::run::{Report, Settings, Test};
use crate::stream::{Stream, number};
use crate::sys;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "chain::asked_before",
            body: asked_before,
        },
        Test {
            name: "chain::starved",
            body: starved,
        },
    ]
}

/// 20 % of one CPU.
const QUOTA_US: (u64, u64) = (20_000, 100_000);
/// Requests of one awakening of sysmon lie closer together than this, those of two further
/// apart, as the group is out of quota in between.
const APART_NS: u64 = 20_000_000;
/// Fewest bursts that are judged.
const BURSTS: u64 = 8;
/// How long each program is traced.
const WINDOW_MS: u64 = 4_000;

/// Slices that nobody can end, of goroutines that spin since long before the trace: the first
/// request that is seen of each is not its first, and says nothing of how late sysmon was.
fn asked_before(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut all = Workload::all(settings)?;
    all.retain(|workload| !workload.stripped);
    let workload = all.pop().context("no workload")?;
    let mut actor =
        workload.start_with(&["spin", "120"], ("GODEBUG", "asyncpreemptoff=1"), None)?;
    actor.expect("ready")?;
    let pid = u32::try_from(actor.pid())?;
    pause_ms(1_500);
    let gohang = spawn(settings, &["-p", &pid.to_string()])?;
    pause_ms(1_000);
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    actor.kill();
    let of_sysmon = stream
        .requests
        .iter()
        .filter(|line| line["asker"] == "retake");
    let of_sysmon: Vec<&Value> = of_sysmon.collect();
    let late = of_sysmon.iter().filter_map(|line| line["late_ns"].as_u64());
    let late: Vec<u64> = late.collect();
    let told = number(stream.process(pid)?, "/chain/links/late/count")?;
    report.note(format!(
        "{workload}: {} requests of sysmon, late by {late:?} ns",
        of_sysmon.len()
    ));
    ensure!(of_sysmon.len() >= 5, "only {} requests", of_sysmon.len());
    ensure!(
        late.is_empty() && told == 0,
        "slices that began before are late by {late:?} ns, {told} in the report"
    );
    Ok(())
}

/// Four goroutines spin under 20 % of a CPU: sysmon asks once a period at most, late by about
/// as much as the group's own `cpu.stat` says that a run queue of it was out of quota.
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
        // The trace is longer than the window in it, by as much as this machine is busy.
        let outside = group.throttled_periods()?;
        let gohang = spawn(settings, &["-p", &pid.to_string()])?;
        let before = (group.throttled_ns()?, group.throttled_periods()?);
        pause_ms(WINDOW_MS);
        let after = (group.throttled_ns()?, group.throttled_periods()?);
        let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
        let most = group.throttled_periods()? - outside + 1;
        actor.kill();
        let periods = after.1 - before.1;
        let queues = (sys::online_cpus()?.len() as u64).min(2);
        let throttled_ns = (after.0 - before.0) / queues / periods.max(1);
        let wakes = wakes(&stream.requests)?;
        // A slice that ends between two spells without quota is asked to end in time.
        let mut late = wakes.clone();
        late.retain(|(ns, _)| *ns >= throttled_ns / 2);
        // What is told of sysmon's thread is since it last woke up: the last spell, where it
        // was late by several.
        let period_ns = QUOTA_US.1 * 1_000;
        let several = late.iter().filter(|(late, _)| *late > period_ns).count();
        let late_ns: u64 = late.iter().map(|(late, _)| late.min(&period_ns)).sum();
        let by_quota: u64 = late.iter().map(|(_, throttled)| throttled).sum();
        late.sort_unstable_by_key(|(_, throttled)| *throttled);
        let each = late
            .get(late.len() / 2)
            .map_or(0, |(_, throttled)| *throttled);
        report.note(format!(
            "{workload}: sysmon asked in {} bursts in {periods} throttled periods, in {} of them \
             late by a spell without quota, {several} by several: {} ms in all, a period each at \
             most, {} ms of it out of quota, median {:.1} ms; cpu.stat has {:.1} ms a period and \
             run queue",
            wakes.len(),
            late.len(),
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
        // Once a period at most, and not where all goroutines yielded by themselves.
        let bursts = late.len() as u64;
        ensure!(
            (BURSTS..=most).contains(&bursts),
            "late in {bursts} bursts in {periods} periods, {most} at most"
        );
        ensure!(
            by_quota * 10 >= late_ns * 8,
            "{by_quota} of {late_ns} ns by quota"
        );
        ensure!(
            each.abs_diff(throttled_ns) * 10 <= throttled_ns * 2,
            "{each} ns out of quota, cpu.stat has {throttled_ns} ns"
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
