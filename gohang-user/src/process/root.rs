//! A `/proc` file system, or a directory that looks like one.

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::cpu::CpuTimes;
use super::error::ProcError;
use super::stat::Stat;
use super::status::Status;

/// Inode number of the initial PID namespace (`PROC_PID_INIT_INO` in the kernel).
pub const INIT_PID_NS_INODE: u64 = 0xEFFF_FFFC;

/// No file read whole from `/proc` may be longer; `maps` of a large process is a
/// few megabytes.
const MAX_FILE: u64 = 64 << 20;

/// Room that a file is read into at first, bytes: all but `maps` fit. Files of `/proc` say that
/// they are empty, so that a reader who goes by that begins with 32 bytes.
const ROOM: usize = 4096;

/// The directory that processes are read from: `/proc`, or a test's fixtures.
///
/// Process ids are those of the PID namespace the file system was mounted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcRoot {
    root: PathBuf,
}

impl Default for ProcRoot {
    fn default() -> Self {
        Self::new("/proc")
    }
}

impl ProcRoot {
    /// Processes below `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The directory of process or thread `pid`.
    #[must_use]
    pub fn pid_dir(&self, pid: u32) -> PathBuf {
        self.root.join(pid.to_string())
    }

    /// Whether process or thread `pid` has a directory now.
    #[must_use]
    pub fn exists(&self, pid: u32) -> bool {
        self.pid_dir(pid).exists()
    }

    /// Every process id now, ascending.
    ///
    /// # Errors
    /// When the directory itself cannot be read.
    pub fn pids(&self) -> Result<Vec<u32>, ProcError> {
        numbers_in(&self.root).map_err(|source| ProcError::from_io(&self.root, source))
    }

    /// Every thread id of process `pid` now, ascending.
    ///
    /// # Errors
    /// [`ProcError::Gone`] when the process has ended.
    pub fn threads(&self, pid: u32) -> Result<Vec<u32>, ProcError> {
        let dir = self.pid_dir(pid).join("task");
        numbers_in(&dir).map_err(|source| self.sort_error(pid, &dir, source))
    }

    /// The name of process or thread `pid`, raw and without the newline that ends it.
    ///
    /// # Errors
    /// [`ProcError::Gone`] when it has ended.
    pub fn comm(&self, pid: u32) -> Result<Vec<u8>, ProcError> {
        let mut raw = self.read_pid_file(pid, "comm")?;
        if raw.last() == Some(&b'\n') {
            raw.pop();
        }
        Ok(raw)
    }

    /// `/proc/PID/stat` of process or thread `pid`.
    ///
    /// # Errors
    /// [`ProcError::Gone`] when it has ended.
    pub fn stat(&self, pid: u32) -> Result<Stat, ProcError> {
        let raw = self.read_pid_file(pid, "stat")?;
        Stat::parse(&raw).map_err(|what| self.malformed(pid, "stat", what))
    }

    /// `/proc/PID/status` of process or thread `pid`.
    ///
    /// # Errors
    /// [`ProcError::Gone`] when it has ended.
    pub fn status(&self, pid: u32) -> Result<Status, ProcError> {
        let raw = self.read_pid_file(pid, "status")?;
        Status::parse(&raw).map_err(|what| self.malformed(pid, "status", what))
    }

    /// The signal masks of one thread of process `pid`.
    ///
    /// # Errors
    /// [`ProcError::Gone`] (of `tid`) when the thread or the process has ended.
    pub fn thread_status(&self, pid: u32, tid: u32) -> Result<Status, ProcError> {
        let path = self.pid_dir(pid).join(format!("task/{tid}/status"));
        let raw = read_bounded(&path).map_err(|source| self.sort_error(tid, &path, source))?;
        Status::parse(&raw).map_err(|what| ProcError::Malformed { path, what })
    }

    /// The process that thread `tid` belongs to.
    ///
    /// # Errors
    /// [`ProcError::Gone`] when the thread has ended.
    pub fn tgid(&self, tid: u32) -> Result<u32, ProcError> {
        Ok(self.status(tid)?.tgid)
    }

