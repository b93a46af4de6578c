//! The one group whose CPU quota a Go runtime reads.
//!
//! From 1.25 on the runtime finds its group once, at start, in `/proc/self/cgroup` and
//! `/proc/self/mountinfo`, and keeps that group's quota file open. It looks at no group
//! above it, and stays with it when the process is moved. A version 1 hierarchy with
//! the cpu controller wins over version 2.
//!
//! 1.25 appends the group's path to the mount point, whatever part of the hierarchy is
//! mounted there (`FindCPU`, internal/runtime/cgroup/cgroup_linux.go of 1.25.5), so
//! that in a container with the host's cgroup namespace it finds nothing; from 1.26 on
//! it takes the first mount that shows the group (`parseCPUMount`,
//! internal/runtime/cgroup/cgroup.go of 1.26.6 and 1.27.3).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use super::version::GoVersion;
use crate::cgroup::{CpuLimit, Version};
use crate::process::{ProcError, ProcRoot};

/// First minor version whose runtime reads quotas.
pub(crate) const READS_QUOTA: u32 = 25;
/// From this minor version on the mount is chosen by the group.
const MATCHES_MOUNT: u32 = 26;
/// Longest path that the runtime has room for (`_PATH_MAX`).
const PATH_MAX: usize = 4096;

/// What the runtime finds when it looks for its quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafQuota {
    /// The directory of its group, as the process sees it; `None` when its runtime
    /// finds no group with a quota file.
    pub dir: Option<PathBuf>,
    /// The group's quota; `None` without one, or when the file cannot be read.
    pub limit: Option<CpuLimit>,
}

impl LeafQuota {
    /// Of process `pid`, if its runtime looked now. A process that was moved after its
    /// start goes on reading the group that it started in.
    ///
    /// # Errors
    /// [`ProcError::Gone`] when it has ended, [`ProcError::Denied`] without the right to
    /// look into it.
    pub fn read(proc: &ProcRoot, pid: u32, version: &GoVersion) -> Result<Self, ProcError> {
        let nothing = Self {
            dir: None,
            limit: None,
        };
        if !version.at_least(READS_QUOTA) {
            return Ok(nothing);
        }
        let mut matches = version.at_least(MATCHES_MOUNT);
        // Both files are shown relative to the cgroup namespace of who reads them.
        let inside = match same_namespace(proc, pid)? {
            true => None,
            false => {
                let inside = read_inside(proc, pid);
                // Without the right to go there: the mounts that were made in the process's
                // namespace begin at its root, and what the group's path has beyond the
                // mount's root is the same in every namespace.
                matches |= inside.is_none();
                inside
            }
        };
        let (cgroup, mountinfo) = match inside {
            Some(files) => files,
            None => read_both(proc, pid)?,
        };
        let Some((kind, path)) = find(&cgroup, &mountinfo, matches) else {
            return Ok(nothing);
        };
        let dir = PathBuf::from(OsString::from_vec(path));
        let root = proc.pid_dir(pid).join("root");
        let inside = root.join(dir.strip_prefix("/").unwrap_or(&dir));
        let read = |name: &str| read_quota_file(proc, pid, &inside.join(name));
        let limit = match kind {
            Version::V1 => {
                let quota = read("cpu.cfs_quota_us")?;
                let period = read("cpu.cfs_period_us")?;
                let (Some(quota), Some(period)) = (quota, period) else {
                    return Ok(nothing);
                };
                CpuLimit::parse_v1(&quota, &period, None)
            }
            Version::V2 => {
                let Some(max) = read("cpu.max")? else {
                    return Ok(nothing);
                };
                CpuLimit::parse_v2(&max, None)
            }
        };
        Ok(Self {
            dir: Some(dir),
            limit: limit.ok().filter(|limit| limit.quota_ns.is_some()),
        })
    }
}

/// A quota file; `None` when there is none, as in a group without the controller.
fn read_quota_file(proc: &ProcRoot, pid: u32, path: &Path) -> Result<Option<String>, ProcError> {
    match fs::read(path) {
        Ok(raw) => Ok(Some(String::from_utf8_lossy(&raw).into_owned())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if proc.exists(pid) => Ok(None),
            _ => Err(proc.sort_error(pid, path, error)),
        },
    }
}

/// `/proc/PID/cgroup` and `/proc/PID/mountinfo`.
fn read_both(proc: &ProcRoot, pid: u32) -> Result<(Vec<u8>, Vec<u8>), ProcError> {
    let cgroup = proc.read_pid_file(pid, "cgroup")?;
    Ok((cgroup, proc.read_pid_file(pid, "mountinfo")?))
}

/// The same as `pid` itself sees them, from its cgroup namespace; `None` where that may not be
/// entered (setns(2) wants `CAP_SYS_ADMIN`).
fn read_inside(proc: &ProcRoot, pid: u32) -> Option<(Vec<u8>, Vec<u8>)> {
    let namespace = File::open(proc.pid_dir(pid).join("ns/cgroup")).ok()?;
    // Only the thread that enters it is in it, and that ends here.
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            enter(&namespace).ok()?;
            read_both(proc, pid).ok()
        });
        reader.join().ok().flatten()
    })
}

