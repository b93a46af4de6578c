//! Whether limits that somebody else was to set are set.

use std::path::PathBuf;

use super::super::limits::Limits;
use crate::cgroup::{CgroupLayout, Limits as Quotas, Membership, MemoryStat, PidsStat};

/// The options among `limits` that have no effect in the groups of `membership`.
pub(super) fn without_effect(
    limits: &Limits,
    layout: &CgroupLayout,
    membership: &Membership,
) -> Vec<&'static str> {
    let dir = |controller: &str| -> Option<PathBuf> {
        let v1 = layout
            .v1()
            .iter()
            .find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller));
        match v1 {
            Some(hierarchy) => hierarchy.dir_of(&membership.v1(controller)?.path),
            None => layout.v2()?.dir_of(&membership.v2()?.path),
        }
    };
    let has = |controller: &str, names: &[&str]| {
        dir(controller).is_some_and(|dir| names.iter().any(|name| dir.join(name).exists()))
    };
    let quota = || {
        let (hierarchy, member) = layout.cpu().ok().zip(membership.cpu())?;
        let quotas = Quotas::read(hierarchy, &member.path).ok()?;
        let own = quotas
            .groups
            .iter()
            .find(|group| group.path == member.path)?;
        own.limit.quota_ns
    };
    let memory = || MemoryStat::read(&dir("memory")?).ok()??.limit;
    let tasks = || PidsStat::read(&dir("pids")?).ok()??.limit;
    let is_set = |name: &str| match name {
        "--cpu-quota" => quota().is_some(),
        "--cpu-weight" => has("cpu", &["cpu.weight", "cpu.shares"]),
        "--allowed-cpus" => has("cpuset", &["cpuset.cpus"]),
        "--memory-max" => memory().is_some(),
        "--tasks-max" => tasks().is_some(),
        _ => true,
    };
    let mut names = limits.names();
    names.retain(|name| !is_set(name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_not_in_the_files_has_no_effect() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("a");
        fs::create_dir(&group).unwrap();
        for (name, text) in [
            ("cpu.max", "max 100000\n"),
            ("cpu.weight", "100\n"),
            ("memory.current", "5\n"),
            ("memory.max", "1000\n"),
        ] {
            fs::write(group.join(name), text).unwrap();
        }
        let line = format!("1 2 0:26 / {} rw - cgroup2 none rw\n", dir.path().display());
        let layout = CgroupLayout::from_mountinfo(line);
        let membership = Membership::parse(b"0::/a\n").unwrap();
        let limits = Limits {
            cpu_quota: Some(1),
            cpu_period: None,
            cpu_weight: Some(crate::cgroup::Weight::Idle),
            allowed_cpus: Some("0".into()),
            memory_max: Some(1000),
            tasks_max: Some(5),
        };
        let lost = without_effect(&limits, &layout, &membership);
        assert_eq!(lost, ["--cpu-quota", "--allowed-cpus", "--tasks-max"]);
        fs::write(group.join("cpu.max"), "5000 100000\n").unwrap();
        let lost = without_effect(&limits, &layout, &membership);
        assert_eq!(lost, ["--allowed-cpus", "--tasks-max"]);
    }
}
