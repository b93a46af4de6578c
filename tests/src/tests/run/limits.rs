//! Limits, and where the command runs.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::group::Group;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::wrapped::{self, LIMIT, command, group_of, is_alive, until, words, wrapped};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::everything_is_inside",
            body: everything_is_inside,
        },
        Test {
            name: "run::cpu_quota",
            body: cpu_quota,
        },
        Test {
            name: "run::memory_max",
            body: memory_max,
        },
        Test {
            name: "run::tasks_max",
            body: tasks_max,
        },
        Test {
            name: "run::limits_by_name",
            body: limits_by_name,
        },
        Test {
            name: "run::in_cgroup",
            body: in_cgroup,
        },
        Test {
            name: "run::stays_within_limits",
            body: stays_within_limits,
        },
        Test {
            name: "run::without_rights",
            body: without_rights,
        },
        Test {
            name: "run::delegated",
            body: delegated,
        },
    ]
}

/// Number behind `word` at the beginning of a line.
fn number(text: &str, word: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    let first = line.and_then(|rest| rest.split_whitespace().next());
    first
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("no number behind {word:?} in {text:?}"))
}

/// Daemons, with all ties cut, are in the group from their first instruction and end with it.
fn everything_is_inside(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut command = command("daemon", &["n=3"])?;
    // The command's first look at its own group is as good as its last.
    let script = "cat /proc/self/cgroup; shift; exec \"$@\"";
    command.splice(0..0, words(&["sh", "-c", script, "sh", "x"]));
    let mut child = wrapped(settings, &[], &command)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let text = std::io::read_to_string(child.stdout.take().context("no pipe")?)?;
    let said = std::io::read_to_string(child.stderr.take().context("no pipe")?)?;
    let status = child.wait()?;
    ensure!(status.code() == Some(3), "{status}: {said}");
    ensure!(text.matches("/gohang-run-").count() >= 1, "{text}");
    let daemons: Vec<i32> = text
        .lines()
        .filter_map(|line| line.strip_prefix("daemon ")?.parse().ok())
        .collect();
    report.note(said.trim().to_owned());
    ensure!(daemons.len() == 3, "{text}");
    ensure!(
        !daemons.iter().any(|&pid| is_alive(pid)),
        "a daemon lives on: {daemons:?}"
    );
    ensure!(said.contains("left running"), "{said}");
    wrapped::nothing_left()
}

/// The share that a spinning command gets, and what the kernel counts.
fn cpu_quota(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    for (options, share) in [
        (&["--cpu-quota", "20%"][..], 0.20),
        (&["--cpu-quota", "0.5", "--cpu-period", "20ms"], 0.50),
        (&["-p", "CPUQuota=5%"], 0.05),
    ] {
        let command = command("spin", &["ms=2000"])?;
        let end = wrapped::run(settings, options, &command)?;
        let text = String::from_utf8_lossy(&end.stdout).into_owned();
        let used = number(&text, "used ")?;
        let of: u64 = text
            .split_whitespace()
            .nth(3)
            .and_then(|n| n.parse().ok())
            .context("no wall time")?;
        let got = used as f64 / of as f64;
        report.note(format!("{options:?}: {:.3} of a CPU", got));
        // Less on a busy machine; more only by what a run queue may overrun a slice.
        ensure!(
            got <= share * 1.15 + 0.01,
            "{got:.3} of a CPU instead of {share}"
        );
        ensure!(got >= share * 0.3, "{got:.3} of a CPU instead of {share}");
        ensure!(end.stderr.is_empty(), "{}", end.stderr_line());
    }
    Ok(())
}

