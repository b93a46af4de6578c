use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::inspect::model::{
    Cpu, CpuLevel, CpuStatistics, Gc, Go, Gomaxprocs, Groups, LimitLevel, Limited, Thread,
};

const MS: u64 = 1_000_000;
/// How long the fixtures' sample was.
const SAMPLE_NS: u64 = 1000 * MS;

/// A process that a rule fires on and one that it does not, and the setting that differs.
pub struct Pair {
    setting: &'static str,
    firing: Process,
    healthy: Process,
}

impl Pair {
    /// Two healthy processes, each changed for its part.
    pub fn new(setting: &'static str, change: impl Fn(&mut Process, bool)) -> Self {
        let of = |firing| {
            let mut process = healthy();
            change(&mut process, firing);
            process
        };
        Self {
            setting,
            firing: of(true),
            healthy: of(false),
        }
    }
}

pub(crate) fn go(process: &mut Process) -> &mut Go {
    process.go.as_mut().expect("fixtures are Go")
}

/// Its own group in the hierarchy of the cpu controller.
pub(crate) fn level(process: &mut Process) -> &mut CpuLevel {
    &mut process.groups.cpu.as_mut().expect("it has groups").levels[0]
}

/// A process that no rule has anything to say about.
pub(crate) fn healthy() -> Process {
    let level = |path: &str, quota_ns| CpuLevel {
        path: path.into(),
        quota_ns,
        period_ns: 100 * MS,
        ..CpuLevel::default()
    };
    let count = |path: &str, current, limit| LimitLevel {
        path: path.into(),
        current,
        limit,
        ..LimitLevel::default()
    };
    let limited = |current, limit| Limited {
        path: "/a/b".into(),
        levels: vec![
            count("/a/b", current, Some(limit)),
            count("/a", current, None),
        ],
        effective: None,
    };
    let thread = |tid| Thread {
        tid,
        sample_cpu_ns: Some(0),
        ..Thread::default()
    };
    let go = Go {
        version: "go1.27.3".into(),
        minor: Some(27),
        gomaxprocs: Gomaxprocs {
            computed: Some(2),
            seen: Some(2),
            respects_quota: true,
            follows_changes: true,
            ..Gomaxprocs::default()
        },
        gc: Gc {
            percent: 100,
            memory_limit: Some(900 << 20),
            ..Gc::default()
        },
        ..Go::default()
    };
    let cpu = Cpu {
        version: 2,
        path: "/a/b".into(),
        levels: vec![level("/a/b", Some(200 * MS)), level("/a", None)],
        statistics: Some(CpuStatistics {
            periods: Some(100),
            throttled_periods: Some(0),
            ..CpuStatistics::default()
        }),
        ..Cpu::default()
    };
    Process {
        pid: 7,
        cpus_allowed: "0-7".into(),
        cpus_allowed_count: 8,
        rss_bytes: Some(100 << 20),
        threads: vec![thread(7), thread(8)],
        go: Some(go),
        groups: Groups {
            cpu: Some(cpu),
            memory: Some(limited(200 << 20, 1 << 30)),
            pids: Some(limited(10, 1000)),
            ..Groups::default()
        },
        ..Process::default()
    }
}

/// Fills in what follows from the rest.
fn finished(mut process: Process) -> Process {
    let groups = &mut process.groups;
    if let Some(cpu) = &mut groups.cpu {
        cpu.effective = crate::inspect::effective(&cpu.levels);
    }
    for limited in [&mut groups.memory, &mut groups.pids].into_iter().flatten() {
        limited.effective = crate::inspect::lowest(&limited.levels);
    }
    process
}

pub(crate) fn found(rule: &dyn Rule, process: &Process) -> Option<Advice> {
    let process = finished(process.clone());
    rule.look(&Subject {
        process: &process,
        sample_ns: Some(SAMPLE_NS),
    })
}

/// Where two values differ.
fn differences(a: &Value, b: &Value, at: &str, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (a, b) = (of(a).unwrap_or_default(), of(b).unwrap_or_default());
                differences(&a, &b, &format!("{at}/{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{at}/{index}"), found);
            }
        }
        (a, b) if a != b => found.push(at.to_owned()),
        _ => {}
    }
}

#[test]
fn each_rule_fires_on_one_setting_and_not_without_it() {
    for rule in rules() {
        let name = rule.name();
        let pair = rule.pair();
        let mut differ = Vec::new();
        let json = |process: &Process| serde_json::to_value(process).expect("JSON");
        differences(&json(&pair.firing), &json(&pair.healthy), "", &mut differ);
        // A setting of GODEBUG brings its own explanation along.
        let one_setting = differ
            .iter()
            .all(|path| path.starts_with("/go/settings/0/"));
        let one = differ.len() == 1 || (!differ.is_empty() && one_setting);
        assert!(one, "{name}: {} differs in {differ:?}", pair.setting);
        let advice = found(rule.as_ref(), &pair.firing);
        let advice = advice.unwrap_or_else(|| panic!("{name} does not fire on {}", pair.setting));
        assert_eq!(found(rule.as_ref(), &pair.healthy), None, "{name}");
        assert_eq!(advice.rule, name);
        for text in [
            &advice.what,
            &advice.why,
            &advice.effect,
            &advice.formula,
            &advice.source,
        ] {
            assert!(!text.is_empty() && !text.contains('\n'), "{name}: {text:?}");
        }
        assert!(!advice.evidence.is_empty(), "{name}");
        let set = &advice.set;
        // Signals are the program's business alone.
        let by_program = name.starts_with("sigurg") && set.go.is_some();
        let forms = [&set.systemd, &set.kubernetes, &set.docker];
        assert!(
            by_program || forms.into_iter().all(Option::is_some),
            "{name}"
        );
    }
}

#[test]
fn names_are_given_once_and_nothing_is_said_of_the_healthy() {
    let all = rules();
    let names: BTreeSet<&str> = all.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), all.len());
    for rule in all {
        assert_eq!(found(rule.as_ref(), &healthy()), None, "{}", rule.name());
        // Nothing is known of it.
        assert_eq!(found(rule.as_ref(), &Process::default()), None);
    }
}

#[test]
fn worst_comes_first() {
    let mut process = healthy();
    go(&mut process).gomaxprocs.seen = Some(8);
    go(&mut process).preemption_off = Some("asyncpreemptoff=1".into());
    process.cpus_allowed_count = 1;
    let process = finished(process);
    let all = advise(&Subject {
        process: &process,
        sample_ns: None,
    });
    let names: Vec<&str> = all.iter().map(|advice| advice.rule.as_str()).collect();
    let wanted = [
        "preemption-off",
        "gomaxprocs-above-quota",
        "cpus-narrower-than-quota",
    ];
    assert_eq!(names, wanted);
}

#[test]
fn the_figures_are_those_of_the_formula() {
    let mut process = healthy();
    go(&mut process).gomaxprocs.seen = Some(8);
    let rule = gomaxprocs_above_quota::GomaxprocsAboveQuota;
    let advice = found(&rule, &process).expect("it fires");
    // 200 ms of quota for 8 at a time last 25 ms of a period of 100 ms.
    assert!(advice.why.contains("25 ms"), "{}", advice.why);
    let effect = &advice.effect;
    assert!(effect.contains("from 75 ms to 0 ns"), "{effect}");
}
