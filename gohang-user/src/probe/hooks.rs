//! The probe set: every hook with what it is for.

use serde::{Deserialize, Serialize};

use super::ladder::{Precision, Step};
use crate::btf::Btf;

/// State of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookState {
    /// In use.
    Attached,
    /// Tried, and the kernel said no.
    Refused,
    /// In use at first, then taken off for what it cost.
    Detached,
    /// Another hook or a newer kernel's field does its work.
    NotNeeded,
    /// This kernel does not have it.
    Absent,
}

/// A hook of the probe set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Hook {
    /// Kind and name, as `tp_btf:sched_switch`.
    pub hook: String,
    /// What became of it.
    pub state: HookState,
    /// What it is used for.
    pub used_for: String,
    /// Why it is not attached; null if it is.
    pub reason: Option<String>,
}

/// A program of the object and the tracepoint that it hangs on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    /// Name in the object.
    pub name: &'static str,
    /// Tracepoint.
    pub tracepoint: &'static str,
    /// What it is used for.
    pub used_for: &'static str,
    /// Whether gohang cannot work without it.
    pub required: bool,
    /// Whether this kernel and step need it.
    pub wanted: fn(&Btf, Step) -> Wanted,
}

/// Whether a program is needed.
pub(super) enum Wanted {
    Yes,
    No(&'static str),
}

fn always(_: &Btf, _: Step) -> Wanted {
    Wanted::Yes
}

fn four_arguments(btf: &Btf, _: Step) -> Wanted {
    if btf.typedef_func_params("btf_trace_sched_switch") == Some(4) {
        Wanted::Yes
    } else {
        Wanted::No("this kernel's sched_switch has no prev_state argument")
    }
}

fn three_arguments(btf: &Btf, _: Step) -> Wanted {
    if btf.typedef_func_params("btf_trace_sched_switch") == Some(4) {
        Wanted::No("this kernel's sched_switch has a prev_state argument")
    } else {
        Wanted::Yes
    }
}

fn parks(_: &Btf, step: Step) -> Wanted {
    if step.precision == Precision::CfsRqOverlay {
        Wanted::No("tg_unthrottle_up tells it")
    } else if step.precision == Precision::NoBandwidthControl {
        Wanted::No("this kernel has no CFS bandwidth control")
    } else {
        Wanted::Yes
    }
}

fn overlay(_: &Btf, step: Step) -> Wanted {
    if step.precision == Precision::CfsRqOverlay {
        Wanted::Yes
    } else {
        Wanted::No("waits are not laid over run queues")
    }
}

/// Every program, in the order of attachment: life cycle first, so that
/// nothing that begins meanwhile is missed; signals last.
pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "sched_process_free",
        tracepoint: "sched_process_free",
        used_for: "forgetting tasks",
        required: true,
        wanted: always,
    },
    Program {
        name: "sched_process_exit",
        tracepoint: "sched_process_exit",
        used_for: "ends of threads and processes",
        required: true,
        wanted: always,
    },
    Program {
        name: "sched_process_exec",
        tracepoint: "sched_process_exec",
        used_for: "finding Go programs as they start",
        required: true,
        wanted: always,
    },
    Program {
        name: "sched_process_fork",
        tracepoint: "sched_process_fork",
        used_for: "new threads and processes",
        required: true,
        wanted: always,
    },
    Program {
        name: "hrtimer_expire_exit",
        tracepoint: "hrtimer_expire_exit",
        used_for: "ends of parks on the refill timer's CPU",
        required: false,
        wanted: parks,
    },
    Program {
        name: "csd_function_exit",
        tracepoint: "csd_function_exit",
        used_for: "ends of parks on other CPUs",
        required: false,
        wanted: parks,
    },
    Program {
        name: "sched_migrate_task",
        tracepoint: "sched_migrate_task",
        used_for: "waits that go on on another run queue",
        required: true,
        wanted: overlay,
    },
    Program {
        name: "sched_waking",
        tracepoint: "sched_waking",
        used_for: "ends of sleep",
        required: true,
        wanted: always,
    },
    Program {
        name: "sched_switch4",
        tracepoint: "sched_switch",
        used_for: "what each thread does (4 arguments)",
        required: true,
        wanted: four_arguments,
    },
    Program {
        name: "sched_switch3",
        tracepoint: "sched_switch",
        used_for: "what each thread does (3 arguments)",
        required: true,
        wanted: three_arguments,
    },
    Program {
        name: "signal_deliver",
        tracepoint: "signal_deliver",
        used_for: "SIGURG taken",
        required: true,
        wanted: always,
    },
    Program {
        name: "signal_generate",
        tracepoint: "signal_generate",
        used_for: "SIGURG sent",
        required: true,
        wanted: always,
    },
];