fn memory_max(settings: &Settings, report: &mut Report) -> Result<()> {
    let fits = command("eat", &["mib=20"])?;
    let end = wrapped::run(settings, &["--memory-max", "64M"], &fits)?;
    if end.stderr.contains("memory controller is not at hand") {
        return Err(skip("the memory controller is not at hand"));
    }
    ensure!(
        end.status.success(),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    let too_much = command("eat", &["mib=200", "ms=3000"])?;
    let end = wrapped::run(settings, &["--memory-max", "64M"], &too_much)?;
    report.note(format!(
        "200 MiB in 64M: {}: {}",
        end.status,
        end.stderr_line()
    ));
    ensure!(
        end.status.code() == Some(137),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    ensure!(end.stdout.is_empty(), "it had the memory");
    Ok(())
}

/// Without end it forks, is refused, and ends at once with what it is a part of.
fn tasks_max(settings: &Settings, report: &mut Report) -> Result<()> {
    let command = command("bomb", &[])?;
    let mut child = wrapped(settings, &["--tasks-max", "40"], &command)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut out = std::io::BufReader::new(child.stdout.take().context("no pipe")?);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line)?;
    ensure!(line == "refused\n", "{line:?}");
    let gohang = i32::try_from(child.id())?;
    let inside = fs::read_to_string(format!("/proc/{gohang}/task/{gohang}/children"))?;
    let first: i32 = inside.trim().parse().context("not one child")?;
    let group = group_of(first, "pids")?;
    let now = number(&fs::read_to_string(group.join("pids.current"))?, "")?;
    report.note(format!("{now} tasks of 40"));
    ensure!((30..=40).contains(&now), "{now} tasks");
    crate::sys::kill(gohang, libc::SIGTERM)?;
    until("its end", Duration::from_secs(10), || {
        Ok(child.try_wait()?.is_some())
    })?;
    let status = child.wait()?;
    ensure!(status.code() == Some(128 + libc::SIGTERM), "{status}");
    wrapped::nothing_left()
}

/// Each limit arrives in the kernel's files, whichever way it is given.
fn limits_by_name(settings: &Settings, report: &mut Report) -> Result<()> {
    let options: [&[&str]; 2] = [
        &[
            "--cpu-quota",
            "50%",
            "--cpu-period",
            "50ms",
            "--cpu-weight",
            "200",
            "--allowed-cpus",
            "0",
            "--memory-max",
            "100M",
            "--tasks-max",
            "77",
        ],
        &[
            "-p",
            "CPUQuota=50%",
            "-p",
            "CPUQuotaPeriodSec=50ms",
            "-p",
            "CPUWeight=200",
            "-p",
            "AllowedCPUs=0",
            "-p",
            "MemoryMax=100M",
            "--property",
            "TasksMax=77",
        ],
    ];
    for options in options {
        let command = command("sleep", &["ms=30000"])?;
        let mut child = wrapped(settings, options, &command)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut out = std::io::BufReader::new(child.stdout.take().context("no pipe")?);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line)?;
        let gohang = i32::try_from(child.id())?;
        let inside = fs::read_to_string(format!("/proc/{gohang}/task/{gohang}/children"))?;
        let pid: i32 = inside.trim().parse().context("not one child")?;
        let read = |controller: &str, names: &[&str]| -> Result<String> {
            let group = group_of(pid, controller)?;
            let texts = names
                .iter()
                .filter_map(|name| fs::read_to_string(group.join(name)).ok());
            Ok(texts
                .map(|text| text.trim().to_owned())
                .collect::<Vec<_>>()
                .join(" "))
        };
        let got = [
            read(
                "cpu",
                &[
                    "cpu.cfs_quota_us",
                    "cpu.cfs_period_us",
                    "cpu.shares",
                    "cpu.max",
                    "cpu.weight",
                ],
            )?,
            read("cpuset", &["cpuset.cpus"])?,
            read("memory", &["memory.limit_in_bytes", "memory.max"])?,
            read("pids", &["pids.max"])?,
        ];
        crate::sys::kill(gohang, libc::SIGTERM)?;
        child.wait()?;
        let said = std::io::read_to_string(child.stderr.take().context("no pipe")?)?;
        report.note(format!("{got:?} {}", said.trim().replace('\n', " | ")));
        let v1 = "25000 50000 2048";
        let v2 = "25000 50000 200";
        ensure!(got[0] == v1 || got[0] == v2, "cpu: {}", got[0]);
        for (name, got, want) in [
            ("cpuset", &got[1], "0"),
            ("memory", &got[2], "104857600"),
            ("pids", &got[3], "77"),
        ] {
            ensure!(
                got == want || said.contains(&format!("the {name} controller is not at hand")),
                "{name}: {got:?}: {said}"
            );
        }
        wrapped::nothing_left()?;
    }
    Ok(())
}

