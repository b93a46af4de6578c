//! A group that gohang has made, with its limit and its processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::close::Close;
use super::error::{CgroupError, read_optional};
use super::ids::id_of;
use super::layout::Version;
use super::limits::{CpuLimit, read_limit};
use super::own::OwnError;
use super::quota;
use super::stat::CpuStat;
use crate::process::signal_members;

/// First and longest pause between two looks at whether the kernel has let a group go.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// A group that this process has made.
///
/// When it goes out of scope, everything inside is killed and the group removed; what
/// cannot be removed is logged, and left to
/// [`OwnGroups::remove_leftovers`](super::OwnGroups::remove_leftovers).
#[derive(Debug)]
pub struct OwnGroup {
    version: Version,
    dir: PathBuf,
    path: PathBuf,
    /// The group above, if making this one gave its children the cpu controller.
    enabled_in: Option<PathBuf>,
    removed: bool,
}

impl OwnGroup {
    /// Takes charge of the directory `dir`, made just now.
    pub(super) fn new(
        version: Version,
        dir: PathBuf,
        path: PathBuf,
        enabled_in: Option<PathBuf>,
    ) -> Self {
        Self {
            version,
            dir,
            path,
            enabled_in,
            removed: false,
        }
    }

    /// Its path, as in `/proc/PID/cgroup`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Version of its hierarchy.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The kernel's number of it.
    ///
    /// # Errors
    /// When somebody else has removed it.
    pub fn id(&self) -> Result<u64, OwnError> {
        Ok(id_of(&self.dir)?)
    }

    /// Its quota.
    ///
    /// # Errors
    /// When somebody else has removed it.
    pub fn limit(&self) -> Result<Option<CpuLimit>, OwnError> {
        Ok(read_limit(self.version, &self.dir)?)
    }

    /// Its statistics.
    ///
    /// # Errors
    /// When somebody else has removed it.
    pub fn stat(&self) -> Result<Option<CpuStat>, OwnError> {
        Ok(CpuStat::read(&self.dir)?)
    }

    /// Allows `quota_ns` of CPU time in every `period_ns`; `None` takes the limit away.
    /// The kernel counts both in whole microseconds.
    ///
    /// On version 1, a change of the period takes the limit away for an instant,
    /// because the two numbers lie in two files that must agree at every moment.
    ///
    /// # Errors
    /// [`OwnError::BadLimit`] for what no kernel takes; [`OwnError::Write`] when a group
    /// above is limited more tightly (version 1) or the group is gone.
    pub fn set_quota(&self, quota_ns: Option<u64>, period_ns: u64) -> Result<(), OwnError> {
        quota::set_quota(self.version, &self.dir, quota_ns, period_ns)
    }

    /// Whether unspent quota may be saved up: Linux 5.14 and later.
    #[must_use]
    pub fn can_burst(&self) -> bool {
        self.dir.join(quota::burst_file(self.version)).exists()
    }

    /// Lets the group save up `burst_ns` of unspent quota, at most the quota itself. The
    /// kernel counts in whole microseconds.
    ///
    /// # Errors
    /// [`OwnError::Write`] for more than the quota, on a kernel that has no bursts, and when
    /// the group is gone.
    pub fn set_burst(&self, burst_ns: u64) -> Result<(), OwnError> {
        let name = quota::burst_file(self.version);
        self.write(name, &(burst_ns / 1000).to_string())
    }

    /// Moves process `pid`, with all its threads, into the group.
    ///
    /// # Errors
    /// [`OwnError::Write`], most often because the process has ended.
    pub fn add_process(&self, pid: u32) -> Result<(), OwnError> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Moves the single thread `tid` into the group; version 1 only.
    ///
    /// # Errors
    /// [`OwnError::ThreadNeedsV1`] on version 2, whose groups hold whole processes.
    pub fn add_thread(&self, tid: u32) -> Result<(), OwnError> {
        match self.version {
            Version::V1 => self.write("tasks", &tid.to_string()),
            Version::V2 => Err(OwnError::ThreadNeedsV1),
        }
    }

    /// The processes inside, or with a thread inside; 0 for one of another PID namespace.
    ///
    /// # Errors
    /// When somebody else has removed the group.
    pub fn processes(&self) -> Result<Vec<u32>, OwnError> {
        Ok(members(&self.dir)?)
    }

    /// Ends every process inside (or with a thread inside) by SIGKILL, and waits until
    /// the group is empty. The limit is taken away first, as even dying takes CPU time.
    ///
    /// # Errors
    /// [`OwnError::SelfInside`] when this process is one of them, and
    /// [`OwnError::StillBusy`] when some are left after `timeout`.
    pub fn kill(&self, timeout: Duration) -> Result<(), OwnError> {
        if self.processes()?.contains(&std::process::id()) {
            return Err(OwnError::SelfInside {
                path: self.path.clone(),
            });
        }
        if let Some(limit) = self.limit()?.filter(|limit| limit.quota_ns.is_some()) {
            self.set_quota(None, limit.period_ns)?;
        }
        let all_at_once = self.version == Version::V2 && self.dir.join("cgroup.kill").exists();
        self.until(timeout, || {
            if members(&self.dir)?.is_empty() {
                return Ok(true);
            }
            // Again and again, because they may fork while they are being killed.
            if all_at_once {
                self.write("cgroup.kill", "1")?;
            } else {
                let list = || members(&self.dir).map_err(io::Error::other);
                signal_members(libc::SIGKILL, list).map_err(|source| OwnError::Write {
                    path: self.dir.join("cgroup.procs"),
                    value: "SIGKILL".into(),
                    source,
                })?;
            }
            Ok(members(&self.dir)?.is_empty())
        })
    }

