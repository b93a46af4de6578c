//! Numbers from `/proc/self/status`.

use std::fs;

use super::error::PrivilegeError;

pub(super) const STATUS: &str = "/proc/self/status";

/// A small file of the kernel's.
pub(super) fn read(path: &'static str) -> Result<String, PrivilegeError> {
    fs::read_to_string(path).map_err(|source| PrivilegeError::Read { path, source })
}

/// The first number of a line: `Threads:\t1`, or the real uid of `Uid:\t0\t0\t0\t0`.
pub(super) fn number(status: &str, what: &'static str) -> Result<u64, PrivilegeError> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| PrivilegeError::Unexpected {
            path: STATUS,
            what,
            found: line.trim().to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_numbers() {
        let status = "Name:\tThreads:\t9\nUid:\t1000\t0\t0\t0\nThreads:\t12\nBad:\tx\nNone:\n";
        assert_eq!(number(status, "Threads").unwrap(), 12);
        assert_eq!(number(status, "Uid").unwrap(), 1000);
        let error = |what| number(status, what).unwrap_err().to_string();
        assert_eq!(error("Bad"), "/proc/self/status has no usable Bad: \"x\"");
        assert_eq!(error("None"), "/proc/self/status has no usable None: \"\"");
        assert_eq!(
            error("Absent"),
            "/proc/self/status has no usable Absent: \"\""
        );
    }
}