/// In an existing group: below it, under its limits, which stay; and gone afterwards.
fn in_cgroup(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    let path = group.path().display().to_string();
    let command = command("spin", &["ms=1500"])?;
    let end = wrapped::run(settings, &["--in-cgroup", &path], &command)?;
    ensure!(
        end.status.success(),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    let text = String::from_utf8_lossy(&end.stdout).into_owned();
    let used = number(&text, "used ")?;
    report.note(format!(
        "{used} ns of 1.5 s at 20 %, {} throttled periods",
        group.throttled_periods()?
    ));
    ensure!(used < 450_000_000, "it used {used} ns");
    ensure!(group.throttled_periods()? >= 5, "its quota did not count");
    let left = fs::read_dir(group.path())?
        .flatten()
        .filter(|e| e.path().is_dir())
        .count();
    ensure!(left == 0, "{left} groups are left inside");
    Ok(())
}

/// Started within a limit, the command does not get out of it.
fn stays_within_limits(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    let command = command("spin", &["ms=1500"])?;
    let mut wrapped_command = wrapped(settings, &[], &command)?;
    let procs = fs::OpenOptions::new().write(true).open(group.procs())?;
    // SAFETY: one write to an open descriptor between fork and exec.
    unsafe { wrapped_command.pre_exec(move || std::io::Write::write_all(&mut &procs, b"0")) };
    let end = Gohang::spawn_command(&mut wrapped_command)?.wait(LIMIT)?;
    ensure!(
        end.status.success(),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    let used = number(&String::from_utf8_lossy(&end.stdout), "used ")?;
    report.note(format!("{used} ns of 1.5 s at 20 %"));
    ensure!(used < 450_000_000, "it used {used} ns");
    wrapped::nothing_left()
}

const NOBODY: u32 = 65_534;

/// As nobody: the command runs all the same, what is lost is said, and nothing gets away.
fn without_rights(settings: &Settings, report: &mut Report) -> Result<()> {
    let (_folder, gohang) = wrapped::copy_for_all(settings.gohang()?)?;
    let (_folder2, me) = wrapped::copy_for_all(&std::env::current_exe()?)?;
    let run = |options: &[&str], command: &[&str]| {
        let mut wrapped = std::process::Command::new(&gohang);
        wrapped.arg("run").args(options).arg("--").args(command);
        wrapped.current_dir("/").uid(NOBODY).gid(NOBODY);
        Gohang::spawn_command(&mut wrapped)?.wait(LIMIT)
    };
    let me = me.to_str().context("not UTF-8")?;
    let end = run(&["--tasks-max", "50"], &[me, "__command", "daemon", "n=2"])?;
    report.note(end.stderr_line());
    ensure!(
        end.status.code() == Some(3),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    ensure!(
        end.stderr.contains("without a control group")
            && end.stderr.contains("--tasks-max has no effect"),
        "what is lost is not said"
    );
    let text = String::from_utf8_lossy(&end.stdout).into_owned();
    let daemons: Vec<i32> = text
        .lines()
        .filter_map(|line| line.strip_prefix("daemon ")?.parse().ok())
        .collect();
    ensure!(daemons.len() == 2, "{text}");
    ensure!(
        !daemons.iter().any(|&pid| is_alive(pid)),
        "a daemon lives on"
    );
    let end = run(&["--tasks-max", "50", "--require-limits"], &["true"])?;
    ensure!(
        end.status.code() == Some(125),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    let end = run(&["--require-limits"], &["sh", "-c", "exit 9"])?;
    ensure!(
        end.status.code() == Some(9),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    wrapped::nothing_left()
}

/// As nobody, in a group that was handed over: limits can be set there.
fn delegated(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, None)?;
    // A group with processes of its own cannot share its controllers out on version 2.
    let inner = group.named_child("own", None)?;
    let hand_over =
        |path: &std::path::Path| std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY));
    for dir in [group.path(), inner.path()] {
        hand_over(dir)?;
        for name in [
            "cgroup.procs",
            "tasks",
            "cgroup.subtree_control",
            "cgroup.threads",
        ] {
            let file = dir.join(name);
            if file.exists() {
                hand_over(&file)?;
            }
        }
    }
    let (_folder, gohang) = wrapped::copy_for_all(settings.gohang()?)?;
    let (_folder2, me) = wrapped::copy_for_all(&std::env::current_exe()?)?;
    let mut wrapped_command = std::process::Command::new(&gohang);
    wrapped_command
        .args(["run", "--cpu-quota", "20%", "--"])
        .arg(me)
        .args(["__command", "spin", "ms=1500"])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY);
    let procs = fs::OpenOptions::new().write(true).open(inner.procs())?;
    // SAFETY: one write to an open descriptor between fork and exec.
    unsafe { wrapped_command.pre_exec(move || std::io::Write::write_all(&mut &procs, b"0")) };
    let end = Gohang::spawn_command(&mut wrapped_command)?.wait(LIMIT)?;
    ensure!(
        end.status.success(),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    let used = number(&String::from_utf8_lossy(&end.stdout), "used ")?;
    report.note(format!("{used} ns of 1.5 s at 20 %; {}", end.stderr_line()));
    ensure!(used < 450_000_000, "it used {used} ns");
    ensure!(
        !end.stderr.contains("has no effect"),
        "{}",
        end.stderr_line()
    );
    wrapped::nothing_left()
}
