//! What alerts tell of Go programs, and that their healthy twins, one setting apart, raise
//! none.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::actor::{Actor, Sends, Target, pause_ms};
use crate::go::Workload;
use crate::product::{Gohang, run};
use crate::run::{Report, Settings, Test};

/// Longer than any of these traces.
const LIMIT: Duration = Duration::from_secs(60);
/// Turns preemption by signals off.
const OFF: &str = "asyncpreemptoff=1";
/// Does not.
const ON: &str = "asyncpreemptoff=0";
/// Microseconds between two signals of the storm: twenty times the limit's rate, as it may go
/// to several threads.
const STORM_EVERY_US: u64 = 50;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let test = |name, body| Test { name, body };
    vec![
        test("alerts::preemption_disabled", preemption_disabled),
        test("alerts::preemption_disabled_at_exec", at_exec),
        test("alerts::signal_storm", signal_storm),
    ]
}

/// The workload spinning, with this `GODEBUG`.
fn spinning(workload: &Workload, godebug: &str) -> Result<Actor> {
    let mut actor = workload.start_with(&["spin", "60"], ("GODEBUG", godebug), None)?;
    actor.expect("ready")?;
    Ok(actor)
}

/// The workload spinning, without preemption and with it.
fn twins(workload: &Workload) -> Result<[Actor; 2]> {
    Ok([spinning(workload, OFF)?, spinning(workload, ON)?])
}

/// Processes with an alert of this rule.
fn raised(document: &Value, rule: &str) -> Result<BTreeSet<i64>> {
    let alerts = document["alerts"].as_array().context("no alerts")?;
    Ok(alerts
        .iter()
        .filter(|alert| alert["rule"] == rule)
        .filter_map(|alert| alert["pid"].as_i64())
        .collect())
}

/// Delivered episodes of a process.
fn episodes(document: &Value, pid: i32) -> Result<u64> {
    let processes = document["processes"].as_array().context("no processes")?;
    let process = processes.iter().find(|process| process["pid"] == pid);
    let count = process.and_then(|process| process["episodes"].as_u64());
    count.with_context(|| format!("process {pid} is not in the report"))
}

/// A report with `--fail-on` of a rule, and whether that failed.
fn trace(settings: &Settings, pids: &[i32], rule: &str) -> Result<(bool, Value)> {
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    let pids = pids.join(",");
    let args = [
        "trace",
        "-p",
        &pids,
        "-d",
        "1500ms",
        "-o",
        "json",
        "--fail-on",
        rule,
    ];
    let end = run(settings.gohang()?, &args, LIMIT)?;
    let failed = end.status.code() == Some(1);
    let says = end
        .stderr
        .contains(&format!("gohang: gate failed: {rule}: process "));
    ensure!(
        (failed || end.status.success()) && failed == says,
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    let document: Value = serde_json::from_slice(&end.stdout).context("not one JSON document")?;
    ensure!(
        document["gates"][0]["failed"] == failed,
        "exit code and document differ: {}",
        document["gates"]
    );
    Ok((failed, document))
}

/// Every version, stripped and not: the alert is there for the process with the setting,
/// which gets no signals, and not for its twin, which does.
fn preemption_disabled(settings: &Settings, report: &mut Report) -> Result<()> {
    const RULE: &str = "preemption-disabled";
    for workload in Workload::all(settings)? {
        let [mut off, mut on] = twins(&workload)?;
        let (off_pid, on_pid) = (off.pid(), on.pid());
        let (failed, both) = trace(settings, &[off_pid, on_pid], RULE)?;
        let alerts = raised(&both, RULE)?;
        ensure!(
            failed && alerts == BTreeSet::from([i64::from(off_pid)]),
            "{workload}: {off_pid} is without preemption, alerts are for {alerts:?}"
        );
        let counts = [episodes(&both, off_pid)?, episodes(&both, on_pid)?];
        ensure!(
            counts[0] == 0 && counts[1] > 0,
            "{workload}: {counts:?} signals, the first without preemption"
        );
        let (failed, healthy) = trace(settings, &[on_pid], RULE)?;
        ensure!(!failed, "{workload}: {}", healthy["alerts"]);
        let (failed, healthy) = trace(settings, &[on_pid], "signal-storm")?;
        ensure!(!failed, "{workload}: {}", healthy["alerts"]);
        report.note(format!(
            "{workload}: {} signals with, {} without preemption",
            counts[1], counts[0]
        ));
        off.kill();
        on.kill();
    }
    Ok(())
}

/// Programs that start while everything is traced are looked at as they execute.
fn at_exec(settings: &Settings, report: &mut Report) -> Result<()> {
    let args = ["trace", "-o", "json"].map(str::to_owned);
    let mut gohang = Gohang::spawn(settings.gohang()?, &args)?;
    gohang.wait_ready()?;
    let mut started = Vec::new();
    for workload in Workload::all(settings)? {
        started.push(twins(&workload)?);
    }
    pause_ms(300);
    let end = gohang.interrupt()?;
    let document: Value = serde_json::from_slice(&end.stdout).context("not one JSON document")?;
    let alerts = raised(&document, "preemption-disabled")?;
    for [off, on] in &mut started {
        let told = [off.pid(), on.pid()].map(|pid| alerts.contains(&i64::from(pid)));
        ensure!(
            told == [true, false],
            "{} without preemption, {} with it: alerts are for {alerts:?}",
            off.pid(),
            on.pid()
        );
        off.kill();
        on.kill();
    }
    report.note(format!("{} programs, as many twins", started.len()));
    Ok(())
}

/// One of two spinning programs is signalled from outside all the time.
fn signal_storm(settings: &Settings, report: &mut Report) -> Result<()> {
    const RULE: &str = "signal-storm";
    for workload in Workload::all(settings)?.iter().filter(|w| !w.stripped) {
        let mut stormed = Target::foreign(spinning(workload, ON)?);
        let mut twin = spinning(workload, ON)?;
        let mut sender = Sends::to_process(STORM_EVERY_US, 0)
            .first()
            .start(&stormed, None)?;
        let (failed, document) = trace(settings, &[stormed.pid, twin.pid()], RULE)?;
        let sender_pid = sender.pid();
        sender.kill();
        let alerts = raised(&document, RULE)?;
        ensure!(
            failed && alerts == BTreeSet::from([i64::from(stormed.pid)]),
            "{workload}: {} is signalled by {sender_pid}, alerts are for {alerts:?}",
            stormed.pid
        );
        let all = document["alerts"].as_array().context("no alerts")?;
        let evidence = all
            .iter()
            .find(|alert| alert["rule"] == RULE)
            .map(|alert| &alert["evidence"])
            .context("no evidence")?;
        let first = &evidence["senders"][0];
        ensure!(
            first["pid"] == sender_pid && first["self"] == false,
            "{workload}: {sender_pid} sends, told is {evidence}"
        );
        report.note(format!(
            "{workload}: {} a second to {} threads, {} of them coalesced",
            evidence["sends_per_second"], evidence["threads"], evidence["coalesced_share"]
        ));
        stormed.actor.kill();
        twin.kill();
    }
    Ok(())
}
