//! A recording tells what the run told.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::actor::{Sends, Target, pause_ms};
use crate::go::Workload;
use crate::group::Group;
use crate::product::{self, Finished, Gohang};
use crate::run::{Report, Settings, Test};

/// Longer than any of these runs.
const LIMIT: Duration = Duration::from_secs(30);

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "recording::of_everything",
            body: of_everything,
        },
        Test {
            name: "recording::of_go",
            body: of_go,
        },
        Test {
            name: "recording::killed",
            body: killed,
        },
        Test {
            name: "recording::unwritable",
            body: unwritable,
        },
    ]
}

/// Starts a trace that is recorded.
fn record(settings: &Settings, file: &Path, args: &[&str]) -> Result<Gohang> {
    let mut all: Vec<String> = vec!["trace".into(), "--record".into(), path(file)?.into()];
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    let mut gohang = Gohang::spawn(settings.gohang()?, &all)?;
    gohang.wait_ready()?;
    Ok(gohang)
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().context("a path that is not UTF-8")
}

fn replay(settings: &Settings, file: &Path, args: &[&str]) -> Result<Finished> {
    let args = [&["replay", path(file)?], args].concat();
    product::run(settings.gohang()?, &args, LIMIT)
}

/// What was printed, checked to be the same in both.
fn same(live: &Finished, replayed: &Finished) -> Result<()> {
    ensure!(
        replayed.status.success(),
        "the replay: {}: {}",
        replayed.status,
        replayed.stderr_line()
    );
    let (a, b) = (
        String::from_utf8_lossy(&live.stdout),
        String::from_utf8_lossy(&replayed.stdout),
    );
    for (number, (live, replayed)) in a.lines().zip(b.lines()).enumerate() {
        ensure!(
            live == replayed,
            "line {number} was {live:.300} and is {replayed:.300}"
        );
    }
    ensure!(a.len() == b.len(), "{} bytes, then {}", a.len(), b.len());
    Ok(())
}

/// Every process of the machine, with some that come, go, wait for quota and leave signals
/// pending: the document is the same, field for field.
fn of_everything(settings: &Settings, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("everything");
    let group = Group::new(&settings.hierarchy()?, Some((10_000, 100_000)))?;
    let masked = Target::start("mask", &["hold_ms=10000"], None)?;
    let spinning = Target::start("spin", &[], Some(&group))?;
    let display = ["-o", "json", "--threshold", "100us"];
    let args = [&display[..], &["--non-go", "--stats"]].concat();
    let gohang = record(settings, &file, &args)?;
    let senders = [
        Sends::to_workers(1_000, 2_000).start(&masked, None)?,
        Sends::to_workers(1_000, 2_000).start(&spinning, None)?,
    ];
    let brief = Target::start("sleep", &["self_us=1000"], None)?;
    pause_ms(700);
    brief.finish()?;
    pause_ms(1_800);
    let live = gohang.interrupt()?;
    let document: Value = serde_json::from_slice(&live.stdout)?;
    let lists = ["processes", "cgroups", "alerts", "bpf_cost"];
    let sizes = lists.map(|list| document[list].as_array().map_or(0, Vec::len));
    let pending = document["processes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|process| process["outcomes"]["pending_at_end"].as_u64())
        .sum::<u64>();
    report.note(format!(
        "{lists:?}: {sizes:?}, {pending} pending at the end"
    ));
    ensure!(
        sizes.iter().all(|size| *size > 0) && pending > 0,
        "the run has too little in it"
    );
    same(&live, &replay(settings, &file, &display)?)?;
    for sender in senders {
        drop(sender);
    }
    Ok(())
}

/// Go programs: every line is the same, alerts between the episodes as they were.
fn of_go(settings: &Settings, report: &mut Report) -> Result<()> {
    let workloads = Workload::all(settings)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("go");
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    let mut longer = Vec::new();
    for workload in &workloads[..2] {
        let mut actor = workload.start(&["spin", "30"], Some(&group))?;
        actor.expect("ready")?;
        longer.push(actor);
    }
    let display = ["-o", "jsonl", "--events", "--threshold", "100us"];
    let gohang = record(settings, &file, &display)?;
    for workload in workloads.iter().cycle().take(12) {
        workload.start(&["short"], None)?.wait()?;
    }
    pause_ms(1_200);
    let live = gohang.interrupt()?;
    for actor in &mut longer {
        actor.kill();
    }
    let text = String::from_utf8_lossy(&live.stdout);
    let of = |kind: &str| {
        let begin = format!("{{\"type\":\"{kind}\"");
        text.lines().filter(|line| line.starts_with(&begin)).count()
    };
    report.note(format!(
        "{} episodes, {} alerts",
        of("episode"),
        of("alert")
    ));
    ensure!(of("episode") > 100 && of("alert") > 0, "too little in it");
    same(&live, &replay(settings, &file, &display)?)?;
    let size = std::fs::metadata(&file)?.len();
    report.note(format!("{size} bytes of recording"));
    Ok(())
}

/// SIGKILL half way: what was recorded can be told, and that it is not all is said.
fn killed(settings: &Settings, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("killed");
    let target = Target::start("sleep", &["self_us=1000"], None)?;
    let pid = target.pid.to_string();
    let gohang = record(settings, &file, &["--non-go", "-p", &pid, "-o", "json"])?;
    pause_ms(2_500);
    gohang.signal(libc::SIGKILL)?;
    gohang.wait(LIMIT)?;
    let end = replay(settings, &file, &["-o", "json"])?;
    report.note(end.stderr_line());
    ensure!(end.status.code() == Some(1), "{}", end.status);
    ensure!(
        end.stderr.contains("not whole") && end.stderr.contains("those of the first "),
        "it is not said what is missing"
    );
    let document: Value = serde_json::from_slice(&end.stdout)?;
    let process = &document["processes"][0];
    ensure!(process["pid"] == target.pid, "{process}");
    let count = process["delivery"]["count"].as_u64().unwrap_or(0);
    report.note(format!("{count} deliveries"));
    ensure!(count > 500, "only {count} deliveries");
    target.finish()?;
    Ok(())
}

/// A recording that cannot be written does not cost the report, but the exit code.
fn unwritable(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("sleep", &["self_us=1000"], None)?;
    let pid = target.pid.to_string();
    let args = ["--non-go", "-p", &pid, "-o", "json", "-d", "300ms"];
    let end = record(settings, Path::new("/dev/full"), &args)?.wait(LIMIT)?;
    report.note(end.stderr_line());
    ensure!(end.status.code() == Some(1), "{}", end.status);
    ensure!(
        end.stderr.contains("recording /dev/full") && end.stderr.contains("No space left"),
        "no reason given"
    );
    serde_json::from_slice::<Value>(&end.stdout).context("the report")?;
    for (file, args) in [
        ("/nonexistent/x", &[][..]),
        ("/tmp/x", &["--out", "/tmp/x"]),
    ] {
        let args = [&["trace", "--non-go", "-p", &pid, "--record", file], args].concat();
        let end = product::run(settings.gohang()?, &args, LIMIT)?;
        report.note(end.stderr_line());
        ensure!(end.status.code() == Some(2), "{}", end.status);
        ensure!(end.stderr.contains("record"), "no reason given");
    }
    target.finish()?;
    Ok(())
}
