//! Groups that systemd has handed over: to a user's service, to a user's manager, and to
//! whoever is to run inside.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::scope::{as_before, expect_code, number};
use crate::product::{Finished, Gohang};
use crate::run::{Report, Settings, Test, skip};
use crate::sys;
use crate::systemd::{Manager, Unit, folder, machine, printed, read, run_as};
use crate::wrapped::{
    self, LIMIT, command, copy_for_all, group_of, is_alive, spawn_piped, until, words,
};

/// The tests of this file.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "systemd::in_cgroup",
            body: in_cgroup,
        },
        Test {
            name: "systemd::delegated_service",
            body: delegated_service,
        },
        Test {
            name: "systemd::service_without_delegation",
            body: service_without_delegation,
        },
        Test {
            name: "systemd::user_manager",
            body: user_manager,
        },
        Test {
            name: "systemd::user_manager_killed",
            body: user_manager_killed,
        },
    ]
}

/// A user who is on every machine and owns nothing.
const NOBODY: u32 = 65_534;

/// Inside an existing group, below it, under its limits, which stay; and gone afterwards.
fn in_cgroup(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    let options = ["-p", "Delegate=yes", "-p", "CPUQuota=20%"];
    let service = Unit::service(
        "gohang-test-inside.service",
        &options,
        &words(&["sleep", "1000"]),
    )?;
    let path = manager.show(&service.name, "ControlGroup")?;
    let group = folder(&path);
    // As the path of a group, and as its folder.
    for named in [path.as_str(), group.to_str().context("not UTF-8")?] {
        let spin = command("spin", &["ms=1500"])?;
        let end = wrapped::run(settings, &["--in-cgroup", named], &spin)?;
        end.expect_success()?;
        let used = number(&end, "used ")?;
        report.note(format!("{used} ns of 1.5 s at 20 %: {}", end.stderr_line()));
        ensure!(used < 400_000_000, "it used {used} ns");
        let show = words(&["cat", "/proc/self/cgroup"]);
        let end = wrapped::run(settings, &["--in-cgroup", named], &show)?;
        let place = String::from_utf8_lossy(&end.stdout).trim().to_owned();
        ensure!(
            place.starts_with(&format!("0::{path}/gohang-run-")),
            "{place}"
        );
        let quota = read(&group, "cpu.max")?;
        ensure!(quota == "20000 100000", "its quota is now {quota}");
        let below = std::fs::read_dir(&group)?.flatten();
        let below = below.filter(|entry| entry.path().is_dir()).count();
        ensure!(below == 0, "{below} groups are left inside");
        let state = manager.show(&service.name, "ActiveState")?;
        ensure!(state == "active", "the service is {state}");
    }
    drop(service);
    as_before(manager, &before)
}

/// Runs gohang in a service of that user's, with these options of systemd's and of its own.
fn in_service(
    settings: &Settings,
    service: &[&str],
    options: &[&str],
    command: &[String],
) -> Result<Finished> {
    // Whatever user runs it can execute those.
    let (_folder, gohang) = copy_for_all(settings.gohang()?)?;
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--collect", "--pipe", "--wait"])
        .args(["--unit", "gohang-test-as-nobody.service"])
        .args(service)
        .arg("--")
        .arg(&gohang)
        .args(["run", "--no-bundle"])
        .args(options)
        .arg("--")
        .args(command);
    Gohang::spawn_command(&mut run)?.wait(LIMIT)
}

const AS_NOBODY: [&str; 2] = ["--uid=65534", "--gid=65534"];

