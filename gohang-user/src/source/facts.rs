//! Enrichment: what is known of a process beside its signals. Cached and lazy.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::signals::SignalFacts;
use crate::cgroup::{CgroupIds, CgroupLayout, Hierarchy, Limits, Membership};
use crate::event::ProcessId;
use crate::golang::PreemptionOff;
use crate::process::{ProcRoot, escape};
use crate::report::{Limit, Moment};

/// What is known of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Process id, root PID namespace.
    pub pid: u32,
    /// Start as the kernel side gives it, CLOCK_MONOTONIC ns.
    pub start_ns: Option<u64>,
    /// Start according to /proc, CLOCK_MONOTONIC ns, rounded to a tick.
    pub proc_start_ns: u64,
    /// Since when it is traced, CLOCK_MONOTONIC ns.
    pub traced_since_ns: u64,
    /// Since when the functions of its Go program are probed, CLOCK_MONOTONIC ns; none if
    /// they are not.
    #[serde(default)]
    pub probed_since_ns: Option<u64>,
    /// Name, as raw bytes.
    pub comm: Vec<u8>,
    /// Go version, none if it is not Go.
    pub go: Option<String>,
    /// Why goroutine ids are not known, if they are not.
    pub no_goid: Option<String>,
    /// What turns its asynchronous preemption off, if anything does.
    #[serde(default)]
    pub preemption_off: Option<PreemptionOff>,
    /// What keeps SIGURG from it, as it was found running.
    #[serde(default)]
    pub signals: SignalFacts,
    /// It had ended before its program could be looked at: whether it was Go is
    /// not known.
    pub gone: bool,
    /// Executed a program while traced.
    pub executed: bool,
    /// Its groups.
    pub group: GroupFacts,
}

/// What is known of a process's groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupFacts {
    /// Membership: the path in /proc/PID/cgroup.
    pub cgroup: Option<String>,
    /// Nearest group with the cpu controller.
    pub quota_cgroup: Option<String>,
    /// Tightest limit.
    pub limit: Option<Limit>,
    /// Container id.
    pub container: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
}

/// Difference between CLOCK_BOOTTIME and CLOCK_MONOTONIC, ns: time suspended.
fn suspended_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME).saturating_sub(clock_ns(libc::CLOCK_MONOTONIC))
}

/// A clock's time in ns.
#[must_use]
pub(crate) fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid clock and a local to write to.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Now, on both clocks.
#[must_use]
pub fn now() -> Moment {
    Moment {
        mono_ns: monotonic_ns(),
        wall_ns: clock_ns(libc::CLOCK_REALTIME),
    }
}

/// CLOCK_MONOTONIC in ns, the clock of `bpf_ktime_get_ns`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Reads facts.
#[derive(Debug)]
pub struct Enricher {
    proc: ProcRoot,
    hierarchy: Option<Hierarchy>,
    ids: Option<CgroupIds>,
    /// Names of senders, escaped, as they were when they were first met; none
    /// of one that had ended.
    senders: HashMap<u32, Option<String>>,
}

/// Most senders whose names are kept.
const MAX_SENDERS: usize = 4096;

impl Enricher {
    /// The hierarchy with the cpu controller, if it can be seen.
    pub(super) fn hierarchy(&self) -> Option<&Hierarchy> {
        self.hierarchy.as_ref()
    }

    /// For this machine's groups. Without a cpu controller, nothing is known
    /// of them.
    #[must_use]
    pub fn new(proc: ProcRoot) -> Self {
        let layout = CgroupLayout::read(&proc).ok();
        let hierarchy = layout
            .as_ref()
            .and_then(|layout| layout.cpu().ok().cloned());
        let ids = hierarchy.clone().map(CgroupIds::new);
        Self {
            proc,
            hierarchy,
            ids,
            senders: HashMap::new(),
        }
    }

    /// The process's groups, as of now.
    #[must_use]
    pub fn group(&self, pid: u32) -> GroupFacts {
        let Ok(membership) = Membership::read(&self.proc, pid) else {
            return GroupFacts::default();
        };
        let identity = membership.identity();
        let mut facts = GroupFacts {
            container: identity.container.map(|container| container.id),
            unit: identity.unit.or(identity.user_unit),
            ..GroupFacts::default()
        };
        if let Some(member) = membership.cpu().or_else(|| membership.v2()) {
            facts.cgroup = Some(member.path.display().to_string());
            if let Some(limits) = self.limits(&member.path) {
                facts.quota_cgroup = limits
                    .controlled_group()
                    .map(|path| path.display().to_string());
                facts.limit = limit(&limits);
            }
        }
        facts
    }

    fn limits(&self, path: &Path) -> Option<Limits> {
        Limits::read(self.hierarchy.as_ref()?, path).ok()
    }

    /// Path and tightest limit of a group by its kernel id.
    pub fn group_by_id(&mut self, id: u64) -> (Option<String>, Option<Limit>) {
        let Some(path) = self.path_by_id(id) else {
            return (None, None);
        };
        let limit = self.limits(Path::new(&path)).as_ref().and_then(limit);
        (Some(path), limit)
    }

    /// Path of a group by its kernel id.
    pub fn path_by_id(&mut self, id: u64) -> Option<String> {
        let path = self.ids.as_mut()?.path_of(id).ok().flatten()?;
        Some(path.display().to_string())
    }

    /// Remembers a process's group by its kernel id, for records that arrive
    /// after the group is gone.
    pub fn remember(&mut self, facts: &GroupFacts) {
        let (Some(ids), Some(hierarchy), Some(path)) = (
            self.ids.as_mut(),
            self.hierarchy.as_ref(),
            facts.quota_cgroup.as_ref(),
        ) else {
            return;
        };
        if let Ok(dir) = hierarchy.require_dir(Path::new(path))
            && let Ok(id) = crate::cgroup::id_of(&dir)
        {
            ids.insert(id, path.into());
        }
    }

    /// Remembers a sender's name while it lives.
    pub fn remember_sender(&mut self, pid: u32) {
        if self.senders.len() < MAX_SENDERS && !self.senders.contains_key(&pid) {
            let name = self.proc.comm(pid).ok().map(escape);
            self.senders.insert(pid, name);
        }
    }

    /// Name of a process that has sent signals, escaped.
    #[must_use]
    pub fn sender(&self, pid: u32) -> Option<String> {
        match self.senders.get(&pid) {
            Some(name) => name.clone(),
            None => self.proc.comm(pid).ok().map(escape),
        }
    }

    /// Start of a process according to /proc, on CLOCK_MONOTONIC.
    #[must_use]
    pub fn start_ns(&self, pid: u32) -> Option<u64> {
        let stat = self.proc.stat(pid).ok()?;
        Some(stat.start_ns().saturating_sub(suspended_ns()))
    }
}

fn limit(limits: &Limits) -> Option<Limit> {
    let group = limits.effective()?;
    Some(Limit {
        owner: group.path.display().to_string(),
        quota_ns: group.limit.quota_ns?,
        period_ns: group.limit.period_ns,
        cpus: group.limit.cpus()?,
    })
}

/// Whether the kernel's start and /proc's are the same process's: /proc counts
/// ticks of 10 ms, and the suspended time is read at another moment.
#[must_use]
pub fn same_start(kernel: &ProcessId, proc_start_ns: u64) -> bool {
    kernel.start_ns.abs_diff(proc_start_ns) < 50_000_000
}
