//! Which capabilities tracing needs, which are missing, and giving up the rest.
//!
//! # What needs which capability
//!
//! Found by trying, on Linux 6.18 with `unprivileged_bpf_disabled` and
//! `perf_event_paranoid` at 2 and without Yama, against a process of another user. The
//! caller's uid made no difference, 0 or 1001, except for tracefs: **uid 0 without
//! capabilities is just another user.**
//!
//! | action | needs |
//! |---|---|
//! | create array, hash, per-CPU and ring buffer maps | CAP_BPF |
//! | load a `tp_btf` or kprobe-type program, with or without `bpf_probe_read_kernel`; attach `tp_btf` | CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN for both |
//! | `perf_event_open` of a tracepoint on all CPUs | CAP_PERFMON |
//! | `perf_event_open` of the uprobe PMU, for one process or all | CAP_SYS_ADMIN; CAP_PERFMON on kernels before the fix below |
//! | the same by `/proc/PID/exe` or through `/proc/PID/root` | and CAP_SYS_PTRACE |
//! | the same for a program in another user's private directory | and CAP_DAC_READ_SEARCH |
//! | a uprobe-multi link (Linux 6.6) for all processes | CAP_BPF and CAP_PERFMON |
//! | `BPF_PROG_GET_NEXT_ID`, `BPF_ENABLE_STATS` | CAP_SYS_ADMIN |
//! | read, stat or readlink `/proc/PID/exe`; `/proc/PID/root/...`, `/proc/PID/ns/*`; `process_vm_readv` | CAP_SYS_PTRACE |
//! | `/proc/PID/maps` | CAP_SYS_PTRACE or CAP_PERFMON |
//! | `/proc/PID/environ`, `/proc/PID/mem`, `/proc/PID/syscall`; list or readlink `/proc/PID/map_files` | CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH |
//! | open a file through `/proc/PID/map_files` | these two and CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN: take `exe` or `root` instead |
//! | list `/proc/PID/fd`; another user's private files | CAP_DAC_READ_SEARCH |
//! | `/proc/PID/stack` | CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and CAP_SYS_ADMIN |
//! | `/proc/PID/{status,stat,cmdline,cgroup,schedstat}`, `/sys/kernel/btf/vmlinux` | nothing |
//! | files below `/sys/kernel/tracing` (mode 0700, root's) | uid 0: nothing; others: CAP_DAC_READ_SEARCH |
//!
//! CAP_DAC_OVERRIDE does for CAP_DAC_READ_SEARCH. CAP_SYS_ADMIN does **not** do for
//! CAP_SYS_PTRACE or CAP_DAC_READ_SEARCH.
//!
//! The uprobe PMU was opened to CAP_PERFMON in 5.8 and closed again in July 2025 ("perf:
//! Revert to requiring CAP_SYS_ADMIN for uprobes", 6.16-rc5, with stable backports from
//! 5.10.240 on). The release does not tell which holds, so it is tried; see [`UPROBES`].

mod error;
mod keep;
mod kernel;
mod status;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use caps::{CapSet, CapsHashSet};

pub use caps::Capability;
pub use error::PrivilegeError;
pub use keep::{Kept, keep_only};
pub use kernel::{
    KernelRelease, Lockdown, Memlock, kernel_release, lockdown, maps_count_as_locked, raise_memlock,
};

use status::{STATUS, number, read};

/// `PROC_USER_INIT_INO`: the inode of the initial user namespace, the same on all kernels.
const INITIAL_USER_NAMESPACE: u64 = 0xeffffffd;

/// A capability and the reason to ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The capability.
    pub capability: Capability,
    /// What gohang does with it.
    pub used_for: &'static str,
}

const BPF: Needed = Needed {
    capability: Capability::CAP_BPF,
    used_for: "loads the kernel programs and makes their maps",
};
const PERFMON: Needed = Needed {
    capability: Capability::CAP_PERFMON,
    used_for: "lets the kernel programs read kernel memory, and attaches them to tracepoints",
};
const PTRACE: Needed = Needed {
    capability: Capability::CAP_SYS_PTRACE,
    used_for: "reads the program files of other users' processes, to find the Go runtime",
};
const READ_SEARCH: Needed = Needed {
    capability: Capability::CAP_DAC_READ_SEARCH,
    used_for: "reads other users' environments and private programs, and tracefs",
};
const ADMIN: Needed = Needed {
    capability: Capability::CAP_SYS_ADMIN,
    used_for: "loads and attaches the kernel programs (this kernel has no CAP_BPF)",
};
const RESOURCE: Needed = Needed {
    capability: Capability::CAP_SYS_RESOURCE,
    used_for: "lifts the limit on locked memory, which maps count against before Linux 5.11",
};

/// For probes in the Go runtime, which refine what is reported and which nothing depends
/// on, where the kernel has no uprobe-multi links. CAP_PERFMON may do there: only an attachment
/// refused with EACCES shows that this is missing.
pub const UPROBES: Needed = Needed {
    capability: Capability::CAP_SYS_ADMIN,
    used_for: "attaches probes to the Go runtime (kernels before 6.6; those from before July 2025 take CAP_PERFMON)",
};

/// What this kernel asks for, in the order to name it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asks {
    /// CAP_BPF and CAP_PERFMON exist (Linux 5.8).
    has_cap_bpf: bool,
    /// Maps count against a limit on locked memory that is not infinite.
    memlock: bool,
}

