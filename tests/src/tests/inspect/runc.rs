//! A container that runc made.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::program::{NEWEST, Program, inspect, one};
use crate::actor::Actor;
use crate::run::{Report, Settings, Test, skip};
use crate::sys;

/// Where runc keeps its containers' state.
const STATE: &str = "/run/runc";
/// The container's quota and period, microseconds.
const QUOTA: (u64, u64) = (150_000, 100_000);

pub(super) fn tests() -> Vec<Test> {
    vec![Test {
        name: "inspect::runc",
        body: runc,
    }]
}

/// How runc makes the container's group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Driver {
    /// By itself.
    Cgroupfs,
    /// As a scope of systemd's.
    Systemd,
}

/// A container, which is gone with this.
struct Container<'a> {
    runc: &'a Path,
    id: String,
    actor: Actor,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.actor.close_input();
        // The end of its program is its own; this is for one that did not end.
        let _ = self.actor.wait();
        let delete = Command::new(self.runc)
            .args(["delete", "--force", &self.id])
            .output();
        drop(delete);
    }
}

/// The runc that was given, or that on PATH.
fn find(settings: &Settings) -> Result<PathBuf> {
    if let Some(given) = &settings.runc {
        return Ok(given.clone());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("runc"));
    found
        .find(|program| crate::actor::is_program(program))
        .ok_or_else(|| skip("no --runc given, and none on PATH"))
}

/// The program's configuration for runc: namespaces of its own, a quota, and nothing else that
/// the test does not need.
fn configuration(group: &str) -> String {
    let mount = |at: &str, kind: &str| json!({"destination": at, "type": kind, "source": kind, "options": ["ro"]});
    let namespaces = ["pid", "mount", "cgroup", "ipc", "uts"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/program"],
            "cwd": "/",
            "env": ["CONTAINER=1"],
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            mount("/sys", "sysfs"),
            mount("/sys/fs/cgroup", "cgroup"),
        ],
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": group,
            "resources": {"cpu": {"quota": QUOTA.0, "period": QUOTA.1}},
        },
    })
    .to_string()
}

impl<'a> Container<'a> {
    /// Starts the program in a container; its GOMAXPROCS.
    fn start(runc: &'a Path, program: &Path, folder: &Path, driver: Driver) -> Result<(Self, u64)> {
        let id = format!("gohang-test-{}-{driver:?}", std::process::id());
        let group = match driver {
            Driver::Cgroupfs => format!("/{id}"),
            Driver::Systemd => format!("system.slice:gohang:{id}"),
        };
        let root = folder.join("rootfs");
        for part in ["proc", "sys"] {
            std::fs::create_dir_all(root.join(part))?;
        }
        std::fs::copy(program, root.join("program"))?;
        std::fs::write(folder.join("config.json"), configuration(&group))?;
        let log = folder.join("log");
        let mut command = Command::new(runc);
        command.arg("--log").arg(&log);
        command.args((driver == Driver::Systemd).then_some("--systemd-cgroup"));
        // A first file system, as that of a test machine, cannot be exchanged for another.
        command.args(["run", "--no-pivot", "--bundle"]).arg(folder);
        let actor = Actor::spawn(command.arg(&id), None)?;
        let mut container = Self { runc, id, actor };
        match container.actor.expect_number("procs ") {
            Ok(procs) => Ok((container, procs)),
            Err(_) => {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                let why = log.lines().last().unwrap_or("it says nothing");
                Err(skip(format!("runc does not run here: {why}")))
            }
        }
    }

    /// The id of its process here.
    fn pid(&self) -> Result<i32> {
        let state = Command::new(self.runc).args(["state", &self.id]).output()?;
        let state: serde_json::Value = serde_json::from_slice(&state.stdout)?;
        let pid = state["pid"].as_i64().context("no pid")?;
        Ok(i32::try_from(pid)?)
    }
}

/// A container is told by runc's state, with its id, its quota and what its runtime makes of it,
/// whoever made its group.
fn runc(settings: &Settings, report: &mut Report) -> Result<()> {
    let runc = find(settings)?;
    let program = Program::of(settings, NEWEST, "1.25")?;
    let drivers = match crate::systemd::machine() {
        Ok(_) => &[Driver::Cgroupfs, Driver::Systemd][..],
        Err(_) => &[Driver::Cgroupfs],
    };
    let was_there = Path::new(STATE).exists();
    for &driver in drivers {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let (container, printed) = Container::start(&runc, program.path(), folder.path(), driver)?;
        let pid = container.pid()?;
        let process = one(settings, pid, &[])?;
        // Its id is in no path of a form that would tell.
        let by_id = inspect(settings, &["--container", &container.id])?;
        let pids = by_id["processes"].as_array().context("a list")?;
        ensure!(pids.len() == 1 && pids[0]["pid"] == pid, "{by_id}");
        let (found, unit) = (&process["container"], &process["unit"]);
        report.note(format!("{driver:?}: {found}, unit {unit}"));
        let told = format!("{driver:?}: {process}");
        ensure!(found["runtime"] == "runc", "{told}");
        ensure!(found["id"] == *container.id, "{told}");
        ensure!(found["name"] == *container.id, "{told}");
        let state = format!("{STATE}/{}/state.json", container.id);
        ensure!(found["state"] == *state, "{told}");
        ensure!(process["ns_pids"] == json!([pid, 1]), "{told}");
        let cpu = &process["groups"]["cpu"];
        let path = cpu["path"].as_str().unwrap_or("");
        ensure!(path.contains(&container.id), "{told}");
        ensure!(cpu["effective"]["cpus"] == 1.5, "{told}");
        let procs = &process["go"]["gomaxprocs"];
        let want = sys::online_cpus()?.len().min(2) as u64;
        ensure!(printed == want, "GOMAXPROCS is {printed}");
        ensure!(
            procs["computed"] == printed && procs["seen"] == printed,
            "{told}"
        );
        ensure!(procs["finds_quota"] == true, "{told}");
        ensure!(procs["watches"]["current"] == true, "{told}");
        if driver == Driver::Systemd {
            let scope = format!("gohang-{}.scope", container.id);
            ensure!(unit["name"] == *scope && unit["scope"] == true, "{told}");
            ensure!(unit["state"] == "active", "{told}");
        }
    }
    if !was_there {
        // Empty by now.
        let _ = std::fs::remove_dir(STATE);
    }
    Ok(())
}