/// As an ordinary user, in a service whose group is the user's: limits can be set there.
fn delegated_service(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    let service = [&AS_NOBODY[..], &["-p", "Delegate=yes"]].concat();
    let (_folder, me) = copy_for_all(&std::env::current_exe()?)?;
    let me = me.to_str().context("not UTF-8")?;
    let limits = [
        "--cpu-quota",
        "20%",
        "--memory-max",
        "64M",
        "--tasks-max",
        "20",
    ];
    let spin = words(&[me, "__command", "spin", "ms=1500"]);
    let end = in_service(settings, &service, &limits, &spin)?;
    end.expect_success()?;
    let used = number(&end, "used ")?;
    report.note(format!("{used} ns of 1.5 s at 20 %: {}", end.stderr_line()));
    ensure!(used < 400_000_000, "it used {used} ns");
    ensure!(!end.stderr.contains("warning"), "{}", end.stderr_line());
    let script = "cd /sys/fs/cgroup/$(cut -d: -f3 /proc/self/cgroup) && \
                  cat memory.max pids.max && exit 3";
    let end = in_service(settings, &service, &limits, &words(&["sh", "-c", script]))?;
    expect_code(&end, 3)?;
    ensure!(
        end.stdout == b"67108864\n20\n",
        "{}",
        String::from_utf8_lossy(&end.stdout)
    );
    // Ended whole.
    let daemons = words(&[me, "__command", "daemon", "n=2"]);
    let end = in_service(settings, &service, &[], &daemons)?;
    expect_code(&end, 3)?;
    ensure!(end.stderr.contains("left running"), "{}", end.stderr_line());
    as_before(manager, &before)
}

/// As an ordinary user, in a service whose group is not the user's: it is said what is lost,
/// and the command runs and ends whole all the same.
fn service_without_delegation(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    let (_folder, me) = copy_for_all(&std::env::current_exe()?)?;
    let me = me.to_str().context("not UTF-8")?;
    let daemons = words(&[me, "__command", "daemon", "n=2"]);
    let end = in_service(settings, &AS_NOBODY, &["--tasks-max", "50"], &daemons)?;
    report.note(end.stderr_line());
    expect_code(&end, 3)?;
    ensure!(
        end.stderr.contains("without a control group")
            && end.stderr.contains("--tasks-max has no effect"),
        "what is lost is not said: {}",
        end.stderr_line()
    );
    ensure!(end.stderr.contains("left running"), "{}", end.stderr_line());
    as_before(manager, &before)
}

/// The manager of a user, with nobody logged in; it goes when the unit is dropped.
fn manager_of_nobody() -> Result<(Unit, Manager)> {
    let machine = machine()?;
    let unit = Unit::known(machine, &format!("user@{NOBODY}.service"));
    if let Err(why) = machine.systemctl(&["start", &unit.name]) {
        let why = format!("{why:#}");
        let first = why.lines().next().unwrap_or_default();
        return Err(skip(format!("no manager of a user: {first}")));
    }
    let bus = format!("/run/user/{NOBODY}/bus");
    until(&bus, Duration::from_secs(10), || {
        Ok(std::fs::metadata(&bus).is_ok_and(|bus| bus.uid() == NOBODY))
    })?;
    Ok((unit, Manager::Of(NOBODY)))
}

