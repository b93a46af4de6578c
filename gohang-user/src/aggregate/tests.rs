use std::collections::HashMap;

use gohang_common::cause::{Cause, Outcome, Sums};
use gohang_common::counter::Counter;
use gohang_common::hist;
use gohang_common::map::{Moments, Summary, series};

use super::*;
use crate::event::{BlockedKinds, Process};
use crate::probe::{Counters, Precision};
use crate::report::{Clock, Limit, Moment};
use crate::source::{GroupFacts, Source as _, Synthetic, Taken};

struct NoGroups;

impl Groups for NoGroups {
    fn of_process(&mut self, _pid: u32) -> Option<GroupFacts> {
        None
    }

    fn by_id(&mut self, id: u64) -> (Option<String>, Option<Limit>) {
        (Some(format!("/group{id}")), None)
    }

    fn path(&mut self, _id: u64) -> Option<String> {
        None
    }

    fn sender(&mut self, _pid: u32) -> Option<String> {
        None
    }
}

const ID: ProcessId = ProcessId {
    pid: 40,
    start_ns: 7_123_456_789,
};

fn episode(latency: u64) -> Episode {
    Episode {
        process: ID,
        tid: 41,
        comm: b"wor\x1bker".to_vec(),
        goid: None,
        pc: None,
        place: None,
        handler: None,
        handler_place: None,
        sender_tid: None,
        process_directed: false,
        sender_pid: Some(40),
        sent_ns: 1000,
        end_ns: 1000 + latency,
        coalesced: 0,
        outcome: Outcome::Delivered,
        parts: Sums {
            throttled: latency,
            ..Sums::default()
        },
        blocked_kinds: BlockedKinds::default(),
        cause: Cause::Throttled,
        estimate: false,
        cgroup_id: Some(9),
        ran_ns: 0,
    }
}

/// Totals as the kernel side would hold them for one throttled episode.
fn totals(latency: u64) -> OwnerSummary {
    let mut summary = Summary::default();
    summary.series[Cause::Throttled as usize] = Moments {
        count: 1,
        sum: latency,
        min: latency,
        max: latency,
    };
    summary.series[series::STALL] = Moments {
        count: 2,
        sum: 600,
        min: 100,
        max: 500,
    };
    summary.outcomes[Outcome::Delivered as usize] = 1;
    summary.parts_ns[Cause::Throttled as usize] = latency;
    summary.running_ns = 400;
    let slot = |value| hist::slot(value) as u16;
    OwnerSummary {
        totals: summary,
        buckets: [
            ((Cause::Throttled as u16, slot(latency)), 1),
            ((series::STALL as u16, slot(100)), 1),
            ((series::STALL as u16, slot(500)), 1),
        ]
        .into_iter()
        .collect(),
    }
}

fn facts() -> Facts {
    Facts {
        pid: 40,
        // A tick of 10 ms.
        proc_start_ns: 7_120_000_000,
        traced_since_ns: 900,
        comm: b"worker".to_vec(),
        go: Some("go1.27.3".into()),
        ..Facts::default()
    }
}

fn context(snapshot: Snapshot) -> Context<'static> {
    Context {
        kernel: "6.18.0".into(),
        clock: Clock {
            start: Moment {
                mono_ns: 500,
                wall_ns: 0,
            },
            end: Moment {
                mono_ns: 10_500,
                wall_ns: 10_000,
            },
        },
        hooks: &[],
        go_hooks: Vec::new(),
        precision: Precision::ThreadExact,
        has_spans: true,
        attach_ns: 1,
        snapshot,
        counters: [
            (Counter::Seen, 5),
            (Counter::Submitted, 4),
            (Counter::RingFull, 1),
        ]
        .into_iter()
        .collect(),
        taken: Taken {
            received: 4,
            decoded: 4,
            rejected: 0,
        },
        output_dropped: 0,
        costs: vec![],
        machine: None,
        alerts: vec![],
    }
}

fn snapshot(owners: &[((ProcessId, u64), OwnerSummary)]) -> Snapshot {
    Snapshot {
        owners: owners.iter().cloned().collect::<HashMap<_, _>>(),
        ..Snapshot::default()
    }
}

