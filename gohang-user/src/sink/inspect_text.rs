//! What `inspect` found, for people.

mod advice;
mod changes;
mod groups;
mod moves;

use crate::golang::{self, Origin};
use crate::inspect::model::{Failed, Go, GoSetting, Inspection, Machine, Process};
use crate::process::escape;
use crate::units::duration;

use super::text::layout::wrap;
pub use changes::changes_text;
pub use moves::move_text;

/// Width of the first column.
const LABEL: usize = 20;

/// Lines that nothing from a process can break.
pub(super) struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width,
        }
    }

    fn line(&mut self, text: &str) {
        for line in wrap(&escape(text), "", 2, self.width) {
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    /// A label and what it is of.
    fn row(&mut self, label: &str, value: &str) {
        let first = format!("  {label:LABEL$} ");
        for line in wrap(&escape(value), &first, LABEL + 3, self.width) {
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }

    fn head(&mut self, title: &str) {
        self.text.push('\n');
        self.line(title);
    }
}

/// The whole of it.
#[must_use]
pub fn text(found: &Inspection, width: usize) -> String {
    let mut page = Page::new(width);
    machine(&mut page, &found.machine);
    for process in &found.processes {
        one(&mut page, process, found.sample_ns);
    }
    for one in &found.moves {
        moves::add(&mut page, one);
    }
    failed(&mut page, &found.failed);
    page.text
}

/// Only what to change.
#[must_use]
pub fn advice_text(found: &Inspection, width: usize) -> String {
    let mut page = Page::new(width);
    let mut any = false;
    for process in &found.processes {
        if !process.advice.is_empty() {
            if any {
                page.text.push('\n');
            }
            any = true;
            page.line(&title(process));
            advice::add(&mut page, &process.advice);
        }
    }
    if !any {
        page.line(&format!(
            "nothing to change about {} processes",
            found.processes.len()
        ));
    }
    failed(&mut page, &found.failed);
    page.text
}

fn machine(page: &mut Page, machine: &Machine) {
    page.line("machine");
    if let Some(kernel) = &machine.kernel {
        page.row("kernel", kernel);
    }
    page.row("CPUs online", &machine.online_cpus.to_string());
    page.row("control groups", &machine.layout);
    page.row("rule", &machine.membership_rule);
    let cpu = match (machine.cpu_version, &machine.cpu_mount, &machine.cpu_error) {
        (Some(version), Some(mount), _) => format!("v{version}, at {mount}"),
        (_, _, Some(error)) => error.clone(),
        _ => "unknown".to_owned(),
    };
    page.row("cpu controller", &cpu);
    if let Some(pressure) = &machine.cpu_pressure {
        page.row("CPU pressure", &groups::pressure(pressure));
    }
}

fn title(process: &Process) -> String {
    let go = process.go.as_ref();
    let go = go.map_or("not known to be Go", |go| go.version.as_str());
    format!("process {} ({}), {go}", process.pid, process.comm)
}

fn one(page: &mut Page, process: &Process, sample_ns: Option<u64>) {
    page.head(&title(process));
    if let Some(program) = &process.program {
        page.row("program", &program.to_string());
    }
    let mut ids = format!("uid {}, {} threads", process.uid, process.threads.len());
    if process.ns_pids.len() > 1 {
        let inside: Vec<String> = process.ns_pids[1..].iter().map(u32::to_string).collect();
        ids.push_str(&format!(", pid {} in its namespace", inside.join(" > ")));
    }
    if let Some(rss) = process.rss_bytes {
        ids.push_str(&format!(", {} MiB resident", rss >> 20));
    }
    page.row("process", &ids);
    page.row(
        "CPUs allowed",
        &format!("{} ({})", process.cpus_allowed, process.cpus_allowed_count),
    );
    if let Some(go) = &process.go {
        program(page, go);
    }
    signals(page, process);
    if let Some(container) = &process.container {
        let name = container.name.as_deref().unwrap_or("without a known name");
        let mut text = format!("{} {name}, id {}", container.runtime, container.id);
        if let Some(uid) = &container.pod_uid {
            let pod = container.pod.as_deref().unwrap_or("of unknown name");
            let namespace = container.namespace.as_deref().unwrap_or("?");
            text.push_str(&format!(", pod {namespace}/{pod} ({uid})"));
        }
        page.row("container", &text);
    }
    if let Some(unit) = &process.unit {
        let mut text = unit.name.clone();
        if let Some(user) = &unit.user_unit {
            text.push_str(&format!(", in it {user}"));
        }
        if let Some(slice) = &unit.slice {
            text.push_str(&format!(", in {slice}"));
        }
        if let Some(state) = &unit.state {
            text.push_str(&format!(", {state}"));
        }
        if unit.outlives_processes == Some(false) {
            text.push_str("; a scope, which ends with its last process");
        }
        page.row("systemd unit", &text);
    }
    groups::add(page, &process.groups, sample_ns);
    for withheld in &process.withheld {
        page.row(
            "not known",
            &format!("{}: {}", withheld.what, withheld.reason),
        );
    }
    advice::add(page, &process.advice);
}

fn program(page: &mut Page, go: &Go) {
    let yes = |is: Option<bool>| match is {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let mode = go.build_mode.as_deref().unwrap_or("unknown");
    let mut build = format!("{} {mode}, cgo {}", go.arch, yes(go.cgo));
    build.push_str(if go.stripped {
        ", stripped"
    } else {
        ", with symbols"
    });
    if !go.experiments.is_empty() {
        build.push_str(&format!(", experiments {}", go.experiments.join(",")));
    }
    page.row("Go build", &build);
    if let Some(library) = &go.library {
        page.row("Go library", &library.to_string());
    }
    if let Some(package) = &go.package {
        let module = go.module.as_deref().unwrap_or("none");
        let version = go.module_version.as_deref().unwrap_or("");
        let revision = go.revision.as_deref().unwrap_or("not recorded");
        page.row(
            "Go module",
            &format!("{package} of {module} {version}, revision {revision}"),
        );
    }
    let procs = &go.gomaxprocs;
    let number = |value: Option<u32>| value.map_or("unknown".to_owned(), |value| value.to_string());
    let set = procs.set.as_ref();
    page.row(
        "GOMAXPROCS",
        &format!(
            "{} now; set {}; computed {} by: {}",
            number(procs.seen),
            set.map_or("nowhere".to_owned(), |set| format!("to {set}")),
            number(procs.computed),
            procs.rule
        ),
    );
    if let Some(why) = &procs.not_seen {
        page.row("", &format!("not read: {why}"));
    }
    if let Some(watches) = &procs.watches {
        let current = match watches.current {
            Some(true) => "that of its group",
            Some(false) => "NOT that of its group now",
            None => "of a group not known here",
        };
        page.row("quota watched", &format!("{}, {current}", watches.file));
    }
    let gc = &go.gc;
    let percent = match gc.percent {
        ..0 => "off".to_owned(),
        percent => percent.to_string(),
    };
    let limit = gc
        .memory_limit
        .map_or("none".to_owned(), |limit| format!("{} MiB", limit >> 20));
    let from = if gc.from_process {
        "read from the process"
    } else {
        "by its environment"
    };
    page.row("GOGC, GOMEMLIMIT", &format!("{percent}, {limit} ({from})"));
    settings(page, go);
}

/// One row for each setting that matters here or that somebody gave, and one for the others,
/// of which a build for an old `go` line has dozens.
fn settings(page: &mut Page, go: &Go) {
    let foreign =
        |own: &&GoSetting| own.origin == Origin::BuiltIn && own.effect == golang::NOT_OURS;
    let (rest, own): (Vec<&GoSetting>, Vec<&GoSetting>) = go.settings.iter().partition(foreign);
    for setting in own {
        let origin = match setting.origin {
            Origin::Environment => "environment",
            Origin::BuiltIn => "built in",
        };
        let mut text = format!(
            "{}={} ({origin}): {}",
            setting.name, setting.value, setting.effect
        );
        if let Some(why) = &setting.ineffective {
            text.push_str(&format!("; no effect: {why}"));
        }
        page.row("GODEBUG", &text);
    }
    if !rest.is_empty() {
        let names = rest.iter().map(|own| format!("{}={}", own.name, own.value));
        let names: Vec<String> = names.collect();
        let is = if rest.len() == 1 { "it is" } else { "each" };
        page.row(
            "GODEBUG, others",
            &format!("{} (built in): {is} {}", names.join(", "), golang::NOT_OURS),
        );
    }
}

fn signals(page: &mut Page, process: &Process) {
    let own = &process.sigurg;
    let mut text = String::from(match (own.caught, own.ignored) {
        (_, true) => "IGNORED",
        (true, _) => "caught",
        (false, false) => "neither caught nor ignored",
    });
    if own.pending {
        text.push_str(", pending for the process");
    }
    let list = |of: &dyn Fn(&crate::inspect::model::Thread) -> bool| {
        let tids = process.threads.iter().filter(|thread| of(thread));
        let tids: Vec<String> = tids.map(|thread| thread.tid.to_string()).collect();
        (!tids.is_empty()).then(|| tids.join(" "))
    };
    match list(&|thread| thread.sigurg_blocked) {
        Some(tids) => text.push_str(&format!(", BLOCKED in threads {tids}")),
        None => text.push_str(", blocked in no thread"),
    }
    if let Some(tids) = list(&|thread| thread.sigurg_pending) {
        text.push_str(&format!(", pending for threads {tids}"));
    }
    page.row("SIGURG", &text);
    for thread in &process.threads {
        let other_cpus = thread.cpus_allowed != process.cpus_allowed;
        if !other_cpus && thread.cgroup.is_none() {
            continue;
        }
        let mut text = format!("{} ({})", thread.tid, thread.comm);
        if other_cpus {
            text.push_str(&format!(", CPUs {}", thread.cpus_allowed));
        }
        if let Some(group) = &thread.cgroup {
            text.push_str(&format!(", group {group}"));
        }
        page.row("thread differs", &text);
    }
}

fn failed(page: &mut Page, failed: &[Failed]) {
    if failed.is_empty() {
        return;
    }
    page.head("not looked at");
    // Hundreds of processes of others have one reason in common.
    const SHOWN: usize = 5;
    for one in failed.iter().take(SHOWN) {
        page.row(&format!("process {}", one.pid), &one.reason);
    }
    if failed.len() > SHOWN {
        page.row(
            &format!("{} more", failed.len() - SHOWN),
            "-o json lists all of them",
        );
    }
}

/// A length in words, or that it is not known.
fn known(ns: Option<u64>) -> String {
    ns.map_or("unknown".to_owned(), duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Name;
    use crate::inspect::model::{Contained, Cpu, CpuLevel, Groups, Thread, Unit};
    use proptest::prelude::*;

    /// A process all of whose names are these bytes.
    fn named(raw: &[u8]) -> Inspection {
        let name = Name::new(raw);
        let text = String::from_utf8_lossy(raw).into_owned();
        let level = CpuLevel {
            path: name.clone(),
            quota_ns: Some(50_000_000),
            period_ns: 100_000_000,
            ..CpuLevel::default()
        };
        let mut process = Process {
            pid: 7,
            comm: name.clone(),
            program: Some(name.clone()),
            cpus_allowed: text.clone(),
            threads: vec![Thread {
                tid: 7,
                comm: name.clone(),
                cgroup: Some(name.clone()),
                ..Thread::default()
            }],
            go: Some(Go {
                version: text.clone(),
                package: Some(text.clone()),
                module: Some(text.clone()),
                preemption_off: Some(text.clone()),
                library: Some(name.clone()),
                gomaxprocs: crate::inspect::model::Gomaxprocs {
                    set: Some(name.clone()),
                    seen: Some(8),
                    ..Default::default()
                },
                ..Go::default()
            }),
            groups: Groups {
                cpu: Some(Cpu {
                    path: name.clone(),
                    effective: crate::inspect::effective(std::slice::from_ref(&level)),
                    levels: vec![level],
                    ..Cpu::default()
                }),
                ..Groups::default()
            },
            container: Some(Contained {
                runtime: text.clone(),
                name: Some(text.clone()),
                pod_uid: Some(text.clone()),
                ..Contained::default()
            }),
            unit: Some(Unit {
                name: text.clone(),
                slice: Some(text.clone()),
                ..Unit::default()
            }),
            ..Process::default()
        };
        process.advice = crate::advice::advise(&crate::advice::Subject {
            process: &process,
            sample_ns: None,
        });
        Inspection {
            schema_version: 1,
            gohang_version: "0".into(),
            taken: crate::report::Moment::default(),
            sample_ns: None,
            machine: Machine::default(),
            processes: vec![process],
            failed: vec![Failed {
                pid: 8,
                gone: false,
                reason: text,
            }],
            moves: Vec::new(),
        }
    }

    #[test]
    fn what_is_there_is_told() {
        let all = text(&named(b"web"), 100);
        for part in [
            "process 7 (web)",
            "GOMAXPROCS",
            "8 now",
            "0.50 CPUs",
            "SIGURG",
            "process 8",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        let advice = advice_text(&named(b"web"), 100);
        assert!(advice.contains("gomaxprocs-above-quota"), "{advice}");
        assert!(!advice.contains("CPUs online"), "{advice}");
        let mut healthy = named(b"web");
        healthy.processes[0].advice.clear();
        assert!(advice_text(&healthy, 100).contains("nothing to change"));
    }

    #[test]
    fn settings_of_other_packages_share_a_row() {
        let mut found = named(b"web");
        let version = golang::GoVersion::parse("go1.27.3").expect("a version");
        let built_in = "containermaxprocs=0,httpmuxgo121=1,tlssha1=1";
        let info = golang::ModInfo {
            settings: vec![("DefaultGODEBUG".into(), built_in.into())],
            ..golang::ModInfo::default()
        };
        let all = golang::settings(&version, &info, b"GODEBUG=x509rsacrt=0");
        let go = found.processes[0].go.as_mut().expect("it is Go");
        go.settings = all.into_iter().map(Into::into).collect();
        let told = text(&found, 200);
        let rows = |label: &str| {
            let row = |line: &&str| line.trim_start().starts_with(label);
            told.lines().filter(row).collect::<Vec<_>>()
        };
        assert_eq!(rows("GODEBUG ").len(), 2, "{told}");
        let [others] = rows("GODEBUG,")[..] else {
            panic!("{told}");
        };
        assert!(
            others.contains("httpmuxgo121=1, tlssha1=1 (built in): each"),
            "{others}"
        );
    }

    proptest! {
        #[test]
        fn no_name_reaches_the_terminal_as_it_is(raw in proptest::collection::vec(any::<u8>(), 0..60)) {
            let found = named(&raw);
            for text in [text(&found, 80), advice_text(&found, 80)] {
                let harmless = |c: char| c == '\n' || !c.is_control();
                prop_assert!(text.chars().all(harmless), "{text:?}");
            }
            let mut json = Vec::new();
            crate::sink::json::write_document(&mut json, &found).expect("a Vec takes all");
            prop_assert!(json.iter().all(|b| (0x20..0x7f).contains(b) || *b == b'\n'));
            let back: Inspection = serde_json::from_slice(&json).expect("JSON");
            prop_assert_eq!(back, found);
        }
    }
}
