//! Reports and episodes for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use gohang_common::cause::{Cause, Outcome, Sums};
use gohang_common::hist;
use serde_json::json;

use crate::buckets::quantile;
use crate::event::{BlockedKinds, Episode, ProcessId};
use crate::golang::{Place, SafePoint};
use crate::probe::{Hook, HookState};
use crate::report::*;

/// A distribution of `(value, how often)`.
pub(crate) fn distribution(values: &[(u64, u64)]) -> Distribution {
    let waits = waits(values);
    let max_ns = waits.max_ns;
    let quantile = |per_mille| quantile(&waits.buckets, per_mille, max_ns);
    Distribution {
        count: waits.count,
        min_ns: values.iter().map(|value| value.0).min(),
        mean_ns: waits.total_ns.checked_div(waits.count),
        p50_ns: quantile(500),
        p90_ns: quantile(900),
        p99_ns: quantile(990),
        p999_ns: quantile(999),
        max_ns,
        buckets: waits.buckets,
    }
}

/// Waits of `(length, how often)`.
pub(crate) fn waits(values: &[(u64, u64)]) -> Waits {
    let mut slots: BTreeMap<u32, u64> = BTreeMap::new();
    for (value, count) in values {
        *slots.entry(hist::slot(*value)).or_default() += count;
    }
    let buckets: Vec<Bucket> = slots
        .into_iter()
        .map(|(slot, count)| Bucket {
            lo_ns: hist::lower(slot),
            hi_ns: hist::upper(slot) + 1,
            count,
        })
        .collect();
    let max_ns = values.iter().map(|value| value.0).max();
    Waits {
        total_ns: values.iter().map(|(value, count)| value * count).sum(),
        count: values.iter().map(|value| value.1).sum(),
        p99_ns: quantile(&buckets, 990, max_ns),
        max_ns,
        buckets,
    }
}

/// Causes of `(cause, count, total, longest)`; the others are zero.
pub(crate) fn causes(given: &[(Cause, u64, u64, u64)]) -> BTreeMap<String, CauseShare> {
    let mut causes: BTreeMap<String, CauseShare> = Cause::ALL
        .iter()
        .map(|cause| (cause.name().to_owned(), CauseShare::default()))
        .collect();
    for (cause, count, total_ns, max) in given {
        let share = CauseShare {
            count: *count,
            total_ns: *total_ns,
            max_ns: (*count > 0).then_some(*max),
        };
        causes.insert(cause.name().to_owned(), share);
    }
    causes
}

/// A function by the classes of its instructions, in their order.
fn interrupted(function: &str, count: u64, classes: [u64; 5]) -> Interrupted {
    Interrupted {
        function: Some(function.to_owned()),
        count,
        total_ns: count * 7_000,
        safe_points: SafePoint::ALL
            .iter()
            .zip(classes)
            .map(|(class, count)| (class.name().to_owned(), count))
            .collect(),
    }
}

/// A Go server at a fifth of a CPU: 93 signals delivered, one after 88 ms.
pub(crate) fn process() -> Process {
    Process {
        pid: 1234,
        start_ns: 77,
        traced_since_ns: 1_000_000_000,
        ended_ns: None,
        comm: "server".to_owned(),
        go: Some("go1.27.3".to_owned()),
        execs: 0,
        cgroup: Some("/team/a".to_owned()),
        quota_cgroup: Some("/team/a".to_owned()),
        limit: Some(Limit {
            owner: "/team/a".to_owned(),
            quota_ns: 20_000_000,
            period_ns: 100_000_000,
            cpus: 0.2,
        }),
        container: None,
        unit: None,
        episodes: 93,
        outcomes: BTreeMap::from([("delivered".to_owned(), 93)]),
        coalesced: 3,
        delivery: distribution(&[(3_000, 10), (6_400, 70), (20_000, 12), (88_000_000, 1)]),
        causes: causes(&[
            (Cause::Throttled, 1, 86_000_000, 88_000_000),
            (Cause::RunQueue, 12, 1_200_000, 20_000),
            (Cause::Running, 80, 900_000, 6_400),
        ]),
        stall: waits(&[(1_000_000, 2), (80_000_000, 78), (96_000_000, 1)]),
        runqueue: waits(&[(10_000, 100), (2_000_000, 80)]),
        running_ns: 1_638_000_000,
        interrupted: vec![
            interrupted("main.(*server).run", 62, [60, 0, 0, 0, 2]),
            interrupted("runtime.memmove", 31, [0, 0, 31, 0, 0]),
        ],
        threads: vec![Thread {
            tid: 1240,
            comm: "server".to_owned(),
            episodes: 93,
            delivery: distribution(&[(3_000, 10), (6_400, 70), (20_000, 12), (88_000_000, 1)]),
            causes: causes(&[
                (Cause::Throttled, 1, 86_000_000, 88_000_000),
                (Cause::RunQueue, 12, 1_200_000, 20_000),
                (Cause::Running, 80, 900_000, 6_400),
            ]),
        }],
        chain: Some(chain()),
    }
}

