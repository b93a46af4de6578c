//! A group of ours in one hierarchy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::error::read_optional;
use super::super::layout::{Hierarchy, Version};
use super::super::own::OwnError;
use super::super::own_group::{members, write};
use super::super::owner::Owner;
use super::aside::Aside;
use super::controller::{Controller, binds};

/// The group of a run in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its hierarchy.
    pub hierarchy: Hierarchy,
    /// Its directory.
    pub dir: PathBuf,
    /// Its path, as in `/proc/PID/cgroup`.
    pub path: PathBuf,
    /// What looks after it, of what was wanted.
    pub controllers: Vec<Controller>,
    /// What the group above had to be told to share out for it.
    enabled: Vec<Controller>,
    /// Where this process went, because a group with processes of its own shares nothing
    /// out.
    aside: Option<Aside>,
}

/// A controller that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The controller.
    pub controller: Controller,
    /// Why: each place that was tried, and its refusal.
    pub why: String,
}

impl Branch {
    /// Whether the group has this controller.
    #[must_use]
    pub fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }

    /// Takes back what the group above was told, unless another group of ours is there,
    /// or one that makes use of it.
    pub(super) fn undo(&self) -> Result<(), OwnError> {
        let Some(above) = self.dir.parent().filter(|_| !self.enabled.is_empty()) else {
            return Ok(());
        };
        let entries = fs::read_dir(above).into_iter().flatten().flatten();
        let children: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        let ours = |dir: &PathBuf| {
            let name = dir.file_name().and_then(|name| name.to_str());
            name.and_then(Owner::of_name).is_some()
        };
        let aside = self.aside.as_ref().map(|aside| &aside.dir);
        if children.iter().any(|dir| ours(dir) && Some(dir) != aside) {
            return Ok(());
        }
        for &controller in &self.enabled {
            if !children.iter().any(|dir| makes_use(dir, controller)) {
                share(above, '-', controller)?;
            }
        }
        self.aside
            .as_ref()
            .map_or(Ok(()), |aside| aside.back(above))
    }
}

/// Where a group may be made, best first: the top of the hierarchy, then the groups from
/// there down to `own`, this process's. Where a limit holds for this process, nothing
/// above the group that has it is a place.
pub(super) fn places(hierarchy: &Hierarchy, own: Option<&Path>) -> Vec<PathBuf> {
    let top = &hierarchy.mount_point;
    let Some(dir) = own.and_then(|path| hierarchy.dir_of(path)) else {
        return vec![top.clone()];
    };
    let mut up: Vec<PathBuf> = dir
        .ancestors()
        .take_while(|dir| dir.starts_with(top))
        .map(Path::to_path_buf)
        .collect();
    if let Some(at) = up.iter().position(|dir| binds(dir)) {
        up.truncate(at + 1);
    }
    up.reverse();
    up
}

/// Makes the group `name` in the first of `places` that gives all of `wanted`, or else in
/// the one that gives most of it; what it does not give is told in `missing`.
///
/// # Errors
/// The refusals, when no place allows a group.
pub(super) fn plant(
    hierarchy: &Hierarchy,
    places: &[PathBuf],
    name: &str,
    wanted: &[Controller],
    missing: &mut Vec<Missing>,
) -> Result<Branch, Vec<String>> {
    let mut tried = Vec::new();
    let mut best: Option<(Branch, Vec<Missing>)> = None;
    for place in places {
        match plant_in(hierarchy, place, name, wanted, true) {
            Err(error) => tried.push(error.to_string()),
            Ok((branch, lacks)) => {
                let whole = lacks.is_empty();
                let better = best
                    .as_ref()
                    .is_none_or(|(best, _)| branch.controllers.len() > best.controllers.len());
                let worse = if better {
                    best.replace((branch, lacks)).map(|(branch, _)| branch)
                } else {
                    Some(branch)
                };
                if let Some(worse) = worse {
                    discard(&worse);
                }
                if whole {
                    break;
                }
            }
        }
    }
    let (branch, lacks) = best.ok_or(tried)?;
    missing.extend(lacks);
    Ok(branch)
}

/// Makes the group in `place`. Controllers are shared out for it only if `share_out`.
pub(super) fn plant_in(
    hierarchy: &Hierarchy,
    place: &Path,
    name: &str,
    wanted: &[Controller],
    share_out: bool,
) -> Result<(Branch, Vec<Missing>), OwnError> {
    let dir = place.join(name);
    let mut branch = Branch {
        hierarchy: hierarchy.clone(),
        path: hierarchy.path_of(&dir).unwrap_or_else(|| dir.clone()),
        dir,
        controllers: wanted.to_vec(),
        enabled: Vec::new(),
        aside: None,
    };
    let mut missing = Vec::new();
    if hierarchy.version == Version::V2 {
        branch.controllers.clear();
        if share_out && !wanted.is_empty() {
            branch.aside = Aside::step(place)?;
        }
        for &controller in wanted {
            match obtain(place, controller, share_out) {
                Ok(was_told) => {
                    branch.controllers.push(controller);
                    if was_told {
                        branch.enabled.push(controller);
                    }
                }
                Err(why) => missing.push(Missing { controller, why }),
            }
        }
    }
    match fs::create_dir(&branch.dir) {
        Ok(()) => Ok((branch, missing)),
        Err(source) => {
            if let Err(error) = branch.undo() {
                log::warn!("{error}");
            }
            Err(if source.kind() == io::ErrorKind::AlreadyExists {
                OwnError::Exists { path: branch.dir }
            } else {
                OwnError::Write {
                    path: branch.dir,
                    value: "a directory".into(),
                    source,
                }
            })
        }
    }
}