impl Asks {
    fn of_this_kernel() -> Result<Self, PrivilegeError> {
        // The only reason to fail is a capability that the kernel does not know.
        let has_cap_bpf = caps::has_cap(None, CapSet::Bounding, Capability::CAP_BPF).is_ok();
        let hard_limit = kernel::memlock()
            .map_err(|source| PrivilegeError::System {
                action: "read the limit on locked memory",
                source,
            })?
            .rlim_max;
        let memlock = maps_count_as_locked(&kernel_release()?) && hard_limit != libc::RLIM_INFINITY;
        Ok(Self {
            has_cap_bpf,
            memlock,
        })
    }

    fn needed(self) -> Vec<Needed> {
        let mut needed = if self.has_cap_bpf {
            vec![BPF, PERFMON]
        } else {
            vec![ADMIN]
        };
        needed.extend([PTRACE, READ_SEARCH]);
        if self.memlock {
            needed.push(RESOURCE);
        }
        needed
    }
}

/// Whether holding `effective` is enough for `capability`, stronger ones counted.
fn covered(effective: &CapsHashSet, capability: Capability) -> bool {
    let stronger = match capability {
        Capability::CAP_BPF | Capability::CAP_PERFMON => Some(Capability::CAP_SYS_ADMIN),
        Capability::CAP_DAC_READ_SEARCH => Some(Capability::CAP_DAC_OVERRIDE),
        _ => None,
    };
    effective.contains(&capability) || stronger.is_some_and(|other| effective.contains(&other))
}

/// The capabilities that tracing needs and this process lacks. Its text names each, says
/// what it is for and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Each capability that is missing.
    pub needed: Vec<Needed>,
    /// All that are needed, for the command that grants them.
    all: Vec<Needed>,
    root: bool,
    user_namespace: bool,
    program: PathBuf,
}

impl Missing {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needed.is_empty()
    }

    /// All that are needed, held or not.
    #[must_use]
    pub fn all(&self) -> &[Needed] {
        &self.all
    }

    fn from(
        asks: Asks,
        effective: &CapsHashSet,
        root: bool,
        user_namespace: bool,
        program: PathBuf,
    ) -> Self {
        let all = asks.needed();
        let mut needed = all.clone();
        // The kernel asks for them in the initial user namespace, whatever is held in another.
        needed.retain(|need| user_namespace || !covered(effective, need.capability));
        Self {
            needed,
            all,
            root,
            user_namespace,
            program,
        }
    }

    fn names(&self, separator: &str, name: impl Fn(&str) -> String) -> String {
        let names: Vec<String> = self
            .all
            .iter()
            .map(|need| name(&need.capability.to_string()))
            .collect();
        names.join(separator)
    }
}

impl std::error::Error for Missing {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no capability is missing");
        }
        f.write_str("not permitted to trace; missing:")?;
        for need in &self.needed {
            write!(f, "\n  {}: {}", need.capability, need.used_for)?;
        }
        if self.user_namespace {
            return f.write_str(
                "\nthis process runs in a user namespace, where capabilities do not count for \
                 tracing: run it outside (for a container: `--userns=host`)",
            );
        }
        if self.root {
            let flags = self.names(" ", |name| {
                format!("--cap-add {}", name.strip_prefix("CAP_").unwrap_or(name))
            });
            return write!(
                f,
                "\nroot has been stripped of them, as containers do: run outside, or start the \
                 container with: {flags}"
            );
        }
        let list = self.names(",", str::to_lowercase);
        let program = quoted(&self.program.to_string_lossy());
        write!(f, "\nrun as root, or: setcap {list}+ep {program}")
    }
}

/// A path as a shell takes it, and without control bytes.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path.to_owned();
    }
    if path.chars().any(char::is_control) {
        return path.escape_debug().to_string();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// What tracing needs and this process lacks, by its effective capabilities.
///
/// # Errors
/// `/proc` cannot be read, or the kernel does not tell the capabilities.
pub fn missing() -> Result<Missing, PrivilegeError> {
    let effective =
        caps::read(None, CapSet::Effective).map_err(|source| PrivilegeError::Capabilities {
            action: "read the effective capabilities",
            source,
        })?;
    const EXE: &str = "/proc/self/exe";
    let program =
        fs::read_link(EXE).map_err(|source| PrivilegeError::Read { path: EXE, source })?;
    let root = number(&read(STATUS)?, "Uid")? == 0;
    Ok(Missing::from(
        Asks::of_this_kernel()?,
        &effective,
        root,
        in_user_namespace()?,
        program,
    ))
}

/// Whether this process holds a capability in effect, in the initial user namespace.
///
/// # Errors
/// As for [`missing`].
pub fn has(capability: Capability) -> Result<bool, PrivilegeError> {
    let held = caps::has_cap(None, CapSet::Effective, capability).map_err(|source| {
        PrivilegeError::Capabilities {
            action: "read the effective capabilities",
            source,
        }
    })?;
    Ok(held && !in_user_namespace()?)
}

fn in_user_namespace() -> Result<bool, PrivilegeError> {
    const USER_NAMESPACE: &str = "/proc/self/ns/user";
    match fs::metadata(USER_NAMESPACE) {
        Ok(namespace) => Ok(namespace.ino() != INITIAL_USER_NAMESPACE),
        // A kernel without user namespaces.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(PrivilegeError::Read {
            path: USER_NAMESPACE,
            source,
        }),
    }
}
