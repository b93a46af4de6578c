//! The findings for people.

use std::fmt::Write as _;

use super::controllers::{ControllerState, Enabled};
use super::finding::{Finding, Severity};
use super::project;
use super::report::{Doctor, Memlock, Verdict};
use super::scheduler::Psi;
use crate::probe::{Hook, HookState, StepState, ThrottleSource};
use crate::process::escape;
use crate::units::duration;

/// Width of the first column.
const LABEL: usize = 22;

/// The findings as text; what keeps gohang from tracing comes first.
#[must_use]
pub fn text(found: &Doctor) -> String {
    let mut out = String::new();
    let verdict = match found.verdict {
        Verdict::Works => "gohang works here",
        Verdict::Degraded => "gohang can trace here, but not everything works",
        Verdict::Cannot => "gohang cannot trace here",
    };
    line(
        &mut out,
        &format!(
            "{verdict}{}",
            if found.problems.is_empty() { "" } else { ":" }
        ),
    );
    for problem in &found.problems {
        for (index, part) in problem.what.lines().enumerate() {
            let mark = if index == 0 { "  - " } else { "    " };
            line(&mut out, &format!("{mark}{part}"));
        }
    }
    if let Some(own) = &found.project {
        head(&mut out, "Go project");
        for (label, value) in project::text(own) {
            row(&mut out, label, &value);
        }
        findings(&mut out, "what to change in the project", &own.findings);
    }
    findings(&mut out, "worth knowing of the machine", &found.findings);
    kernel(&mut out, found);
    scheduler(&mut out, found);
    head(&mut out, "privileges");
    for own in &found.privileges {
        let state = match (own.held, own.required) {
            (true, _) => "held",
            (false, true) => "MISSING",
            (false, false) => "not held",
        };
        row(
            &mut out,
            &own.capability,
            &format!("{state:9} {}", own.used_for),
        );
    }
    cgroup(&mut out, found);
    head(&mut out, "hooks");
    if found.probe_set.is_empty() {
        line(&mut out, "  none could be attached");
    }
    hooks(&mut out, &found.probe_set);
    head(&mut out, "other hooks");
    hooks(&mut out, &found.other_hooks);
    row(
        &mut out,
        "throttle tracepoint",
        &throttle_tracepoints(found),
    );
    if let (Some(precision), Some(meaning)) = (found.precision, &found.precision_meaning) {
        head(&mut out, &format!("precision: {}", precision.name()));
        line(&mut out, &format!("  {meaning}"));
    }
    throttle_sources(&mut out, &found.throttle_sources);
    out
}

fn throttle_sources(out: &mut String, all: &[ThrottleSource]) {
    if all.is_empty() {
        return;
    }
    head(out, "forms of --throttle-source");
    for source in all {
        let state = match source.state {
            StepState::InUse => "in use",
            StepState::Available => "available",
            StepState::Unavailable => "not here",
        };
        let mut text = format!("  {state:10} {}", source.step.name());
        if let Some(reason) = &source.reason {
            let _ = write!(text, ": {reason}");
        }
        if let Some(error) = source.estimate_error {
            let _ = write!(text, " (an episode's throttled time is {error})");
        }
        line(out, &text);
    }
}

fn kernel(out: &mut String, found: &Doctor) {
    head(out, "kernel");
    row(out, "release", found.kernel.as_deref().unwrap_or("unknown"));
    let types = match (found.btf.read_ns, &found.btf.error) {
        (Some(took), _) => format!("{}, read in {}", found.btf.path, duration(took)),
        (None, Some(error)) => error.clone(),
        (None, None) => found.btf.path.clone(),
    };
    row(out, "types (BTF)", &types);
    row(out, "lockdown", &found.lockdown);
    let memlock = match found.memlock {
        Memlock::NotNeeded => "no limit for maps on this kernel".to_owned(),
        Memlock::Unlimited => "unlimited".to_owned(),
        Memlock::Limited { bytes } => format!("limited to {bytes} bytes, maps included"),
        Memlock::Unknown => "unknown".to_owned(),
    };
    row(out, "locked memory", &memlock);
    let namespace = match found.root_pid_namespace {
        Some(true) => "root",
        Some(false) => "not the root one",
        None => "unknown",
    };
    row(out, "PID namespace", namespace);
    if let Some(attach) = found.attach_ns {
        row(out, "loading and attaching", &duration(attach));
    }
}

