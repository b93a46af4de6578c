//! Each rule of `gohang advise` on a process that it is about, and on one that differs in a
//! single setting.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program::{NEWEST, one};
use crate::actor::Actor;
use crate::go_build::{Form, Sources, build};
use crate::group::{Group, Hierarchy, Version};
use crate::product::run;
use crate::run::{Report, Settings, Test, skip};
use crate::sys;
use crate::wrapped::LIMIT;

const SOURCES: &Sources = &[
    ("go.mod", include_str!("../../../workloads/advice/go.mod")),
    ("main.go", include_str!("../../../workloads/advice/main.go")),
];
/// How long statistics are watched for the rules that go by them.
const SAMPLE: &str = "400ms";
/// The same for what is seen in some of the periods only.
const LONG_SAMPLE: &str = "2s";
/// What the variables of the collector are about, bytes.
const MEMORY: u64 = 256 << 20;
/// A quota of one CPU, microseconds.
const WHOLE: (u64, u64) = (100_000, 100_000);

pub(super) fn tests() -> Vec<Test> {
    vec![Test {
        name: "inspect::rules",
        body: each_rule,
    }]
}

/// The program that these tests run, built if it was not built before.
///
/// # Errors
/// Skips the test without the tool chain; fails when the build does.
pub(super) fn program(settings: &Settings) -> Result<PathBuf> {
    let folder = match (&settings.workloads, &settings.go_root) {
        (Some(folder), _) => folder.clone(),
        (None, Some(root)) => root.join("workloads"),
        (None, None) => return Err(skip("no --go-root and no --workloads given")),
    };
    let path = folder.join(format!("advice-{NEWEST}"));
    if !path.is_file() {
        let root = settings.go_root.as_ref();
        let root = root.ok_or_else(|| skip(format!("no {}", path.display())))?;
        build(root, NEWEST, SOURCES, Form::default(), &path)?;
    }
    Ok(path)
}