/// As an ordinary user with a manager: a scope of the user's own, with the limits whose
/// controllers the user's manager was given, and it is said which have no effect.
fn user_manager(settings: &Settings, report: &mut Report) -> Result<()> {
    let (unit, manager) = manager_of_nobody()?;
    let before = manager.scopes_and_failures()?;
    let (_folder, gohang) = copy_for_all(settings.gohang()?)?;
    let (_folder2, me) = copy_for_all(&std::env::current_exe()?)?;
    let limits = [
        "--cpu-quota",
        "20%",
        "--memory-max",
        "64M",
        "--tasks-max",
        "20",
    ];
    let mut run = Command::new(&gohang);
    run.args(["run", "--no-bundle", "--unit", "gohang-test-user"])
        .args(limits)
        .arg("--")
        .arg(&me)
        .args(["__command", "spin", "ms=2000"]);
    let running = Gohang::spawn_command(run_as(&mut run, NOBODY))?;
    let scope = "gohang-test-user.scope";
    manager.wait_for(scope, "active")?;
    for (property, want) in [
        ("CPUQuotaPerSecUSec", "200ms"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "20"),
    ] {
        let got = manager.show(scope, property)?;
        ensure!(got == want, "{property} is {got} instead of {want}");
    }
    let group = manager.group(scope)?;
    let below = format!("user@{NOBODY}.service/");
    ensure!(
        group.to_string_lossy().contains(&below),
        "{} is not the user's",
        group.display()
    );
    ensure!(
        std::fs::metadata(&group)?.uid() == NOBODY,
        "{} is not the user's",
        group.display()
    );
    let has: Vec<bool> = ["cpu.max", "memory.max", "pids.max"]
        .iter()
        .map(|file| group.join(file).exists())
        .collect();
    let end = running.wait(LIMIT)?;
    end.expect_success()?;
    let used = number(&end, "used ")?;
    report.note(format!(
        "controllers {}: {used} ns of 2 s at 20 %: {}",
        read(&folder("/user.slice"), "cgroup.controllers")?,
        end.stderr_line()
    ));
    for (limit, has) in ["--cpu-quota", "--memory-max", "--tasks-max"]
        .iter()
        .zip(&has)
    {
        let said = end.stderr.contains(&format!("{limit} has no effect"));
        ensure!(said != *has, "{limit}: {has}, {}", end.stderr_line());
    }
    ensure!(has[1] && has[2], "the user has no limits at all: {has:?}");
    ensure!(!has[0] || used < 600_000_000, "it used {used} ns");
    as_before(manager, &before)?;
    // Ended whole, and the code of a hang.
    let mut run = Command::new(&gohang);
    run.args([
        "run",
        "--no-bundle",
        "--timeout",
        "500ms",
        "--grace",
        "300ms",
    ])
    .arg("--")
    .arg(&me)
    .args(["__command", "stubborn"]);
    let end = Gohang::spawn_command(run_as(&mut run, NOBODY))?.wait(LIMIT)?;
    report.note(end.stderr_line());
    expect_code(&end, 137)?;
    as_before(manager, &before)?;
    drop(unit);
    Ok(())
}

/// A user's gohang that was killed: the user's `gohang clean` ends what is left.
fn user_manager_killed(settings: &Settings, report: &mut Report) -> Result<()> {
    let (unit, manager) = manager_of_nobody()?;
    let before = manager.scopes_and_failures()?;
    let (_folder, gohang) = copy_for_all(settings.gohang()?)?;
    let (_folder2, me) = copy_for_all(&std::env::current_exe()?)?;
    for named in [&[][..], &["--unit", "gohang-test-user"]] {
        let mut run = Command::new(&gohang);
        run.args(["run", "--no-bundle"])
            .args(named)
            .arg("--")
            .arg(&me)
            .args(["__command", "stubborn"])
            .stderr(Stdio::null());
        let mut child = spawn_piped(run_as(&mut run, NOBODY))?;
        let mut out = child.stdout.take().context("no pipe")?;
        let mut ready = [0; 6];
        std::io::Read::read_exact(&mut out, &mut ready)?;
        let id = child.id();
        let inside = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let pid: i32 = inside.trim().parse().context("not one child")?;
        let group = group_of(pid, "pids")?;
        child.kill()?;
        child.wait()?;
        ensure!(is_alive(pid), "it ended with gohang");
        let begin = sys::mono_ns();
        let mut clean = Command::new(&gohang);
        let said = printed(run_as(clean.arg("clean"), NOBODY))?;
        let took = (sys::mono_ns() - begin) / 1_000_000;
        report.note(format!("{took} ms: {said}"));
        ensure!(said.contains("gone now"), "{said}");
        ensure!(!is_alive(pid), "{pid} lives on");
        ensure!(!group.exists(), "{} is left", group.display());
        as_before(manager, &before)?;
    }
    drop(unit);
    Ok(())
}
