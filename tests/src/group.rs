//! CPU quota groups of the suite's own, on cgroup v1 and v2.

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// All groups of the suite are named so, with the process id of the run behind it.
const PREFIX: &str = "gohang-test-";

/// Which of the two interfaces a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `cpu.cfs_quota_us`.
    V1,
    /// `cpu.max`.
    V2,
}

/// The mounted hierarchy with a controller.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    root: PathBuf,
    /// What it is mounted with, the file system's own options.
    options: String,
    /// Its interface.
    pub version: Version,
}

impl Hierarchy {
    /// Finds that of the cpu controller in `/proc/self/mountinfo`.
    ///
    /// # Errors
    /// When no mounted hierarchy has it.
    pub fn find() -> Result<Self> {
        Self::of("cpu")
    }

    /// Finds that of any controller.
    ///
    /// # Errors
    /// When no mounted hierarchy has it.
    pub fn of(controller: &str) -> Result<Self> {
        let text = std::fs::read_to_string("/proc/self/mountinfo")?;
        for line in text.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let mut right = right.split(' ');
            let (kind, options) = (right.next().unwrap_or(""), right.nth(1).unwrap_or(""));
            let Some(root) = left.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            if kind == "cgroup" && options.split(',').any(|o| o == controller) {
                return Ok(Self {
                    root,
                    options: options.to_owned(),
                    version: Version::V1,
                });
            }
            let controllers = std::fs::read_to_string(root.join("cgroup.controllers"));
            if kind == "cgroup2"
                && controllers.is_ok_and(|c| c.split_whitespace().any(|c| c == controller))
            {
                return Ok(Self {
                    root,
                    options: options.to_owned(),
                    version: Version::V2,
                });
            }
        }
        bail!("no cgroup hierarchy with the {controller} controller is mounted")
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How it is mounted once more: the file system, and its options.
    pub fn mount(&self) -> (&'static str, String) {
        let own = |option: &&str| !matches!(*option, "rw" | "ro");
        let own = self.options.split(',').filter(own);
        let own: Vec<&str> = own.collect();
        match self.version {
            Version::V1 => ("cgroup", own.join(",")),
            Version::V2 => ("cgroup2", String::new()),
        }
    }

    /// The names of gohang's own groups that exist now, the suite's excepted.
    pub fn product_groups(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let ours = |e: &std::fs::DirEntry| {
            let name = e.file_name();
            let name = name.to_string_lossy();
            name.starts_with("gohang-") && !name.starts_with(PREFIX)
        };
        entries.flatten().filter(ours).map(|e| e.path()).collect()
    }

    /// Removes empty groups that a killed run of the suite has left.
    pub fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.root) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|n| n.strip_prefix(PREFIX)) else {
                continue;
            };
            let pid = rest.split('-').next().unwrap_or("");
            if !Path::new("/proc").join(pid).exists() {
                let below = std::fs::read_dir(entry.path())
                    .into_iter()
                    .flatten()
                    .flatten();
                for child in below.filter(|c| c.path().is_dir()) {
                    let _ = std::fs::remove_dir(child.path());
                }
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }
}

thread_local! {
    static NEXT: Cell<u32> = const { Cell::new(0) };
}

/// A group that is removed when dropped; its processes must have ended by then.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    version: Version,
}

