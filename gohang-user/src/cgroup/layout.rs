//! Which hierarchies are mounted where, and which of them has the cpu controller.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::ROOT_ID;
use super::error::{CgroupError, read_optional};
use super::ids::id_of;
use super::membership::Membership;
use crate::process::ProcRoot;

/// Version of a cgroup hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// One hierarchy for each set of controllers.
    V1,
    /// One hierarchy for all.
    V2,
}

/// What a machine uses, in the words its administrators use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Only version 1 hierarchies are mounted.
    Legacy,
    /// Both are mounted.
    Hybrid,
    /// Only version 2 is mounted.
    Unified,
    /// Nothing is mounted.
    None,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "cgroup v1",
            Self::Hybrid => "cgroup v1 and v2 (hybrid)",
            Self::Unified => "cgroup v2",
            Self::None => "no cgroups mounted",
        })
    }
}

/// A mounted hierarchy, or the part of one that is visible here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its version.
    pub version: Version,
    /// Its controllers; empty for version 2, whose groups list their own.
    pub controllers: Vec<String>,
    /// Its name (`systemd`), for version 1 hierarchies that have one.
    pub name: Option<String>,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The group that the mount point shows, as in `/proc/PID/cgroup`; mostly `/`.
    /// In a cgroup namespace of our own it can lead upwards (`/../..`).
    pub root: PathBuf,
}

impl Hierarchy {
    /// The directory of the group `path`; `None` when the mount does not show it.
    #[must_use]
    pub fn dir_of(&self, path: &Path) -> Option<PathBuf> {
        let inside = path.strip_prefix(&self.root).ok()?;
        // What is left must lead down, never up.
        let down = inside
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        down.then(|| self.mount_point.join(inside))
    }

    /// As [`Self::dir_of`], with the reason as an error.
    ///
    /// # Errors
    /// [`CgroupError::OutsideMount`].
    pub fn require_dir(&self, path: &Path) -> Result<PathBuf, CgroupError> {
        self.dir_of(path).ok_or_else(|| CgroupError::OutsideMount {
            path: path.into(),
            root: self.root.clone(),
            mount_point: self.mount_point.clone(),
        })
    }

    /// The group whose directory is `dir`; `None` when it is not below the mount point.
    #[must_use]
    pub fn path_of(&self, dir: &Path) -> Option<PathBuf> {
        let inside = dir.strip_prefix(&self.mount_point).ok()?;
        Some(if inside.as_os_str().is_empty() {
            self.root.clone()
        } else {
            self.root.join(inside)
        })
    }

    /// Whether it has no controller and only gives processes names (systemd's).
    #[must_use]
    pub fn is_for_naming_only(&self) -> bool {
        self.version == Version::V1 && self.controllers.is_empty()
    }

    /// How far up in the hierarchy the mount reaches; larger is higher.
    fn height(&self) -> (usize, isize) {
        let (mut up, mut down) = (0, 0);
        for part in self.root.components() {
            match part {
                Component::ParentDir => up += 1,
                Component::Normal(_) => down -= 1,
                _ => {}
            }
        }
        (up, down)
    }
}

/// The hierarchies that are mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CgroupLayout {
    v1: Vec<Hierarchy>,
    v2: Option<Hierarchy>,
    /// Set when version 1 has the cpu controller, but that hierarchy is not mounted:
    /// its controllers.
    hidden_cpu: Option<String>,
    /// Set when the kernel has no cpu controller.
    missing_cpu: Option<MissingCpu>,
}

/// Why a kernel has no cpu controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MissingCpu {
    /// It is built in and turned off.
    Disabled,
    /// It is not built in.
    NotBuilt,
}

impl CgroupLayout {
    /// From the text of `/proc/self/mountinfo`; lines of other kinds are passed over.
    ///
    /// Of several mounts of a hierarchy the one that shows most of it is taken, then
    /// the first.
    #[must_use]
    pub fn from_mountinfo(mountinfo: impl AsRef<[u8]>) -> Self {
        let mut layout = Self::default();
        for found in mountinfo
            .as_ref()
            .split(|&byte| byte == b'\n')
            .filter_map(parse_mount)
        {
            let known = match found.version {
                Version::V2 => layout.v2.as_mut(),
                Version::V1 => layout
                    .v1
                    .iter_mut()
                    .find(|own| (&own.controllers, &own.name) == (&found.controllers, &found.name)),
            };
            match (known, found.version) {
                (Some(known), _) if known.height() >= found.height() => {}
                (Some(known), _) => *known = found,
                (None, Version::V2) => layout.v2 = Some(found),
                (None, Version::V1) => layout.v1.push(found),
            }
        }
        layout
    }