/// A rule and how to set a process up for it.
struct Case {
    rule: &'static str,
    /// CPUs without which it cannot be told apart from its healthy counterpart.
    cpus: usize,
    /// For how long it is watched, if it goes by what happens meanwhile.
    sample: Option<&'static str>,
    /// Whether what it goes by is counted here.
    counted: fn(&Stage<'_>) -> bool,
    /// Makes the process; with `true` the one that the rule is about.
    set_up: fn(&Stage<'_>, bool) -> Result<Subject>,
}

const fn case(rule: &'static str, set_up: fn(&Stage<'_>, bool) -> Result<Subject>) -> Case {
    Case {
        rule,
        cpus: 1,
        sample: None,
        counted: |_| true,
        set_up,
    }
}

const CASES: [Case; 16] = [
    case("preemption-off", |stage, is| {
        let off = if is { "1" } else { "0" };
        stage.start(&[], &[("GODEBUG", &format!("asyncpreemptoff={off}"))], [])
    }),
    case("sigurg-ignored", |stage, is| {
        stage.start(if is { &["ignore"] } else { &[] }, &[], [])
    }),
    case("sigurg-masked", |stage, is| {
        stage.start(if is { &["mask"] } else { &[] }, &[], [])
    }),
    case("gomaxprocs-above-quota", |stage, is| {
        let procs = if is { "8" } else { "2" };
        let group = Group::new(&stage.cpu, Some(WHOLE))?;
        stage.start(&[], &[("GOMAXPROCS", procs)], [group])
    }),
    Case {
        // What a runtime reads counts for two at least.
        cpus: 3,
        ..case("parent-tighter", |stage, is| {
            let outer = Group::new(&stage.cpu, is.then_some(WHOLE))?;
            let inner = outer.child("inner", None)?;
            stage.start(&[], &[], [inner, outer])
        })
    },
    case("other-group-watched", |stage, is| {
        let other = Group::new(&stage.cpu, Some(WHOLE))?;
        let own = Group::new(&stage.cpu, Some(WHOLE))?;
        let subject = stage.start(&[], &[], [own])?;
        if is {
            other.add(subject.actor.pid())?;
        }
        Ok(subject.with(other))
    }),
    Case {
        cpus: 2,
        ..case("limit-changed", |stage, is| {
            let updates = if is { "0" } else { "1" };
            let env = [("GODEBUG", &*format!("updatemaxprocs={updates}"))];
            let subject = stage.start_on(&stage.online[..1], &[], &env, [])?;
            for entry in std::fs::read_dir(format!("/proc/{}/task", subject.actor.pid()))? {
                let tid: i32 = entry?.file_name().to_string_lossy().parse()?;
                sys::pin_to(tid, &stage.online[..2]);
            }
            Ok(subject)
        })
    },
    Case {
        sample: Some(SAMPLE),
        ..case("quota-below-one", |stage, is| {
            let quota = if is { 50_000 } else { 100_000 };
            let group = Group::new(&stage.cpu, Some((quota, 100_000)))?;
            stage.start(&["busy=2"], &[("GOMAXPROCS", "2")], [group])
        })
    },
    Case {
        cpus: 2,
        sample: Some(LONG_SAMPLE),
        counted: |stage| stage.counts_bursts(),
        ..case("burst", |stage, is| {
            let group = Group::new(&stage.cpu, Some(WHOLE))?;
            if !is {
                group.set_burst(WHOLE.0)?;
            }
            stage.start(&["bursts=2"], &[("GOMAXPROCS", "4")], [group])
        })
    },
    case("gomemlimit-above-memory-max", |stage, is| {
        let limit = if is { "300MiB" } else { "200MiB" };
        let group = stage.limited("memory", MEMORY)?;
        stage.start(&[], &[("GOMEMLIMIT", limit)], [group])
    }),
    case("gogc-off", |stage, is| {
        stage.start(&[], &[("GOGC", if is { "off" } else { "100" })], [])
    }),
    case("gomemlimit-absent", |stage, is| {
        let group = stage.limited("memory", MEMORY)?;
        let limit = [("GOMEMLIMIT", "200MiB")];
        stage.start(&[], if is { &[] } else { &limit }, [group])
    }),
    case("tasks-limit", |stage, is| {
        let group = stage.limited("pids", 1000)?;
        let path = group.path().to_owned();
        let subject = stage.start(&["threads=20"], &[], [group])?;
        if is {
            let now = std::fs::read_to_string(path.join("pids.current"))?;
            std::fs::write(path.join("pids.max"), now)?;
        }
        Ok(subject)
    }),
    case("cpus-narrower-than-quota", |stage, is| {
        let quota = if is { 200_000 } else { 100_000 };
        let group = Group::new(&stage.cpu, Some((quota, 100_000)))?;
        stage.start_on(&stage.online[..1], &[], &[], [group])
    }),
    Case {
        cpus: 2,
        ..case("cpus-wider-than-gomaxprocs", |stage, is| {
            let procs = if is { "1" } else { "2" };
            stage.start_on(&stage.online[..2], &[], &[("GOMAXPROCS", procs)], [])
        })
    },
    case("ineffective-setting", |stage, is| {
        let value = if is { "1" } else { "0" };
        stage.start(&[], &[("GODEBUG", &format!("madvdontneed={value}"))], [])
    }),
];

/// What processes are started with.
struct Stage<'a> {
    program: &'a Path,
    cpu: Hierarchy,
    online: Vec<i32>,
}

/// A process and its groups, which go after it.
struct Subject {
    actor: Actor,
    groups: Vec<Group>,
}

impl Subject {
    /// Keeps another group for as long as itself.
    fn with(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }
}

