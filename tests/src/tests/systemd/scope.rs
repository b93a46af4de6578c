//! The scope that a run gets: its properties, what is in it, and its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::inspect::newest_program;
use crate::bpf;
use crate::product::{Finished, Gohang, run};
use crate::run::{Report, Settings, Test};
use crate::sys;
use crate::systemd::{Manager, Unit, machine, read};
use crate::wrapped::{self, LIMIT, command, is_alive, spawn_piped, until, words, wrapped};

/// The tests of this file.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "systemd::scope",
            body: scope,
        },
        Test {
            name: "systemd::ends_whole",
            body: ends_whole,
        },
        Test {
            name: "systemd::one_after_the_other",
            body: one_after_the_other,
        },
        Test {
            name: "systemd::name_in_use",
            body: name_in_use,
        },
        Test {
            name: "systemd::run_within_a_run",
            body: run_within_a_run,
        },
        Test {
            name: "systemd::quota_lifted",
            body: quota_lifted,
        },
        Test {
            name: "systemd::traced",
            body: traced,
        },
    ]
}

/// How long the manager may take to forget a unit that has ended.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(1);

/// Number behind `word` at the beginning of a line.
pub(super) fn number(end: &Finished, word: &str) -> Result<u64> {
    let text = String::from_utf8_lossy(&end.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    let first = line.and_then(|rest| rest.split_whitespace().next());
    first
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("no number behind {word:?} in {text:?}"))
}

pub(super) fn expect_code(end: &Finished, code: i32) -> Result<()> {
    ensure!(
        end.status.code() == Some(code),
        "{} instead of {code}: {}",
        end.status,
        end.stderr_line()
    );
    Ok(())
}

