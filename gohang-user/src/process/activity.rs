//! What a process has done so far: `/proc/PID/stat` and `/proc/PID/io`.

use super::error::ProcError;
use super::root::ProcRoot;
use super::stat::ticks_to_ns;

/// Counts since the process began, of all its threads, ended ones too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// CPU time, in nanoseconds; a multiple of a clock tick.
    pub cpu_ns: u64,
    /// Page faults.
    pub faults: u64,
    /// Calls of read, write and their kind.
    pub calls: u64,
    /// Bytes that went through them.
    pub bytes: u64,
    /// Those of them that were written.
    pub written: u64,
    /// Calls that wrote.
    pub writes: u64,
}

impl Activity {
    /// Of process `pid`. What may not be read (`io`, of another user's process) counts as
    /// nothing.
    ///
    /// # Errors
    /// [`ProcError::Gone`] when it has ended.
    pub fn read(proc: &ProcRoot, pid: u32) -> Result<Self, ProcError> {
        let malformed = |name: &str, what| ProcError::Malformed {
            path: proc.pid_dir(pid).join(name),
            what,
        };
        let stat = proc.read_pid_file(pid, "stat")?;
        let mut activity = Self::of_stat(&stat).map_err(|what| malformed("stat", what))?;
        match proc.read_pid_file(pid, "io") {
            Ok(io) => activity.add_io(&String::from_utf8_lossy(&io)),
            Err(ProcError::Denied { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(activity)
    }

    fn of_stat(raw: &[u8]) -> Result<Self, String> {
        // The name, which may hold anything, ends at the last parenthesis.
        let close = raw.iter().rposition(|&byte| byte == b')');
        let tail = close.and_then(|at| std::str::from_utf8(&raw[at + 1..]).ok());
        let fields: Vec<&str> = tail
            .ok_or("no fields after the name")?
            .split_ascii_whitespace()
            .collect();
        // proc(5) counts from 1; the state is field 3.
        let field = |n: usize| {
            let number = fields.get(n - 3).and_then(|text| text.parse::<u64>().ok());
            number.ok_or_else(|| format!("field {n} is not a number"))
        };
        let ticks = field(14)?.saturating_add(field(15)?);
        Ok(Self {
            cpu_ns: ticks_to_ns(ticks),
            faults: field(10)?.saturating_add(field(12)?),
            ..Self::default()
        })
    }

    fn add_io(&mut self, text: &str) {
        for line in text.lines() {
            let Some((name, number)) = line.split_once(": ") else {
                continue;
            };
            let number: u64 = number.trim().parse().unwrap_or(0);
            match name {
                "rchar" => self.bytes = self.bytes.saturating_add(number),
                "wchar" => {
                    self.bytes = self.bytes.saturating_add(number);
                    self.written = number;
                }
                "syscr" => self.calls = self.calls.saturating_add(number),
                "syscw" => {
                    self.calls = self.calls.saturating_add(number);
                    self.writes = number;
                }
                _ => {}
            }
        }
    }

    /// What was added since `earlier`, an earlier look at the same process.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            faults: self.faults.saturating_sub(earlier.faults),
            calls: self.calls.saturating_sub(earlier.calls),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            written: self.written.saturating_sub(earlier.written),
            writes: self.writes.saturating_sub(earlier.writes),
        }
    }
}

impl std::ops::AddAssign for Activity {
    fn add_assign(&mut self, other: Self) {
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.faults = self.faults.saturating_add(other.faults);
        self.calls = self.calls.saturating_add(other.calls);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.written = self.written.saturating_add(other.written);
        self.writes = self.writes.saturating_add(other.writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAT: &[u8] = b"7 (a) b) R 1 7 7 0 -1 4194304 100 5 3 0 200 50 9 9 20 0 1 0 5 1 1\n";
    const IO: &str = "rchar: 1000\nwchar: 30\nsyscr: 7\nsyscw: 2\nread_bytes: 5\n";

    #[test]
    fn both_files_are_read() {
        let mut activity = Activity::of_stat(STAT).unwrap();
        activity.add_io(IO);
        let want = Activity {
            cpu_ns: ticks_to_ns(250),
            faults: 103,
            calls: 9,
            bytes: 1030,
            written: 30,
            writes: 2,
        };
        assert_eq!(activity, want);
        let half = Activity { faults: 3, ..want };
        assert_eq!(want.since(&half).faults, 100);
        assert_eq!(half.since(&want).faults, 0);
        assert!(Activity::of_stat(b"7 (x) R 1").is_err());
        assert!(Activity::of_stat(b"").is_err());
    }

    #[test]
    fn this_process_has_done_something() {
        let activity = Activity::read(&ProcRoot::default(), std::process::id()).unwrap();
        assert!(activity.faults > 0 && activity.calls > 0 && activity.bytes > 0);
        let gone = Activity::read(&ProcRoot::default(), u32::MAX).unwrap_err();
        assert!(gone.is_gone());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(
            raw in proptest::collection::vec(any::<u8>(), 0..200),
            text in "((rchar|wchar|syscr): .{0,22}\n){0,4}",
        ) {
            let _ = Activity::of_stat(&raw);
            Activity::default().add_io(&text);
        }
    }
}