    /// Removes the empty group; the kernel may hold on to one whose last process has
    /// only just ended, so that it is tried until `timeout`.
    ///
    /// # Errors
    /// [`OwnError::StillBusy`] when there are processes inside after `timeout`.
    pub fn remove(&mut self, timeout: Duration) -> Result<(), OwnError> {
        if self.removed {
            return Ok(());
        }
        self.until(timeout, || match fs::remove_dir(&self.dir) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(false),
            Err(source) => Err(OwnError::Remove {
                path: self.dir.clone(),
                source,
            }),
        })?;
        self.removed = true;
        match &self.enabled_in {
            Some(above) => disable_if_unused(above),
            None => Ok(()),
        }
    }

    /// [`Self::kill`] and [`Self::remove`], each with `timeout`.
    ///
    /// # Errors
    /// As those two.
    pub fn close(mut self, timeout: Duration) -> Result<(), OwnError> {
        self.close_within(timeout)
    }

    /// Repeats `done` until it says so or `timeout` has passed.
    fn until(
        &self,
        timeout: Duration,
        done: impl FnMut() -> Result<bool, OwnError>,
    ) -> Result<(), OwnError> {
        if until(timeout, done)? {
            return Ok(());
        }
        Err(OwnError::StillBusy {
            path: self.path.clone(),
            after: timeout,
            processes: members(&self.dir)?,
        })
    }

    fn write(&self, name: &str, value: &str) -> Result<(), OwnError> {
        write(&self.dir.join(name), value)
    }
}

impl Close for OwnGroup {
    fn kill(&self, timeout: Duration) -> Result<(), OwnError> {
        Self::kill(self, timeout)
    }

    fn remove(&mut self, timeout: Duration) -> Result<(), OwnError> {
        Self::remove(self, timeout)
    }

    fn is_removed(&self) -> bool {
        self.removed
    }
}

impl Drop for OwnGroup {
    fn drop(&mut self) {
        self.close_at_last();
    }
}

