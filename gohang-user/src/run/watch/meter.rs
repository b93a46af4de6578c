//! What the command's control groups say, its own and those above.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cgroup::{
    CgroupError, CgroupLayout, CpuLimit, CpuStat, Hierarchy, Limits, Membership, MemoryStat,
    PidsStat, Version, cpuacct_usage_ns,
};
use crate::process::ProcRoot;
use crate::run::evidence;

/// Files of a group that tell of its state, on version 1 and 2.
const FILES: [&str; 32] = [
    "cgroup.events",
    "cgroup.freeze",
    "cgroup.procs",
    "cgroup.stat",
    "cgroup.type",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "cpu.pressure",
    "cpu.shares",
    "cpu.stat",
    "cpu.weight",
    "cpuacct.usage",
    "cpuacct.usage_percpu",
    "io.pressure",
    "memory.current",
    "memory.events",
    "memory.failcnt",
    "memory.high",
    "memory.limit_in_bytes",
    "memory.max",
    "memory.oom_control",
    "memory.peak",
    "memory.pressure",
    "memory.stat",
    "memory.swap.current",
    "memory.usage_in_bytes",
    "pids.current",
    "pids.events",
    "pids.max",
];

/// A group, as a directory and as `/proc/PID/cgroup` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Level {
    dir: PathBuf,
    path: PathBuf,
    /// Where its CPU time is counted, if that is elsewhere.
    acct: Option<PathBuf>,
}

/// The files to read, found once.
#[derive(Debug)]
pub(super) struct Meter {
    hierarchy: Option<Hierarchy>,
    /// Nearest first, as all of these.
    cpu: Vec<Level>,
    memory: Vec<Level>,
    pids: Vec<Level>,
    /// The nearest groups are the command's alone.
    own: bool,
    counted: Counted,
}

/// Counts as they were at the last reading, nearest first; `None` where there was none.
#[derive(Debug, Default)]
struct Counted {
    oom_kills: Vec<Option<u64>>,
    refused: Vec<Option<u64>>,
    /// What was added to them since the first one, as far as it is the command's.
    of_command: (u64, u64),
}

/// Throttling of one group since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Throttling {
    /// Periods in which it ran.
    pub periods: u64,
    /// Periods in which it ran out of quota.
    pub throttled: u64,
    /// Time its run queues were out of quota, in nanoseconds, summed over them.
    pub throttled_ns: u64,
    /// CPU time it used, in nanoseconds.
    pub used_ns: u64,
}

/// Memory of the group that is nearest to its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    /// The group.
    pub path: PathBuf,
    /// Bytes in use, without file cache that can be dropped.
    pub used: u64,
    /// Bytes allowed.
    pub limit: u64,
}

impl Memory {
    /// The part of the limit that is in use.
    pub fn share(&self) -> f64 {
        self.used as f64 / self.limit.max(1) as f64
    }
}

/// One reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// When.
    pub at: Instant,
    /// CPU time of the command's own groups, in nanoseconds.
    pub used_ns: Option<u64>,
    /// Of each group with a quota-keeping controller, nearest first.
    pub throttling: Vec<Throttling>,
    /// The group nearest to its limit.
    pub memory: Option<Memory>,
    /// How often a limit on memory was reached.
    pub memory_hits: u64,
    /// Processes of the command that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Forks that were refused because of a limit on tasks.
    pub refused: u64,
    /// Tasks, and the tightest limit on them.
    pub tasks: Option<(u64, u64)>,
    /// Bytes of output so far, which the watch knows.
    pub output_bytes: u64,
}