impl Stage<'_> {
    /// Whether the kernel has bursts, and counts a group's use of CPUs beside its quota: version 1
    /// does that in a controller that may be mounted elsewhere.
    fn counts_bursts(&self) -> bool {
        let has = |group: &Group, file: &str| group.path().join(file).exists();
        Group::new(&self.cpu, None).is_ok_and(|group| match self.cpu.version {
            Version::V1 => has(&group, "cpu.cfs_burst_us") && has(&group, "cpuacct.usage"),
            Version::V2 => has(&group, "cpu.max.burst"),
        })
    }

    fn start<const N: usize>(
        &self,
        args: &[&str],
        env: &[(&str, &str)],
        groups: [Group; N],
    ) -> Result<Subject> {
        self.start_on(&self.online, args, env, groups)
    }

    /// Starts the program in the first of the groups, on these CPUs.
    fn start_on<const N: usize>(
        &self,
        cpus: &[i32],
        args: &[&str],
        env: &[(&str, &str)],
        groups: [Group; N],
    ) -> Result<Subject> {
        let mut command = Command::new(self.program);
        for name in ["GOMAXPROCS", "GODEBUG", "GOGC", "GOMEMLIMIT"] {
            command.env_remove(name);
        }
        command.args(args).envs(env.iter().copied());
        // First: before 6.2, joining a group with CPUs of its own takes back what a process was
        // bound to.
        if let Some(group) = groups.first() {
            group.admit(&mut command)?;
        }
        let own = cpus.to_vec();
        let bind = move || {
            sys::pin_to(0, &own);
            Ok(())
        };
        // SAFETY: one system call between fork and exec, which takes numbers.
        unsafe { command.pre_exec(bind) };
        let mut actor = Actor::spawn(&mut command, None)?;
        actor.expect_number("procs ")?;
        Ok(Subject {
            actor,
            groups: groups.into(),
        })
    }

    /// A group with a limit of this controller.
    fn limited(&self, controller: &str, limit: u64) -> Result<Group> {
        let hierarchy = Hierarchy::of(controller).map_err(|error| skip(format!("{error:#}")))?;
        if hierarchy.version == Version::V2 {
            let file = hierarchy.root().join("cgroup.subtree_control");
            std::fs::write(&file, format!("+{controller}"))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let group = Group::new(&hierarchy, None)?;
        let file = match (controller, hierarchy.version) {
            ("memory", Version::V1) => "memory.limit_in_bytes".to_owned(),
            _ => format!("{controller}.max"),
        };
        let file = group.path().join(file);
        std::fs::write(&file, limit.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(group)
    }
}

/// The rules that gohang has.
fn known(settings: &Settings) -> Result<BTreeSet<String>> {
    let end = run(settings.gohang()?, &["explain", "-o", "json"], LIMIT)?;
    end.expect_success()?;
    let found: Value = serde_json::from_slice(&end.stdout)?;
    let rules = found["rules"].as_array().context("no rules")?;
    let advice = rules.iter().filter(|rule| rule["kind"] == "advice");
    Ok(advice
        .filter_map(|rule| rule["rule"].as_str().map(str::to_owned))
        .collect())
}

/// Every rule fires on a process that was set up for it, and on none without that one setting.
fn each_rule(settings: &Settings, report: &mut Report) -> Result<()> {
    let here: BTreeSet<String> = CASES.iter().map(|case| case.rule.to_owned()).collect();
    let known = known(settings)?;
    ensure!(known == here, "the rules are {known:?}");
    let program = program(settings)?;
    let stage = Stage {
        program: &program,
        cpu: settings.hierarchy()?,
        online: sys::online_cpus()?,
    };
    let mut few = Vec::new();
    let mut looked = 0;
    for case in &CASES {
        if stage.online.len() < case.cpus || !(case.counted)(&stage) {
            few.push(case.rule);
            continue;
        }
        for is in [true, false] {
            let what = || format!("{}, {is}", case.rule);
            let subject = (case.set_up)(&stage, is).with_context(what)?;
            let sample = case.sample.map(|time| ["--sample", time]);
            let more = sample.as_ref().map_or(&[][..], |words| words);
            let process = one(settings, subject.actor.pid(), more).with_context(what)?;
            let advice = process["advice"].as_array().context("no advice")?;
            let own = advice.iter().find(|own| own["rule"] == case.rule);
            ensure!(
                own.is_some() == is,
                "{}: {} in {} groups: {process}",
                case.rule,
                if is { "nothing is said" } else { "it is said" },
                subject.groups.len(),
            );
            if let Some(own) = own {
                for part in ["what", "why", "effect", "formula", "source"] {
                    let text = own[part].as_str().unwrap_or("");
                    ensure!(!text.is_empty(), "{}: no {part}", case.rule);
                }
            }
            looked += 1;
        }
    }
    report.note(format!(
        "{looked} processes; too few processors, or nothing counted here, for {few:?}"
    ));
    ensure!(looked == 2 * (CASES.len() - few.len()), "{looked}");
    Ok(())
}
