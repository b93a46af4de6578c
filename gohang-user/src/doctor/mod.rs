//! `gohang doctor`: what this machine allows, found by trying it.

mod controllers;
mod finding;
mod groups;
mod hooks;
mod kernels;
mod machine;
mod output;
mod project;
mod report;
mod scheduler;
mod systemd;
mod text;

use std::path::{Path, PathBuf};

pub use controllers::{ControllerState, Enabled};
pub use finding::{Finding, Severity};
pub use project::{
    FoundBy, GivenBy, GoTool, JobLimit, Module, ModuleMode, Project, ProjectOptions, ProxyEntry,
    TestServer, TestTimeout,
};
pub use report::{Btf, Cgroup, Doctor, Memlock, Privilege, Problem, SCHEMA_VERSION, Verdict};
pub use scheduler::{Psi, Scheduler};
pub use systemd::Systemd;
pub use text::text;

use crate::btf::VMLINUX;
use crate::probe::{Hook, HookState, LoadOptions, Precision, Probe};
use crate::process::ProcRoot;

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The kernel's type information, if not the usual file.
    pub btf: Option<PathBuf>,
    /// A Go project to look at as well.
    pub project: Option<ProjectOptions>,
}

/// Looks at everything. What cannot be found out is a finding, too.
#[must_use]
pub fn examine(options: &Options) -> Doctor {
    let path = options.btf.clone().unwrap_or_else(|| VMLINUX.into());
    let mut problems = Problems::default();
    let kernel = problems.note(crate::privilege::kernel_release());
    let btf = machine::btf(&path);
    let memlock = machine::memlock(kernel.as_ref(), &mut problems);
    let (privileges, missing) = machine::privileges(&mut problems);
    let root_pid_namespace = machine::root_pid_namespace(&ProcRoot::default(), &mut problems);
    let cgroup = groups::cgroup(&ProcRoot::default(), &mut problems);
    let tracepoints = hooks::throttle_tracepoints(&path);

    // Attached for real, and let go at once.
    let load = LoadOptions {
        discover: false,
        btf: path,
        ..LoadOptions::default()
    };
    let probe = Probe::new(&load);
    // Capabilities without which the kernel takes no program of ours at all.
    let loads = |name: &str| ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"].contains(&name);
    let may_load = privileges
        .iter()
        .all(|own| own.held || !own.required || !loads(&own.capability));
    let precision = probe.as_ref().map(Probe::precision).ok();
    let other_hooks = hooks::others();
    if let Some(missing) = missing {
        let fatal = probe.is_err() && !may_load;
        problems.0.push(Problem {
            fatal,
            what: missing,
        });
    }
    let (probe_set, throttle_sources, attach_ns) = match probe {
        Ok(probe) => (
            probe.hooks().to_vec(),
            probe.throttle_sources().to_vec(),
            Some(probe.attach_ns()),
        ),
        Err(error) => {
            problems.fatal(with_sources(&error));
            (Vec::new(), Vec::new(), None)
        }
    };
    let refused = probe_set
        .iter()
        .filter(|hook| hook.state == HookState::Refused);
    // The hooks on run queues are missed by the estimate alone: elsewhere one kind
    // stands in for the other, or the thread's own flag for both.
    let missed = |hook: &&Hook| {
        precision == Some(Precision::SwitchPointEstimate) || hook.hook.starts_with("tp_btf:")
    };
    for hook in refused.filter(missed) {
        problems.degrading(format!(
            "{} ({}) was refused: {}",
            hook.hook,
            hook.used_for,
            hook.reason.as_deref().unwrap_or("no reason given")
        ));
    }
    let problems = problems.worst_first();
    let scheduler = Scheduler::read(Path::new("/"));
    let systemd = Systemd::read();
    let mut findings = scheduler.findings();
    if let Some(kernel) = &kernel {
        findings.extend(kernels::findings(kernel, scheduler.online_cpus));
    }
    findings.extend(controllers::findings(&cgroup.controllers));
    findings.extend(systemd.findings());
    Doctor {
        schema_version: SCHEMA_VERSION,
        gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
        verdict: verdict(&problems),
        problems,
        kernel: kernel.map(|kernel| kernel.text),
        btf,
        lockdown: crate::privilege::lockdown().to_string(),
        memlock,
        root_pid_namespace,
        privileges,
        cgroup,
        probe_set,
        other_hooks,
        throttle_tracepoints: tracepoints.found,
        throttle_tracepoints_from: tracepoints.looked_in,
        precision,
        precision_meaning: precision.map(|step| meaning(step).to_owned()),
        estimate_error: precision.and_then(Precision::estimate_error),
        throttle_sources,
        attach_ns,
        scheduler,
        systemd,
        findings: finding::worst_first(findings),
        project: options.project.as_ref().map(project::examine),
    }
}

