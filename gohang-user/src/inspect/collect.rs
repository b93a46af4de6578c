//! Looking at processes.

use std::collections::BTreeSet;
use std::path::Path;

use super::containers::Containers;
use super::go::{Around, facts};
use super::groups::{GroupReader, psi, version};
use super::model::{Contained, Failed, Machine, Process, Sigurg, Thread, Withheld};
use super::name::Name;
use super::status::ThreadStatus;
use super::units::{Units, unit};
use crate::cgroup::{CgroupError, CgroupLayout, Membership, Mode, Pressure};
use crate::golang::{FoundGo, InspectError, Inspector, LiveReader};
use crate::privilege::kernel_release;
use crate::process::{CpuList, ProcError, ProcRoot, allowed_cpus};

/// Most threads of a process that are looked at one by one.
const MAX_THREADS: usize = 4096;

/// A process that could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("process {pid}: {error}")]
pub struct NotShown {
    /// Which.
    pub pid: u32,
    /// Why.
    pub error: ProcError,
}

impl NotShown {
    /// As the report has it.
    #[must_use]
    pub fn failed(&self) -> Failed {
        Failed {
            pid: self.pid,
            gone: self.error.is_gone(),
            reason: self.error.to_string(),
        }
    }
}

/// Looks at processes, and remembers programs and groups that many have in common.
#[derive(Debug)]
pub struct Collector {
    proc: ProcRoot,
    layout: Result<CgroupLayout, String>,
    inspector: Inspector,
    live: LiveReader,
    groups: GroupReader,
    containers: Containers,
    units: Units,
}

impl Collector {
    /// For the processes below `proc`, with the state of container runtimes below `root`.
    #[must_use]
    pub fn new(proc: ProcRoot, root: &Path) -> Self {
        let layout = CgroupLayout::read(&proc).map_err(|error| error.to_string());
        Self {
            inspector: Inspector::new(proc.clone()),
            live: LiveReader::new(proc.clone()),
            groups: GroupReader::new(layout.as_ref().ok().cloned()),
            containers: Containers::new(root),
            units: Units::default(),
            layout,
            proc,
        }
    }

    /// Processes are read here.
    #[must_use]
    pub fn proc(&self) -> &ProcRoot {
        &self.proc
    }

    /// Groups.
    #[must_use]
    pub fn groups(&self) -> &GroupReader {
        &self.groups
    }

    /// Forgets groups, containers of runc and units that were read, for another round.
    pub fn next_round(&mut self) {
        self.groups.forget();
        self.containers.forget();
        self.units.forget();
    }

    /// The Go in a process.
    ///
    /// # Errors
    /// As [`Inspector::inspect`].
    pub fn go(&self, pid: u32) -> Result<Option<FoundGo>, InspectError> {
        self.inspector.inspect(pid)
    }

    /// What holds for all processes.
    #[must_use]
    pub fn machine(&self) -> Machine {
        let mut machine = Machine {
            kernel: kernel_release().ok().map(|release| release.to_string()),
            online_cpus: self
                .proc
                .cpu_times()
                .map_or(0, |cpus| u32::try_from(cpus.len()).unwrap_or(u32::MAX)),
            cpu_pressure: Pressure::read(&self.proc.path().join("pressure"), "cpu")
                .ok()
                .flatten()
                .map(psi),
            ..Machine::default()
        };
        match &self.layout {
            Ok(layout) => {
                machine.layout = layout.mode().to_string();
                machine.membership_rule = membership_rule(layout.mode()).to_owned();
                match layout.cpu() {
                    Ok(cpu) => {
                        machine.cpu_version = Some(version(cpu));
                        machine.cpu_mount = Some(Name::from(cpu.mount_point.as_path()));
                    }
                    Err(error) => machine.cpu_error = Some(error.to_string()),
                }
            }
            Err(error) => {
                machine.layout = "unknown".to_owned();
                machine.cpu_error = Some(error.clone());
            }
        }
        machine
    }

    /// A process.
    ///
    /// # Errors
    /// [`NotShown`] when it has ended, or is hidden (`hidepid`).
    pub fn process(&mut self, pid: u32) -> Result<Process, NotShown> {
        self.read(pid).map_err(|error| NotShown { pid, error })
    }

    fn read(&mut self, pid: u32) -> Result<Process, ProcError> {
        let stat = self.proc.stat(pid)?;
        let raw = self.proc.read_pid_file(pid, "status")?;
        let status = self.proc.status(pid)?;
        let own = ThreadStatus::parse(&raw);
        let mut process = Process {
            pid,
            ns_pids: status.ns_tgids,
            start_ticks: stat.start_ticks,
            comm: Name::new(stat.comm),
            uid: own.uid,
            rss_bytes: own.rss_bytes,
            // The list may name CPUs that are offline.
            cpus_allowed_count: allowed_cpus(pid).unwrap_or_else(|_| {
                CpuList::parse(&own.cpus_allowed).map_or(0, |list| list.count())
            }),
            cpus_allowed: own.cpus_allowed,
            sigurg: Sigurg {
                caught: status.sig_caught.has_sigurg(),
                ignored: status.sig_ignored.has_sigurg(),
                pending: status.shared_pending.has_sigurg(),
            },
            ..Process::default()
        };
        let exe = self.proc.pid_dir(pid).join("exe");
        process.program = std::fs::read_link(exe)
            .ok()
            .map(|path| Name::from(path.as_path()));
        let cpu_path = self.read_groups(pid, &mut process)?;
        process.threads = self.threads(pid, cpu_path.as_deref(), &mut process.withheld)?;
        self.read_go(pid, cpu_path.as_deref(), &mut process)?;
        // Whatever ended meanwhile left files that cannot be read.
        if self.proc.start_ticks(pid)? != process.start_ticks {
            return Err(ProcError::Gone { pid });
        }
        Ok(process)
    }