    /// Of this machine: the mounts and, for a controller that is not mounted or that the
    /// kernel does not have, `/proc/self/cgroup` and `/proc/cgroups`.
    ///
    /// # Errors
    /// When either file cannot be read.
    pub fn read(proc: &ProcRoot) -> Result<Self, CgroupError> {
        let mut layout = Self::from_mountinfo(proc.read_file("self/mountinfo")?);
        let own = Membership::read_own(proc)?;
        if layout.v1_cpu().is_none() {
            layout.hidden_cpu = own.v1("cpu").map(|member| member.controllers.join(","));
        }
        if layout.v1_cpu().is_none() && layout.hidden_cpu.is_none() {
            // The file may be hidden in a container: then nothing is known.
            let known = proc.read_file("cgroups").unwrap_or_default();
            layout.missing_cpu = missing_cpu(&known).filter(|_| !layout.v2_may_have_cpu());
        }
        Ok(layout)
    }

    /// Whether version 2 has the cpu controller, as far as it can be seen.
    fn v2_may_have_cpu(&self) -> bool {
        let Some(v2) = &self.v2 else { return false };
        // A group below the root has what those above it hand down.
        let is_root = id_of(&v2.mount_point).is_ok_and(|id| id == ROOT_ID);
        match read_optional(&v2.mount_point, "cgroup.controllers") {
            Ok(Some(list)) => list.split_whitespace().any(|name| name == "cpu") || !is_root,
            _ => true,
        }
    }

    /// The hierarchy with the cpu controller: version 1 where it has it, else version 2.
    ///
    /// # Errors
    /// [`CgroupError::NoCpuController`], [`CgroupError::NotMounted`] or
    /// [`CgroupError::CpuNotMounted`].
    pub fn cpu(&self) -> Result<&Hierarchy, CgroupError> {
        if let Some(why) = self.missing_cpu {
            return Err(CgroupError::NoCpuController {
                disabled: why == MissingCpu::Disabled,
            });
        }
        if let Some(controllers) = &self.hidden_cpu {
            return Err(CgroupError::CpuNotMounted {
                controllers: controllers.clone(),
            });
        }
        self.v1_cpu()
            .or(self.v2.as_ref())
            .ok_or(CgroupError::NotMounted)
    }

    /// The mounted version 1 hierarchies, in the order of their mounts.
    #[must_use]
    pub fn v1(&self) -> &[Hierarchy] {
        &self.v1
    }

    /// The version 2 hierarchy, if it is mounted.
    #[must_use]
    pub fn v2(&self) -> Option<&Hierarchy> {
        self.v2.as_ref()
    }

    /// What the machine uses.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match (self.v1.is_empty(), self.v2.is_some()) {
            (true, true) => Mode::Unified,
            (true, false) => Mode::None,
            (false, true) => Mode::Hybrid,
            (false, false) => Mode::Legacy,
        }
    }

    fn v1_cpu(&self) -> Option<&Hierarchy> {
        self.v1
            .iter()
            .find(|own| own.controllers.iter().any(|name| name == "cpu"))
    }
}

/// Why the kernel whose `/proc/cgroups` this is has no cpu controller; `None` if it has,
/// or nothing is known. A line: name, hierarchy, number of groups, enabled.
fn missing_cpu(known: &[u8]) -> Option<MissingCpu> {
    let text = String::from_utf8_lossy(known);
    let mut rows = text.lines().filter(|line| !line.starts_with('#'));
    let mut cpu = rows.clone().filter_map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let &[name, _, _, enabled] = words.as_slice() else {
            return None;
        };
        (name == "cpu").then_some(enabled)
    });
    match cpu.next() {
        Some("0") => Some(MissingCpu::Disabled),
        Some(_) => None,
        None => rows.next().map(|_| MissingCpu::NotBuilt),
    }
}

/// Options of a version 1 mount that name no controller.
const NO_CONTROLLERS: [&[u8]; 9] = [
    b"rw",
    b"ro",
    b"xattr",
    b"noprefix",
    b"clone_children",
    b"none",
    b"all",
    b"cpuset_v2_mode",
    b"favordynmods",
];

