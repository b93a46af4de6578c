//! Cgroups as containers see them, laid out by hand.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::program::{Program, forms, heeds_quota, one};
use crate::group::{Group, Hierarchy};
use crate::run::{Report, Settings, Test};
use crate::sys;

/// The container's id.
const ID: &str = "8f3a1c5e7b9d0f2468ace13579bdf0248f3a1c5e7b9d0f2468ace13579bdf024";
/// Its quota, microseconds: the CPUs that it pays for are more than the least that a runtime
/// takes for one.
const QUOTA: (u64, u64) = (300_000, 100_000);
const PAID: u64 = 3;

pub(super) fn tests() -> Vec<Test> {
    vec![Test {
        name: "inspect::container_layouts",
        body: container_layouts,
    }]
}

/// What a container sees of cgroups.
#[derive(Clone, Copy, Debug, PartialEq)]
enum View {
    /// Its own namespace, with the hierarchy mounted in it, as runc has it on version 2.
    Namespace,
    /// The machine's namespace, with its own group mounted in the hierarchy's place, as runc has
    /// it on version 1.
    OwnGroup,
    /// Its own namespace, with the machine's mounts, as after `unshare --cgroup`.
    NamespaceAlone,
}

impl View {
    const ALL: [Self; 3] = [Self::Namespace, Self::OwnGroup, Self::NamespaceAlone];

    /// Gives this view to a command that has joined `group`; `aside` is an empty folder.
    fn give(
        self,
        command: &mut Command,
        hierarchy: &Hierarchy,
        group: &Group,
        aside: &Path,
    ) -> Result<()> {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes());
        let aside = text(aside)?;
        let (own, at) = (text(group.path())?, text(hierarchy.root())?);
        let (kind, options) = hierarchy.mount();
        let (kind, options) = (CString::new(kind)?, CString::new(options)?);
        let enter = move || -> io::Result<()> {
            match self {
                Self::Namespace => {
                    sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)?;
                    sys::mounts_private()?;
                    sys::unmount(&at)?;
                    sys::mount(c"cgroup", &at, &kind, 0, &options)
                }
                Self::OwnGroup => {
                    sys::unshare(libc::CLONE_NEWNS)?;
                    sys::mounts_private()?;
                    sys::mount(&own, &aside, c"", libc::MS_BIND, c"")?;
                    sys::unmount(&at)?;
                    sys::mount(&aside, &at, c"", libc::MS_MOVE, c"")
                }
                Self::NamespaceAlone => sys::unshare(libc::CLONE_NEWCGROUP),
            }
        };
        // SAFETY: system calls between fork and exec, on strings that are there already.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }
}

/// Whether the quota's file that the runtime keeps open, which it does if it finds one, is that of
/// `group`; nothing if there is none.
fn quota_of(pid: i32, group: &Group) -> Result<Option<bool>> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?.path();
        let Ok(target) = std::fs::read_link(&entry) else {
            continue;
        };
        let name = target.file_name().unwrap_or_default();
        if name == "cpu.max" || name == "cpu.cfs_quota_us" {
            let (open, own) = (entry.metadata()?, group.path().join(name).metadata()?);
            return Ok(Some((open.dev(), open.ino()) == (own.dev(), own.ino())));
        }
    }
    Ok(None)
}

/// Runtimes that heed quotas, in namespaces of processes, mounts and cgroups: which of them find
/// their group, and what they make of it.
fn container_layouts(settings: &Settings, report: &mut Report) -> Result<()> {
    let hierarchy = settings.hierarchy()?;
    let outer = Group::new(&hierarchy, None)?;
    let group = outer.child(&format!("docker-{ID}.scope"), Some(QUOTA))?;
    let cpus = sys::online_cpus()?.len() as u64;
    let aside = tempfile::tempdir().context("no temporary folder")?;
    for view in View::ALL {
        for (version, line) in
            forms().filter(|(version, line)| heeds_quota(version) && *line == "1.25")
        {
            let program = Program::of(settings, version, line)?;
            let mut command = Command::new("unshare");
            command
                .args(["-p", "-f", "--mount-proc"])
                .arg(program.path());
            group.admit(&mut command)?;
            view.give(&mut command, &hierarchy, &group, aside.path())?;
            let (outside, printed) = program.start_by(command, None, &[])?;
            let children = format!("/proc/{0}/task/{0}/children", outside.pid());
            let children = std::fs::read_to_string(children)?;
            let pid: i32 = children.trim().parse().context("not one child")?;
            let told = format!("{program} in {view:?}");
            let own = quota_of(pid, &group)?;
            report.note(format!(
                "{told}: the quota that it finds is its own: {own:?}, GOMAXPROCS {printed}"
            ));
            let process = one(settings, pid, &[])?;
            let procs = &process["go"]["gomaxprocs"];
            ensure!(
                procs["computed"] == printed && procs["seen"] == printed,
                "{told}: it prints {printed}: {procs}"
            );
            let paid = own == Some(true);
            let want = if paid { cpus.min(PAID) } else { cpus };
            ensure!(printed == want, "{told}: GOMAXPROCS {printed} of {cpus}");
            let watches = &procs["watches"];
            ensure!(
                watches["current"].as_bool() == own,
                "{told}: {own:?}, {watches}"
            );
            ensure!(
                procs["finds_quota"] == own.is_some(),
                "{told}: {own:?}, {procs}"
            );
            ensure!(process["ns_pids"] == json!([pid, 1]), "{told}");
            let container = &process["container"];
            ensure!(
                container["runtime"] == "docker" && container["id"] == ID,
                "{told}: {container}"
            );
            let own = process["groups"]["cpu"]["path"].as_str().map(str::to_owned);
            let want = group.path().strip_prefix(hierarchy.root())?;
            ensure!(
                own.as_deref() == Some(&*format!("/{}", want.display())),
                "{told}: {own:?}"
            );
            let limit: &Value = &process["groups"]["cpu"]["effective"]["cpus"];
            ensure!(*limit == PAID as f64, "{told}: {limit}");
        }
    }
    Ok(())
}
