//! GOMAXPROCS as it is computed, against what programs print.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program::{NEWEST, Program, forms, inspect, one, rules};
use crate::actor::{Actor, pause_ms};
use crate::group::{Group, Hierarchy, Version};
use crate::run::{Report, Settings, Test, skip};
use crate::sys;

/// CPU time in each 100 ms, milliseconds.
const QUOTAS_MS: [Option<u64>; 7] = [
    None,
    Some(50),
    Some(100),
    Some(150),
    Some(210),
    Some(300),
    Some(450),
];
/// Most CPUs that programs may run on.
const WIDEST: usize = 4;
/// What there are to be of cells, where there are CPUs for three masks: 7 versions, 6 quotas, 3
/// masks, 3 environments, 2 `go` lines.
const LEAST: usize = 7 * 6 * 3 * 3 * 2;
/// What the environment says.
const ENVIRONMENTS: [&[(&str, &str)]; 3] = [
    &[],
    &[("GOMAXPROCS", "3")],
    &[("GOMAXPROCS", "0"), ("GODEBUG", "containermaxprocs=0")],
];
/// Within it a runtime that follows changes has done so, looked at every so often.
const FOLLOWS_MS: u64 = 30_000;
const LOOK_MS: u64 = 250;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "inspect::gomaxprocs",
            body: gomaxprocs,
        },
        Test {
            name: "inspect::cpusets",
            body: cpusets,
        },
    ]
}

/// Sets of CPUs that programs may run on: one, two, and as many as there are, or where that is
/// two the second alone.
fn masks(online: &[i32]) -> Vec<&[i32]> {
    match online.len() {
        0 | 1 => vec![online],
        2 => vec![&online[..1], online, &online[1..]],
        all => vec![&online[..1], &online[..2], &online[..all.min(WIDEST)]],
    }
}

/// Every version, `go` line, quota, mask and environment.
fn gomaxprocs(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, None)?;
    let online = sys::online_cpus()?;
    let masks = masks(&online);
    let programs = forms().map(|(version, line)| Program::of(settings, version, line));
    let programs = programs.collect::<Result<Vec<_>>>()?;
    let path = group.path().to_string_lossy().into_owned();
    let (mut cells, mut by_quota, mut values) = (0, 0, BTreeSet::new());
    for quota in QUOTAS_MS {
        group.set_quota(quota.map(|ms| ms * 1_000), 100_000)?;
        let mut running: BTreeMap<i64, (String, u64, Actor)> = BTreeMap::new();
        for program in &programs {
            for mask in &masks {
                for env in ENVIRONMENTS {
                    let told = format!("{program}, {quota:?} ms, CPUs {mask:?}, {env:?}");
                    let own = mask.to_vec();
                    let mut command = Command::new(program.path());
                    // First: before 6.2, joining a group with CPUs of its own takes back what a
                    // process was bound to.
                    group.admit(&mut command)?;
                    let bind = move || {
                        sys::pin_to(0, &own);
                        Ok(())
                    };
                    // SAFETY: one system call between fork and exec, which takes numbers.
                    unsafe { command.pre_exec(bind) };
                    let (actor, printed) = program.start_by(command, None, env)?;
                    running.insert(actor.pid().into(), (told, printed, actor));
                }
            }
        }
        let found = inspect(settings, &["--cgroup", &path])?;
        let processes = found["processes"].as_array().context("a list")?;
        ensure!(processes.len() == running.len(), "{}", processes.len());
        for process in processes {
            let pid = process["pid"].as_i64().context("no pid")?;
            let (told, printed, _) = running.get(&pid).context("another process")?;
            let procs = &process["go"]["gomaxprocs"];
            ensure!(
                procs["computed"] == *printed && procs["seen"] == *printed,
                "{told}: it prints {printed}: {procs}"
            );
            cells += 1;
            values.insert(*printed);
            let rule = procs["rule"].as_str().unwrap_or("");
            by_quota += u32::from(rule.starts_with("quota of its own group"));
        }
    }
    report.note(format!(
        "{cells} cells agree, {by_quota} of them by quota; values {values:?}"
    ));
    let all = QUOTAS_MS.len() * programs.len() * masks.len() * ENVIRONMENTS.len();
    ensure!(cells == all, "{cells} cells of {all}");
    ensure!(cells >= LEAST || masks.len() < 3, "{cells} cells");
    // A quota counts for at least two CPUs.
    let wide = masks.iter().any(|mask| mask.len() > 2);
    ensure!((by_quota > 0) == wide, "{by_quota} by quota");
    Ok(())
}