/// Findings below a title; nothing without any.
fn findings(out: &mut String, title: &str, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    head(out, title);
    for finding in findings {
        let mark = match finding.severity {
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        line(out, &format!("  {mark}: {} [{}]", finding.what, finding.id));
        if let Some(advice) = &finding.advice {
            line(out, &format!("    -> {advice}"));
        }
    }
}

fn scheduler(out: &mut String, found: &Doctor) {
    head(out, "scheduler");
    let own = &found.scheduler;
    let unknown = || "unknown".to_owned();
    let number = |value: Option<u32>| value.map_or_else(unknown, |value| value.to_string());
    row(out, "CPUs online", &number(own.online_cpus));
    row(out, "ticks a second (HZ)", &number(own.hz));
    let slice = own.cfs_bandwidth_slice_ns.map_or_else(unknown, duration);
    row(out, "CFS bandwidth slice", &slice);
    let high = match own.high_resolution_timers {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "unknown",
    };
    row(out, "timers between ticks", high);
    let none = || "none".to_owned();
    let without_tick = own.nohz_full.clone().unwrap_or_else(none);
    row(out, "CPUs without tick", &without_tick);
    let isolated = own.isolated.clone().unwrap_or_else(none);
    row(out, "isolated CPUs", &isolated);
    let psi = match own.psi {
        Psi::On => "on",
        Psi::Off => "off",
        Psi::Absent => "not in this kernel",
        Psi::Unknown => "unknown",
    };
    row(out, "pressure (PSI)", psi);
    let bpf = match &own.sched_ext {
        None => "not in this kernel".to_owned(),
        Some(found) => match &found.scheduler {
            Some(name) => format!("{} ({name})", found.state),
            None => found.state.clone(),
        },
    };
    row(out, "BPF scheduler", &bpf);
    let systemd = match (found.systemd.version, found.systemd.running) {
        (Some(version), true) => version.to_string(),
        (Some(version), false) => format!("{version}, not running"),
        (None, true) => "running, version unknown".to_owned(),
        (None, false) => "none".to_owned(),
    };
    row(out, "systemd", &systemd);
}

fn controller(own: &ControllerState) -> String {
    let state = match own.state {
        Enabled::Enabled => "enabled",
        Enabled::NotHandedDown => "not handed down to the groups",
        Enabled::NotMounted => "not mounted",
        Enabled::Disabled => "turned off at boot",
        Enabled::Absent => "not in this kernel",
    };
    let inside = match own.in_own_group {
        Some(false) => ", not in gohang's own group",
        _ => "",
    };
    match (own.version, &own.mount) {
        (Some(version), Some(mount)) => format!("{state}{inside} (v{version}, at {mount})"),
        _ => state.to_owned(),
    }
}

fn cgroup(out: &mut String, found: &Doctor) {
    head(out, "control groups");
    let own = &found.cgroup;
    row(out, "layout", own.layout.as_deref().unwrap_or("unknown"));
    let cpu = match (own.cpu_version, &own.cpu_mount) {
        (Some(version), Some(mount)) => format!("v{version}, at {mount}"),
        _ => "not found".to_owned(),
    };
    row(out, "cpu controller", &cpu);
    for own in &own.controllers {
        let label = format!("controller {}", own.controller);
        row(out, &label, &controller(own));
    }
    let made = match (&own.made, &own.error) {
        (Some(path), _) => format!("can be made (made and removed {path})"),
        (None, Some(error)) => format!("cannot be made: {error}"),
        (None, None) => "unknown".to_owned(),
    };
    row(out, "gohang's own groups", &made);
}

fn hooks(out: &mut String, hooks: &[Hook]) {
    for hook in hooks {
        let state = match hook.state {
            HookState::Attached => "attached",
            HookState::Refused => "refused",
            HookState::Detached => "detached",
            HookState::NotNeeded => "not needed",
            HookState::Absent => "absent",
        };
        let mut text = format!("{:27} {}", hook.hook, hook.used_for);
        if let Some(reason) = &hook.reason {
            let _ = write!(text, ": {reason}");
        }
        line(out, &format!("  {state:10} {text}"));
    }
}

fn throttle_tracepoints(found: &Doctor) -> String {
    let looked = found.throttle_tracepoints_from.join(", ");
    match (found.throttle_tracepoints.is_empty(), looked.is_empty()) {
        (_, true) => {
            "not looked for: neither the kernel's types nor tracefs can be read".to_owned()
        }
        (true, false) => format!("none, as in mainline kernels (looked in {looked})"),
        (false, false) => format!(
            "{} (not used by this version; looked in {looked})",
            found.throttle_tracepoints.join(", ")
        ),
    }
}

fn head(out: &mut String, title: &str) {
    out.push('\n');
    line(out, title);
}

fn row(out: &mut String, label: &str, value: &str) {
    line(out, &format!("  {label:LABEL$} {value}"));
}

/// A line that no path or name can break.
fn line(out: &mut String, text: &str) {
    out.push_str(&escape(text));
    out.push('\n');
}