/// Counts of `(name, count)`.
fn counts(given: &[(&str, u64)]) -> BTreeMap<String, u64> {
    given
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

/// Its chain.
fn chain() -> Chain {
    let parts = |throttled, running| {
        counts(&[
            ("throttled", throttled),
            ("masked", 0),
            ("blocked", 0),
            ("runqueue", 0),
            ("running", running),
        ])
    };
    Chain {
        requests: 97,
        sent: 94,
        delivered: 93,
        yielded: 90,
        askers: counts(&[("retake", 95), ("suspend", 2)]),
        ends: counts(&[
            ("already_pending", 2),
            ("not_sent", 1),
            ("superseded", 1),
            ("unsafe_point", 3),
            ("yielded_async", 90),
        ]),
        unexplained_sends: 1,
        unexplained_yields: 0,
        open: Open {
            requests: 2,
            sent: 1,
            delivered: 1,
            yielded: 0,
            first_ns: Some(12_999_000_000),
        },
        counts: counts(&[("preemptone", 97), ("signal_m", 94)]),
        unsafe_points: counts(&[("assembly", 3)]),
        links: Links {
            late: distribution(&[(3_000_000, 75), (67_000_000, 20)]),
            request_sent: distribution(&[(412, 94)]),
            sent_delivered: distribution(&[(6_400, 92), (88_000_000, 1)]),
            delivered_yielded: distribution(&[(3_000, 90)]),
            yielded_running: distribution(&[(9_000, 90)]),
            request_yielded: distribution(&[(10_000, 89), (88_000_000, 1)]),
        },
        late_causes: LateCauses {
            throttled_ns: 1_252_000_000,
            runqueue_ns: 156_500_000,
            other_ns: 156_500_000,
        },
        stops: Stops {
            count: 2,
            stopping: distribution(&[(20_000, 1), (71_000_000, 1)]),
            total: distribution(&[(50_000, 1), (71_100_000, 1)]),
            last_ns: parts(70_000_000, 1_020_000),
            longest: vec![LongStop {
                begin_ns: 2_000_000_000,
                stopping_ns: 71_000_000,
                total_ns: Some(71_100_000),
                tid: 1236,
                last_tid: Some(1241),
                last_goid: Some(18),
                last_ns: parts(70_000_000, 1_000_000),
            }],
        },
    }
}

/// A process without a limit and without episodes.
pub(crate) fn idle() -> Process {
    Process {
        pid: 99,
        comm: "idle".to_owned(),
        go: Some("go1.24.11".to_owned()),
        cgroup: Some("/".to_owned()),
        quota_cgroup: None,
        limit: None,
        episodes: 0,
        outcomes: BTreeMap::new(),
        coalesced: 0,
        delivery: Distribution::default(),
        causes: causes(&[]),
        stall: Waits::default(),
        runqueue: Waits::default(),
        running_ns: 0,
        interrupted: Vec::new(),
        threads: Vec::new(),
        chain: None,
        ..process()
    }
}

/// A trace of 8.2 s of [`process`] and [`idle`].
pub(crate) fn report() -> Report {
    let server = process();
    Report {
        schema_version: SCHEMA_VERSION,
        gohang_version: "0.1.0".to_owned(),
        kernel: "6.18.5".to_owned(),
        clock: Clock {
            start: Moment {
                mono_ns: 1_800_000_000,
                wall_ns: 1_790_000_000_000_000_000,
            },
            end: Moment {
                mono_ns: 10_000_000_000,
                wall_ns: 1_790_000_008_200_000_000,
            },
        },
        probe_set: vec![
            Hook {
                hook: "tp_btf:sched_switch".to_owned(),
                state: HookState::Attached,
                used_for: "components".to_owned(),
                reason: None,
            },
            Hook {
                hook: "tp_btf:sched_wakeup".to_owned(),
                state: HookState::NotNeeded,
                used_for: "wake-ups".to_owned(),
                reason: Some("sched_waking is attached".to_owned()),
            },
        ],
        precision: "thread-exact".to_owned(),
        estimate_error: None,
        attach_ns: 210_000_000,
        duration_ns: 8_200_000_000,
        loss: Loss {
            seen: 95,
            submitted: 95,
            received: 95,
            decoded: 95,
            emitted: 95,
            ..Loss::default()
        },
        impossible: BTreeMap::from([("sum_mismatch".to_owned(), 0)]),
        bpf_cost: Vec::new(),
        machine: Some(Machine {
            steal_ns: 508_400_000,
            irq_ns: 1_000_000,
            softirq_ns: 20_000_000,
            cpus: 2,
        }),
        cgroups: vec![Cgroup {
            path: Some("/team/a".to_owned()),
            id: 42,
            quota_ns: Some(20_000_000),
            period_ns: Some(100_000_000),
            limit_owner: Some("/team/a".to_owned()),
            delivery: server.delivery.clone(),
            stall: server.stall.clone(),
            runqueue: server.runqueue.clone(),
            spans: None,
            pids: vec![1234],
        }],
        processes: vec![server, idle()],
        folded: Folded::default(),
        alerts: vec![Alert {
            rule: "slow-delivery".to_owned(),
            severity: Severity::Warning,
            pid: 1234,
            tid: Some(1240),
            goid: Some(17),
            since_ns: 5_000_000_000,
            wall: "2026-09-21T14:13:23.200Z".to_owned(),
            count: 1,
            headline: "a preemption signal took 88 ms, 86 ms of it out of quota".to_owned(),
            evidence: BTreeMap::from([
                ("latency_ns".to_owned(), json!(88_000_000)),
                ("coalesced".to_owned(), json!(3)),
                ("cause".to_owned(), json!("throttled")),
            ]),
            advice: "raise the quota of /team/a, or lower GOMAXPROCS".to_owned(),
        }],
        gates: vec![Gate {
            expr: "delivery.p99>50ms".to_owned(),
            failed: true,
            checked: 1,
            violations: vec![Violation {
                pid: 1234,
                comm: "server".to_owned(),
                value_ns: Some(88_000_000),
                value_count: None,
                value_share: None,
                severity: None,
            }],
        }],
    }
}

/// An episode of [`process`]: 88 ms, out of quota.
pub(crate) fn episode() -> Episode {
    Episode {
        process: ProcessId {
            pid: 1234,
            start_ns: 77,
        },
        tid: 1240,
        comm: b"server".to_vec(),
        goid: Some(17),
        pc: Some(0x40_0000),
        place: Some(Arc::new(Place {
            function: Some("main.(*server).run".to_owned()),
            safe_point: Some(SafePoint::Safe),
        })),
        handler: None,
        handler_place: None,
        sender_tid: None,
        process_directed: false,
        sender_pid: Some(1234),
        sent_ns: 5_000_000_000,
        end_ns: 5_088_000_000,
        coalesced: 3,
        outcome: Outcome::Delivered,
        parts: Sums {
            throttled: 86_000_000,
            masked: 0,
            blocked: 600_000,
            runqueue: 1_000_000,
            running: 400_000,
        },
        blocked_kinds: BlockedKinds {
            stopped: 600_000,
            ..BlockedKinds::default()
        },
        cause: Cause::Throttled,
        estimate: false,
        cgroup_id: Some(42),
        ran_ns: 0,
    }
}
