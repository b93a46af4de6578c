//! Control groups of processes, each group read once a round.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::{
    Cpu, CpuLevel, CpuStatistics, CpusetLevel, Cpusets, EffectiveCpu, Groups, Level, LimitLevel,
    Limited, Member, Psi, PsiStall, Weight,
};
use super::name::Name;
use crate::cgroup::{
    CgroupError, CgroupLayout, CpuStat, CpuWeight, Cpuset, Hierarchy, Limits, Membership,
    MemoryStat, PidsStat, Pressure, Stall, Version, cpuacct_usage_ns,
};

/// Reads groups and remembers them until it is told to forget.
#[derive(Debug)]
pub struct GroupReader {
    layout: Option<CgroupLayout>,
    cpu: HashMap<PathBuf, Option<Arc<Cpu>>>,
    cpuset: HashMap<PathBuf, Option<Arc<Cpusets>>>,
    memory: HashMap<PathBuf, Option<Arc<Limited>>>,
    pids: HashMap<PathBuf, Option<Arc<Limited>>>,
}

impl GroupReader {
    /// For groups of this layout; without one, nothing is known of them.
    #[must_use]
    pub fn new(layout: Option<CgroupLayout>) -> Self {
        Self {
            layout,
            cpu: HashMap::new(),
            cpuset: HashMap::new(),
            memory: HashMap::new(),
            pids: HashMap::new(),
        }
    }

    /// Forgets what was read.
    pub fn forget(&mut self) {
        self.cpu.clear();
        self.cpuset.clear();
        self.memory.clear();
        self.pids.clear();
    }

    /// The hierarchy with the cpu controller.
    #[must_use]
    pub fn cpu_hierarchy(&self) -> Option<&Hierarchy> {
        self.layout.as_ref()?.cpu().ok()
    }

    /// The hierarchy that has `controller`, and the group of it that this member is in.
    fn place<'a>(
        &'a self,
        membership: &'a Membership,
        controller: &str,
    ) -> Option<(&'a Hierarchy, &'a Path)> {
        let layout = self.layout.as_ref()?;
        let v1 = layout
            .v1()
            .iter()
            .find(|own| own.controllers.iter().any(|name| name == controller));
        if let (Some(hierarchy), Some(member)) = (v1, membership.v1(controller)) {
            return Some((hierarchy, &member.path));
        }
        Some((layout.v2()?, &membership.v2()?.path))
    }

    /// The groups of a process. What could not be read is added to `failed`, by controller.
    pub fn read(
        &mut self,
        membership: &Membership,
        failed: &mut Vec<(&'static str, CgroupError)>,
    ) -> Groups {
        let members = membership.members().iter();
        let members = members.map(|member| self.member(member)).collect();
        let mut groups = Groups {
            members,
            ..Groups::default()
        };
        let cpu = self.place(membership, "cpu").map(owned);
        if let Some((hierarchy, path)) = cpu {
            groups.cpu = once(&mut self.cpu, &path, failed, "cpu", || {
                cpu_of(&hierarchy, &path)
            });
        }
        let cpuset = self.place(membership, "cpuset").map(owned);
        if let Some((hierarchy, path)) = cpuset {
            groups.cpuset = once(&mut self.cpuset, &path, failed, "cpuset", || {
                cpuset_of(&hierarchy, &path)
            });
        }
        let memory = self.place(membership, "memory").map(owned);
        if let Some((hierarchy, path)) = memory {
            groups.memory = once(&mut self.memory, &path, failed, "memory", || {
                limited(&hierarchy, &path, |dir| {
                    let found = MemoryStat::read(dir)?;
                    Ok(found.map(|found| LimitLevel {
                        path: Name::default(),
                        current: found.usage,
                        limit: found.limit,
                        hits: found.hits,
                        kills: found.oom_kills,
                    }))
                })
            });
        }
        let pids = self.place(membership, "pids").map(owned);
        if let Some((hierarchy, path)) = pids {
            groups.pids = once(&mut self.pids, &path, failed, "pids", || {
                limited(&hierarchy, &path, |dir| {
                    let found = PidsStat::read(dir)?;
                    Ok(found.map(|found| LimitLevel {
                        path: Name::default(),
                        current: found.current,
                        limit: found.limit,
                        hits: found.refused,
                        kills: 0,
                    }))
                })
            });
        }
        groups
    }

    /// What a process in this group of the cpu hierarchy would have.
    ///
    /// # Errors
    /// When the group cannot be read.
    pub fn cpu_at(&self, path: &Path) -> Result<Option<Cpu>, CgroupError> {
        match self.cpu_hierarchy() {
            Some(hierarchy) => cpu_of(hierarchy, path),
            None => Ok(None),
        }
    }

    /// Statistics of the group at `path` of the cpu hierarchy.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn statistics(&self, path: &Path) -> Result<Option<CpuStatistics>, CgroupError> {
        match self.cpu_hierarchy() {
            Some(hierarchy) => statistics(hierarchy, path),
            None => Ok(None),
        }
    }

    fn member(&self, member: &crate::cgroup::Member) -> Member {
        let v2 = member.hierarchy == 0;
        let controllers = if v2 {
            self.v2_controllers(&member.path)
        } else {
            member.controllers.clone()
        };
        Member {
            version: if v2 { 2 } else { 1 },
            controllers,
            path: Name::from(member.path.as_path()),
            deleted: member.deleted,
        }
    }

    fn v2_controllers(&self, path: &Path) -> Vec<String> {
        let v2 = self.layout.as_ref().and_then(CgroupLayout::v2);
        let dir = v2.and_then(|hierarchy| hierarchy.dir_of(path));
        let list = dir.and_then(|dir| std::fs::read(dir.join("cgroup.controllers")).ok());
        let list = String::from_utf8_lossy(&list.unwrap_or_default()).into_owned();
        list.split_whitespace().map(Into::into).collect()
    }
}

