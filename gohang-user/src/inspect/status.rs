//! What of a thread's `/proc/PID/task/TID/status` has to do with where it runs.

use crate::process::SignalSet;

/// Fields of the file; what is missing is zero or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ThreadStatus {
    pub uid: u32,
    pub rss_bytes: Option<u64>,
    pub cpus_allowed: String,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
    pub sigurg_blocked: bool,
    pub sigurg_pending: bool,
}

impl ThreadStatus {
    pub fn parse(raw: &[u8]) -> Self {
        let mut status = Self::default();
        let text = String::from_utf8_lossy(raw);
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            let mask = || SignalSet(u64::from_str_radix(value, 16).unwrap_or(0)).has_sigurg();
            match name {
                // Real, effective, saved, of the file system.
                "Uid" => {
                    let effective = value.split_ascii_whitespace().nth(1);
                    status.uid = effective.and_then(|uid| uid.parse().ok()).unwrap_or(0);
                }
                "VmRSS" => {
                    let kib = value.strip_suffix("kB").map(str::trim);
                    let kib = kib.and_then(|kib| kib.parse::<u64>().ok());
                    status.rss_bytes = kib.and_then(|kib| kib.checked_mul(1024));
                }
                "Cpus_allowed_list" => value.clone_into(&mut status.cpus_allowed),
                "voluntary_ctxt_switches" => {
                    status.voluntary_switches = value.parse().unwrap_or(0);
                }
                "nonvoluntary_ctxt_switches" => {
                    status.involuntary_switches = value.parse().unwrap_or(0);
                }
                "SigBlk" => status.sigurg_blocked = mask(),
                "SigPnd" => status.sigurg_pending = mask(),
                _ => {}
            }
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fields() {
        let text = "Name:\ta\\nUid:\t7\nUid:\t0\t1000\t0\t0\nVmRSS:\t    12 kB\n\
            Cpus_allowed_list:\t0-1,4\nvoluntary_ctxt_switches:\t5\n\
            nonvoluntary_ctxt_switches:\t6\nSigPnd:\t0000000000000000\nSigBlk:\t0000000000400000\n";
        let status = ThreadStatus::parse(text.as_bytes());
        assert_eq!(status.uid, 1000);
        assert_eq!(status.rss_bytes, Some(12 << 10));
        assert_eq!(status.cpus_allowed, "0-1,4");
        assert_eq!(
            (status.voluntary_switches, status.involuntary_switches),
            (5, 6)
        );
        assert_eq!(
            (status.sigurg_blocked, status.sigurg_pending),
            (true, false)
        );
        assert_eq!(ThreadStatus::parse(b""), ThreadStatus::default());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ThreadStatus::parse(&raw);
        }
    }
}
