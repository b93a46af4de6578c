//! The controllers that a run makes use of.

use std::path::Path;

use super::super::error::read_optional;
use super::super::mark::is_marked;
use super::super::owner::Owner;

/// A controller of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Controller {
    /// Quota and weight.
    Cpu,
    /// CPU time used (version 1; on version 2 every group has it).
    Cpuacct,
    /// Which CPUs.
    Cpuset,
    /// Memory.
    Memory,
    /// Number of tasks.
    Pids,
}

impl Controller {
    /// Its name, as the kernel writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// What a group has in a file when it is not limited by it. Tasks are left out: systemd puts
/// a generous limit on them everywhere, which is not meant to keep anything inside.
const UNLIMITED: [(&str, &str); 5] = [
    ("cpu.cfs_quota_us", "-1"),
    ("cpu.max", "max"),
    ("memory.max", "max"),
    ("memory.high", "max"),
    ("cpuset.cpus", ""),
];
/// Version 1 has a number for no limit, the largest multiple of a page below 2^63; every
/// real limit is below this.
const V1_MEMORY_UNLIMITED: u64 = 1 << 62;

/// Whether a limit of the group in `dir` holds for what is inside, or it is a group that
/// gohang made, or had made, for another run: what is started within stays within.
pub(super) fn binds(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str());
    let name = name.map(|name| name.strip_suffix(".scope").unwrap_or(name));
    if name.and_then(Owner::of_name).is_some() || is_marked(dir) {
        return true;
    }
    // A file that cannot be read limits nobody that we know of.
    let text = |dir: &Path, name: &str| read_optional(dir, name).ok().flatten();
    let limited = UNLIMITED.iter().any(|(name, unlimited)| {
        text(dir, name).is_some_and(|text| {
            let first = text.split_whitespace().next().unwrap_or_default();
            // Version 1 writes every CPU where version 2 writes none.
            let same_as_above = || {
                dir.parent().is_some_and(|above| {
                    read_optional(above, name).ok().flatten() == Some(text.clone())
                })
            };
            first != *unlimited && !(*name == "cpuset.cpus" && same_as_above())
        })
    });
    limited
        || text(dir, "memory.limit_in_bytes")
            .and_then(|text| text.trim().parse::<u64>().ok())
            .is_some_and(|limit| limit < V1_MEMORY_UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn limits_of_either_version_bind_and_defaults_do_not() {
        for (name, text, binding) in [
            ("cpu.max", "max 100000\n", false),
            ("cpu.max", "50000 100000\n", true),
            ("cpu.cfs_quota_us", "-1\n", false),
            ("cpu.cfs_quota_us", "20000\n", true),
            ("memory.max", "max\n", false),
            ("memory.high", "1048576\n", true),
            ("memory.limit_in_bytes", "9223372036854771712\n", false),
            ("memory.limit_in_bytes", "1048576\n", true),
            ("pids.max", "100\n", false),
            ("cpuset.cpus", "\n", false),
            ("cpuset.cpus", "0-1\n", true),
            ("cgroup.procs", "17\n", false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), text).unwrap();
            assert_eq!(binds(dir.path()), binding, "{name} {text:?}");
        }
    }

    #[test]
    fn all_the_cpus_of_the_group_above_are_no_limit_on_version_1() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        for (above, own, binding) in [("0-3\n", "0-3\n", false), ("0-3\n", "0\n", true)] {
            fs::write(dir.path().join("cpuset.cpus"), above).unwrap();
            fs::write(inner.join("cpuset.cpus"), own).unwrap();
            assert_eq!(binds(&inner), binding);
        }
    }

    #[test]
    fn a_group_of_another_run_binds() {
        assert!(binds(Path::new("/nonexistent/gohang-run-1-2-3")));
        assert!(binds(Path::new("/nonexistent/gohang-run-1-2-3.scope")));
        assert!(!binds(Path::new("/nonexistent/gohang-dev")));
    }
}
