//! What the kernel says of itself: its release, its lockdown, its limits.

use std::fmt;
use std::io;

use super::error::PrivilegeError;
use super::status::read;

const OSRELEASE: &str = "/proc/sys/kernel/osrelease";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// The running kernel's release.
///
/// The numbers are for messages and for what cannot be tried; distributions backport, so
/// whatever can be looked up or tried is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRelease {
    /// As `uname -r` gives it: `6.18.44-generic`.
    pub text: String,
    /// Its first number.
    pub major: u32,
    /// Its second number.
    pub minor: u32,
}

impl KernelRelease {
    /// None if it does not begin with two numbers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (major, rest) = text.split_once('.')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some(Self {
            text: text.to_owned(),
            major: major.parse().ok()?,
            minor: rest[..digits].parse().ok()?,
        })
    }

    /// Whether it is this version or a later one.
    #[must_use]
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for KernelRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The running kernel's release.
///
/// # Errors
/// `/proc` is not there, or the release does not begin with two numbers.
pub fn kernel_release() -> Result<KernelRelease, PrivilegeError> {
    let text = read(OSRELEASE)?;
    KernelRelease::parse(&text).ok_or(PrivilegeError::Unexpected {
        path: OSRELEASE,
        what: "release",
        found: text,
    })
}

/// How far the kernel is locked down against its own root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Not at all.
    None,
    /// No changes to the running kernel. Tracing with BPF is not affected.
    Integrity,
    /// No reading of kernel memory either: `bpf_probe_read_kernel` and tracefs are refused.
    Confidentiality,
    /// The kernel has no lockdown, or securityfs is not mounted.
    Unknown,
}

impl Lockdown {
    /// Reads `[none] integrity confidentiality`: the one in brackets holds.
    fn parse(text: &str) -> Self {
        match text.split_whitespace().find(|word| word.starts_with('[')) {
            Some("[none]") => Self::None,
            Some("[integrity]") => Self::Integrity,
            Some("[confidentiality]") => Self::Confidentiality,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Lockdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
            Self::Unknown => "unknown",
        })
    }
}

/// The kernel's lockdown; unknown where it cannot be read.
#[must_use]
pub fn lockdown() -> Lockdown {
    read(LOCKDOWN).map_or(Lockdown::Unknown, |text| Lockdown::parse(&text))
}

/// What came of raising the limit on locked memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memlock {
    /// This kernel accounts BPF maps to the memory cgroup: the limit does not matter.
    NotNeeded,
    /// There is no limit, now or already before.
    Unlimited,
    /// Without CAP_SYS_RESOURCE it could be raised only to the hard limit, in bytes. If a
    /// map then fails with EPERM, this is why.
    HardLimit(u64),
}

/// Whether this kernel counts BPF maps against RLIMIT_MEMLOCK, as those before 5.11 do.
#[must_use]
pub fn maps_count_as_locked(kernel: &KernelRelease) -> bool {
    !kernel.at_least(5, 11)
}

/// Raises this process's RLIMIT_MEMLOCK where BPF maps count against it.
///
/// # Errors
/// The kernel refuses even to raise the soft limit to the hard one.
pub fn raise_memlock(kernel: &KernelRelease) -> Result<Memlock, PrivilegeError> {
    if !maps_count_as_locked(kernel) {
        return Ok(Memlock::NotNeeded);
    }
    let system = |action| move |source| PrivilegeError::System { action, source };
    let limit = memlock().map_err(system("read the limit on locked memory"))?;
    if limit.rlim_cur == libc::RLIM_INFINITY {
        return Ok(Memlock::Unlimited);
    }
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    match set_memlock(&unlimited) {
        Ok(()) => return Ok(Memlock::Unlimited),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(system("lift the limit on locked memory")(error)),
    }
    set_memlock(&libc::rlimit {
        rlim_cur: limit.rlim_max,
        ..limit
    })
    .map_err(system("raise the limit on locked memory"))?;
    Ok(Memlock::HardLimit(limit.rlim_max))
}

/// The limit on locked memory, soft and hard.
pub(super) fn memlock() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit that the call fills.
    match unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn set_memlock(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: the pointer is to a live rlimit that the call only reads.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_releases() {
        for (text, expected) in [
            ("6.18.44-local-build\n", Some((6, 18))),
            ("5.10.0-30-amd64", Some((5, 10))),
            ("4.18.0-553.el8_10.x86_64", Some((4, 18))),
            ("7.3", Some((7, 3))),
            ("6.12-rc3+", Some((6, 12))),
            ("", None),
            ("6", None),
            ("six.eighteen", None),
            ("6.", None),
            ("6.99999999999", None),
        ] {
            let release = KernelRelease::parse(text).map(|kernel| (kernel.major, kernel.minor));
            assert_eq!(release, expected, "{text:?}");
        }
        let kernel = KernelRelease::parse("5.10.0\n").unwrap();
        assert_eq!(kernel.to_string(), "5.10.0");
        assert!(kernel.at_least(5, 10) && kernel.at_least(4, 20) && !kernel.at_least(5, 11));
        assert!(!kernel.at_least(6, 0));
    }

    #[test]
    fn knows_which_kernels_count_maps() {
        for (text, counts) in [("5.10.251", true), ("5.11.0", false), ("6.1.0", false)] {
            assert_eq!(
                maps_count_as_locked(&KernelRelease::parse(text).unwrap()),
                counts
            );
        }
    }

    #[test]
    fn reads_lockdown() {
        for (text, expected) in [
            ("[none] integrity confidentiality\n", Lockdown::None),
            ("none [integrity] confidentiality\n", Lockdown::Integrity),
            (
                "none integrity [confidentiality]\n",
                Lockdown::Confidentiality,
            ),
            ("none integrity [total]\n", Lockdown::Unknown),
            ("none integrity confidentiality\n", Lockdown::Unknown),
            ("", Lockdown::Unknown),
        ] {
            assert_eq!(Lockdown::parse(text), expected, "{text:?}");
        }
        assert_eq!(Lockdown::Integrity.to_string(), "integrity");
    }

    #[test]
    fn asks_this_kernel() {
        let mut release = std::fs::read_to_string(OSRELEASE).unwrap();
        release.truncate(release.trim_end().len());
        assert_eq!(kernel_release().unwrap().text, release);
        let expected = std::fs::read_to_string(LOCKDOWN).unwrap_or_default();
        assert_eq!(lockdown(), Lockdown::parse(&expected));
    }
}