impl Meter {
    /// For the groups of process `pid`. `own`: the nearest of them hold the command alone.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn new(
        layout: &CgroupLayout,
        proc: &ProcRoot,
        pid: u32,
        own: bool,
    ) -> Result<Self, CgroupError> {
        let membership = Membership::read(proc, pid)?;
        let levels = |controller: &str| {
            let v1 = layout
                .v1()
                .iter()
                .find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller));
            let (hierarchy, member) = match v1 {
                Some(hierarchy) => (hierarchy, membership.v1(controller)?),
                None => (layout.v2()?, membership.v2()?),
            };
            let dir = hierarchy.dir_of(&member.path)?;
            let levels = dir.ancestors().map_while(|dir| {
                Some(Level {
                    path: hierarchy.path_of(dir)?,
                    dir: dir.to_path_buf(),
                    acct: None,
                })
            });
            Some((hierarchy.clone(), levels.collect::<Vec<_>>()))
        };
        let (hierarchy, mut cpu) = levels("cpu").unzip();
        // On version 1 CPU time may be counted in another hierarchy, under the same paths.
        if hierarchy.as_ref().is_some_and(|h| h.version == Version::V1)
            && let Some((acct, _)) = levels("cpuacct")
        {
            for level in cpu.iter_mut().flatten() {
                level.acct = acct.dir_of(&level.path);
            }
        }
        Ok(Self {
            hierarchy,
            cpu: cpu.unwrap_or_default(),
            memory: levels("memory").map_or_else(Vec::new, |(_, levels)| levels),
            pids: levels("pids").map_or_else(Vec::new, |(_, levels)| levels),
            own,
            counted: Counted::default(),
        })
    }

    /// Reads everything. A file that has gone, or that there never was, says nothing.
    pub fn sample(&mut self, at: Instant) -> Sample {
        let throttling: Vec<Throttling> = self.cpu.iter().map(throttling_of).collect();
        let own = self.own.then(|| self.cpu.first()).flatten();
        let used_ns = own.and_then(used_by);
        let memory: Vec<Option<MemoryStat>> = self
            .memory
            .iter()
            .map(|level| MemoryStat::read(&level.dir).ok().flatten())
            .collect();
        let tasks: Vec<Option<PidsStat>> = self
            .pids
            .iter()
            .map(|level| PidsStat::read(&level.dir).ok().flatten())
            .collect();
        self.count(&memory, &tasks);
        let (oom_kills, refused) = self.counted.of_command;
        Sample {
            at,
            used_ns,
            throttling,
            memory_hits: memory.iter().flatten().map(|stat| stat.hits).sum(),
            oom_kills,
            memory: fullest(&self.memory, &memory),
            refused,
            tasks: tasks
                .iter()
                .flatten()
                .filter_map(|stat| Some((stat.current, stat.limit?)))
                .min_by_key(|(current, limit)| limit.saturating_sub(*current)),
            output_bytes: 0,
        }
    }

    /// Adds what the counts have grown by since the last reading.
    fn count(&mut self, memory: &[Option<MemoryStat>], tasks: &[Option<PidsStat>]) {
        let own = self.own;
        let counted = &mut self.counted;
        let oom_kills: Vec<_> = memory
            .iter()
            .map(|stat| stat.map(|stat| stat.oom_kills))
            .collect();
        if own {
            // A kill counts in all groups above as well. Where the command's own has gone with
            // its last process (systemd removes it at once), the next one has to tell.
            let gone = matches!(counted.oom_kills[..], [Some(_), ..]) && oom_kills[0].is_none();
            let index = usize::from(gone);
            counted.of_command.0 += growth(&counted.oom_kills, &oom_kills, index);
        }
        let refused: Vec<_> = tasks
            .iter()
            .map(|stat| stat.map(|stat| stat.refused))
            .collect();
        for (index, stat) in tasks.iter().enumerate() {
            // Groups above have others inside too: only one that is full refuses.
            let is_full = |stat: &PidsStat| {
                let full = stat.limit.map(|limit| limit - limit / 10);
                full.is_some_and(|full| stat.current >= full)
            };
            if own && index == 0 || stat.as_ref().is_some_and(is_full) {
                counted.of_command.1 += growth(&counted.refused, &refused, index);
            }
        }
        counted.oom_kills = oom_kills;
        counted.refused = refused;
    }

    /// Files that change as soon as the kernel kills for want of memory or refuses a task
    /// (version 2), to be polled, and read after each change.
    pub fn alarms(&self) -> Vec<File> {
        let own = |levels: &[Level], name: &str| {
            let level = levels.first().filter(|_| self.own)?;
            File::open(level.dir.join(name)).ok()
        };
        // Version 1 has a file of the second name that cannot be polled.
        let is_v2 = |file: &Option<File>| file.is_some();
        let memory = own(&self.memory, "memory.events");
        let pids = own(&self.pids, "pids.events").filter(|_| is_v2(&memory));
        [memory, pids].into_iter().flatten().collect()
    }

    /// The group that throttles, by its place in [`Sample::throttling`], with its quota in
    /// CPUs.
    pub fn quota(&self, index: usize) -> (PathBuf, Option<f64>) {
        let Some(level) = self.cpu.get(index) else {
            return (PathBuf::new(), None);
        };
        let limit = self.limit(level);
        (level.path.clone(), limit.and_then(|limit| limit.cpus()))
    }

    fn limit(&self, level: &Level) -> Option<CpuLimit> {
        let limits = Limits::read(self.hierarchy.as_ref()?, &level.path).ok()?;
        let mut groups = limits.groups.into_iter();
        let own = groups.find(|group| group.path == level.path)?;
        Some(own.limit)
    }

    /// The command's groups and those above with their limits, nearest first.
    pub fn levels(&self) -> Vec<evidence::Level> {
        let mut levels: Vec<evidence::Level> = Vec::new();
        let of = |levels: &mut Vec<evidence::Level>, index: usize, level: &Level| {
            let path = level.path.display().to_string();
            let known = levels.iter().position(|level| level.path == path);
            known.unwrap_or_else(|| {
                levels.push(evidence::Level {
                    path,
                    own: self.own && index == 0,
                    ..evidence::Level::default()
                });
                levels.len() - 1
            })
        };
        for (index, level) in self.cpu.iter().enumerate() {
            let at = of(&mut levels, index, level);
            if let Some(limit) = self.limit(level) {
                levels[at].quota_cpus = limit.cpus();
                levels[at].period_ns = Some(limit.period_ns);
            }
        }
        for (index, level) in self.memory.iter().enumerate() {
            let at = of(&mut levels, index, level);
            let stat = MemoryStat::read(&level.dir).ok().flatten();
            levels[at].memory_max_bytes = stat.and_then(|stat| stat.limit);
        }
        for (index, level) in self.pids.iter().enumerate() {
            let at = of(&mut levels, index, level);
            let stat = PidsStat::read(&level.dir).ok().flatten();
            levels[at].tasks_max = stat.and_then(|stat| stat.limit);
        }
        levels
    }

    /// Files of all those groups, as they are now.
    pub fn files(&self) -> Vec<(String, String)> {
        let mut dirs: Vec<&Path> = Vec::new();
        for levels in [&self.cpu, &self.memory, &self.pids] {
            for level in levels {
                dirs.push(&level.dir);
                dirs.extend(level.acct.as_deref());
            }
        }
        dirs.sort_unstable();
        dirs.dedup();
        let files = dirs.into_iter().flat_map(|dir| {
            FILES.iter().filter_map(move |name| {
                let path = dir.join(name);
                let text = fs::read_to_string(&path).ok()?;
                Some((path.display().to_string(), text))
            })
        });
        files.collect()
    }
}