fn owned((hierarchy, path): (&Hierarchy, &Path)) -> (Hierarchy, PathBuf) {
    (hierarchy.clone(), path.to_owned())
}

fn once<T: Clone>(
    known: &mut HashMap<PathBuf, Option<Arc<T>>>,
    path: &Path,
    failed: &mut Vec<(&'static str, CgroupError)>,
    what: &'static str,
    read: impl FnOnce() -> Result<Option<T>, CgroupError>,
) -> Option<T> {
    if let Some(found) = known.get(path) {
        return found.as_deref().cloned();
    }
    match read() {
        Ok(found) => {
            let found = found.map(Arc::new);
            known.insert(path.to_owned(), found.clone());
            found.as_deref().cloned()
        }
        Err(error) => {
            failed.push((what, error));
            None
        }
    }
}

/// A group and those above it that the mount shows, nearest first.
fn levels(
    hierarchy: &Hierarchy,
    path: &Path,
) -> Result<impl Iterator<Item = (PathBuf, PathBuf)>, CgroupError> {
    let dir = hierarchy.require_dir(path)?;
    let dirs: Vec<PathBuf> = dir.ancestors().map(Path::to_owned).collect();
    let hierarchy = hierarchy.clone();
    Ok(dirs.into_iter().map_while(move |dir| {
        let path = hierarchy.path_of(&dir)?;
        Some((dir, path))
    }))
}

fn cpu_of(hierarchy: &Hierarchy, path: &Path) -> Result<Option<Cpu>, CgroupError> {
    let limits = Limits::read(hierarchy, path)?;
    let mut cpu = Cpu {
        version: version(hierarchy),
        path: Name::from(path),
        complete: limits.complete,
        ..Cpu::default()
    };
    for group in &limits.groups {
        let weight = CpuWeight::read(&hierarchy.require_dir(&group.path)?)?;
        cpu.levels.push(CpuLevel {
            path: Name::from(group.path.as_path()),
            quota_ns: group.limit.quota_ns,
            period_ns: group.limit.period_ns,
            burst_ns: group.limit.burst_ns,
            weight: weight.map(|weight| match weight {
                CpuWeight::Shares(shares) => Weight::Shares(shares),
                CpuWeight::Weight(weight) => Weight::Weight(weight),
                CpuWeight::Idle => Weight::Idle,
            }),
        });
    }
    cpu.effective = effective(&cpu.levels);
    let dir = hierarchy.require_dir(path)?;
    cpu.pressure = Pressure::read(&dir, "cpu.pressure")?.map(psi);
    let owner = cpu.effective.as_ref().map(|own| own.path.path().to_owned());
    let nearest = limits.controlled_group().map(Path::to_owned);
    if let Some(group) = owner.or(nearest) {
        cpu.statistics = statistics(hierarchy, &group)?;
    }
    Ok(Some(cpu))
}

/// The tightest limit, the nearest of several.
pub(crate) fn effective(levels: &[CpuLevel]) -> Option<EffectiveCpu> {
    let tightest = levels
        .iter()
        .filter(|level| level.quota_ns.is_some() && level.period_ns > 0)
        .reduce(|best, next| {
            let scaled = |own: &CpuLevel, other: &CpuLevel| {
                u128::from(own.quota_ns.unwrap_or(u64::MAX)) * u128::from(other.period_ns)
            };
            if scaled(next, best) < scaled(best, next) {
                next
            } else {
                best
            }
        })?;
    Some(EffectiveCpu {
        path: tightest.path.clone(),
        quota_ns: tightest.quota_ns?,
        period_ns: tightest.period_ns,
        burst_ns: tightest.burst_ns,
        cpus: tightest.cpus()?,
    })
}

fn statistics(hierarchy: &Hierarchy, path: &Path) -> Result<Option<CpuStatistics>, CgroupError> {
    let dir = hierarchy.require_dir(path)?;
    let Some(stat) = CpuStat::read(&dir)? else {
        return Ok(None);
    };
    let usage_ns = match stat.usage_ns {
        Some(usage) => Some(usage),
        None => cpuacct_usage_ns(&dir)?,
    };
    Ok(Some(CpuStatistics {
        path: Name::from(path),
        usage_ns,
        periods: stat.nr_periods,
        throttled_periods: stat.nr_throttled,
        throttled_ns: stat.throttled_ns,
        bursts: stat.nr_bursts,
        burst_ns: stat.burst_ns,
    }))
}

fn cpuset_of(hierarchy: &Hierarchy, path: &Path) -> Result<Option<Cpusets>, CgroupError> {
    let mut own = Cpusets {
        path: Name::from(path),
        levels: Vec::new(),
    };
    for (dir, path) in levels(hierarchy, path)? {
        if let Some(found) = Cpuset::read(&dir)? {
            own.levels.push(CpusetLevel {
                path: Name::from(path.as_path()),
                cpus: found.cpus,
                effective: found.effective,
                mems: found.mems,
            });
        }
    }
    Ok((!own.levels.is_empty()).then_some(own))
}

fn limited(
    hierarchy: &Hierarchy,
    path: &Path,
    read: impl Fn(&Path) -> Result<Option<LimitLevel>, CgroupError>,
) -> Result<Option<Limited>, CgroupError> {
    let mut own = Limited {
        path: Name::from(path),
        ..Limited::default()
    };
    for (dir, path) in levels(hierarchy, path)? {
        if let Some(mut level) = read(&dir)? {
            level.path = Name::from(path.as_path());
            own.levels.push(level);
        }
    }
    own.effective = lowest(&own.levels);
    Ok((!own.levels.is_empty()).then_some(own))
}

/// The lowest limit, the nearest of several.
pub(crate) fn lowest(levels: &[LimitLevel]) -> Option<Level> {
    let limited = levels
        .iter()
        .filter_map(|level| Some((level.limit?, level)));
    let (limit, level) = limited.min_by_key(|(limit, _)| *limit)?;
    Some(Level {
        path: level.path.clone(),
        limit,
        current: level.current,
    })
}

pub(super) fn psi(pressure: Pressure) -> Psi {
    let stall = |own: Stall| PsiStall {
        avg10: own.avg10,
        avg60: own.avg60,
        avg300: own.avg300,
        total_ns: own.total_ns,
    };
    Psi {
        some: stall(pressure.some),
        full: pressure.full.map(stall),
    }
}

pub(super) fn version(hierarchy: &Hierarchy) -> u8 {
    match hierarchy.version {
        Version::V1 => 1,
        Version::V2 => 2,
    }
}
