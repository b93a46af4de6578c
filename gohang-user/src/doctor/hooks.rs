//! Hooks that are in use only beside certain programs, or on vendors' kernels.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::probe::{Hook, HookState};
use crate::process::ProcRoot;

/// Performance monitoring units that the kernel has registered.
const UNITS: &str = "/sys/bus/event_source/devices";

/// What no part of the probe set has tried.
pub(super) fn others() -> Vec<Hook> {
    vec![unit_hook(
        Path::new(UNITS),
        "uprobe",
        "steps of a preemption inside the Go runtime",
        "attached where Go programs are traced",
    )]
}

fn unit_hook(units: &Path, name: &str, used_for: &str, spare: &str) -> Hook {
    let hook = |state, reason: String| Hook {
        hook: name.to_owned(),
        state,
        used_for: used_for.to_owned(),
        reason: Some(reason),
    };
    let path = units.join(name).join("type");
    match fs::metadata(&path) {
        Ok(_) => hook(
            HookState::NotNeeded,
            format!("{spare} (this kernel has it)"),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => hook(
            HookState::Absent,
            format!("this kernel has no {name} events; {spare}"),
        ),
        Err(error) => hook(
            HookState::Refused,
            format!("{}: {error}; {spare}", path.display()),
        ),
    }
}

/// Tracepoints about throttling, and where they were looked for.
#[derive(Debug, Default)]
pub(super) struct Tracepoints {
    pub found: Vec<String>,
    pub looked_in: Vec<String>,
}

/// Looks for a throttle tracepoint that a vendor may have added: in the kernel's types,
/// and in tracefs where it is mounted.
pub(super) fn throttle_tracepoints(types: &Path) -> Tracepoints {
    let mut all = Tracepoints::default();
    if let Ok(bytes) = fs::read(types) {
        all.looked_in.push(types.display().to_string());
        all.found.extend(names_in_types(&bytes));
    }
    let mounts = ProcRoot::default()
        .read_file("self/mountinfo")
        .unwrap_or_default();
    if let Some(tracefs) = tracefs_in(&mounts) {
        for system in ["sched", "cgroup"] {
            let dir = tracefs.join("events").join(system);
            // Not every kernel has every system, and not everybody may look.
            let Ok(entries) = fs::read_dir(&dir) else {
                continue;
            };
            all.looked_in.push(dir.display().to_string());
            let names = entries.flatten().map(|entry| entry.file_name());
            all.found.extend(
                names
                    .filter_map(|name| name.into_string().ok())
                    .filter(|name| throttles(name)),
            );
        }
    }
    all.found.sort_unstable();
    all.found.dedup();
    all
}

fn throttles(name: &str) -> bool {
    name.contains("throttle")
}

/// Tracepoints of the scheduler or of groups by the names of their callbacks' types
/// (`btf_trace_NAME`); reclaim has a throttle of its own.
fn names_in_types(btf: &[u8]) -> Vec<String> {
    let word = |at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(btf.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    // struct btf_header: hdr_len at 4, str_off (from the header's end) at 16, str_len at 20.
    let strings = || {
        let start = word(4)?.checked_add(word(16)?)?;
        btf.get(start..start.checked_add(word(20)?)?)
    };
    strings()
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter_map(|name| std::str::from_utf8(name.strip_prefix(b"btf_trace_")?).ok())
        .filter(|name| throttles(name))
        .filter(|name| {
            ["sched_", "cgroup_", "cfs_"]
                .iter()
                .any(|own| name.starts_with(own))
        })
        .map(str::to_owned)
        .collect()
}

/// Where tracefs is mounted.
fn tracefs_in(mountinfo: &[u8]) -> Option<PathBuf> {
    let text = String::from_utf8_lossy(mountinfo);
    let found = text.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after
            .starts_with("tracefs ")
            .then(|| before.split(' ').nth(4))?
    });
    found.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn btf_with(strings: &str) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24_u32, 0, 8, 8, strings.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0xff; 8]);
        bytes.extend(strings.as_bytes());
        bytes
    }

    #[test]
    fn finds_a_vendors_tracepoint() {
        let strings = "\0btf_trace_sched_cfs_throttle\0btf_trace_sched_switch\0\
            btf_trace_mm_vmscan_throttled\0throttle_cfs_rq\0btf_trace_cgroup_throttle_end\0";
        assert_eq!(
            names_in_types(&btf_with(strings)),
            ["sched_cfs_throttle", "cgroup_throttle_end"]
        );
        assert!(names_in_types(&btf_with("")).is_empty());
        assert!(names_in_types(b"\x9f\xeb").is_empty());
    }

    #[test]
    fn finds_tracefs() {
        let mounts = b"22 1 0:21 / /proc rw - proc proc rw\n\
            40 23 0:12 / /sys/kernel/tracing rw,nosuid shared:3 - tracefs tracefs rw\n";
        assert_eq!(
            tracefs_in(mounts).as_deref(),
            Some(Path::new("/sys/kernel/tracing"))
        );
        assert_eq!(tracefs_in(b"22 1 0:21 / /proc rw - proc proc rw\n"), None);
    }

    #[test]
    fn units_that_are_there_and_not() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("uprobe")).expect("made");
        fs::write(dir.path().join("uprobe/type"), "9\n").expect("written");
        assert_eq!(
            unit_hook(dir.path(), "uprobe", "", "").state,
            HookState::NotNeeded
        );
        assert_eq!(
            unit_hook(dir.path(), "kprobe", "", "").state,
            HookState::Absent
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = names_in_types(&bytes);
            let _ = tracefs_in(&bytes);
        }
    }
}