/// A line of mountinfo: id, parent, device, root, mount point, options, optional fields,
/// `-`, type, source, super options.
fn parse_mount(line: &[u8]) -> Option<Hierarchy> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let (root, mount_point) = (*fields.get(3)?, *fields.get(4)?);
    if dash < 6 {
        return None;
    }
    let version = match *fields.get(dash + 1)? {
        b"cgroup" => Version::V1,
        b"cgroup2" => Version::V2,
        _ => return None,
    };
    let mut controllers = Vec::new();
    let mut name = None;
    if version == Version::V1 {
        for option in fields.get(dash + 3)?.split(|&byte| byte == b',') {
            if let Some(given) = option.strip_prefix(b"name=") {
                name = Some(String::from_utf8_lossy(given).into_owned());
            } else if !NO_CONTROLLERS.contains(&option) && !option.contains(&b'=') {
                controllers.push(String::from_utf8_lossy(option).into_owned());
            }
        }
    }
    let path = |raw: &[u8]| PathBuf::from(OsString::from_vec(unescape(raw)));
    Some(Hierarchy {
        version,
        controllers,
        name,
        mount_point: path(mount_point),
        root: path(root),
    })
}

/// Undoes the kernel's octal escapes of blank, tab, newline and backslash.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        out.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &rest[4..] } else { after };
    }
    out
}

