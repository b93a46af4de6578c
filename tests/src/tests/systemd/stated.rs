//! What `gohang inspect` and `gohang doctor` state of units and of systemd itself.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::product::run;
use crate::run::{Report, Settings, Test};
use crate::systemd::{Unit, folder, machine, printed, read};
use crate::wrapped::{LIMIT, command, is_alive, until, words};

/// The tests of this file.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "systemd::inspect_service",
            body: inspect_service,
        },
        Test {
            name: "systemd::inspect_states",
            body: inspect_states,
        },
        Test {
            name: "systemd::inspect_scope",
            body: inspect_scope,
        },
        Test {
            name: "systemd::doctor",
            body: doctor,
        },
    ]
}

/// What `gohang` prints as one document.
fn document(settings: &Settings, args: &[&str]) -> Result<Value> {
    let end = run(settings.gohang()?, args, LIMIT)?;
    // The doctor's exit code is its opinion of the machine.
    ensure!(
        end.status.code().is_some_and(|code| code < 2),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    serde_json::from_slice(&end.stdout)
        .with_context(|| format!("not one document: {}", end.stderr_line()))
}

/// What it prints as text, without the breaks of lines that are too long.
fn text(settings: &Settings, args: &[&str]) -> Result<String> {
    let end = run(settings.gohang()?, args, LIMIT)?;
    let text = String::from_utf8_lossy(&end.stdout).into_owned();
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The one process that `inspect` finds with these arguments.
fn inspect(settings: &Settings, args: &[&str]) -> Result<Value> {
    let found = document(settings, &[&["inspect", "-o", "json"], args].concat())?;
    match found["processes"].as_array().map(Vec::as_slice) {
        Some([process]) => Ok(process.clone()),
        _ => bail!("not one process: {found}"),
    }
}

fn equal(found: &Value, want: impl Into<Value>, what: &str) -> Result<()> {
    let want = want.into();
    ensure!(*found == want, "{what} is {found} instead of {want}");
    Ok(())
}

/// A service in a slice in a slice: unit, slice and state by name, and of every limit the
/// tightest, whichever of the three has it.
fn inspect_service(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    // Dropped last, when the service is gone.
    let outer = Unit::known(manager, "gohangtest.slice");
    let inner = Unit::known(manager, "gohangtest-inner.slice");
    let options = [
        "--slice",
        inner.name.as_str(),
        "-p",
        "CPUQuota=80%",
        "-p",
        "MemoryMax=512M",
        "-p",
        "TasksMax=30",
        "-p",
        "AllowedCPUs=0",
    ];
    let name = "gohang-test-inspect.service";
    let service = Unit::service(name, &options, &words(&["sleep", "1000"]))?;
    for (slice, limit) in [(&outer, "CPUQuota=150%"), (&inner, "MemoryMax=256M")] {
        manager.systemctl(&["set-property", "--runtime", &slice.name, limit])?;
    }
    let pid = service.main_pid()?.to_string();
    let process = inspect(settings, &[&pid])?;
    let unit = &process["unit"];
    report.note(unit.to_string());
    equal(&unit["name"], name, "the unit")?;
    equal(&unit["slice"], inner.name.as_str(), "its slice")?;
    equal(&unit["state"], "active", "its state")?;
    equal(&unit["scope"], false, "whether it is a scope")?;
    equal(&unit["outlives_processes"], Value::Null, "that of a scope")?;
    equal(&unit["user_unit"], Value::Null, "the user's unit")?;
    let path = format!("/gohangtest.slice/gohangtest-inner.slice/{name}");
    equal(
        &manager.show(name, "ControlGroup")?.into(),
        path.as_str(),
        "the group",
    )?;
    let groups = &process["groups"];
    for (controller, limit, want, owner) in [
        ("cpu", "cpus", Value::from(0.8), path.as_str()),
        (
            "memory",
            "limit",
            (256 << 20).into(),
            "/gohangtest.slice/gohangtest-inner.slice",
        ),
        ("pids", "limit", 30.into(), path.as_str()),
    ] {
        let effective = &groups[controller]["effective"];
        equal(&effective[limit], want, controller)?;
        equal(&effective["path"], owner, controller)?;
    }
    equal(&groups["cpu"]["path"], path.as_str(), "its group")?;
    equal(&groups["cpu"]["version"], 2, "the version")?;
    let levels = groups["cpu"]["levels"].as_array().context("no levels")?;
    let quotas: Vec<&Value> = levels.iter().map(|level| &level["quota_ns"]).collect();
    ensure!(
        quotas.len() >= 3
            && *quotas[0] == 80_000_000
            && quotas[1].is_null()
            && *quotas[2] == 150_000_000,
        "{quotas:?}"
    );
    equal(&process["cpus_allowed"], "0", "its CPUs")?;
    equal(
        &groups["cpuset"]["levels"][0]["cpus"],
        "0",
        "the CPUs of its group",
    )?;
    // A limit above that is tighter from now on is the one that counts.
    for (limit, quota) in [("CPUQuota=30%", 0.3), ("CPUQuota=", 0.8)] {
        manager.systemctl(&["set-property", "--runtime", &outer.name, limit])?;
        let process = inspect(settings, &[&pid])?;
        let effective = &process["groups"]["cpu"]["effective"];
        equal(&effective["cpus"], quota, limit)?;
        let owner = if quota < 0.5 {
            "/gohangtest.slice"
        } else {
            path.as_str()
        };
        equal(&effective["path"], owner, limit)?;
    }
    // By its unit, and as text.
    let process = inspect(settings, &["--unit", name, "--non-go"])?;
    equal(&process["pid"], pid.parse::<u64>()?, "the process")?;
    let text = text(settings, &["inspect", &pid])?;
    let row = format!("{name}, in {}, active", inner.name);
    ensure!(text.contains(&row), "{text}");
    Ok(())
}

/// The state is the manager's, whatever it is.
fn inspect_states(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let service = |name: &str, kind: &str, command: &[String]| {
        Unit::service(name, &["--no-block", "-p", kind], command)
    };
    // One that is being started, as long as its command runs.
    let begins = service(
        "gohang-test-begins.service",
        "Type=oneshot",
        &words(&["sleep", "1000"]),
    )?;
    // One that is being stopped, and does not heed it.
    let ends = service(
        "gohang-test-ends.service",
        "Type=exec",
        &command("stubborn", &[])?,
    )?;
    for unit in [&begins, &ends] {
        until("a main process", Duration::from_secs(10), || {
            Ok(unit.main_pid().is_ok())
        })?;
    }
    let stubborn = ends.main_pid()?;
    until("it heeds nothing", Duration::from_secs(10), || {
        let status = std::fs::read_to_string(format!("/proc/{stubborn}/status"))?;
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = u64::from_str_radix(ignored.unwrap_or("0").trim(), 16)?;
        Ok(ignored >> (libc::SIGTERM - 1) & 1 == 1)
    })?;
    manager.systemctl(&["stop", "--no-block", &ends.name])?;
    for (unit, state) in [(&begins, "activating"), (&ends, "deactivating")] {
        manager.wait_for(&unit.name, state)?;
        let process = inspect(settings, &[&unit.main_pid()?.to_string()])?;
        report.note(process["unit"].to_string());
        equal(&process["unit"]["name"], unit.name.as_str(), "the unit")?;
        equal(&process["unit"]["state"], state, "its state")?;
    }
    crate::sys::kill(stubborn, libc::SIGKILL)?;
    Ok(())
}

/// A scope does not outlive its processes: that is said, and it is so.
fn inspect_scope(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let unit = Unit::known(manager, "gohang-test-shown.scope");
    let mut scope = Command::new("systemd-run");
    scope
        .args(["--quiet", "--scope", "--unit", unit.name.as_str()])
        .args(["-p", "MemoryMax=100M", "sleep", "1000"]);
    let mut inside = scope.stdin(Stdio::null()).spawn()?;
    manager.wait_for(&unit.name, "active")?;
    let pid = read(&manager.group(&unit.name)?, "cgroup.procs")?;
    equal(&pid.as_str().into(), inside.id().to_string(), "the process")?;
    let process = inspect(settings, &[&pid])?;
    let found = &process["unit"];
    report.note(found.to_string());
    equal(&found["name"], unit.name.as_str(), "the unit")?;
    equal(&found["slice"], "system.slice", "its slice")?;
    equal(&found["state"], "active", "its state")?;
    equal(&found["scope"], true, "whether it is a scope")?;
    equal(&found["outlives_processes"], false, "whether it stays")?;
    let limit = &process["groups"]["memory"]["effective"]["limit"];
    equal(limit, 100 << 20, "its memory limit")?;
    let text = text(settings, &["inspect", &pid])?;
    ensure!(text.contains("ends with its last process"), "{text}");
    inside.kill()?;
    inside.wait()?;
    ensure!(!is_alive(pid.parse()?), "{pid} lives on");
    until("the scope is gone", Duration::from_secs(5), || {
        Ok(!manager.has(&unit.name)?)
    })
}

/// The version and the controllers as systemd and its files have them.
fn doctor(settings: &Settings, report: &mut Report) -> Result<()> {
    machine()?;
    let found = document(settings, &["doctor", "-o", "json"])?;
    let said = printed(Command::new("systemctl").arg("--version"))?;
    let version: u64 = said
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("no version in {said:?}"))?;
    report.note(found["systemd"].to_string());
    equal(&found["systemd"]["version"], version, "the version")?;
    equal(&found["systemd"]["running"], true, "whether it runs")?;
    let root = folder("/");
    let lists = |file: &str, name: &str| -> Result<bool> {
        Ok(read(&root, file)?.split_whitespace().any(|own| own == name))
    };
    let controllers = found["cgroup"]["controllers"].as_array();
    for own in controllers.context("no controllers")? {
        let name = own["controller"].as_str().context("no name")?;
        report.note(own.to_string());
        ensure!(lists("cgroup.controllers", name)?, "{name} is made up");
        let state = match lists("cgroup.subtree_control", name)? {
            true => "enabled",
            false => "not_handed_down",
        };
        equal(&own["state"], state, name)?;
        equal(&own["version"], 2, name)?;
        equal(&own["mount"], "/sys/fs/cgroup", name)?;
    }
    let text = text(settings, &["doctor"])?;
    ensure!(text.contains(&format!(" systemd {version} ")), "{text}");
    Ok(())
}
