//! The report on cgroup v1 and v2: the same document, and the limits that were set.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::actor::{self, Sends, Target};
use crate::group::Group;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test};
use crate::shape::Shape;
use crate::stage::wait_senders;

/// What the report of this test looks like, whatever the version and the kernel.
const SHAPE: &str = include_str!("../../data/shape.txt");

/// Longer than the trace takes.
const LIMIT: Duration = Duration::from_secs(60);

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "shape::limits",
        body: limits,
    }]
}

/// A group's path as in `/proc/PID/cgroup`: these are made at the top of the hierarchy.
fn path_of(group: &Group, depth: usize) -> String {
    let names: Vec<_> = group.path().components().rev().take(depth).collect();
    let names = names.iter().rev().map(|name| name.as_os_str());
    names.map(|name| format!("/{}", name.display())).collect()
}

/// One process in a group with a quota of its own, and one in a group without, below another
/// one that has a quota.
fn limits(settings: &Settings, report: &mut Report) -> Result<()> {
    let h = settings.hierarchy()?;
    let own = Group::new(&h, Some((20_000, 100_000)))?;
    let parent = Group::new(&h, Some((15_000, 50_000)))?;
    let child = parent.child("child", None)?;
    let start = |group| Target::start("spin", &["wait=1"], Some(group));
    let (mut alone, mut below) = (start(&own)?, start(&child)?);
    let pids = format!("{},{}", alone.pid, below.pid);
    // Evidence differs between rules: only one is to raise.
    let more = ["--stats", "--storm-rate", "1000000"];
    let args = [
        "trace", "-o", "json", "--non-go", "-p", &pids, more[0], more[1], more[2],
    ];
    let mut gohang = Gohang::spawn(settings.gohang()?, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    let mut senders = Vec::new();
    for target in [&mut alone, &mut below] {
        target.actor.go()?;
        target.actor.expect("ready")?;
        target.workers = actor::workers(target.pid)?;
        senders.push(Sends::to_workers(1_000, 2_000).start(target, None)?);
    }
    wait_senders(senders)?;
    gohang.signal(libc::SIGINT)?;
    let end = gohang.wait(LIMIT)?;
    end.expect_success()?;
    let document: Value = serde_json::from_slice(&end.stdout).context("not one document")?;

    let (own, parent, child) = (path_of(&own, 1), path_of(&parent, 1), path_of(&child, 2));
    check(&document, &alone, &own, (&own, 20_000_000, 100_000_000))?;
    check(&document, &below, &child, (&parent, 15_000_000, 50_000_000))?;
    // What lies in an empty array is of no form.
    for pointer in [
        "/probe_set/0",
        "/bpf_cost/0",
        "/processes/1/delivery/buckets/0",
        "/processes/1/stall/buckets/0",
        "/cgroups/1/stall/buckets/0",
        "/alerts/0",
    ] {
        ensure!(document.pointer(pointer).is_some(), "no {pointer}");
    }
    let differences = Shape::parse(SHAPE)?.differences(&document);
    for difference in &differences {
        report.note(difference);
    }
    ensure!(differences.is_empty(), "another form");
    report.note(format!("{:?}: the same form", h.version));
    alone.finish()?;
    below.finish()?;
    Ok(())
}

/// The process's group and limit, by the process and by the group.
fn check(
    document: &Value,
    target: &Target,
    group: &str,
    (owner, quota_ns, period_ns): (&str, u64, u64),
) -> Result<()> {
    let find = |list: &str, fits: &dyn Fn(&Value) -> bool| {
        let list = document[list].as_array().into_iter().flatten();
        let found: Vec<&Value> = list.filter(|one| fits(one)).collect();
        ensure!(found.len() == 1, "{} entries for {group}", found.len());
        Ok(found[0])
    };
    let process = find("processes", &|process| process["pid"] == target.pid)?;
    let limit = &process["limit"];
    ensure!(
        process["cgroup"] == group && process["quota_cgroup"] == group,
        "the process in {group} is told to be in {} and {}",
        process["cgroup"],
        process["quota_cgroup"]
    );
    let cpus = quota_ns as f64 / period_ns as f64;
    ensure!(
        limit["owner"] == owner
            && limit["quota_ns"] == quota_ns
            && limit["period_ns"] == period_ns
            && limit["cpus"] == cpus,
        "the limit of {group} is told to be {limit}"
    );
    let entry = find("cgroups", &|entry| entry["path"] == group)?;
    ensure!(
        entry["limit_owner"] == owner
            && entry["quota_ns"] == quota_ns
            && entry["period_ns"] == period_ns
            && entry["pids"] == serde_json::json!([target.pid]),
        "the group {group} is told as {entry}"
    );
    Ok(())
}