/// A path from the bytes of `/proc/PID/cgroup`.
pub(super) fn path_from(raw: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const LEGACY: &str = "\
        22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,clone_children\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd,\
        release_agent=/lib/systemd/systemd-cgroups-agent\n";
    const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn where_the_cpu_controller_is() {
        let legacy = CgroupLayout::from_mountinfo(LEGACY);
        assert_eq!(legacy.mode(), Mode::Legacy);
        let cpu = legacy.cpu().unwrap();
        assert_eq!(cpu.version, Version::V1);
        assert_eq!(cpu.controllers, ["cpu", "cpuacct"]);
        assert_eq!(cpu.mount_point, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        // cpuset is not cpu, and systemd's hierarchy has no controller.
        assert_eq!(legacy.v1()[1].controllers, ["cpuset"]);
        assert_eq!(legacy.v1()[2].name.as_deref(), Some("systemd"));
        assert!(legacy.v1()[2].controllers.is_empty());

        let unified = CgroupLayout::from_mountinfo(V2);
        assert_eq!(unified.mode(), Mode::Unified);
        assert_eq!(unified.cpu().unwrap().version, Version::V2);

        let hybrid = CgroupLayout::from_mountinfo([LEGACY, V2].concat());
        assert_eq!(hybrid.mode(), Mode::Hybrid);
        assert_eq!(hybrid.cpu().unwrap().version, Version::V1);

        let without_cpu: String = LEGACY
            .lines()
            .filter(|l| !l.contains("cpuacct"))
            .map(|l| format!("{l}\n"))
            .collect();
        let hybrid = CgroupLayout::from_mountinfo([&without_cpu, V2].concat());
        assert_eq!(hybrid.cpu().unwrap().version, Version::V2);

        let none = CgroupLayout::from_mountinfo(without_cpu);
        assert!(matches!(none.cpu(), Err(CgroupError::NotMounted)));
        assert_eq!(CgroupLayout::from_mountinfo("").mode(), Mode::None);
    }

    #[test]
    fn the_mount_that_shows_most_is_taken() {
        let line = |root: &str, at: &str| format!("1 2 0:26 {root} {at} rw - cgroup2 none rw\n");
        let root_of = |lines: &[String]| {
            CgroupLayout::from_mountinfo(lines.concat())
                .v2()
                .unwrap()
                .mount_point
                .clone()
        };
        let part = line("/kubepods/pod1", "/a");
        let whole = line("/", "/b");
        let again = line("/", "/c");
        let above = line("/../../..", "/host");
        assert_eq!(
            root_of(&[part.clone(), whole.clone(), again.clone()]),
            Path::new("/b")
        );
        assert_eq!(root_of(&[whole, again, above, part]), Path::new("/host"));
        let blank = line("/", "/with\\040blank\\134x");
        assert_eq!(root_of(&[blank]), Path::new("/with blank\\x"));
    }

    #[test]
    fn groups_and_directories() {
        let own = |root: &str| Hierarchy {
            version: Version::V2,
            controllers: Vec::new(),
            name: None,
            mount_point: "/mnt".into(),
            root: root.into(),
        };
        for (root, path, dir) in [
            ("/", "/", Some("/mnt")),
            ("/", "/a/b", Some("/mnt/a/b")),
            ("/", "/../x", None),
            ("/pod", "/pod/c", Some("/mnt/c")),
            ("/pod", "/pod", Some("/mnt")),
            ("/pod", "/podium", None),
            ("/pod", "/", None),
            ("/../..", "/../../x/y", Some("/mnt/x/y")),
            ("/../..", "/../../../x", None),
            ("/../..", "/own", None),
        ] {
            let hierarchy = own(root);
            assert_eq!(
                hierarchy.dir_of(Path::new(path)).as_deref(),
                dir.map(Path::new),
                "{path}"
            );
            if let Some(dir) = dir {
                assert_eq!(hierarchy.path_of(Path::new(dir)).unwrap(), Path::new(path));
            }
        }
        assert_eq!(own("/").path_of(Path::new("/elsewhere")), None);
        let error = own("/pod")
            .require_dir(Path::new("/x"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/x is not below /pod"), "{error}");
    }

    #[test]
    fn a_cpu_controller_in_use_but_not_mounted() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("self")).unwrap();
        fs::write(dir.path().join("self/mountinfo"), V2).unwrap();
        fs::write(dir.path().join("self/cgroup"), "3:cpu,cpuacct:/x\n0::/\n").unwrap();
        let proc = ProcRoot::new(dir.path());
        let error = CgroupLayout::read(&proc)
            .unwrap()
            .cpu()
            .unwrap_err()
            .to_string();
        assert!(error.contains("-o cpu,cpuacct"), "{error}");
        fs::write(dir.path().join("self/cgroup"), "0::/\n").unwrap();
        assert!(CgroupLayout::read(&proc).unwrap().cpu().is_ok());
    }

    #[test]
    fn a_kernel_without_the_cpu_controller() {
        const HEAD: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().join("cgroup2");
        fs::create_dir(&mount).unwrap();
        fs::create_dir(dir.path().join("self")).unwrap();
        let mounts = V2.replace("/sys/fs/cgroup", &mount.display().to_string());
        fs::write(dir.path().join("self/mountinfo"), &mounts).unwrap();
        fs::write(dir.path().join("self/cgroup"), "0::/\n").unwrap();
        let proc = ProcRoot::new(dir.path());
        let read = |rows: &str| {
            fs::write(dir.path().join("cgroups"), format!("{HEAD}{rows}")).unwrap();
            let layout = CgroupLayout::read(&proc).unwrap();
            layout.cpu().map(drop).map_err(|error| error.to_string())
        };
        // No version 2 hierarchy that could have it.
        fs::write(dir.path().join("self/mountinfo"), "").unwrap();
        let error = read("cpuset\t0\t1\t1\ncpu\t0\t1\t0\n").unwrap_err();
        assert!(error.contains("cgroup_disable=cpu"), "{error}");
        let error = read("cpuset\t0\t1\t1\ncpuacct\t0\t1\t1\n").unwrap_err();
        assert!(error.contains("CONFIG_CGROUP_SCHED"), "{error}");
        // Nothing is known, or it is there and not mounted.
        for rows in ["", "cpu\t0\t1\t1\n"] {
            let error = read(rows).unwrap_err();
            assert!(error.contains("mount cgroup2"), "{error}");
        }
        // What a version 2 hierarchy hands down below its root says nothing of the kernel.
        fs::write(dir.path().join("self/mountinfo"), &mounts).unwrap();
        for (list, rows) in [("cpu", ""), ("cpu io", "cpuset\t0\t1\t1\n"), ("io", "x")] {
            fs::write(mount.join("cgroup.controllers"), format!("{list}\n")).unwrap();
            assert_eq!(read(rows), Ok(()));
        }
    }

    #[test]
    fn this_machine() {
        let layout = CgroupLayout::read(&ProcRoot::default()).unwrap();
        if let Ok(cpu) = layout.cpu() {
            assert!(cpu.mount_point.is_dir());
        } else {
            println!("skipped: no cpu controller is mounted here");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = CgroupLayout::from_mountinfo(&raw);
            let _ = unescape(&raw);
            let _ = missing_cpu(&raw);
        }

        #[test]
        fn lines_cut_anywhere_never_panic(cut in 0..LEGACY.len()) {
            let _ = CgroupLayout::from_mountinfo(&LEGACY[cut..]);
            let _ = CgroupLayout::from_mountinfo(&LEGACY[..cut]);
        }
    }
}
