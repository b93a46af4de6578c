//! The kernel's types and limits, this process's privileges and namespace.

use std::path::Path;
use std::time::Instant;

use super::Problems;
use super::report::{Btf, Memlock, Privilege};
use crate::btf;
use crate::privilege::{self, KernelRelease, UPROBES};
use crate::probe::ProbeError;
use crate::process::ProcRoot;

/// Reads the kernel's types, and says how long that took.
pub(super) fn btf(path: &Path) -> Btf {
    let begin = Instant::now();
    let read = btf::Btf::from_file(path);
    let took = begin.elapsed().as_nanos() as u64;
    Btf {
        path: path.display().to_string(),
        read_ns: read.is_ok().then_some(took),
        error: read.err().map(|error| error.to_string()),
    }
}

/// Raises the limit on locked memory where maps count against it.
pub(super) fn memlock(kernel: Option<&KernelRelease>, problems: &mut Problems) -> Memlock {
    let Some(kernel) = kernel else {
        return Memlock::Unknown;
    };
    match problems.note(privilege::raise_memlock(kernel)) {
        Some(privilege::Memlock::NotNeeded) => Memlock::NotNeeded,
        Some(privilege::Memlock::Unlimited) => Memlock::Unlimited,
        Some(privilege::Memlock::HardLimit(bytes)) => {
            problems.degrading(format!(
                "on this kernel maps count against the limit on locked memory, which cannot be \
                 raised above {bytes} bytes without CAP_SYS_RESOURCE"
            ));
            Memlock::Limited { bytes }
        }
        None => Memlock::Unknown,
    }
}

/// Every capability that gohang asks for, and in words what is missing. Whether that is
/// fatal shows when the hooks are attached.
pub(super) fn privileges(problems: &mut Problems) -> (Vec<Privilege>, Option<String>) {
    let Some(missing) = problems.note(privilege::missing()) else {
        return (Vec::new(), None);
    };
    let mut found: Vec<Privilege> = missing
        .all()
        .iter()
        .map(|need| Privilege {
            capability: need.capability.to_string(),
            held: !missing.needed.contains(need),
            required: true,
            used_for: need.used_for.to_owned(),
        })
        .collect();
    let name = UPROBES.capability.to_string();
    // On a kernel without CAP_BPF it is among those already.
    if found.iter().all(|own| own.capability != name) {
        found.push(Privilege {
            held: problems
                .note(privilege::has(UPROBES.capability))
                .unwrap_or(false),
            capability: name,
            required: false,
            used_for: UPROBES.used_for.to_owned(),
        });
    }
    (found, (!missing.is_empty()).then(|| missing.to_string()))
}

/// Whether process ids seen here are those of the kernel's events.
pub(super) fn root_pid_namespace(proc: &ProcRoot, problems: &mut Problems) -> Option<bool> {
    let root = problems.note(proc.in_init_pid_ns())?;
    if !root {
        problems.fatal(ProbeError::PidNamespace.to_string());
    }
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_pid_namespace_is_fatal() {
        let dir = tempfile::tempdir().expect("a directory");
        let ns = dir.path().join("self/ns");
        std::fs::create_dir_all(&ns).expect("made");
        std::os::unix::fs::symlink("pid:[4026532000]", ns.join("pid")).expect("made");
        let mut problems = Problems::default();
        let proc = ProcRoot::new(dir.path());
        assert_eq!(root_pid_namespace(&proc, &mut problems), Some(false));
        assert!(problems.0[0].fatal && problems.0[0].what.contains("--pid=host"));
        // Not to be told is not the same as wrong.
        let mut problems = Problems::default();
        let proc = ProcRoot::new(dir.path().join("none"));
        assert_eq!(root_pid_namespace(&proc, &mut problems), None);
        assert!(!problems.0[0].fatal);
    }

    #[test]
    fn each_needed_capability_is_listed_once() {
        let mut problems = Problems::default();
        let (found, in_words) = privileges(&mut problems);
        let mut names: Vec<&str> = found.iter().map(|own| &*own.capability).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        assert!(names.contains(&"CAP_SYS_PTRACE") && names.contains(&"CAP_SYS_ADMIN"));
        let missing = found.iter().any(|own| own.required && !own.held);
        assert_eq!(missing, in_words.is_some());
    }
}