/// Removes a group that was made just now and is not wanted after all.
fn discard(branch: &Branch) {
    let removed = fs::remove_dir(&branch.dir).map_err(|source| OwnError::Remove {
        path: branch.dir.clone(),
        source,
    });
    if let Err(error) = removed.and_then(|()| branch.undo()) {
        log::warn!("{error}");
    }
}

/// Has the children of `place` get `controller`; whether that had to be asked for.
fn obtain(place: &Path, controller: Controller, share_out: bool) -> Result<bool, String> {
    let lists = |file: &str| -> Result<bool, String> {
        let text = read_optional(place, file).map_err(|error| error.to_string())?;
        let text = text.unwrap_or_default();
        Ok(text
            .split_whitespace()
            .any(|name| name == controller.name()))
    };
    if lists("cgroup.subtree_control")? {
        return Ok(false);
    }
    if !lists("cgroup.controllers")? {
        return Err(format!("{} does not have it", place.display()));
    }
    if !share_out {
        return Err(format!("{} does not share it out", place.display()));
    }
    // The kernel lets some controllers be shared out all the same, to groups that are of no
    // use for whole processes (cgroups(7), "domain invalid").
    if !is_root(place) && has_processes(place)? {
        return Err(format!("{} has processes of its own", place.display()));
    }
    share(place, '+', controller).map_err(|error| error.to_string())?;
    Ok(true)
}

/// The root group alone has no type, and may have processes and share out.
fn is_root(place: &Path) -> bool {
    !place.join("cgroup.type").exists()
}

fn has_processes(place: &Path) -> Result<bool, String> {
    let members = members(place).map_err(|error| error.to_string())?;
    Ok(!members.is_empty())
}

fn share(place: &Path, sign: char, controller: Controller) -> Result<(), OwnError> {
    let word = format!("{sign}{}", controller.name());
    write(&place.join("cgroup.subtree_control"), &word)
}