    /// Groups, container and unit; the group in the hierarchy of the cpu controller.
    fn read_groups(
        &mut self,
        pid: u32,
        process: &mut Process,
    ) -> Result<Option<std::path::PathBuf>, ProcError> {
        let membership = match Membership::read(&self.proc, pid) {
            Ok(membership) => membership,
            Err(CgroupError::Proc(error)) if error.is_gone() => return Err(error),
            Err(error) => {
                process
                    .withheld
                    .push(withheld("its control groups", &error));
                return Ok(None);
            }
        };
        let mut failed = Vec::new();
        process.groups = self.groups.read(&membership, &mut failed);
        for (controller, error) in failed {
            let what = format!("its group of the {controller} controller");
            process.withheld.push(withheld(&what, &error));
        }
        let identity = membership.identity();
        let named = membership.v1("name=systemd").or_else(|| membership.v2());
        let path = membership.cpu().map(|member| member.path.clone());
        process.unit = named.and_then(|member| unit(&identity, &member.path));
        if let Some(unit) = &mut process.unit {
            unit.state = self.units.state(&unit.name);
        }
        process.container = self.container(&membership);
        Ok(path)
    }

    fn container(&mut self, membership: &Membership) -> Option<Contained> {
        let identity = membership.identity();
        let mut members = membership.members().iter();
        members.find_map(|member| self.containers.find(&identity, &member.path))
    }

    /// Whether the process is in a container that its runtime knows by one of these ids or
    /// names. The path of a group, by which a [`Selection`](crate::source::Selection) goes,
    /// tells neither names nor the ids of runc's own.
    pub(super) fn is_in_container(&mut self, pid: u32, wanted: &BTreeSet<String>) -> bool {
        if wanted.is_empty() {
            return false;
        }
        let Ok(membership) = Membership::read(&self.proc, pid) else {
            return false;
        };
        self.container(&membership).is_some_and(|own| {
            wanted.contains(&own.id) || own.name.is_some_and(|name| wanted.contains(&name))
        })
    }

    fn threads(
        &self,
        pid: u32,
        own_group: Option<&Path>,
        withheld: &mut Vec<Withheld>,
    ) -> Result<Vec<Thread>, ProcError> {
        let tids = self.proc.threads(pid)?;
        if tids.len() > MAX_THREADS {
            withheld.push(Withheld {
                what: format!("threads beyond the first {MAX_THREADS} of {}", tids.len()),
                reason: "no more are looked at one by one".into(),
            });
        }
        let mut threads = Vec::new();
        for &tid in tids.iter().take(MAX_THREADS) {
            let raw = match self.proc.read_pid_file(pid, &format!("task/{tid}/status")) {
                Ok(raw) => raw,
                // A thread that ended is none of its threads now.
                Err(_) => continue,
            };
            let status = ThreadStatus::parse(&raw);
            let comm = self.proc.read_pid_file(pid, &format!("task/{tid}/comm"));
            let mut comm = comm.unwrap_or_default();
            comm.pop_if(|last| *last == b'\n');
            // Threads can be in groups of their own, on version 2 where a group is threaded.
            let group = self
                .proc
                .read_pid_file(pid, &format!("task/{tid}/cgroup"))
                .ok()
                .and_then(|raw| Membership::parse(&raw).ok())
                .and_then(|own| own.cpu().map(|member| member.path.clone()));
            threads.push(Thread {
                tid,
                comm: Name::new(comm),
                sigurg_blocked: status.sigurg_blocked,
                sigurg_pending: status.sigurg_pending,
                cpus_allowed: status.cpus_allowed,
                voluntary_switches: status.voluntary_switches,
                involuntary_switches: status.involuntary_switches,
                cgroup: group
                    .filter(|group| Some(group.as_path()) != own_group)
                    .map(|group| Name::from(group.as_path())),
                sample_cpu_ns: None,
            });
        }
        Ok(threads)
    }

    fn read_go(
        &mut self,
        pid: u32,
        cpu_path: Option<&Path>,
        process: &mut Process,
    ) -> Result<(), ProcError> {
        let found = match self.inspector.inspect(pid) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(InspectError::Proc(error)) if error.is_gone() => return Err(error),
            Err(error) => {
                process.withheld.push(Withheld {
                    what: "whether it is a Go program".into(),
                    reason: error.to_string(),
                });
                return Ok(());
            }
        };
        let around = Around {
            proc: &self.proc,
            pid,
            cpus: process.cpus_allowed_count,
            group: self.groups.cpu_hierarchy().zip(cpu_path),
        };
        let go = facts(&around, &found, &mut self.live, &mut process.withheld);
        process.go = Some(go);
        Ok(())
    }
}

fn withheld(what: &str, error: &CgroupError) -> Withheld {
    Withheld {
        what: what.to_owned(),
        reason: error.to_string(),
    }
}

/// How many groups a process is in, by layout.
fn membership_rule(mode: Mode) -> &'static str {
    match mode {
        Mode::Legacy => {
            "a process is in one group of each hierarchy, and its threads may be in groups of \
             their own; moving it in one hierarchy leaves its limits in the others"
        }
        Mode::Hybrid => {
            "a process is in one group of each version 1 hierarchy and in one of version 2; a \
             controller belongs to one of them only, so a move in the wrong one changes no limit"
        }
        Mode::Unified => {
            "a process is in exactly one group, which counts for all controllers; threads may \
             differ only below a threaded group; groups with controllers for those below have \
             no processes of their own"
        }
        Mode::None => "no control groups are mounted here",
    }
}