impl Group {
    /// Makes a group directly below the hierarchy's root, with a quota of `quota_us` in
    /// `period_us` microseconds, or none.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn new(h: &Hierarchy, quota: Option<(u64, u64)>) -> Result<Self> {
        let n = NEXT.with(|n| n.replace(n.get() + 1));
        if h.version == Version::V2 {
            enable_cpu(&h.root)?;
        }
        let path = h.root.join(format!("{PREFIX}{}-{n}", std::process::id()));
        Self::make(path, h.version, quota)
    }

    /// Makes a group of this name directly below the hierarchy's root, without a quota.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn named(h: &Hierarchy, name: &str) -> Result<Self> {
        Self::make(h.root.join(name), h.version, None)
    }

    /// Makes a group of this name below this one.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn child(&self, name: &str, quota: Option<(u64, u64)>) -> Result<Self> {
        if self.version == Version::V2 {
            enable_cpu(&self.path)?;
        }
        self.named_child(name, quota)
    }

    /// Makes a group of this name below this one, for names that mean something; on v2 without
    /// its own cpu controller, if the parent does not hand it down.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn named_child(&self, name: &str, quota: Option<(u64, u64)>) -> Result<Self> {
        Self::make(self.path.join(name), self.version, quota)
    }

    /// Makes a group directly below the root of the cpuset controller's hierarchy, with these
    /// CPUs, below which groups can have their own.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn of_cpus(h: &Hierarchy, cpus: &str) -> Result<Self> {
        if h.version == Version::V2 {
            write(&h.root.join("cgroup.subtree_control"), "+cpuset")?;
        }
        let group = Self::new(h, None)?;
        group.set_cpus(cpus)?;
        if h.version == Version::V2 {
            group.write("cgroup.subtree_control", "+cpuset")?;
        }
        Ok(group)
    }

    /// Lets its members run on these CPUs.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn set_cpus(&self, cpus: &str) -> Result<()> {
        // On version 1 nobody may join a group without memory nodes.
        if self.version == Version::V1 {
            let above = self.path.parent().context("a group without a parent")?;
            let mems = std::fs::read_to_string(above.join("cpuset.mems"))?;
            self.write("cpuset.mems", mems.trim())?;
        }
        self.write("cpuset.cpus", cpus)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn make(path: PathBuf, version: Version, quota: Option<(u64, u64)>) -> Result<Self> {
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let group = Self { path, version };
        if let Some(quota) = quota {
            group.limit(quota)?;
        }
        Ok(group)
    }

    /// Sets the quota, or removes it.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn set_quota(&self, quota_us: Option<u64>, period_us: u64) -> Result<()> {
        match (quota_us, self.version) {
            (Some(quota), _) => self.limit((quota, period_us)),
            (None, Version::V1) => self.write("cpu.cfs_quota_us", "-1"),
            (None, Version::V2) => self.write("cpu.max", &format!("max {period_us}")),
        }
    }

    /// Lets the group save up so much; false where the kernel has no burst.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn set_burst(&self, burst_us: u64) -> Result<bool> {
        let file = match self.version {
            Version::V1 => "cpu.cfs_burst_us",
            Version::V2 => "cpu.max.burst",
        };
        if !self.path.join(file).exists() {
            return Ok(false);
        }
        self.write(file, &burst_us.to_string())?;
        Ok(true)
    }

    /// Lets real-time threads run in it for so much of a second, us, where a group has to be
    /// given a share for that (cgroup v1 with `CONFIG_RT_GROUP_SCHED`); false elsewhere.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn limit_real_time(&self, runtime_us: u64) -> Result<bool> {
        let file = "cpu.rt_runtime_us";
        if !self.path.join(file).exists() {
            return Ok(false);
        }
        self.write(file, &runtime_us.to_string())?;
        Ok(true)
    }

    /// Sets its quota and period, microseconds.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn limit(&self, (quota_us, period_us): (u64, u64)) -> Result<()> {
        match self.version {
            Version::V1 => {
                self.write("cpu.cfs_period_us", &period_us.to_string())?;
                self.write("cpu.cfs_quota_us", &quota_us.to_string())
            }
            Version::V2 => self.write("cpu.max", &format!("{quota_us} {period_us}")),
        }
    }

    /// Gives its members almost all of a CPU that others want too, as far as their quota
    /// allows.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn favour(&self) -> Result<()> {
        // The greatest values that there are.
        match self.version {
            Version::V1 => self.write("cpu.shares", "262144"),
            Version::V2 => self.write("cpu.weight", "10000"),
        }
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        write(&self.path.join(file), text)
    }

    /// Moves a process into it.
    ///
    /// # Errors
    /// The file and the kernel's error.
    pub fn add(&self, pid: i32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Lets a command run in the group from its first instruction on.
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub fn admit(&self, command: &mut Command) -> Result<()> {
        let procs = std::fs::OpenOptions::new().write(true).open(self.procs())?;
        let join = move || std::io::Write::write_all(&mut &procs, b"0");
        // SAFETY: one write to an open descriptor between fork and exec.
        unsafe { command.pre_exec(join) };
        Ok(())
    }

    /// The file to which a process writes `0` to join.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// The throttled time of the group's run queues so far, from `cpu.stat`, nanoseconds.
    ///
    /// # Errors
    /// When the file cannot be read or lacks the line.
    pub fn throttled_ns(&self) -> Result<u64> {
        match self.version {
            Version::V1 => self.stat("throttled_time"),
            Version::V2 => Ok(self.stat("throttled_usec")? * 1_000),
        }
    }

    /// In how many periods the group ran out of quota, from `cpu.stat`.
    ///
    /// # Errors
    /// When the file cannot be read or lacks the line.
    pub fn throttled_periods(&self) -> Result<u64> {
        self.stat("nr_throttled")
    }

    /// In how many periods the group spent what it had saved up, from `cpu.stat`; none where the
    /// kernel does not count them (before 5.16).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bursts(&self) -> Result<Option<u64>> {
        let path = self.path.join("cpu.stat");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        match text.contains("nr_bursts ") {
            true => self.stat("nr_bursts").map(Some),
            false => Ok(None),
        }
    }

    fn stat(&self, key: &str) -> Result<u64> {
        let path = self.path.join("cpu.stat");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let value = text
            .lines()
            .filter_map(|l| l.split_once(' '))
            .find(|(k, _)| *k == key);
        let (_, value) = value.with_context(|| format!("no {key} in {}", path.display()))?;
        value
            .trim()
            .parse()
            .with_context(|| format!("{key} in {}", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has been waited for may still count as a member for a moment.
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            match std::fs::remove_dir(&self.path) {
                Err(e) if e.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    eprintln!("cannot remove {}: {e}", self.path.display());
                    return;
                }
                _ => return,
            }
        }
    }
}

fn enable_cpu(dir: &Path) -> Result<()> {
    write(&dir.join("cgroup.subtree_control"), "+cpu")
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .with_context(|| format!("cannot write {text:?} to {}", path.display()))
}
