//! Where the controllers are that limits come from.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::cgroup::{CgroupLayout, Controller, Hierarchy, Membership};
use crate::process::ProcRoot;

/// Controllers, and what their limits are for.
const USES: [(Controller, &str); 4] = [
    (Controller::Cpu, "CPU quotas"),
    (Controller::Cpuset, "which CPUs"),
    (Controller::Memory, "memory limits"),
    (Controller::Pids, "limits on tasks"),
];

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControllerState {
    /// Its name.
    pub controller: String,
    /// What it limits.
    pub used_for: String,
    /// Whether groups have it.
    pub state: Enabled,
    /// Version of the hierarchy that has it; null if none does.
    pub version: Option<u8>,
    /// Where that hierarchy is mounted.
    pub mount: Option<String>,
    /// Whether gohang's own group has it; null if it cannot be told.
    pub in_own_group: Option<bool>,
}

/// Whether groups have a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Enabled {
    /// The groups below the hierarchy's mount have it.
    Enabled,
    /// The mount has it, and does not hand it down (`cgroup.subtree_control`).
    NotHandedDown,
    /// The kernel has it, but no mounted hierarchy.
    NotMounted,
    /// The kernel has it, turned off at boot (`cgroup_disable=`).
    Disabled,
    /// Neither a mounted hierarchy nor the kernel's list has it.
    Absent,
}

/// Looks for each.
pub(super) fn controllers(layout: &CgroupLayout, proc: &ProcRoot) -> Vec<ControllerState> {
    let known = proc.read_file("cgroups").unwrap_or_default();
    let known = String::from_utf8_lossy(&known);
    let own = Membership::read_own(proc).unwrap_or_default();
    USES.map(|(controller, used_for)| {
        let name = controller.name();
        let mut found = ControllerState {
            controller: name.to_owned(),
            used_for: used_for.to_owned(),
            state: in_kernel(&known, name),
            version: None,
            mount: None,
            in_own_group: None,
        };
        let has_it = |own: &&Hierarchy| own.controllers.iter().any(|own| own == name);
        if let Some(v1) = layout.v1().iter().find(has_it) {
            found.state = Enabled::Enabled;
            found.version = Some(1);
            found.mount = Some(v1.mount_point.display().to_string());
            // Every process is in some group of such a hierarchy.
            found.in_own_group = Some(true);
            return found;
        }
        let Some(v2) = layout.v2() else {
            return found;
        };
        if !lists(&v2.mount_point, "cgroup.controllers", name).unwrap_or(false) {
            return found;
        }
        found.version = Some(2);
        found.mount = Some(v2.mount_point.display().to_string());
        found.state = match lists(&v2.mount_point, "cgroup.subtree_control", name) {
            Some(true) => Enabled::Enabled,
            _ => Enabled::NotHandedDown,
        };
        let unified = own.members().iter().find(|own| own.controllers.is_empty());
        found.in_own_group = unified
            .and_then(|own| v2.dir_of(&own.path))
            .and_then(|dir| lists(&dir, "cgroup.controllers", name));
        found
    })
    .into()
}

/// What of it keeps limits from being set.
pub(super) fn findings(controllers: &[ControllerState]) -> Vec<Finding> {
    let mut found = Vec::new();
    for own in controllers {
        let name = &own.controller;
        let mount = own.mount.as_deref().unwrap_or("/sys/fs/cgroup");
        let (what, advice) = match own.state {
            Enabled::Enabled => continue,
            Enabled::NotHandedDown => (
                format!("{mount} does not hand it down to the groups below"),
                format!(
                    "echo +{name} > {mount}/cgroup.subtree_control (systemd does it for a unit \
                     that has such a limit)"
                ),
            ),
            Enabled::NotMounted => (
                "no mounted hierarchy has it".to_owned(),
                format!("mount -t cgroup -o {name} none /mnt, or boot with cgroup2"),
            ),
            Enabled::Disabled => (
                "it was turned off at boot".to_owned(),
                format!("remove cgroup_disable={name} from the kernel's command line"),
            ),
            Enabled::Absent => (
                "this kernel has none".to_owned(),
                format!("use a kernel with the {name} controller"),
            ),
        };
        let what = format!("no {name} controller ({}): {what}", own.used_for);
        found.push(Finding::info(&format!("controller_{name}"), what).advise(advice));
    }
    found
}