    /// Start time of `pid` in clock ticks after boot; see [`Stat::start_ticks`].
    ///
    /// # Errors
    /// [`ProcError::Gone`] when it has ended.
    pub fn start_ticks(&self, pid: u32) -> Result<u64, ProcError> {
        Ok(self.stat(pid)?.start_ticks)
    }

    /// Stolen and interrupt time of every CPU that is online.
    ///
    /// # Errors
    /// When `/proc/stat` cannot be read or is not in the documented form.
    pub fn cpu_times(&self) -> Result<Vec<CpuTimes>, ProcError> {
        let path = self.root.join("stat");
        let raw = read_bounded(&path).map_err(|source| ProcError::from_io(&path, source))?;
        CpuTimes::parse_all(&String::from_utf8_lossy(&raw))
            .map_err(|what| ProcError::Malformed { path, what })
    }

    /// Inode number of the PID namespace of `pid` (of this process: `None`).
    ///
    /// # Errors
    /// [`ProcError::Gone`] when it has ended, [`ProcError::Denied`] without the
    /// right to look into another process.
    pub fn pid_ns_inode(&self, pid: Option<u32>) -> Result<u64, ProcError> {
        let name = pid.map_or_else(|| "self".into(), |pid| pid.to_string());
        let path = self.root.join(name).join("ns/pid");
        let link = fs::read_link(&path).map_err(|source| match pid {
            Some(pid) => self.sort_error(pid, &path, source),
            None => ProcError::from_io(&path, source),
        })?;
        parse_ns_link(link.as_os_str().as_bytes()).ok_or_else(|| ProcError::Malformed {
            path,
            what: "it does not lead to pid:[NUMBER]".into(),
        })
    }

    /// Whether this process runs in the initial PID namespace, so that its process
    /// ids are the kernel's.
    ///
    /// # Errors
    /// When `/proc/self/ns/pid` cannot be read.
    pub fn in_init_pid_ns(&self) -> Result<bool, ProcError> {
        Ok(self.pid_ns_inode(None)? == INIT_PID_NS_INODE)
    }

    /// A file of process or thread `pid`, whole (`name` is relative to its directory).
    ///
    /// # Errors
    /// [`ProcError::Gone`] when it has ended.
    pub fn read_pid_file(&self, pid: u32, name: &str) -> Result<Vec<u8>, ProcError> {
        let path = self.pid_dir(pid).join(name);
        read_bounded(&path).map_err(|source| self.sort_error(pid, &path, source))
    }

    /// A file of the machine as a whole or of `self`, such as `self/mountinfo`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_file(&self, name: &str) -> Result<Vec<u8>, ProcError> {
        let path = self.root.join(name);
        read_bounded(&path).map_err(|source| ProcError::from_io(&path, source))
    }

    /// Sorts a failure on a file of `pid`: the end of the process first.
    pub(crate) fn sort_error(&self, pid: u32, path: &Path, source: io::Error) -> ProcError {
        let missing = source.kind() == io::ErrorKind::NotFound && !self.exists(pid);
        if missing || source.raw_os_error() == Some(libc::ESRCH) {
            return ProcError::Gone { pid };
        }
        ProcError::from_io(path, source)
    }

    fn malformed(&self, pid: u32, name: &str, what: String) -> ProcError {
        // A process that ends under our hands can leave an empty file behind.
        if self.exists(pid) {
            ProcError::Malformed {
                path: self.pid_dir(pid).join(name),
                what,
            }
        } else {
            ProcError::Gone { pid }
        }
    }
}

