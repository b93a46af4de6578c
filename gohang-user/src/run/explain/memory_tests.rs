//! Short of memory or in a loop: what tells them apart.

use super::tests::{cause, evidence, judged, text};
use super::*;
use crate::report::{self, Chain, Stops};
use crate::run::evidence::{Counts, MemoryUse, Sample, TraceState};

/// A goroutine of a test that allocates, stopped between two instructions of its own.
const RUNS: &str = "SIGQUIT: quit\n\ngoroutine 7 gp=0xc0 m=nil [runnable]:\n\
    example.com/p.fill(...)\n\t/a/p_test.go:5\n\
    example.com/p.TestX(0xc0)\n\t/a/p_test.go:12 +0x2\n\
    testing.tRunner(0xc0, 0x1)\n\t/go/testing.go:9 +0x3\n";
const ASSISTS: &str = "SIGQUIT: quit\n\ngoroutine 7 gp=0xc0 m=nil [GC assist wait]:\n\
    runtime.gcParkAssist()\n\t/go/mgcmark.go:9 +0x1\n\
    runtime.gcAssistAlloc(0xc0)\n\t/go/mgcmark.go:5 +0x1\n\
    example.com/p.TestX(0xc0)\n\t/a/p_test.go:12 +0x2\n\
    testing.tRunner(0xc0, 0x1)\n\t/go/testing.go:9 +0x3\n";

/// A test that uses this many CPUs, and prints nothing; with these variables.
fn busy(cpus: f64, dump: &str, variables: &[(&str, &str)]) -> Evidence {
    let mut evidence = evidence();
    evidence.progress.cpus = Some(cpus);
    evidence.dumps = vec![text(dump)];
    let leaf = &mut evidence.processes[1];
    leaf.cpus = Some(cpus);
    leaf.rss_bytes = Some(60 << 20);
    let variables = variables.iter();
    leaf.environment = variables
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    evidence
}

/// Adds that the tracer saw the world stopped so often within ten seconds.
fn stopped(mut evidence: Evidence, count: u64) -> Evidence {
    evidence.trace.state = TraceState::On { since_ns: 0 };
    evidence.trace.report = Some(report::Report {
        duration_ns: 10_000_000_000,
        processes: vec![report::Process {
            pid: 11,
            chain: Some(Chain {
                stops: Stops {
                    count,
                    ..Stops::default()
                },
                ..Chain::default()
            }),
            ..crate::sink::sample::process()
        }],
        alerts: Vec::new(),
        ..crate::sink::sample::report()
    });
    evidence
}

/// Adds a group's limit of which so many per cent are in use.
fn within_group(mut evidence: Evidence, percent: u64, hits: u64) -> Evidence {
    evidence.samples = vec![Sample {
        memory: Some(MemoryUse {
            path: "/g".into(),
            used_bytes: percent << 20,
            limit_bytes: 100 << 20,
        }),
        ..Sample::default()
    }];
    evidence.counts = Counts {
        memory_hits_lately: hits,
        ..Counts::default()
    };
    evidence
}

const FULL: &[(&str, &str)] = &[("GOMEMLIMIT", "64MiB")];
const ROOMY: &[(&str, &str)] = &[("GOMEMLIMIT", "4GiB")];
const LOW: &[(&str, &str)] = &[("GOGC", "2")];
const NONE: &[(&str, &str)] = &[];

