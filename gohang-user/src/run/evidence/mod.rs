//! All that was collected of a command that hangs: plain facts, without a judgement. What
//! could not be had is absent, and [`Evidence::steps`] and [`Evidence::lacking`] say why.
//!
//! Times are nanoseconds since the command's start unless their name says otherwise. Text
//! comes from processes as it is, control bytes and all: whoever prints it escapes it.

mod go;
mod group;
mod process;
mod steps;
mod tests_of;
mod trace;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::Moment;

pub use go::{DumpText, Fetched, Origin};
pub use group::{Counts, Level, MemoryUse, Place, PlaceKind, Sample, TasksUse, ThrottledBy};
pub use process::{BlockedOn, GoFacts, OpenFile, Process, Socket, Syscall, Thread};
pub use steps::{Lift, LiftOutcome, Pace, Step, StepName, StepOutcome};
pub use tests_of::{EndedTest, RunningTest, TestOutcome, Tests};
pub use trace::{Trace, TraceState};

/// Raised when a field changes its meaning or goes away.
pub const EVIDENCE_VERSION: u32 = 1;

/// Everything that was collected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Version of this form.
    pub evidence_version: u32,
    /// Version of gohang.
    pub gohang_version: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// CPUs of the machine that this process may use.
    pub cpus: u64,
    /// The host's name.
    pub host: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Its process.
    pub pid: u32,
    /// The directory it was started in.
    pub directory: String,
    /// When it was started, on both clocks.
    pub started: Moment,
    /// When it was judged to hang, since its start.
    pub decided_ns: u64,
    /// What was exceeded; null when it was not judged to hang.
    pub exceeded: Option<Exceeded>,
    /// How it got on until then.
    pub progress: Progress,
    /// Where it runs, with its limits and those above.
    pub place: Place,
    /// The groups' counts over the last while, oldest first.
    pub samples: Vec<Sample>,
    /// How much each group was out of quota while nothing went on, nearest first.
    pub throttled: Vec<ThrottledBy>,
    /// Counts since the command's start, and since shortly before its last progress.
    pub counts: Counts,
    /// Tests, as far as the output tells of them.
    pub tests: Tests,
    /// Processes at the decision, parents before children.
    pub processes: Vec<Process>,
    /// Sockets that they hold.
    pub sockets: Vec<Socket>,
    /// What the lifting of the CPU limit showed.
    pub lift: Lift,
    /// What Go programs printed of their goroutines, text as it was printed.
    pub dumps: Vec<DumpText>,
    /// What was fetched from programs that serve it.
    pub fetched: Vec<Fetched>,
    /// What the tracer saw.
    pub trace: Trace,
    /// The end of the output.
    pub tail: Tail,
    /// What was done, in order, with how it went.
    pub steps: Vec<Step>,
    /// What kinds of evidence there are not, and why, a line each.
    pub lacking: Vec<String>,
    /// How it ended, once it has.
    pub end: Option<End>,
}

/// A threshold that was passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exceeded {
    /// The option, as `--idle-timeout`.
    pub option: String,
    /// Its value.
    pub limit_ns: u64,
    /// What it was combined with: `throttled`, `out_of_memory`, `memory_pressure`,
    /// `out_of_tasks`; null for a mere time limit.
    pub condition: Option<String>,
}

/// How a command gets on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Since the start, without times in which it was stopped.
    pub elapsed_ns: u64,
    /// Since the last output, test event or useful CPU time.
    pub idle_ns: u64,
    /// Since the last output.
    pub silent_ns: u64,
    /// CPUs that it used on average while idle; null where nothing counts it.
    pub cpus: Option<f64>,
    /// It was still getting on shortly before.
    pub getting_on: bool,
    /// Part of its output cannot be seen, only that there is some.
    pub blind: bool,
}

/// The end of the output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tail {
    /// Both streams in the order in which they were read; what is not UTF-8 is replaced.
    pub text: String,
    /// Bytes of output in all.
    pub total_bytes: u64,
    /// Bytes in front that are not in `text`.
    pub left_out_bytes: u64,
}

/// How the command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// Its exit code, or null.
    pub exit_code: Option<i32>,
    /// The signal that ended it, or null.
    pub signal: Option<i32>,
    /// SIGKILL was needed.
    pub killed: bool,
    /// Since the start.
    pub at_ns: u64,
}

/// A time in nanoseconds, which hold 584 years.
#[must_use]
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let mut evidence = Evidence {
            evidence_version: EVIDENCE_VERSION,
            ..Evidence::default()
        };
        evidence.lift.outcome = LiftOutcome::Resumed;
        evidence.trace.state = TraceState::Off {
            why: "CAP_BPF is missing".into(),
        };
        evidence.steps.push(Step {
            name: StepName::Lift,
            outcome: StepOutcome::Done,
            ..Step::default()
        });
        let text = serde_json::to_string(&evidence).unwrap();
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
        assert!(text.contains(r#""outcome":"resumed""#), "{text}");
    }
}
