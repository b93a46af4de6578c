//! Names of the functions that signals interrupted.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::actor::pause_ms;
use crate::go::Workload;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test};
use crate::stream::{Stream, number};

/// The function of the workload that spins.
const SPINNER: &str = "main.spin";

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "names::of_a_spinner",
        body: spinner,
    }]
}

/// Of goroutines that spin, signals interrupt the function that spins, in programs of every
/// version, stripped or not, and loaded at an address chosen at run time.
fn spinner(settings: &Settings, report: &mut Report) -> Result<()> {
    let gohang = settings.gohang()?;
    let mut actors = Vec::new();
    for workload in Workload::all(settings)?
        .into_iter()
        .chain(Workload::all_pie(settings)?)
    {
        let mut actor = workload.start(&["spin", "60"], None)?;
        actor.expect("ready")?;
        actors.push((workload, actor));
    }
    let pids: Vec<String> = actors
        .iter()
        .map(|(_, actor)| actor.pid().to_string())
        .collect();
    let args = ["trace", "-o", "jsonl", "--events", "-p", &pids.join(",")];
    let mut gohang = Gohang::spawn(gohang, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    pause_ms(6_000);
    let finished = gohang.interrupt()?;
    let stream = Stream::parse(&finished.stdout)?;
    let episodes: Vec<Value> = String::from_utf8_lossy(&finished.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["type"] == "episode")
        .collect();
    for (workload, mut actor) in actors {
        let pid = u32::try_from(actor.pid())?;
        actor.kill();
        let process = stream.process(pid)?;
        let top = process
            .pointer("/interrupted/0")
            .with_context(|| format!("{workload}: nothing is named"))?;
        let (all, most) = (number(process, "/episodes")?, number(top, "/count")?);
        let safe = number(top, "/safe_points/safe")?;
        report.note(format!("{workload}: {most} of {all}, {safe} safe"));
        ensure!(
            top["function"] == SPINNER,
            "{workload}: the function interrupted most is {}",
            top["function"]
        );
        ensure!(all >= 10, "{workload}: only {all} deliveries");
        ensure!(
            most * 10 >= all * 8 && safe * 10 >= most * 8,
            "{workload}: {most} of {all} deliveries in {SPINNER}, {safe} of them safe"
        );
        let named = episodes
            .iter()
            .filter(|line| line["pid"] == pid && line["function"] == SPINNER);
        let (named, total) = named.fold((0, 0), |(count, total), line| {
            (count + 1, total + line["latency_ns"].as_u64().unwrap_or(0))
        });
        ensure!(
            named == most && total == number(top, "/total_ns")?,
            "{workload}: {named} lines of {total} ns, the report says {top}"
        );
    }
    Ok(())
}