/// Whether a version 2 group has another setting of a controller than a new one.
fn makes_use(dir: &Path, controller: Controller) -> bool {
    let defaults: &[(&str, &str)] = match controller {
        Controller::Cpu => &[("cpu.max", "max 100000"), ("cpu.weight", "100")],
        Controller::Cpuacct => &[],
        Controller::Cpuset => &[("cpuset.cpus", ""), ("cpuset.mems", "")],
        Controller::Memory => &[
            ("memory.max", "max"),
            ("memory.high", "max"),
            ("memory.low", "0"),
            ("memory.min", "0"),
            ("memory.swap.max", "max"),
        ],
        Controller::Pids => &[("pids.max", "max")],
    };
    let text = |name: &str| read_optional(dir, name).ok().flatten();
    let below = text("cgroup.subtree_control").unwrap_or_default();
    below
        .split_whitespace()
        .any(|name| name == controller.name())
        || defaults
            .iter()
            .any(|(name, default)| text(name).is_some_and(|text| text.trim() != *default))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        hierarchy: Hierarchy,
    }

    impl Fixture {
        fn new(version: Version) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let hierarchy = Hierarchy {
                version,
                controllers: Vec::new(),
                name: None,
                mount_point: dir.path().into(),
                root: "/".into(),
            };
            Self { dir, hierarchy }
        }

        fn file(&self, path: &str, text: &str) -> &Self {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn places(&self, own: &str) -> Vec<String> {
            let found = places(&self.hierarchy, Some(Path::new(own)));
            let inside = |dir: &PathBuf| dir.strip_prefix(self.dir.path()).unwrap().to_path_buf();
            found
                .iter()
                .map(|dir| inside(dir).display().to_string())
                .collect()
        }
    }

    const ALL: [Controller; 3] = [Controller::Cpu, Controller::Memory, Controller::Pids];

    #[test]
    fn nothing_leaves_the_nearest_limit() {
        let fixture = Fixture::new(Version::V2);
        fixture.file("a/b/cpu.max", "max 100000\n");
        assert_eq!(fixture.places("/a/b"), ["", "a", "a/b"]);
        assert_eq!(fixture.places("/"), [""]);
        assert_eq!(fixture.places("/../elsewhere"), [""]);
        fixture.file("a/memory.max", "1000\n");
        assert_eq!(fixture.places("/a/b"), ["a", "a/b"]);
        fixture.file("a/b/cpu.max", "5000 100000\n");
        assert_eq!(fixture.places("/a/b"), ["a/b"]);
        fixture.file("gohang-run-1-2-3/x", "");
        assert_eq!(fixture.places("/gohang-run-1-2-3"), ["gohang-run-1-2-3"]);
    }

    #[test]
    fn the_place_that_gives_most_is_taken() {
        let fixture = Fixture::new(Version::V2);
        fixture
            .file("cgroup.controllers", "memory\n")
            .file("cgroup.subtree_control", "memory\n")
            .file("a/cgroup.controllers", "cpu memory pids\n")
            // What is asked for is written over the beginning.
            .file("a/cgroup.subtree_control", "hugetlb-- cpu pids\n")
            .file("a/b/cgroup.controllers", "pids\n")
            .file("a/b/cgroup.subtree_control", "pids\n");
        let places = places(&fixture.hierarchy, Some(Path::new("/a/b")));
        let mut missing = Vec::new();
        let branch = plant(
            &fixture.hierarchy,
            &places,
            "gohang-run-1-2-3",
            &ALL,
            &mut missing,
        );
        let branch = branch.unwrap();
        // Memory had to be asked for.
        assert_eq!(branch.path, Path::new("/a/gohang-run-1-2-3"));
        assert_eq!(branch.controllers, ALL);
        assert_eq!(branch.enabled, [Controller::Memory]);
        assert_eq!(missing, []);
        let left: Vec<_> = ["", "a", "a/b"]
            .iter()
            .filter(|at| {
                fixture
                    .dir
                    .path()
                    .join(at)
                    .join("gohang-run-1-2-3")
                    .exists()
            })
            .collect();
        assert_eq!(left, [&"a"]);
    }

    #[test]
    fn what_no_place_gives_is_told() {
        let fixture = Fixture::new(Version::V2);
        fixture
            .file("cgroup.controllers", "memory\n")
            .file("cgroup.subtree_control", "memory\n");
        let top = [fixture.dir.path().to_path_buf()];
        let mut missing = Vec::new();
        let branch = plant(
            &fixture.hierarchy,
            &top,
            "gohang-run-1-2-3",
            &ALL,
            &mut missing,
        );
        assert_eq!(branch.unwrap().controllers, [Controller::Memory]);
        let names: Vec<_> = missing.iter().map(|lack| lack.controller).collect();
        assert_eq!(names, [Controller::Cpu, Controller::Pids]);
        assert!(missing[0].why.contains("does not have it"), "{missing:?}");
        // One with processes would share out something of no use.
        fixture
            .file("a/cgroup.controllers", "pids\n")
            .file("a/cgroup.type", "domain\n")
            .file("a/cgroup.procs", "1\n2\n");
        let place = [fixture.dir.path().join("a")];
        let mut lacks = Vec::new();
        let branch = plant(
            &fixture.hierarchy,
            &place,
            "x",
            &[Controller::Pids],
            &mut lacks,
        );
        assert!(branch.unwrap().controllers.is_empty());
        assert!(lacks[0].why.contains("processes of its own"), "{lacks:?}");
        // Made already.
        let tried = plant(
            &fixture.hierarchy,
            &top,
            "gohang-run-1-2-3",
            &ALL,
            &mut missing,
        );
        assert!(tried.unwrap_err()[0].contains("already"));
    }

    #[test]
    fn an_existing_group_is_not_told_to_share_out() {
        let fixture = Fixture::new(Version::V2);
        fixture
            .file("a/cgroup.controllers", "cpu memory\n")
            .file("a/cgroup.subtree_control", "memory\n");
        let place = fixture.dir.path().join("a");
        let (branch, missing) =
            plant_in(&fixture.hierarchy, &place, "gohang-run-1-2-3", &ALL, false).unwrap();
        assert_eq!(branch.controllers, [Controller::Memory]);
        assert_eq!(missing.len(), 2);
        let text = fs::read_to_string(place.join("cgroup.subtree_control")).unwrap();
        assert_eq!(text, "memory\n");
    }

    #[test]
    fn what_was_asked_for_is_taken_back_if_nobody_needs_it() {
        let fixture = Fixture::new(Version::V2);
        let control = fixture.dir.path().join("cgroup.subtree_control");
        let branch = Branch {
            hierarchy: fixture.hierarchy.clone(),
            dir: fixture.dir.path().join("gohang-run-1-2-3"),
            path: "/gohang-run-1-2-3".into(),
            controllers: ALL.to_vec(),
            enabled: vec![Controller::Pids],
            aside: None,
        };
        for (file, text, want) in [
            ("child/pids.max", "100\n", "kept"),
            ("child/pids.max", "max\n", "-pids"),
            ("child/cgroup.subtree_control", "pids\n", "kept"),
            ("child/cgroup.subtree_control", "\n", "-pids"),
            ("gohang-run-4-5-6/pids.max", "max\n", "kept"),
        ] {
            fs::write(&control, "kept").unwrap();
            fixture.file(file, text);
            branch.undo().unwrap();
            // Writing does not truncate.
            assert!(
                fs::read_to_string(&control).unwrap().starts_with(want),
                "{file} {text:?}"
            );
        }
    }
}