#[test]
fn spans_stand_with_their_group_by_whose_limit_it_was() {
    let mut aggregate = Aggregate::default();
    aggregate.take(&Item::Found(Box::new(facts())));
    let mut totals_of = snapshot(&[((ID, 9), totals(90_000_000))]);
    for (owner, values) in [(4, &[10, 20][..]), (9, &[500]), (0, &[1])] {
        let summary = totals_of.spans.entry((9, owner)).or_default();
        let moments = &mut summary.totals.series[series::SPAN];
        moments.count = values.len() as u64;
        moments.sum = values.iter().sum();
        moments.max = *values.last().expect("some");
    }
    totals_of.spans.insert((8, 8), OwnerSummary::default());
    let report = aggregate.report(context(totals_of.clone()), &mut NoGroups);
    assert_eq!(
        report.cgroups.len(),
        1,
        "of a group that nobody traced was in"
    );
    let spans = report.cgroups[0].spans.as_ref().expect("measured");
    assert_eq!((spans.all.count, spans.all.total_ns), (4, 531));
    assert_eq!(spans.all.max_ns, Some(500));
    let owners: Vec<(u64, u64)> = spans.owners.iter().map(|o| (o.id, o.count)).collect();
    assert_eq!(owners, [(9, 1), (4, 2), (0, 1)]);
    let unseen = Context {
        has_spans: false,
        ..context(totals_of)
    };
    let report = aggregate.report(unseen, &mut NoGroups);
    assert_eq!(report.cgroups[0].spans, None, "not measured is not none");
}

#[test]
fn spans_of_a_removed_group_stay() {
    let span = |count, sum| {
        let mut summary = OwnerSummary::default();
        summary.totals.series[series::SPAN] = Moments {
            count,
            sum,
            min: 1,
            max: sum,
        };
        summary
    };
    let mut aggregate = Aggregate::default();
    aggregate.take(&Item::Found(Box::new(facts())));
    let gone = Snapshot {
        spans: [((9, 4), span(2, 30)), ((8, 8), span(1, 7))].into(),
        ..Snapshot::default()
    };
    aggregate.take(&Item::Ended(Box::new(gone)));
    let mut live = snapshot(&[((ID, 9), totals(90_000_000))]);
    live.spans.insert((9, 4), span(1, 500));
    let report = aggregate.report(context(live), &mut NoGroups);
    let spans = report.cgroups[0].spans.as_ref().expect("measured");
    assert_eq!((spans.all.count, spans.all.total_ns), (3, 530));

    // Many groups that nobody traced was in are not kept, those of a process are.
    for id in 1..=super::MAX_SPANS as u64 {
        let gone = Snapshot {
            owners: [((ID, 9), totals(1))].into(),
            spans: [((1000 + id, 0), span(1, 1))].into(),
            ..Snapshot::default()
        };
        aggregate.take(&Item::Ended(Box::new(gone)));
    }
    assert!(aggregate.spans.contains_key(&(9, 4)));
    assert!(aggregate.spans.len() < super::MAX_SPANS / 2);
}

#[test]
fn a_process_found_by_tick_and_met_by_nanosecond_is_one() {
    let mut source = Synthetic::default();
    source.batches.push_back(vec![
        Item::Found(Box::new(facts())),
        Item::Event(Event::Episode(Box::new(episode(90_000_000)))),
    ]);
    let mut items = Vec::new();
    source.drain(&mut items).expect("synthetic");
    let mut aggregate = Aggregate::default();
    for item in &items {
        assert!(aggregate.take(item));
    }
    let report = aggregate.report(
        context(snapshot(&[((ID, 9), totals(90_000_000))])),
        &mut NoGroups,
    );
    assert_eq!(report.processes.len(), 1);
    let process = &report.processes[0];
    assert_eq!((process.pid, process.start_ns), (40, ID.start_ns));
    assert_eq!(process.go.as_deref(), Some("go1.27.3"));
    assert_eq!(process.episodes, 1);
    assert_eq!(process.delivery.p99_ns, Some(90_000_000));
    assert_eq!(process.causes["throttled"].total_ns, 90_000_000);
    assert_eq!(process.stall.total_ns, 600);
    assert_eq!(process.stall_share(), Some(0.6));
    assert_eq!(report.cgroups.len(), 1);
    assert_eq!(report.cgroups[0].path.as_deref(), Some("/group9"));
    assert_eq!(report.cgroups[0].stall.count, 2);
    assert_eq!(report.loss.imbalances(), Vec::<String>::new());
    assert!(!process.threads[0].comm.contains('\x1b'));
}

fn exit() -> Item {
    Item::Event(Event::Process(Process {
        id: ID,
        at_ns: 4000,
        event: ProcessEvent::Exit,
        other: 0,
        filter: 0,
        comm: vec![],
    }))
}

