//! `/proc/PID/status`: ids in every PID namespace, and the signal masks.

/// SIGURG's number on every Linux architecture Go supports; bit 22 of a mask.
pub const SIGURG: u32 = 23;

/// A set of signals, as the hexadecimal masks of `/proc` have it: bit `n - 1` is signal `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Whether signal number `signal` (1 to 64) is in the set.
    #[must_use]
    pub fn contains(self, signal: u32) -> bool {
        (1..=64).contains(&signal) && self.0 >> (signal - 1) & 1 == 1
    }

    /// Whether SIGURG, the preemption signal, is in the set.
    #[must_use]
    pub fn has_sigurg(self) -> bool {
        self.contains(SIGURG)
    }
}

/// The fields of `/proc/PID/status` (or of a thread's) that gohang uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Thread id, as seen from the PID namespace of the `/proc` mount.
    pub tid: u32,
    /// Process id (thread group) of that thread.
    pub tgid: u32,
    /// The parent's process id.
    pub ppid: u32,
    /// Number of threads of the process.
    pub threads: u32,
    /// The thread id in each PID namespace, from that of the `/proc` mount to the
    /// thread's own; never empty.
    pub ns_tids: Vec<u32>,
    /// The process id in each PID namespace, in the same order; never empty.
    pub ns_tgids: Vec<u32>,
    /// Pending for this thread alone.
    pub sig_pending: SignalSet,
    /// Pending for the process as a whole.
    pub shared_pending: SignalSet,
    /// Blocked by this thread.
    pub sig_blocked: SignalSet,
    /// Ignored by the process.
    pub sig_ignored: SignalSet,
    /// Caught: the process has a handler.
    pub sig_caught: SignalSet,
}

impl Status {
    /// Parses the file; the reason when it is not in that form.
    ///
    /// # Errors
    /// The field that is missing or not a number.
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        // The kernel escapes newlines in the name here, so lines are lines.
        let text = String::from_utf8_lossy(raw);
        let fields: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .collect();
        let find = |key: &str| {
            let (_, value) = fields.iter().find(|(name, _)| *name == key)?;
            Some(value.trim())
        };
        let number = |key: &str| {
            let text = find(key).ok_or_else(|| format!("{key} is missing"))?;
            text.parse::<u32>()
                .map_err(|_| format!("{key} is not a number"))
        };
        let mask = |key: &str| {
            let text = find(key).ok_or_else(|| format!("{key} is missing"))?;
            u64::from_str_radix(text, 16)
                .map(SignalSet)
                .map_err(|_| format!("{key} is not a hexadecimal mask"))
        };
        let tid = number("Pid")?;
        let tgid = number("Tgid")?;
        // Kernels without PID namespaces have no such line.
        let ids = |key: &str, alone: u32| match find(key) {
            None => Ok(vec![alone]),
            Some(list) => {
                let ids = list
                    .split_ascii_whitespace()
                    .map(str::parse::<u32>)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| format!("{key} is not a list of numbers"))?;
                if ids.is_empty() {
                    Err(format!("{key} is empty"))
                } else {
                    Ok(ids)
                }
            }
        };
        Ok(Self {
            tid,
            tgid,
            ppid: number("PPid")?,
            threads: number("Threads")?,
            ns_tids: ids("NSpid", tid)?,
            ns_tgids: ids("NStgid", tgid)?,
            sig_pending: mask("SigPnd")?,
            shared_pending: mask("ShdPnd")?,
            sig_blocked: mask("SigBlk")?,
            sig_ignored: mask("SigIgn")?,
            sig_caught: mask("SigCgt")?,
        })
    }

    /// The thread id in the thread's own (innermost) PID namespace: what the Go
    /// runtime holds in `m.procid`.
    #[must_use]
    pub fn ns_tid(&self) -> u32 {
        self.ns_tids.last().copied().unwrap_or(self.tid)
    }

    /// The process id in the process's own (innermost) PID namespace.
    #[must_use]
    pub fn ns_tgid(&self) -> u32 {
        self.ns_tgids.last().copied().unwrap_or(self.tgid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "Name:\tgo\\nSigBlk:\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t100\n\
        Ngid:\t0\nPid:\t101\nPPid:\t1\nTracerPid:\t0\nNStgid:\t100\t7\nNSpid:\t101\t8\n\
        NSpgid:\t100\t7\nThreads:\t5\nSigQ:\t0/96364\nSigPnd:\t0000000000400000\n\
        ShdPnd:\t0000000000000001\nSigBlk:\t0000000000400002\nSigIgn:\t0000000000000000\n\
        SigCgt:\tfffffffd7fc1feff\n";

    #[test]
    fn a_thread_in_a_container() {
        let status = Status::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(
            (status.tid, status.tgid, status.ppid, status.threads),
            (101, 100, 1, 5)
        );
        assert_eq!((status.ns_tid(), status.ns_tgid()), (8, 7));
        assert_eq!(status.ns_tids, [101, 8]);
        assert!(status.sig_pending.has_sigurg());
        assert!(!status.shared_pending.has_sigurg());
        assert!(status.sig_blocked.has_sigurg() && status.sig_blocked.contains(2));
        assert!(status.sig_caught.has_sigurg() && !status.sig_caught.contains(9));
        assert_eq!(status.sig_ignored, SignalSet(0));
    }

    #[test]
    fn without_pid_namespaces_the_id_is_the_only_one() {
        let text: String = SAMPLE
            .lines()
            .filter(|line| !line.starts_with("NS"))
            .map(|line| format!("{line}\n"))
            .collect();
        let status = Status::parse(text.as_bytes()).unwrap();
        assert_eq!((status.ns_tid(), status.ns_tgid()), (101, 100));
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = SAMPLE.replace("SigCgt", "SigXxx");
        assert_eq!(
            Status::parse(text.as_bytes()).unwrap_err(),
            "SigCgt is missing"
        );
        let text = SAMPLE.replace("NSpid:\t101\t8", "NSpid:\t101\tx");
        assert!(
            Status::parse(text.as_bytes())
                .unwrap_err()
                .contains("NSpid")
        );
    }

    #[test]
    fn only_signal_numbers_are_in_a_set() {
        let all = SignalSet(u64::MAX);
        assert!(all.contains(1) && all.contains(64));
        assert!(!all.contains(0) && !all.contains(65));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Status::parse(&raw);
        }

        #[test]
        fn damaged_files_never_panic(cut in 0..SAMPLE.len(), at in 0..SAMPLE.len(), byte: u8) {
            let mut raw = SAMPLE.as_bytes().to_vec();
            raw[at] = byte;
            let _ = Status::parse(&raw[..cut]);
            let _ = Status::parse(&raw);
        }
    }
}