/// An error and what led to it, each said once.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// A step's precision in words.
fn meaning(precision: Precision) -> &'static str {
    match precision {
        Precision::ThreadExact => {
            "the kernel says of each thread whether it is parked for want of quota: throttled \
             time is exact"
        }
        Precision::CfsRqOverlay => {
            "the kernel says when each run queue of a group runs out of quota and gets it back, \
             and this is laid over the waits of its threads: throttled time is exact"
        }
        Precision::SwitchPointEstimate => {
            "the run queue's throttle count is read at switches and wake-ups: a thread that was \
             already waiting when its group ran out of quota, and the end of a park on another \
             CPU, are estimates"
        }
        Precision::NoBandwidthControl => {
            "this kernel has no CFS bandwidth control: there are no quotas, so nothing is ever \
             throttled"
        }
    }
}

fn verdict(problems: &[Problem]) -> Verdict {
    match problems {
        [] => Verdict::Works,
        all if all.iter().any(|problem| problem.fatal) => Verdict::Cannot,
        _ => Verdict::Degraded,
    }
}

/// Problems as they are met.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn fatal(&mut self, what: impl Into<String>) {
        self.0.push(Problem {
            fatal: true,
            what: what.into(),
        });
    }

    fn degrading(&mut self, what: impl Into<String>) {
        self.0.push(Problem {
            fatal: false,
            what: what.into(),
        });
    }

    /// The value, or a problem that does not keep anything from being traced.
    fn note<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.degrading(error.to_string()))
            .ok()
    }

    /// Fatal ones first, else in the order they were met.
    fn worst_first(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|problem| !problem.fatal);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_worst_problem() {
        assert_eq!(verdict(&Problems::default().worst_first()), Verdict::Works);
        let mut problems = Problems::default();
        problems.degrading("a");
        problems.note(Err::<(), _>("b"));
        assert_eq!(problems.note(Ok::<_, &str>(7)), Some(7));
        assert_eq!(verdict(&problems.0), Verdict::Degraded);
        problems.fatal("c");
        let problems = problems.worst_first();
        assert_eq!(verdict(&problems), Verdict::Cannot);
        let order: Vec<&str> = problems.iter().map(|problem| &*problem.what).collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[test]
    fn sources_are_said_once() {
        let io = || std::io::Error::from_raw_os_error(libc::EPERM);
        let filter = crate::probe::ProbeError::Filter(io());
        assert_eq!(
            with_sources(&filter),
            format!("cannot map the process filter: {}", io())
        );
        let hidden = anyhow::Error::new(io()).context("cannot load");
        assert_eq!(
            with_sources(hidden.as_ref()),
            format!("cannot load: {}", io())
        );
    }

    #[test]
    fn a_wrong_path_for_the_types_is_named_and_fatal() {
        let found = examine(&Options {
            btf: Some("/nonexistent/btf".into()),
            project: None,
        });
        assert_eq!(found.verdict, Verdict::Cannot);
        assert!(found.btf.read_ns.is_none() && found.precision.is_none());
        assert!(
            found
                .btf
                .error
                .as_ref()
                .is_some_and(|error| error.contains("/nonexistent/btf"))
        );
        let fatal: Vec<_> = found
            .problems
            .iter()
            .filter(|problem| problem.fatal)
            .collect();
        assert!(
            fatal
                .iter()
                .any(|problem| problem.what.contains("/nonexistent/btf")),
            "{fatal:?}"
        );
        assert!(text(&found).contains("/nonexistent/btf"));
    }
}