#[test]
fn the_end_of_one_that_was_never_signalled_is_known() {
    let mut aggregate = Aggregate::default();
    aggregate.take(&Item::Found(Box::new(facts())));
    aggregate.take(&exit());
    let report = aggregate.report(context(Snapshot::default()), &mut NoGroups);
    let process = &report.processes[0];
    assert_eq!(
        (process.start_ns, process.ended_ns),
        (ID.start_ns, Some(4000))
    );
}

#[test]
fn a_reused_pid_is_a_second_process() {
    let mut aggregate = Aggregate::default();
    aggregate.take(&Item::Found(Box::new(facts())));
    aggregate.take(&Item::Event(Event::Episode(Box::new(episode(5)))));
    aggregate.take(&exit());
    aggregate.take(&Item::Ended(Box::new(snapshot(&[((ID, 9), totals(5))]))));
    let later = ProcessId {
        pid: 40,
        start_ns: 9_000_000_000,
    };
    let mut second = episode(6);
    second.process = later;
    aggregate.take(&Item::Event(Event::Episode(Box::new(second))));
    let report = aggregate.report(context(snapshot(&[((later, 9), totals(6))])), &mut NoGroups);
    let mut seen: Vec<(u64, u64, Option<u64>)> = report
        .processes
        .iter()
        .map(|p| (p.start_ns, p.episodes, p.ended_ns))
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [(ID.start_ns, 1, Some(4000)), (later.start_ns, 1, None)]
    );
}

#[test]
fn a_foreign_process_leaves_nothing() {
    let mut aggregate = Aggregate::default();
    aggregate.take(&Item::Event(Event::Episode(Box::new(episode(5)))));
    assert!(!aggregate.take(&Item::Foreign(ID)));
    let report = aggregate.report(context(snapshot(&[((ID, 9), totals(5))])), &mut NoGroups);
    assert!(report.processes.is_empty() && report.cgroups.is_empty());
}

#[test]
fn one_that_ended_unseen_is_listed_only_if_it_was_signalled() {
    let mut aggregate = Aggregate::default();
    let gone = |pid, start_ns| Facts {
        pid,
        start_ns: Some(start_ns),
        gone: true,
        ..Facts::default()
    };
    aggregate.take(&Item::Found(Box::new(gone(ID.pid, ID.start_ns))));
    aggregate.take(&Item::Found(Box::new(gone(50, 8_000_000_000))));
    aggregate.take(&Item::Event(Event::Episode(Box::new(episode(5)))));
    let report = aggregate.report(context(snapshot(&[((ID, 9), totals(5))])), &mut NoGroups);
    let pids: Vec<u32> = report.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [ID.pid]);
}

#[test]
fn an_imbalance_is_told() {
    let mut context = context(Snapshot::default());
    context.counters = [
        (Counter::Seen, 7),
        (Counter::Submitted, 4),
        (Counter::SumMismatch, 2),
    ]
    .into_iter()
    .collect::<Counters>();
    let report = Aggregate::default().report(context, &mut NoGroups);
    assert_eq!(
        report.loss.imbalances(),
        ["seen = submitted + ring_full + map_full: 7 != 4"]
    );
    assert_eq!(report.impossible["sum_mismatch"], 2);
}

#[test]
fn ended_processes_are_bounded() {
    let mut aggregate = Aggregate::default();
    for number in 0..2000u64 {
        let id = ProcessId {
            pid: number as u32 + 1,
            start_ns: 1_000_000_000 * (number + 1),
        };
        let mut one = episode(5);
        one.process = id;
        aggregate.take(&Item::Event(Event::Episode(Box::new(one))));
        let exit = Process {
            id,
            at_ns: 4000,
            event: ProcessEvent::Exit,
            other: 0,
            filter: 0,
            comm: vec![],
        };
        aggregate.take(&Item::Event(Event::Process(exit)));
        aggregate.take(&Item::Ended(Box::new(snapshot(&[(
            (id, 9),
            totals(number + 1),
        )]))));
    }
    let report = aggregate.report(context(Snapshot::default()), &mut NoGroups);
    assert!(report.processes.len() <= 1250);
    let listed: u64 = report.processes.iter().map(|p| p.episodes).sum();
    assert_eq!(listed + report.folded.episodes, 2000);
    assert_eq!(
        report.processes.len() as u64 + report.folded.processes,
        2000
    );
}