/// CPUs of a group (AllowedCPUs=) are told with those above it, and what follows from fewer of
/// them than the quota pays for, and from more of them after the start.
fn cpusets(settings: &Settings, report: &mut Report) -> Result<()> {
    let online = sys::online_cpus()?;
    let [first, second, ..] = online[..] else {
        return Err(skip("needs two processors"));
    };
    let (few, more) = (first.to_string(), format!("{first},{second}"));
    let cpuset = Hierarchy::of("cpuset").map_err(|e| skip(format!("{e:#}")))?;
    let outer = Group::of_cpus(&cpuset, &few)?;
    let inner = outer.child("inner", None)?;
    // On version 1 quotas are another hierarchy's.
    let paid = match cpuset.version {
        Version::V1 => {
            inner.set_cpus(&few)?;
            Group::new(&settings.hierarchy()?, None)?
        }
        Version::V2 => inner.child("paid", None)?,
    };
    paid.limit((200_000, 100_000))?;
    let start = |version, line| -> Result<(Actor, u64)> {
        let program = Program::of(settings, version, line)?;
        let mut command = Command::new(program.path());
        if cpuset.version == Version::V1 {
            inner.admit(&mut command)?;
        }
        program.start_by(command, Some(&paid), &[])
    };
    let (old, old_printed) = start("1.24.11", "1.21")?;
    let (mut new, new_printed) = start(NEWEST, "1.25")?;
    for (actor, printed) in [(&old, old_printed), (&new, new_printed)] {
        let process = one(settings, actor.pid(), &[])?;
        let procs = &process["go"]["gomaxprocs"];
        ensure!(
            printed == 1 && procs["computed"] == 1 && procs["seen"] == 1,
            "{printed}: {procs}"
        );
        ensure!(
            process["cpus_allowed"] == *few,
            "{}",
            process["cpus_allowed"]
        );
        let sets = &process["groups"]["cpuset"];
        let levels = sets["levels"].as_array().context("no cpusets")?;
        let at = |name: &str| {
            let named = |level: &&Value| level["path"].as_str().is_some_and(|p| p.ends_with(name));
            levels
                .iter()
                .find(named)
                .with_context(|| format!("no {name}: {sets}"))
        };
        let name = outer
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        ensure!(at(&name)?["cpus"] == *few, "{sets}");
        ensure!(at("/inner")?["effective"] == *few, "{sets}");
        ensure!(
            rules(&process).contains(&"cpus-narrower-than-quota"),
            "{:?}",
            rules(&process)
        );
    }
    outer.set_cpus(&more)?;
    if cpuset.version == Version::V1 {
        inner.set_cpus(&more)?;
    }
    // One never looks again.
    let process = one(settings, old.pid(), &[])?;
    let procs = &process["go"]["gomaxprocs"];
    ensure!(procs["computed"] == 2 && procs["seen"] == 1, "{procs}");
    ensure!(
        process["cpus_allowed_count"] == 2,
        "{}",
        process["cpus_allowed"]
    );
    for rule in ["limit-changed", "cpus-wider-than-gomaxprocs"] {
        ensure!(rules(&process).contains(&rule), "{:?}", rules(&process));
    }
    // The other does, while it has something to do.
    let begin = sys::mono_ns();
    loop {
        new.go()?;
        if new.expect_number("procs ")? != 1 {
            break;
        }
        ensure!(
            sys::mono_ns() - begin < FOLLOWS_MS * 1_000_000,
            "it does not follow"
        );
        pause_ms(LOOK_MS);
    }
    report.note(format!(
        "followed after {} ms",
        (sys::mono_ns() - begin) / 1_000_000
    ));
    let process = one(settings, new.pid(), &[])?;
    let procs = &process["go"]["gomaxprocs"];
    ensure!(procs["computed"] == 2 && procs["seen"] == 2, "{procs}");
    let quiet = [
        "limit-changed",
        "cpus-narrower-than-quota",
        "cpus-wider-than-gomaxprocs",
    ];
    ensure!(
        !quiet.iter().any(|rule| rules(&process).contains(rule)),
        "{:?}",
        rules(&process)
    );
    Ok(())
}