/// Repeats `done` with growing pauses until it says so (true) or `timeout` has passed
/// (false).
pub(super) fn until<E>(
    timeout: Duration,
    mut done: impl FnMut() -> Result<bool, E>,
) -> Result<bool, E> {
    let end = Instant::now() + timeout;
    let mut pause = PAUSES.0;
    while !done()? {
        if Instant::now() >= end {
            return Ok(false);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
    Ok(true)
}

/// Writes `value` to a file of a group, in one call as the kernel wants it.
pub(super) fn write(path: &Path, value: &str) -> Result<(), OwnError> {
    let written = fs::File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|source| OwnError::Write {
        path: path.into(),
        value: value.into(),
        source,
    })
}

/// The processes listed in the group's `cgroup.procs`; none if the group is gone.
pub(super) fn members(dir: &Path) -> Result<Vec<u32>, CgroupError> {
    let text = match read_optional(dir, "cgroup.procs") {
        Ok(text) => text.unwrap_or_default(),
        Err(error) if error.is_gone() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let number = |line: &str| {
        line.trim().parse().map_err(|_| CgroupError::Malformed {
            path: dir.join("cgroup.procs"),
            what: format!("the line {line:?} is not a process"),
        })
    };
    text.lines().map(number).collect()
}

/// Takes the cpu controller from the children of `above` again, unless one of them makes
/// use of it by now.
fn disable_if_unused(above: &Path) -> Result<(), OwnError> {
    let children = fs::read_dir(above)
        .map_err(|source| CgroupError::Read {
            path: above.into(),
            source,
        })?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for child in children {
        let text = |name: &str| read_optional(&child.path(), name).map(Option::unwrap_or_default);
        let unused = match (
            text("cpu.max"),
            text("cpu.weight"),
            text("cgroup.subtree_control"),
        ) {
            (Ok(max), Ok(weight), Ok(below)) => {
                max.trim() == "max 100000"
                    && weight.trim() == "100"
                    && !below.split_whitespace().any(|name| name == "cpu")
            }
            // It went while we looked.
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) if error.is_gone() => true,
            _ => false,
        };
        if !unused {
            return Ok(());
        }
    }
    write(&above.join("cgroup.subtree_control"), "-cpu")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn fixture(version: Version) -> (tempfile::TempDir, OwnGroup) {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("group");
        fs::create_dir(&group).unwrap();
        let files: &[(&str, &str)] = match version {
            Version::V1 => &[
                ("cpu.cfs_quota_us", "-1"),
                ("cpu.cfs_period_us", "100000"),
                ("tasks", ""),
                ("cgroup.procs", ""),
            ],
            Version::V2 => &[("cpu.max", "max 100000"), ("cgroup.procs", "")],
        };
        for (name, text) in files {
            fs::write(group.join(name), text).unwrap();
        }
        let mut own = OwnGroup::new(version, group, "/group".into(), None);
        // The directory is the test's to remove.
        own.removed = true;
        (dir, own)
    }

    fn read(group: &OwnGroup, name: &str) -> String {
        fs::read_to_string(group.dir().join(name)).unwrap()
    }

    #[test]
    fn what_is_written_where() {
        let (_dir, group) = fixture(Version::V2);
        group.set_quota(Some(20_000_000), 100_000_000).unwrap();
        assert_eq!(read(&group, "cpu.max"), "20000 100000");
        group.add_process(42).unwrap();
        assert_eq!(read(&group, "cgroup.procs"), "42");
        assert!(matches!(group.add_thread(42), Err(OwnError::ThreadNeedsV1)));

        let (_dir, group) = fixture(Version::V1);
        // Writing does not truncate, as in the kernel's files; start from nothing.
        for name in ["cpu.cfs_quota_us", "cpu.cfs_period_us"] {
            fs::write(
                group.dir().join(name),
                if name.contains("quota") {
                    "-1"
                } else {
                    "50000"
                },
            )
            .unwrap();
        }
        group.set_quota(Some(20_000_000), 50_000_000).unwrap();
        assert_eq!(read(&group, "cpu.cfs_quota_us"), "20000");
        group.set_quota(Some(30_000_000), 40_000_000).unwrap();
        assert_eq!(read(&group, "cpu.cfs_period_us"), "40000");
        assert_eq!(read(&group, "cpu.cfs_quota_us"), "30000");
        group.add_thread(43).unwrap();
        assert_eq!(read(&group, "tasks"), "43");
    }

    #[test]
    fn bursts_are_written_where_the_kernel_has_them() {
        for (version, name) in [
            (Version::V1, "cpu.cfs_burst_us"),
            (Version::V2, "cpu.max.burst"),
        ] {
            let (_dir, group) = fixture(version);
            assert!(!group.can_burst());
            assert!(group.set_burst(5_000_000).is_err());
            fs::write(group.dir().join(name), "0").unwrap();
            assert!(group.can_burst());
            group.set_burst(5_000_000).unwrap();
            assert_eq!(read(&group, name), "5000");
        }
    }

    #[test]
    fn limits_that_no_kernel_takes() {
        let (_dir, group) = fixture(Version::V2);
        for (quota, period) in [
            (Some(999_000), 100_000_000),
            (Some(20_000_000), 999_000),
            (Some(20_000_000), 1_000_001_000),
            (Some(20_000_001), 100_000_000),
            (None, 100_000_001),
        ] {
            let error = group.set_quota(quota, period).unwrap_err();
            assert!(matches!(error, OwnError::BadLimit { .. }), "{error}");
        }
        assert_eq!(read(&group, "cpu.max"), "max 100000");
    }

    #[test]
    fn this_process_is_never_killed() {
        let (_dir, group) = fixture(Version::V1);
        fs::write(
            group.dir().join("cgroup.procs"),
            std::process::id().to_string(),
        )
        .unwrap();
        let error = group.kill(Duration::ZERO).unwrap_err();
        assert!(matches!(error, OwnError::SelfInside { .. }), "{error}");
    }

    #[test]
    fn a_group_that_stays_busy_is_named_with_its_processes() {
        let mut child: Child = Command::new("sleep").arg("1000").spawn().unwrap();
        let (_dir, group) = fixture(Version::V1);
        // Unlike the kernel's, this file lists the process even when it is dead.
        fs::write(group.dir().join("cgroup.procs"), child.id().to_string()).unwrap();
        let error = group
            .kill(Duration::from_millis(30))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&child.id().to_string()), "{error}");
        child.wait().unwrap();
    }

    #[test]
    fn a_controller_in_use_is_not_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("cgroup.subtree_control");
        let child = dir.path().join("child");
        fs::create_dir(&child).unwrap();
        for (max, weight, below, want) in [
            ("50000 100000\n", "100\n", "", "cpu"),
            ("max 100000\n", "200\n", "", "cpu"),
            ("max 100000\n", "100\n", "memory cpu\n", "cpu"),
            ("max 100000\n", "100\n", "memory\n", "-cpu"),
        ] {
            fs::write(&control, "cpu").unwrap();
            fs::write(child.join("cpu.max"), max).unwrap();
            fs::write(child.join("cpu.weight"), weight).unwrap();
            fs::write(child.join("cgroup.subtree_control"), below).unwrap();
            disable_if_unused(dir.path()).unwrap();
            assert_eq!(fs::read_to_string(&control).unwrap(), want);
        }
    }
}