fn throttling_of(level: &Level) -> Throttling {
    let Ok(Some(stat)) = CpuStat::read(&level.dir) else {
        return Throttling::default();
    };
    Throttling {
        periods: stat.nr_periods.unwrap_or(0),
        throttled: stat.nr_throttled.unwrap_or(0),
        throttled_ns: stat.throttled_ns.unwrap_or(0),
        // Only used where it throttles.
        used_ns: match stat.nr_throttled {
            Some(1..) => used_by(level).unwrap_or(0),
            _ => 0,
        },
    }
}

fn used_by(level: &Level) -> Option<u64> {
    match &level.acct {
        Some(dir) => cpuacct_usage_ns(dir).ok()?,
        None => CpuStat::read(&level.dir).ok()??.usage_ns,
    }
}

/// Growth of the count at `index` between two readings; 0 when either is missing.
fn growth(before: &[Option<u64>], now: &[Option<u64>], index: usize) -> u64 {
    let at = |counts: &[Option<u64>]| counts.get(index).copied().flatten();
    at(now)
        .zip(at(before))
        .map_or(0, |(now, before)| now.saturating_sub(before))
}

/// Of the groups with a limit, the one that is nearest to it.
fn fullest(levels: &[Level], stats: &[Option<MemoryStat>]) -> Option<Memory> {
    let limited = levels.iter().zip(stats).filter_map(|(level, stat)| {
        let stat = stat.as_ref()?;
        let limit = stat.limit?;
        // File cache counts as used until the kernel wants it back.
        let cache = if stat.usage > limit / 2 {
            MemoryStat::reclaimable(&level.dir)
        } else {
            0
        };
        Some(Memory {
            path: level.path.clone(),
            used: stat.usage.saturating_sub(cache),
            limit,
        })
    });
    limited.max_by(|a, b| a.share().total_cmp(&b.share()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn meter(&self, mounts: &[(&str, &str, &str)], membership: &str, own: bool) -> Meter {
            let lines: String = mounts
                .iter()
                .map(|(at, kind, options)| {
                    let at = self.0.path().join(at).display().to_string();
                    format!("1 2 0:26 / {at} rw - {kind} none rw,{options}\n")
                })
                .collect();
            self.file("proc/42/cgroup", membership);
            let proc = ProcRoot::new(self.0.path().join("proc"));
            Meter::new(&CgroupLayout::from_mountinfo(lines), &proc, 42, own).unwrap()
        }
    }

    #[test]
    fn version_2_with_a_limit_above() {
        let fixture = Fixture::new();
        fixture.file(
            "cg/a/run/cpu.stat",
            "usage_usec 500\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
        );
        fixture.file("cg/a/run/cpu.max", "max 100000\n");
        fixture.file(
            "cg/a/cpu.stat",
            "usage_usec 900\nnr_periods 50\nnr_throttled 30\nthrottled_usec 2000\n",
        );
        fixture.file("cg/a/cpu.max", "20000 100000\n");
        fixture.file("cg/cpu.stat", "usage_usec 5000\n");
        fixture.file("cg/a/run/memory.current", "900\n");
        fixture.file("cg/a/run/memory.max", "max\n");
        fixture.file("cg/a/run/memory.events", "max 4\noom_kill 1\n");
        fixture.file("cg/a/memory.current", "950\n");
        fixture.file("cg/a/memory.max", "1000\n");
        fixture.file("cg/a/memory.events", "oom_kill 7\n");
        fixture.file("cg/a/memory.stat", "inactive_file 100\n");
        fixture.file("cg/a/run/pids.current", "5\n");
        fixture.file("cg/a/run/pids.max", "6\n");
        fixture.file("cg/a/run/pids.events", "max 3\n");
        let mut meter = fixture.meter(&[("cg", "cgroup2", "x")], "0::/a/run\n", true);
        let at = Instant::now();
        let throttled = Throttling {
            periods: 50,
            throttled: 30,
            throttled_ns: 2_000_000,
            used_ns: 900_000,
        };
        let want = Sample {
            at,
            used_ns: Some(500_000),
            throttling: vec![Throttling::default(), throttled, Throttling::default()],
            memory: Some(Memory {
                path: "/a".into(),
                used: 850,
                limit: 1000,
            }),
            memory_hits: 4,
            // Since the first reading.
            oom_kills: 0,
            refused: 0,
            tasks: Some((5, 6)),
            output_bytes: 0,
        };
        assert_eq!(meter.sample(at), want);
        assert_eq!(meter.quota(1), ("/a".into(), Some(0.2)));
        assert_eq!(meter.quota(0), ("/a/run".into(), None));
        fixture.file("cg/a/run/memory.events", "oom_kill 3\n");
        fixture.file("cg/a/memory.events", "oom_kill 9\n");
        fixture.file("cg/a/run/pids.events", "max 8\n");
        let sample = meter.sample(at);
        assert_eq!((sample.oom_kills, sample.refused), (2, 5));
        assert_eq!(meter.alarms().len(), 2);
        // The group goes with its last process; the one above tells of it.
        fixture.file("cg/a/memory.events", "oom_kill 10\n");
        fs::remove_dir_all(fixture.0.path().join("cg/a/run")).unwrap();
        let sample = meter.sample(at);
        assert_eq!((sample.oom_kills, sample.refused), (3, 5));
        assert_eq!(meter.sample(at).oom_kills, 3);
    }

    #[test]
    fn version_1_in_several_hierarchies() {
        let fixture = Fixture::new();
        fixture.file(
            "cpu/run/cpu.stat",
            "nr_periods 9\nnr_throttled 4\nthrottled_time 700\n",
        );
        fixture.file("acct/run/cpuacct.usage", "300\n");
        fixture.file("memory/m/memory.usage_in_bytes", "10\n");
        fixture.file("memory/m/memory.limit_in_bytes", "100\n");
        let mounts = [
            ("cpu", "cgroup", "cpu"),
            ("acct", "cgroup", "cpuacct"),
            ("memory", "cgroup", "memory"),
        ];
        let membership = "3:memory:/m\n2:cpuacct:/run\n1:cpu:/run\n";
        let sample = fixture
            .meter(&mounts, membership, true)
            .sample(Instant::now());
        assert_eq!(sample.used_ns, Some(300));
        let throttled = Throttling {
            periods: 9,
            throttled: 4,
            throttled_ns: 700,
            used_ns: 300,
        };
        assert_eq!(sample.throttling[0], throttled);
        assert_eq!(sample.memory.unwrap().share(), 0.1);
        assert_eq!((sample.refused, sample.tasks), (0, None));
        // Another's groups tell nothing of the command alone.
        let sample = fixture
            .meter(&mounts, membership, false)
            .sample(Instant::now());
        assert_eq!((sample.used_ns, sample.oom_kills), (None, 0));
        assert_eq!(sample.throttling[0], throttled);
    }

    #[test]
    fn groups_that_went_say_nothing() {
        let fixture = Fixture::new();
        fixture.file("cg/run/cpu.stat", "usage_usec 5\n");
        let mut meter = fixture.meter(&[("cg", "cgroup2", "x")], "0::/run\n", true);
        fs::remove_dir_all(fixture.0.path().join("cg")).unwrap();
        let sample = meter.sample(Instant::now());
        assert_eq!((sample.used_ns, sample.memory), (None, None));
    }
}
