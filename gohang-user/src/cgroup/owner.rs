//! Names of gohang's own groups: who made one, and whether that process still lives.

use crate::process::{ProcError, ProcRoot};

/// What the name of every group of ours begins with.
pub(super) const PREFIX: &str = "gohang-";
/// Longest label within a name.
pub(super) const MAX_LABEL: usize = 64;

/// Whether `label` can stand in a group's name.
pub(super) fn is_label(label: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=MAX_LABEL).contains(&label.len()) && label.chars().all(allowed)
}

/// The process a group belongs to. Groups are named `gohang-LABEL-NAMESPACE-PID-START`:
/// PID namespace, process id and start time tell whether their owner still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Inode number of its PID namespace.
    pub pid_ns: u64,
    /// Its process id there.
    pub pid: u32,
    /// Its start time, in clock ticks after boot.
    pub start_ticks: u64,
}

impl Owner {
    /// This process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn this(proc: &ProcRoot) -> Result<Self, ProcError> {
        let pid = std::process::id();
        Ok(Self {
            pid_ns: proc.pid_ns_inode(None)?,
            pid,
            start_ticks: proc.start_ticks(pid)?,
        })
    }

    /// The name of its group of this label.
    #[must_use]
    pub fn name(self, label: &str) -> String {
        format!(
            "{PREFIX}{label}-{}-{}-{}",
            self.pid_ns, self.pid, self.start_ticks
        )
    }

    /// The owner in a group's name; `None` when it is not one of ours.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.rsplitn(4, '-');
        let start_ticks = parts.next()?.parse().ok()?;
        let pid = parts.next()?.parse().ok()?;
        let pid_ns = parts.next()?.parse().ok()?;
        parts.next().filter(|label| !label.is_empty())?;
        Some(Self {
            pid_ns,
            pid,
            start_ticks,
        })
    }

    /// Whether it is still there, as seen by `me`; `None`: cannot be told from here.
    #[must_use]
    pub fn lives(self, me: Self, proc: &ProcRoot) -> Option<bool> {
        if self.pid_ns != me.pid_ns {
            return None;
        }
        match proc.start_ticks(self.pid) {
            // Another start time is another process of the same number.
            Ok(start_ticks) => Some(start_ticks == self.start_ticks),
            Err(error) if error.is_gone() => Some(false),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_owner() {
        let owner = Owner {
            pid_ns: 4_026_531_836,
            pid: 17,
            start_ticks: 99,
        };
        let name = owner.name("run");
        assert_eq!(name, "gohang-run-4026531836-17-99");
        assert_eq!(Owner::of_name(&name), Some(owner));
        for foreign in [
            "gohang-1-2-3",
            "gohang-run-1-2-x",
            "other-run-1-2-3",
            "gohang-run",
        ] {
            assert_eq!(Owner::of_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn this_process_lives_and_one_of_another_start_does_not() {
        let proc = ProcRoot::default();
        let me = Owner::this(&proc).unwrap();
        assert_eq!(me.lives(me, &proc), Some(true));
        let before = Owner {
            start_ticks: me.start_ticks + 1,
            ..me
        };
        assert_eq!(before.lives(me, &proc), Some(false));
        let elsewhere = Owner { pid_ns: 1, ..me };
        assert_eq!(elsewhere.lives(me, &proc), None);
    }
}