/// systemctl shows the limits, the kernel's files have them, and the command keeps to them.
fn scope(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    // Whoever names a slice has it afterwards.
    let slice = Unit::known(manager, "gohangtest.slice");
    let unit = "gohang-test-limits.scope";
    let options = [
        "--cpu-quota",
        "20%",
        "--cpu-period",
        "50ms",
        "--cpu-weight",
        "50",
        "--allowed-cpus",
        "0",
        "--memory-max",
        "64M",
        "--tasks-max",
        "20",
        "--unit",
        "gohang-test-limits",
        "--slice",
        "gohangtest",
    ];
    let mut wrapped = wrapped(settings, &options, &command("spin", &["ms=3000"])?)?;
    let gohang = Gohang::spawn_command(&mut wrapped)?;
    manager.wait_for(unit, "active")?;
    for (property, want) in [
        ("CPUQuotaPerSecUSec", "200ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
        ("CPUWeight", "50"),
        ("AllowedCPUs", "0"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "20"),
        ("Slice", "gohangtest.slice"),
        ("Transient", "yes"),
        ("ControlGroup", "/gohangtest.slice/gohang-test-limits.scope"),
    ] {
        let got = manager.show(unit, property)?;
        ensure!(got == want, "{property} is {got} instead of {want}");
    }
    let status = manager.systemctl(&["status", "--no-pager", "--lines=0", unit])?;
    ensure!(status.contains("gohang run"), "{status}");
    let group = manager.group(unit)?;
    for (file, want) in [
        ("cpu.max", "10000 50000"),
        ("cpu.weight", "50"),
        ("cpuset.cpus", "0"),
        ("memory.max", "67108864"),
        ("pids.max", "20"),
    ] {
        let got = read(&group, file)?;
        ensure!(got == want, "{file} is {got} instead of {want}");
    }
    let inside = read(&group, "cgroup.procs")?;
    let gohang_pid = gohang.pid().to_string();
    ensure!(
        inside.lines().count() == 1 && inside != gohang_pid,
        "{inside} are inside, and gohang is {gohang_pid}"
    );
    let end = gohang.wait(LIMIT)?;
    end.expect_success()?;
    let used = number(&end, "used ")?;
    report.note(format!("{used} ns of 3 s at 20 %: {}", end.stderr_line()));
    ensure!(used < 750_000_000, "it used {used} ns");
    ensure!(!end.stderr.contains("warning"), "{}", end.stderr_line());
    drop(slice);
    // Where it is told to, it does without systemd.
    let groups = words(&["cat", "/proc/self/cgroup"]);
    let end = wrapped::run(settings, &["--no-systemd", "--tasks-max", "20"], &groups)?;
    expect_code(&end, 0)?;
    let groups = String::from_utf8_lossy(&end.stdout);
    ensure!(
        groups.contains("/gohang-run-") && !groups.contains(".scope"),
        "{groups}: {}",
        end.stderr_line()
    );
    as_before(manager, &before)
}

/// Fails unless the manager has the scopes that it had `before`, and no more failed units.
pub(super) fn as_before(manager: Manager, before: &[String]) -> Result<()> {
    until("as many scopes as before", FORGOTTEN, || {
        Ok(manager.scopes_and_failures()? == before)
    })
    .with_context(|| format!("{:?}", manager.scopes_and_failures()))?;
    wrapped::nothing_left()
}

/// However it ends, the exit code is right, and nothing of it is left: no process, no group, no
/// unit, failed or not.
fn ends_whole(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    let hung = ["--timeout", "500ms", "--grace", "300ms"];
    for (what, options, command, code) in [
        ("daemons", &[][..], command("daemon", &["n=3"])?, 3),
        ("a signal", &[], words(&["sh", "-c", "kill -9 $$"]), 137),
        ("no program", &[], words(&["/nonexistent"]), 127),
        ("hung", &hung[..], words(&["sleep", "1000"]), 124),
        ("stubborn", &hung[..], command("stubborn", &[])?, 137),
        (
            "out of memory",
            &["--memory-max", "40M"],
            command("eat", &["mib=200", "ms=3000"])?,
            137,
        ),
    ] {
        let named = ["--unit", "gohang-test-end.scope"];
        let begin = sys::mono_ns();
        let end = wrapped::run(settings, &[&named[..], options].concat(), &command)?;
        let took = (sys::mono_ns() - begin) / 1_000_000;
        report.note(format!("{what}: {took} ms: {}", end.stderr_line()));
        expect_code(&end, code).context(what)?;
        let text = String::from_utf8_lossy(&end.stdout);
        let daemons = text.lines().filter_map(|line| line.strip_prefix("daemon "));
        for pid in daemons {
            ensure!(!is_alive(pid.parse()?), "the daemon {pid} lives on");
        }
        as_before(manager, &before).context(what)?;
    }
    Ok(())
}

/// When a run has ended its name is free.
fn one_after_the_other(settings: &Settings, report: &mut Report) -> Result<()> {
    machine()?;
    let begin = sys::mono_ns();
    for round in 0..10 {
        let script = words(&["cat", "/proc/self/cgroup"]);
        let mut next = wrapped(settings, &["--unit", "gohang-test-next"], &script)?;
        let end = Gohang::spawn_command(&mut next)?.wait(LIMIT)?;
        end.expect_success()?;
        let place = String::from_utf8_lossy(&end.stdout);
        ensure!(
            place.trim().ends_with("/gohang-test-next.scope"),
            "run {round} is in {place}: {}",
            end.stderr_line()
        );
    }
    let took = (sys::mono_ns() - begin) / 10_000_000;
    report.note(format!("10 runs, {took} ms each"));
    Ok(())
}

/// Where the unit's name is taken, the command runs all the same, it is said, and the other unit
/// is left alone.
fn name_in_use(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    let other = Unit::known(manager, "gohang-test-taken.scope");
    let mut holder = std::process::Command::new("systemd-run");
    holder
        .args(["--quiet", "--scope", "--unit", other.name.as_str()])
        .args(["sleep", "1000"]);
    let mut holder = holder.stdin(Stdio::null()).spawn()?;
    manager.wait_for(&other.name, "active")?;
    let group = manager.group(&other.name)?;
    let script = words(&["sh", "-c", "cat /proc/self/cgroup; exit 5"]);
    let end = wrapped::run(settings, &["--unit", "gohang-test-taken"], &script)?;
    report.note(end.stderr_line());
    expect_code(&end, 5)?;
    ensure!(
        end.stderr.contains("gohang-test-taken is not used"),
        "{}",
        end.stderr_line()
    );
    let place = String::from_utf8_lossy(&end.stdout).into_owned();
    ensure!(!place.contains("gohang-test-taken"), "{place}");
    let inside = read(&group, "cgroup.procs")?;
    ensure!(inside == holder.id().to_string(), "inside are {inside}");
    drop(other);
    holder.wait()?;
    as_before(manager, &before)
}

/// A run within a run is in the outer one's scope, whatever that is called, and ends with it.
fn run_within_a_run(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    let gohang = settings.gohang()?.to_str().context("not UTF-8")?;
    for named in [&[][..], &["--unit", "gohang-test-outer"]] {
        let show = words(&[
            gohang,
            "run",
            "--no-bundle",
            "--",
            "cat",
            "/proc/self/cgroup",
        ]);
        let end = wrapped::run(settings, named, &show)?;
        end.expect_success()?;
        let place = String::from_utf8_lossy(&end.stdout).trim().to_owned();
        report.note(format!("{place}: {}", end.stderr_line()));
        let (scope, below) = place
            .split_once(".scope/")
            .with_context(|| format!("{place} is not in a scope"))?;
        ensure!(!below.contains(".scope"), "{place}");
        if let [_, name] = named {
            ensure!(scope.ends_with(*name), "{place}");
        }
        as_before(manager, &before)?;
        // What heeds nothing but SIGKILL, in a run whose gohang is killed with it.
        let mut inner = words(&[gohang, "run", "--no-bundle", "--"]);
        inner.extend(command("stubborn", &[])?);
        let hung = ["--timeout", "1s", "--grace", "300ms"];
        let end = wrapped::run(settings, &[named, &hung[..]].concat(), &inner)?;
        report.note(end.stderr_line());
        expect_code(&end, 137)?;
        as_before(manager, &before)?;
    }
    Ok(())
}

/// The counterfactual works through systemd: without its quota, the command gets on.
fn quota_lifted(settings: &Settings, report: &mut Report) -> Result<()> {
    machine()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("not UTF-8")?;
    // With 2 % of a CPU nothing comes of it for 15 s.
    let slow = command("steps", &["cpu_ms=300"])?;
    let options = [
        "--cpu-quota",
        "2%",
        "--timeout",
        "3s",
        "--unit",
        "gohang-test-lift",
        "--bundle-dir",
        path,
    ];
    let end = wrapped::run(settings, &options, &slow)?;
    report.note(end.stderr_line());
    expect_code(&end, 124)?;
    let verdict = std::fs::read_to_string(written(folder.path(), "-VERDICT.md")?)?;
    ensure!(verdict.contains("lifted, it got on after"), "{verdict}");
    Ok(())
}

/// With tracing on, a Go program in a scope is one that the evidence tells of, in its group; and
/// the kernel programs go with gohang.
fn traced(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let program = newest_program(settings)?;
    let program = program.to_str().context("not UTF-8")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("not UTF-8")?;
    let options = [
        "--trace",
        "always",
        "--timeout",
        "2s",
        "--unit",
        "gohang-test-traced",
        "--bundle-dir",
        path,
    ];
    let mut command = wrapped(settings, &options, &words(&[program]))?;
    command.stderr(Stdio::null());
    let mut child = spawn_piped(&mut command)?;
    // It ends with its input, which is open until it hangs.
    let input = child.stdin.take().context("no pipe")?;
    let unit = "gohang-test-traced.scope";
    manager.wait_for(unit, "active")?;
    let mut out = child.stdout.take().context("no pipe")?;
    let mut first = [0; 6];
    std::io::Read::read_exact(&mut out, &mut first)?;
    ensure!(first == *b"procs ", "{first:?}");
    let held = bpf::held_by(child.id())?;
    let pid: u64 = read(&manager.group(unit)?, "cgroup.procs")?.parse()?;
    let status = child.wait()?;
    drop(input);
    ensure!(status.code() == Some(124), "{status}");
    ensure!(held.len() > 5, "when the command began: {held:?}");
    until("the end of what was loaded", Duration::from_secs(5), || {
        Ok(!held.iter().any(|&(kind, id)| bpf::exists(kind, id)))
    })?;
    let bundle = written(folder.path(), ".tar.zst")?;
    let bundle = bundle.to_str().context("not UTF-8")?;
    let member = |name: &str| -> Result<Value> {
        let end = run(
            settings.gohang()?,
            &["open", bundle, "--member", name],
            LIMIT,
        )?;
        end.expect_success()?;
        Ok(serde_json::from_slice(&end.stdout)?)
    };
    let evidence = member("evidence.json")?;
    ensure!(
        evidence["place"]["kind"] == "scope",
        "{}",
        evidence["place"]
    );
    let state = &evidence["trace"]["state"];
    ensure!(state["kind"] == "on", "{state}");
    let found = member("report.json")?;
    let processes = found["processes"].as_array().context("none")?;
    let ours = processes
        .iter()
        .find(|process| process["pid"] == pid)
        .with_context(|| format!("no {pid} in {processes:?}"))?;
    report.note(format!("{}: {}, {status}", ours["go"], ours["cgroup"]));
    let cgroup = &ours["cgroup"];
    ensure!(
        *cgroup == "/system.slice/gohang-test-traced.scope",
        "{cgroup}"
    );
    Ok(())
}

/// The file in `folder` whose name ends so.
fn written(folder: &Path, end: &str) -> Result<PathBuf> {
    let mut paths = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.find(|path| path.to_string_lossy().ends_with(end));
    found.with_context(|| format!("no {end} was written"))
}
