//! What is left behind, and what grows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::actor::{Target, pause_ms};
use crate::bpf::{self, Kind};
use crate::product::Gohang;
use crate::run::{Report, Settings, Test};
use crate::stream;
use crate::sys;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "life::killed_trace",
            body: killed_trace,
        },
        Test {
            name: "life::killed_demo",
            body: killed_demo,
        },
        Test {
            name: "life::soak",
            body: soak,
        },
    ]
}

/// Waits until `done` says so, for as long as `ms`.
pub(super) fn eventually(ms: u64, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let until = sys::mono_ns() + ms * 1_000_000;
    loop {
        if done()? {
            return Ok(true);
        }
        if sys::mono_ns() > until {
            return Ok(false);
        }
        pause_ms(20);
    }
}

/// Holds that none of these is in the kernel any more, or will be after a grace period.
pub(super) fn all_gone(held: &BTreeSet<(Kind, u32)>) -> Result<()> {
    let left = || {
        held.iter()
            .filter(|(kind, id)| bpf::exists(*kind, *id))
            .collect::<Vec<_>>()
    };
    // The kernel frees programs and maps after a grace period.
    let gone = eventually(5_000, || Ok(left().is_empty()))?;
    ensure!(gone, "still in the kernel: {:?}", left());
    Ok(())
}

/// SIGKILL of a trace leaves no program, map or link.
fn killed_trace(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("sleep", &["self_us=1000"], None)?;
    let pid = target.pid.to_string();
    let args = ["trace", "--non-go", "-p", &pid].map(str::to_owned);
    let mut gohang = Gohang::spawn(settings.gohang()?, &args)?;
    gohang.wait_ready()?;
    let held = bpf::held_by(gohang.pid())?;
    report.note(format!(
        "start to tracing {} us",
        gohang.start_up_ns / 1_000
    ));
    report.note(format!("it held {held:?}"));
    ensure!(
        held.iter().any(|(kind, _)| *kind == Kind::Map),
        "it held no map at all"
    );
    ensure!(
        held.iter().all(|(kind, id)| bpf::exists(*kind, *id)),
        "they are not there"
    );
    gohang.signal(libc::SIGKILL)?;
    gohang.wait(std::time::Duration::from_secs(5))?;
    all_gone(&held)?;
    target.finish()?;
    Ok(())
}

/// All processes that run this program's file.
pub(super) fn running(program: &Path) -> Vec<i32> {
    let wanted = program
        .canonicalize()
        .unwrap_or_else(|_| program.to_owned());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pid = |e: std::fs::DirEntry| e.file_name().to_str().and_then(|n| n.parse::<i32>().ok());
    let runs =
        |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == wanted);
    entries.filter_map(pid).filter(runs).collect()
}

pub(super) fn members(group: &Path) -> String {
    let mut all = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for child in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if child.path().is_dir() {
            all.push_str(&members(&child.path()));
        }
    }
    all
}

/// SIGKILL of the demo leaves at most one empty group, no process and no program; the next demo
/// removes the group.
fn killed_demo(settings: &Settings, report: &mut Report) -> Result<()> {
    let hierarchy = settings.hierarchy()?;
    // A copy under a path of its own, and only new groups: another gohang may be at work.
    let folder = tempfile::tempdir()?;
    let program = &folder.path().join("gohang");
    std::fs::copy(settings.gohang()?, program)?;
    let before: Vec<PathBuf> = hierarchy.product_groups();
    let groups = || {
        let mut groups = hierarchy.product_groups();
        groups.retain(|g| !before.contains(g));
        groups
    };
    let demo = Gohang::spawn(program, &["demo".to_owned()])?;
    let mut held = BTreeSet::new();
    let at_work = eventually(20_000, || {
        for pid in running(program) {
            held.extend(bpf::held_by(u32::try_from(pid)?).unwrap_or_default());
        }
        Ok(!held.is_empty() && groups().iter().any(|g| !members(g).is_empty()))
    })?;
    if !at_work {
        let end = demo.wait(std::time::Duration::from_secs(20))?;
        bail!(
            "no program and group of the demo, {}: {}",
            end.status,
            end.stderr_line()
        );
    }
    pause_ms(500);
    report.note(format!("groups {:?}, {} objects", groups(), held.len()));
    demo.signal(libc::SIGKILL)?;
    demo.wait(std::time::Duration::from_secs(10))?;
    let ended = eventually(5_000, || Ok(running(program).is_empty()))?;
    ensure!(ended, "still running: {:?}", running(program));
    all_gone(&held)?;
    let left = groups();
    report.note(format!("groups left {left:?}"));
    ensure!(left.len() <= 1, "more than one group is left: {left:?}");
    ensure!(
        left.iter().all(|g| members(g).is_empty()),
        "a group is not empty: {left:?}"
    );
    let demo = Gohang::spawn(program, &["demo".to_owned()])?;
    let end = demo.wait(std::time::Duration::from_secs(40))?;
    ensure!(
        end.status.success(),
        "the next demo: {}: {}",
        end.status,
        end.stderr_line()
    );
    let left = groups();
    ensure!(left.is_empty(), "the next demo left {left:?}");
    Ok(())
}

