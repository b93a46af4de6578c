//! What the hooks on run queues cost, by the kernel's own statistics.

use anyhow::{Context, Error, Result, ensure};
use serde_json::Value;

use crate::actor::Target;
use crate::bpf::Empty;
use crate::group::Group;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::{btf, sys};

/// The functions, and gohang's programs on them.
const EDGES: [&str; 2] = ["tg_throttle_down", "tg_unthrottle_up"];

/// Quota and period, us: 20 % of a CPU, and 50 edges of each kind a second.
const QUOTA: (u64, u64) = (4_000, 20_000);

/// For how long the thread works, ms.
const WORK_MS: u64 = 5_000;

/// At least so many edges of each kind.
const RUNS: u64 = 150;

/// How long an edge may take on top of an empty program, ns: far above what it does, in an
/// emulated machine that counts its instructions at 2 ns each.
const MOST_NS: f64 = 6_000.0;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "cost::throttle_edges",
        body: throttle_edges,
    }]
}

/// Time a run of gohang's programs on both edges, beside empty ones on the same functions, while
/// a traced thread runs out of quota and gets it back.
fn throttle_edges(settings: &Settings, report: &mut Report) -> Result<()> {
    let functions = btf::functions(&EDGES)?;
    let empty = EDGES.map(|name| {
        let id = functions.get(name).with_context(|| format!("no {name}"))?;
        Empty::attach(*id).map_err(|e| match e.raw_os_error() {
            Some(libc::EPERM) => skip("this kernel refuses programs on functions"),
            _ => Error::new(e).context("an empty program"),
        })
    });
    let empty = empty.into_iter().collect::<Result<Vec<Empty>>>()?;
    let group = Group::new(&settings.hierarchy()?, Some(QUOTA))?;
    let work = format!("work_ms={WORK_MS}");
    let mut target = Target::start("spin", &["wait=1", "cpu=0", &work], Some(&group))?;
    let pid = target.pid.to_string();
    let args = ["trace", "-o", "json", "--stats", "--non-go", "-p", &pid];
    let mut gohang = Gohang::spawn(settings.gohang()?, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    target.actor.go()?;
    target.actor.expect("ready")?;
    sys::sleep_ns((WORK_MS + 100) * 1_000_000);
    let costs = empty.iter().map(Empty::cost);
    let costs = costs.collect::<Result<Vec<_>, _>>()?;
    let end = gohang.interrupt()?;
    target.finish()?;
    let document: Value = serde_json::from_slice(&end.stdout).context("not one document")?;
    report.note(format!(
        "{}, {}",
        document["kernel"].as_str().unwrap_or_default(),
        document["precision"].as_str().unwrap_or_default()
    ));
    let programs = document["bpf_cost"].as_array().context("no costs")?;
    for (name, (empty_runs, empty_ns)) in EDGES.into_iter().zip(costs) {
        let ours = programs
            .iter()
            .find(|own| own["program"] == name)
            .with_context(|| format!("no program {name}"))?;
        let runs = ours["runs"].as_u64().unwrap_or(0);
        ensure!(
            runs >= RUNS && empty_runs >= RUNS,
            "{name} ran {runs} times, the empty program {empty_runs}"
        );
        let each = ours["ns"].as_u64().unwrap_or(0) as f64 / runs as f64;
        let each_empty = empty_ns as f64 / empty_runs as f64;
        let more = each - each_empty;
        report.note(format!(
            "{name}: {runs} runs of {each:.0} ns, empty {each_empty:.0} ns, {more:+.0} ns"
        ));
        ensure!(
            (0.0..=MOST_NS).contains(&more),
            "an edge takes {more:.0} ns more than an empty program"
        );
    }
    Ok(())
}
