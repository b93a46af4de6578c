//! Why a command was ended, in words.

use std::fmt;
use std::time::Duration;

use crate::golang::gotest::Running;
use crate::process::escape;
use crate::units::span;

/// What was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `--timeout`.
    Timeout(Duration),
    /// `--idle-timeout`.
    Idle(Duration),
    /// `--stall-window`.
    Stalled(Duration),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(limit) => write!(f, "--timeout {}", span(*limit)),
            Self::Idle(limit) => write!(f, "--idle-timeout {}", span(*limit)),
            Self::Stalled(limit) => write!(f, "--stall-window {}", span(*limit)),
        }
    }
}

/// What most likely kept it from getting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It was out of CPU quota.
    Throttled,
    /// The kernel killed some of it for want of memory.
    OutOfMemory,
    /// It was near its memory limit.
    MemoryPressure,
    /// It was not allowed more tasks.
    OutOfTasks,
    /// It used CPU time, without a sign of work.
    Busy,
    /// It waited.
    Waiting,
    /// It was still getting on.
    Slow,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttled => "throttled, out of CPU quota",
            Self::OutOfMemory => "out of memory",
            Self::MemoryPressure => "short of memory",
            Self::OutOfTasks => "out of tasks",
            Self::Busy => "busy without progress, as in an endless loop",
            Self::Waiting => "waiting for something that does not come",
            Self::Slow => "slow, it was still getting on",
        })
    }
}

impl Cause {
    /// What to do about it; whether the goroutines are known.
    #[must_use]
    pub fn advice(self, goroutines: bool) -> &'static str {
        match self {
            Self::Throttled => "give it more CPU (--cpu-quota), or run fewer threads (GOMAXPROCS)",
            Self::OutOfMemory | Self::MemoryPressure => {
                "give it more memory (--memory-max), or have Go keep within it (GOMEMLIMIT)"
            }
            Self::OutOfTasks => {
                "allow more tasks (--tasks-max), or start fewer (go test -p, -parallel)"
            }
            Self::Busy if goroutines => "look at the functions that are running in the dump above",
            Self::Busy => "look at what it spends its CPU time on (perf top -p PID)",
            Self::Waiting if goroutines => "look at what the goroutines in the dump above wait for",
            Self::Waiting => "look at what its processes wait for (/proc/PID/wchan, strace -p PID)",
            Self::Slow => "give it more time (--timeout)",
        }
    }
}

/// Why it was ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What was exceeded.
    pub reason: Reason,
    /// The cause.
    pub cause: Cause,
    /// What was seen of it.
    pub evidence: Vec<String>,
    /// The tests that were running, and for how long.
    pub running: Vec<(String, Duration)>,
    /// What its goroutines did.
    pub goroutines: Vec<String>,
}

impl Verdict {
    /// The tests at a moment.
    pub(super) fn tests(running: &[Running], now: std::time::Instant) -> Vec<(String, Duration)> {
        let name = |running: &Running| {
            if running.package.is_empty() {
                running.test.clone()
            } else {
                format!("{} in {}", running.test, running.package)
            }
        };
        running
            .iter()
            .map(|running| (name(running), now.saturating_duration_since(running.since)))
            .collect()
    }
}

/// One line.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.evidence.join("; "))?;
        if !self.running.is_empty() {
            write!(f, "; running: {}", tests(&self.running))?;
        }
        for line in &self.goroutines {
            write!(f, "; {line}")?;
        }
        write!(f, "; {}", self.cause.advice(!self.goroutines.is_empty()))
    }
}

/// The first few tests by name.
pub(super) fn tests(running: &[(String, Duration)]) -> String {
    const NAMED: usize = 3;
    let named = running.iter().take(NAMED);
    let named: Vec<String> = named
        .map(|(name, time)| format!("{} ({})", escape(name), span(*time)))
        .collect();
    let mut text = named.join(", ");
    if running.len() > NAMED {
        text.push_str(&format!(" and {} more", running.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_one_line_without_control_bytes() {
        let test = |name: &str| (name.to_owned(), Duration::from_secs(65));
        let verdict = Verdict {
            reason: Reason::Idle(Duration::from_secs(30)),
            cause: Cause::Throttled,
            evidence: vec!["a".into(), "b".into()],
            goroutines: vec!["5 goroutines in all".into()],
            running: vec![
                test("TestX\u{1b}[31m in p"),
                test("T2"),
                test("T3"),
                test("T4"),
            ],
        };
        let text = verdict.to_string();
        assert!(
            text.starts_with("throttled, out of CPU quota: a; b; running: TestX"),
            "{text}"
        );
        assert!(
            text.contains("(65 s)") && text.contains("and 1 more"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}') && !text.contains('\n'));
        assert_eq!(verdict.reason.to_string(), "--idle-timeout 30 s");
    }
}