#[test]
fn a_collector_without_room_is_told_from_a_loop() {
    let certain = |cause| (cause, Confidence::Certain);
    for (what, evidence, want) in [
        (
            "it is seen to be stopped",
            stopped(busy(1.0, RUNS, FULL), 900),
            Cause::MemoryPressure,
        ),
        (
            "more is used than one goroutine can",
            busy(1.8, RUNS, FULL),
            Cause::MemoryPressure,
        ),
        (
            "it helps the collector",
            busy(1.0, ASSISTS, FULL),
            Cause::MemoryPressure,
        ),
        (
            "by GOGC",
            stopped(busy(1.0, RUNS, LOW), 900),
            Cause::MemoryPressure,
        ),
        (
            "at the group's limit",
            stopped(within_group(busy(1.0, RUNS, NONE), 97, 40), 900),
            Cause::MemoryPressure,
        ),
        (
            "it loops with much in use",
            stopped(busy(1.0, RUNS, FULL), 2),
            Cause::BusyLoop,
        ),
        ("not known better", busy(1.0, RUNS, FULL), Cause::BusyLoop),
        (
            "it allocates without end, with room",
            stopped(busy(1.8, RUNS, ROOMY), 900),
            Cause::BusyLoop,
        ),
        (
            "it allocates without end",
            stopped(busy(1.8, RUNS, NONE), 900),
            Cause::BusyLoop,
        ),
        (
            "it loops in a full group",
            stopped(within_group(busy(1.0, RUNS, NONE), 90, 0), 0),
            Cause::BusyLoop,
        ),
    ] {
        assert_eq!(cause(&evidence), certain(want), "{what}");
    }
    // With less evidence, or with that of two programs, less is said.
    let mut other = busy(1.8, RUNS, FULL);
    other.processes.push(other.processes[1].clone());
    assert_eq!(cause(&other).0, Cause::BusyLoop);
}

#[test]
fn what_speaks_for_it_is_said() {
    let verdict = judged(&stopped(busy(1.8, ASSISTS, FULL), 900));
    assert_eq!(verdict.kind.as_deref(), Some("collector"));
    for (index, words) in [
        "GOMEMLIMIT=64MiB, of which 60 MiB are in use",
        "the world was stopped 900 times within 10 s",
        "no goroutine runs, but 180 % of a CPU are used",
        "a goroutine helps the collector",
    ]
    .iter()
    .enumerate()
    {
        assert!(verdict.evidence[index].contains(words), "{verdict:?}");
    }
    assert!(verdict.next[0].contains("raise GOMEMLIMIT"), "{verdict:?}");
}

#[test]
fn what_was_traced_of_a_part_is_not_told_of_the_whole() {
    let untold = |since_ns: i64, programs: bool| {
        let mut evidence = stopped(busy(1.0, RUNS, NONE), 5);
        evidence.trace.state = TraceState::On { since_ns };
        if let Some(report) = evidence.trace.report.as_mut().filter(|_| !programs) {
            report.processes.clear();
        }
        judged(&evidence).lacking
    };
    let told = "preemption signals were not traced in its first 7.5 s";
    assert_eq!(untold(7_500_000_000, true), [told]);
    for (since_ns, programs) in [(0, true), (-200_000_000, true), (7_500_000_000, false)] {
        assert_eq!(untold(since_ns, programs), [""; 0], "{since_ns} {programs}");
    }
    // Signals are counted within what was traced.
    let evidence = stopped(busy(1.0, RUNS, NONE), 5);
    let said = judged(&evidence).evidence;
    let counted = "within 10 s preemption signals interrupted main.(*server).run 62 times";
    assert!(
        said.iter().any(|line| line.starts_with(counted)),
        "{said:?}"
    );
}

#[test]
fn what_waits_for_the_kernel_to_find_memory() {
    let mut evidence = within_group(evidence(), 97, 0);
    assert_eq!(cause(&evidence).0, Cause::None);
    let pressure = |share: &str| {
        let text = format!("some avg10={share} avg60=0.00 avg300=0.00 total=5\n");
        vec![("/sys/fs/cgroup/g/memory.pressure".to_owned(), text)]
    };
    evidence.place.files = pressure("3.00");
    assert_eq!(cause(&evidence).0, Cause::None);
    evidence.place.files = pressure("61.50");
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.kind.as_deref()),
        (Cause::MemoryPressure, Some("limit"))
    );
    assert!(verdict.evidence[1].contains("for 62 % of the last 10 s"));
}