/// The number in `pid:[4026531836]`.
fn parse_ns_link(link: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(link).ok()?;
    text.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

fn numbers_in(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        if let Some(number) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut raw = Vec::with_capacity(ROOM);
    fs::File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut raw)?;
    if raw.len() as u64 > MAX_FILE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "longer than 64 MiB",
        ));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    /// A fixture tree with one process, 42, of two threads.
    fn fixture() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("42");
        fs::create_dir_all(pid.join("task/42")).unwrap();
        fs::create_dir_all(pid.join("task/43")).unwrap();
        fs::create_dir_all(pid.join("ns")).unwrap();
        fs::create_dir_all(dir.path().join("sys")).unwrap();
        fs::create_dir_all(dir.path().join("self/ns")).unwrap();
        fs::write(pid.join("comm"), b"na\nme\n").unwrap();
        symlink("pid:[4026532000]", pid.join("ns/pid")).unwrap();
        symlink("pid:[4026531836]", dir.path().join("self/ns/pid")).unwrap();
        dir
    }

    #[test]
    fn fixtures_stand_in_for_proc() {
        let dir = fixture();
        let proc = ProcRoot::new(dir.path());
        assert_eq!(proc.pids().unwrap(), [42]);
        assert_eq!(proc.threads(42).unwrap(), [42, 43]);
        assert_eq!(proc.comm(42).unwrap(), b"na\nme");
        assert_eq!(proc.pid_ns_inode(Some(42)).unwrap(), 4_026_532_000);
        assert!(proc.in_init_pid_ns().unwrap());
    }

    #[test]
    fn an_absent_process_is_gone_and_an_absent_file_is_not() {
        let dir = fixture();
        let proc = ProcRoot::new(dir.path());
        assert!(proc.comm(7).unwrap_err().is_gone());
        assert!(proc.threads(7).unwrap_err().is_gone());
        assert!(proc.pid_ns_inode(Some(7)).unwrap_err().is_gone());
        let error = proc.stat(42).unwrap_err();
        assert!(matches!(error, ProcError::Read { .. }), "{error}");
        fs::write(dir.path().join("42/stat"), b"").unwrap();
        let error = proc.stat(42).unwrap_err();
        assert!(matches!(error, ProcError::Malformed { .. }), "{error}");
        assert!(matches!(proc.cpu_times(), Err(ProcError::Read { .. })));
    }

    #[test]
    fn a_namespace_link_of_another_form_is_refused() {
        assert_eq!(parse_ns_link(b"pid:[12]"), Some(12));
        for link in [
            &b"net:[12]"[..],
            b"pid:[]",
            b"pid:[x]",
            b"pid:12",
            b"",
            b"\xff",
        ] {
            assert_eq!(parse_ns_link(link), None);
        }
    }

    #[test]
    fn this_process_reads_itself() {
        let proc = ProcRoot::default();
        let pid = std::process::id();
        assert!(proc.pids().unwrap().contains(&pid));
        let stat = proc.stat(pid).unwrap();
        let status = proc.status(pid).unwrap();
        assert_eq!((stat.pid, stat.ppid), (pid, status.ppid));
        assert_eq!(stat.comm, proc.comm(pid).unwrap());
        assert_eq!((status.tid, status.tgid), (pid, pid));
        assert_eq!(status.ns_tids[0], pid);
        assert!(stat.start_ns() > 0);
        let threads = proc.threads(pid).unwrap();
        let last = *threads.last().unwrap();
        assert_eq!(proc.thread_status(pid, pid).unwrap().tid, pid);
        // The test harness's own threads come and go.
        match proc.tgid(last) {
            Ok(tgid) => assert_eq!(tgid, pid),
            Err(error) => assert!(error.is_gone(), "{error}"),
        }
        assert!(!proc.cpu_times().unwrap().is_empty());
        assert!(proc.pid_ns_inode(None).unwrap() > 0);
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read x"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let proc = ProcRoot::default();
        assert_eq!(proc.stat(pid).unwrap().ppid, std::process::id());
        drop(child.stdin.take());
        child.wait().unwrap();
        for error in [
            proc.stat(pid).unwrap_err(),
            proc.status(pid).unwrap_err(),
            proc.comm(pid).unwrap_err(),
            proc.threads(pid).unwrap_err(),
            proc.thread_status(pid, pid).unwrap_err(),
        ] {
            assert!(error.is_gone(), "{error}");
        }
    }
}