/// Whether a file of the group lists the controller; `None` if it cannot be read.
fn lists(dir: &Path, file: &str, name: &str) -> Option<bool> {
    let text = fs::read_to_string(dir.join(file)).ok()?;
    Some(text.split_whitespace().any(|own| own == name))
}

/// What `/proc/cgroups` says: name, hierarchy, number of groups, enabled.
fn in_kernel(known: &str, name: &str) -> Enabled {
    let row = known.lines().find_map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        (words.first() == Some(&name)).then(|| words.get(3) == Some(&"0"))
    });
    match row {
        Some(true) => Enabled::Disabled,
        Some(false) => Enabled::NotMounted,
        None => Enabled::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CGROUPS: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n\
        cpu\t1\t2\t1\nmemory\t0\t1\t0\npids\t0\t1\t1\n";

    /// A machine with `mounts`, whose `/cg` is a directory.
    fn machine(mounts: &str, cgroup: &str) -> (tempfile::TempDir, Vec<ControllerState>) {
        let dir = tempfile::tempdir().expect("a directory");
        let cg = dir.path().join("cg");
        fs::create_dir_all(cg.join("own")).expect("made");
        fs::create_dir(dir.path().join("self")).expect("made");
        let mounts = mounts.replace("/cg", &cg.display().to_string());
        fs::write(dir.path().join("self/mountinfo"), mounts).expect("written");
        fs::write(dir.path().join("self/cgroup"), cgroup).expect("written");
        fs::write(dir.path().join("cgroups"), CGROUPS).expect("written");
        fs::write(cg.join("cgroup.controllers"), "cpuset cpu memory\n").expect("written");
        fs::write(cg.join("cgroup.subtree_control"), "cpu\n").expect("written");
        fs::write(cg.join("own/cgroup.controllers"), "cpu\n").expect("written");
        let proc = ProcRoot::new(dir.path());
        let layout = CgroupLayout::read(&proc).expect("a layout");
        let found = controllers(&layout, &proc);
        (dir, found)
    }

    fn states(found: &[ControllerState]) -> Vec<(Enabled, Option<u8>, Option<bool>)> {
        let one = |own: &ControllerState| (own.state, own.version, own.in_own_group);
        found.iter().map(one).collect()
    }

    #[test]
    fn version_2_hands_down_some() {
        use Enabled::{Enabled as On, NotHandedDown, NotMounted};
        let v2 = "30 23 0:26 / /cg rw - cgroup2 cgroup rw\n";
        let (_dir, found) = machine(v2, "0::/own\n");
        assert_eq!(
            states(&found),
            [
                (On, Some(2), Some(true)),
                (NotHandedDown, Some(2), Some(false)),
                (NotHandedDown, Some(2), Some(false)),
                (NotMounted, None, None),
            ]
        );
        let findings = findings(&found);
        let ids: Vec<&str> = findings.iter().map(|finding| &*finding.id).collect();
        assert_eq!(
            ids,
            ["controller_cpuset", "controller_memory", "controller_pids"]
        );
    }

    #[test]
    fn version_1_has_what_is_mounted() {
        use Enabled::{Absent, Disabled, Enabled as On, NotMounted};
        let v1 = "30 23 0:26 / /cg rw - cgroup cgroup rw,cpu,cpuacct\n";
        let (_dir, found) = machine(v1, "1:cpu,cpuacct:/\n");
        assert_eq!(
            states(&found),
            [
                (On, Some(1), Some(true)),
                (Absent, None, None),
                (Disabled, None, None),
                (NotMounted, None, None),
            ]
        );
        let findings = findings(&found);
        assert!(
            findings[1]
                .advice
                .as_ref()
                .is_some_and(|advice| advice.contains("cgroup_disable=memory"))
        );
    }
}