/// Puts the calling thread into a cgroup namespace, an open `/proc/PID/ns/cgroup`.
fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: takes an open descriptor and a number.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWCGROUP) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether `pid` is in our own cgroup namespace.
fn same_namespace(proc: &ProcRoot, pid: u32) -> Result<bool, ProcError> {
    let own = proc.path().join("self/ns/cgroup");
    let other = proc.pid_dir(pid).join("ns/cgroup");
    let own = match fs::read_link(&own) {
        Ok(link) => link,
        // Kernels without cgroup namespaces.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(ProcError::from_io(&own, error)),
    };
    let link = fs::read_link(&other).map_err(|error| proc.sort_error(pid, &other, error))?;
    Ok(own == link)
}

/// The directory of the group, from `/proc/PID/cgroup` and `/proc/PID/mountinfo`.
fn find(cgroup: &[u8], mountinfo: &[u8], match_mount: bool) -> Option<(Version, Vec<u8>)> {
    let (version, group) = own_group(cgroup)?;
    let path = if match_mount {
        mount_of(mountinfo, version, group)?
    } else {
        [first_mount(mountinfo)?, group.to_vec()].concat()
    };
    (path.len() <= PATH_MAX).then_some((version, path))
}

/// The group of the hierarchy with the cpu controller (`parseCPUCgroup`; until 1.25
/// `parseCPURelativePath`).
fn own_group(cgroup: &[u8]) -> Option<(Version, &[u8])> {
    let mut unified = None;
    for line in lines(cgroup) {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (hierarchy, controllers) = (fields.next()?, fields.next()?);
        let path = fields.next().filter(|path| path.starts_with(b"/"))?;
        if hierarchy == b"0" {
            unified = Some((Version::V2, path));
        } else if has_cpu(controllers) {
            return Some((Version::V1, path));
        }
    }
    unified
}

fn has_cpu(list: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|name| name == b"cpu")
}

/// A mount of a cgroup hierarchy that may have the cpu controller.
struct Mount<'a> {
    version: Version,
    /// Root of the mount within its hierarchy, escaped.
    root: &'a [u8],
    /// Where it is mounted, escaped.
    point: &'a [u8],
}

/// The mounts that matter, in the file's order; `Err` at a line in no known form, at
/// which the runtime gives up.
fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Result<Mount<'_>, ()>> {
    lines(mountinfo).filter_map(|line| parse_mount(line).transpose())
}

/// The line's mount; `Ok(None)` for other file systems.
fn parse_mount(line: &[u8]) -> Result<Option<Mount<'_>>, ()> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().skip(6).position(|field| *field == b"-");
    // Optional fields may be missing, but not those before them.
    let dash = 6 + dash.ok_or(())?;
    let [root, point] = [fields[3], fields[4]];
    if !root.starts_with(b"/") {
        return Err(());
    }
    let version = match fields.get(dash + 1) {
        Some(&b"cgroup2") => Version::V2,
        Some(&b"cgroup") => {
            let options = fields.get(dash + 3).ok_or(())?;
            if !has_cpu(options) {
                return Ok(None);
            }
            Version::V1
        }
        Some(_) => return Ok(None),
        None => return Err(()),
    };
    Ok(Some(Mount {
        version,
        root,
        point,
    }))
}

/// 1.25: the version 1 mount with the cpu controller, else the last of version 2.
fn first_mount(mountinfo: &[u8]) -> Option<Vec<u8>> {
    let mut unified = None;
    for mount in mounts(mountinfo) {
        let mount = mount.ok()?;
        let point = unescape(mount.point);
        if mount.version == Version::V1 {
            return point;
        }
        unified = Some(point?);
    }
    unified
}

/// From 1.26 on: the first mount of that version that shows the group.
fn mount_of(mountinfo: &[u8], version: Version, group: &[u8]) -> Option<Vec<u8>> {
    for mount in mounts(mountinfo) {
        let mount = mount.ok()?;
        if mount.version != version {
            continue;
        }
        let root = unescape(mount.root)?;
        let rest = match root.as_slice() {
            b"/" if group == b"/" => &[],
            b"/" => group,
            root => match group.strip_prefix(root) {
                Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
                _ => continue,
            },
        };
        // Above the namespace's root: not to be reached through this mount.
        if rest == b"/.." || rest.starts_with(b"/../") {
            continue;
        }
        return Some([unescape(mount.point)?, rest.to_vec()].concat());
    }
    None
}

fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    raw.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// Undoes the kernel's octal escapes; `None` for what it never writes.
fn unescape(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let mut code = 0_u32;
        for _ in 0..3 {
            let digit = char::from(*rest.next()?).to_digit(8)?;
            code = code * 8 + digit;
        }
        out.push(u8::try_from(code).ok()?);
    }
    Some(out)
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
mod tests;