/// Resident memory in KiB.
fn resident_kib(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("VmRSS")
}

fn map_entries(held: &BTreeSet<(Kind, u32)>) -> Result<usize> {
    let mut sum = 0;
    for (_, id) in held.iter().filter(|(kind, _)| *kind == Kind::Map) {
        // A map that user space may not walk has no entries to count.
        sum += bpf::entries(*id).ok().flatten().unwrap_or(0);
    }
    Ok(sum)
}

/// Threads and programs come and go under the trace of everything: memory and map entries are
/// as large at the end as after the first quarter.
fn soak(settings: &Settings, report: &mut Report) -> Result<()> {
    const WARM_UP_MS: u64 = 8_000;
    // The name of a process is its program's, cut at 15 bytes.
    let me = std::env::current_exe()?;
    let name = me
        .file_name()
        .and_then(|n| n.to_str())
        .context("this program has no name")?;
    let name = &name[..name.len().min(15)];
    let mut command = Command::new(settings.gohang()?);
    command.args(["trace", "--non-go", "-o", "json", "--comm", name]);
    let mut gohang = Gohang::spawn_command(&mut command)?;
    gohang.wait_ready()?;
    let mut target = Target::start("churn", &[], None)?;
    let held = bpf::held_by(gohang.pid())?;
    // A report lists the last thousand processes that ended: memory is flat once there are as
    // many, which takes the churn about four seconds.
    pause_ms(WARM_UP_MS);
    let quarter_ms = settings.soak_secs * 250;
    let mut points = Vec::new();
    for _ in 0..4 {
        pause_ms(quarter_ms);
        points.push((resident_kib(gohang.pid())?, map_entries(&held)?));
    }
    report.note(format!(
        "(KiB resident, map entries) at each quarter: {points:?}"
    ));
    target.actor.close_input();
    let rounds = target.actor.expect_number("rounds")?;
    target.actor.expect_number("handled")?;
    target.actor.wait()?;
    pause_ms(1_500);
    let after = map_entries(&held)?;
    report.note(format!("map entries after the churn: {after}"));
    let end: serde_json::Value = serde_json::from_slice(&gohang.interrupt()?.stdout)?;
    let seen = stream::number(&end, "/loss/seen")?;
    report.note(format!("{rounds} rounds of churn, {seen} records"));
    // Each round signals two threads, and a program that dies with two pending.
    ensure!(
        seen >= rounds,
        "the churn was not traced: {seen} records of {rounds} rounds"
    );
    let (first, last) = (points[0], points[3]);
    // Room for the allocator, but not for growth with the number of processes, of which there
    // have been thousands. How many entries are alive at a moment goes up and down; when all
    // the processes are gone, theirs must be too.
    ensure!(
        last.0 <= first.0 + 2_048,
        "memory grew from {} to {} KiB",
        first.0,
        last.0
    );
    ensure!(
        last.1 <= 2 * first.1 + 1_024,
        "map entries grew from {} to {}",
        first.1,
        last.1
    );
    ensure!(
        after <= 100,
        "{after} map entries are left of processes that are gone"
    );
    Ok(())
}
