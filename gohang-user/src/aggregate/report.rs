//! From what is kept to the report.

use std::collections::BTreeMap;

use gohang_common::cause::{CAUSES, Cause, Outcome};
use gohang_common::counter::Counter;
use gohang_common::map::series;

use super::process::{self, ProcessData, ThreadData};
use super::{Aggregate, Groups, Histogram};
use crate::event::ProcessId;
use crate::probe::{Counters, Hook, OwnerSummary, Precision, ProgramCost, Snapshot};
use crate::process::escape;
use crate::report::{
    Alert, CauseShare, Cgroup, Clock, Loss, Machine, Process, Report, SCHEMA_VERSION, SpanOwner,
    Spans, Thread,
};
use crate::source::Taken;
use crate::source::recording::{Begin, Totals};

/// What the report needs beside the aggregate.
#[derive(Debug)]
pub struct Context<'a> {
    /// Kernel release.
    pub kernel: String,
    /// The window.
    pub clock: Clock,
    /// Every hook.
    pub hooks: &'a [Hook],
    /// The probes in Go programs.
    pub go_hooks: Vec<Hook>,
    /// What "throttled" rests on.
    pub precision: Precision,
    /// Whether spans of groups out of quota are measured.
    pub has_spans: bool,
    /// How long attaching took, ns.
    pub attach_ns: u64,
    /// The kernel side's totals.
    pub snapshot: Snapshot,
    /// The kernel side's counters.
    pub counters: Counters,
    /// Records taken.
    pub taken: Taken,
    /// Records that the output could not take.
    pub output_dropped: u64,
    /// Cost of the kernel programs.
    pub costs: Vec<ProgramCost>,
    /// CPU time that went elsewhere.
    pub machine: Option<Machine>,
    /// Alerts, most important first.
    pub alerts: Vec<Alert>,
}

impl<'a> Context<'a> {
    /// From what is known at the begin and the totals as of some moment; no
    /// output dropped, no alerts.
    #[must_use]
    pub fn new(begin: &'a Begin, totals: Totals, taken: Taken) -> Self {
        Self {
            kernel: begin.kernel.clone(),
            clock: Clock {
                start: begin.start,
                end: totals.at,
            },
            hooks: &begin.hooks,
            go_hooks: totals.go_hooks,
            precision: begin.precision,
            has_spans: begin.has_spans,
            attach_ns: begin.attach_ns,
            snapshot: totals.snapshot,
            counters: totals.counters,
            taken,
            output_dropped: 0,
            costs: totals.costs,
            machine: totals.machine,
            alerts: Vec::new(),
        }
    }
}

/// The loss identity from both sides' counters.
#[must_use]
pub fn loss(counters: &Counters, taken: &Taken, output_dropped: u64) -> Loss {
    Loss {
        seen: counters.get(Counter::Seen),
        submitted: counters.get(Counter::Submitted),
        ring_full: counters.get(Counter::RingFull),
        map_full: counters.get(Counter::MapFull),
        received: taken.received,
        decoded: taken.decoded,
        rejected: taken.rejected,
        emitted: taken.decoded - output_dropped,
        output_dropped,
        chain_lost: counters.get(Counter::ChainLost),
        histogram_full: counters.get(Counter::HistogramFull),
        before_window: counters.get(Counter::BeforeWindow),
        park_list_full: counters.get(Counter::ParkListFull),
        run_queues_full: counters.get(Counter::RunQueuesFull),
        switch_in_unreported: counters.get(Counter::SwitchInUnreported),
        wake_unreported: counters.get(Counter::WakeUnreported),
    }
}

impl Aggregate {
    /// The report as of now.
    pub fn report(&mut self, mut context: Context<'_>, groups: &mut dyn Groups) -> Report {
        // Totals of processes met only there join those that are known.
        let mut live: BTreeMap<ProcessId, BTreeMap<u64, OwnerSummary>> = BTreeMap::new();
        for ((id, cgroup_id), owner) in std::mem::take(&mut context.snapshot.owners) {
            if self.processes.contains_key(&id) || self.is_rounded(&id) {
                self.entry(id);
                live.entry(id).or_default().insert(cgroup_id, owner);
            }
        }
        for (id, hits) in std::mem::take(&mut context.snapshot.hits) {
            if self.processes.contains_key(&id) || self.is_rounded(&id) {
                self.entry(id).chain.hits(&hits);
            }
        }
        let mut open = std::mem::take(&mut context.snapshot.open);
        for (id, data) in &mut self.processes {
            data.chain.open(open.remove(id).unwrap_or_default());
        }
        let none = BTreeMap::new();
        let mut processes: Vec<Process> = self
            .processes
            .iter()
            .filter_map(|(id, data)| process(*id, data, live.get(id).unwrap_or(&none), groups))
            .collect();
        processes.sort_by_key(importance);
        let spans = context
            .has_spans
            .then(|| self.all_spans(&context.snapshot.spans));
        let cgroups = self.cgroups(&live, spans.as_ref(), groups);
        let loss = loss(&context.counters, &context.taken, context.output_dropped);
        let impossible = context
            .counters
            .impossible()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        Report {
            schema_version: SCHEMA_VERSION,
            gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: context.kernel,
            clock: context.clock,
            probe_set: [context.hooks, &context.go_hooks].concat(),
            precision: context.precision.name().to_owned(),
            estimate_error: context.precision.estimate_error(),
            attach_ns: context.attach_ns,
            duration_ns: context.clock.end.mono_ns - context.clock.start.mono_ns,
            loss,
            impossible,
            bpf_cost: context.costs,
            machine: context.machine,
            processes,
            folded: self.folded,
            cgroups,
            alerts: context.alerts,
            gates: Vec::new(),
        }
    }

    fn cgroups(
        &self,
        live: &BTreeMap<ProcessId, BTreeMap<u64, OwnerSummary>>,
        all_spans: Option<&BTreeMap<(u64, u64), OwnerSummary>>,
        groups: &mut dyn Groups,
    ) -> Vec<Cgroup> {
        let mut by_group: BTreeMap<u64, (OwnerSummary, Vec<u32>)> = BTreeMap::new();
        let kept = self.processes.iter().map(|(id, data)| (id, &data.kept));
        for (id, owners) in kept.chain(live.iter()) {
            for (cgroup_id, owner) in owners {
                let (totals, pids) = by_group.entry(*cgroup_id).or_default();
                totals.add(owner);
                if !pids.contains(&id.pid) {
                    pids.push(id.pid);
                }
            }
        }
        let mut cgroups: Vec<Cgroup> = by_group
            .into_iter()
            .map(|(id, (totals, mut pids))| {
                let (path, limit) = if id == 0 {
                    (None, None)
                } else {
                    groups.by_id(id)
                };
                pids.sort_unstable();
                Cgroup {
                    path,
                    id,
                    quota_ns: limit.as_ref().map(|limit| limit.quota_ns),
                    period_ns: limit.as_ref().map(|limit| limit.period_ns),
                    limit_owner: limit.map(|limit| limit.owner),
                    delivery: process::delivery(&totals).distribution(),
                    stall: process::histogram(&totals, series::STALL).waits(),
                    runqueue: process::histogram(&totals, series::RUN_QUEUE).waits(),
                    spans: all_spans.map(|all| spans(id, all, groups)),
                    pids,
                }
            })
            .collect();
        cgroups
            .sort_by_key(|group| std::cmp::Reverse((group.stall.total_ns, group.delivery.count)));
        cgroups
    }
}

/// The spans of one group.
fn spans(id: u64, all: &BTreeMap<(u64, u64), OwnerSummary>, groups: &mut dyn Groups) -> Spans {
    let mut sum = OwnerSummary::default();
    let mut owners = Vec::new();
    for ((_, owner), summary) in all.range((id, 0)..=(id, u64::MAX)) {
        sum.add(summary);
        let moments = summary.totals.series[series::SPAN];
        owners.push(SpanOwner {
            path: (*owner != 0).then(|| groups.by_id(*owner).0).flatten(),
            id: *owner,
            count: moments.count,
            total_ns: moments.sum,
        });
    }
    owners.sort_by_key(|owner| std::cmp::Reverse(owner.total_ns));
    Spans {
        all: process::histogram(&sum, series::SPAN).waits(),
        owners,
    }
}

/// Most important first: longest out of quota, then slowest deliveries, then
/// most signals.
fn importance(process: &Process) -> impl Ord + use<> {
    std::cmp::Reverse((
        process.stall.total_ns,
        process.delivery.max_ns.unwrap_or(0),
        process.episodes,
    ))
}

fn shares(owner: &OwnerSummary) -> BTreeMap<String, CauseShare> {
    Cause::ALL
        .iter()
        .map(|cause| {
            let moments = owner.totals.series[*cause as usize];
            let share = CauseShare {
                count: moments.count,
                total_ns: owner.totals.parts_ns[*cause as usize],
                max_ns: (moments.count > 0).then_some(moments.max),
            };
            (cause.name().to_owned(), share)
        })
        .collect()
}

fn process(
    id: ProcessId,
    data: &ProcessData,
    live: &BTreeMap<u64, OwnerSummary>,
    groups: &mut dyn Groups,
) -> Option<Process> {
    let mut sum = OwnerSummary::default();
    for owner in live.values() {
        sum.add(owner);
    }
    let totals = data.totals(&sum);
    if data.is_nobody(&totals) {
        return None;
    }
    // As of now where the process still lives: it may have been moved.
    let now = if data.ended_ns.is_none() {
        groups.of_process(id.pid)
    } else {
        None
    };
    let group = now.unwrap_or_else(|| data.facts.group.clone());
    let mut outcomes: BTreeMap<String, u64> = Outcome::ALL
        .iter()
        .map(|outcome| {
            (
                outcome.name().to_owned(),
                totals.totals.outcomes[*outcome as usize],
            )
        })
        .collect();
    outcomes.insert(Outcome::PendingAtEnd.name().to_owned(), data.pending_at_end);
    let comm = if data.known {
        &data.facts.comm
    } else {
        &data.comm
    };
    Some(Process {
        pid: id.pid,
        start_ns: id.start_ns,
        traced_since_ns: if data.known {
            data.facts.traced_since_ns
        } else {
            data.first_ns
        },
        ended_ns: data.ended_ns,
        comm: escape(comm),
        go: data.facts.go.as_deref().map(escape),
        execs: data.execs,
        cgroup: group.cgroup.as_deref().map(escape),
        quota_cgroup: group.quota_cgroup.as_deref().map(escape),
        limit: group.limit,
        container: group.container,
        unit: group.unit.as_deref().map(escape),
        episodes: process::delivered(&totals.totals),
        outcomes,
        coalesced: totals.totals.coalesced,
        delivery: process::delivery(&totals).distribution(),
        causes: shares(&totals),
        stall: process::histogram(&totals, series::STALL).waits(),
        runqueue: process::histogram(&totals, series::RUN_QUEUE).waits(),
        running_ns: totals.totals.running_ns,
        interrupted: data.interrupted.top(),
        threads: data
            .threads
            .iter()
            .map(|(tid, data)| thread(*tid, data))
            .collect(),
        chain: data.chain.report(),
    })
}

fn thread(tid: u32, data: &ThreadData) -> Thread {
    let causes = Cause::ALL
        .iter()
        .map(|cause| {
            let histogram: &Histogram = &data.causes[*cause as usize];
            let share = CauseShare {
                count: histogram.moments.count,
                total_ns: data.parts_ns[*cause as usize],
                max_ns: (histogram.moments.count > 0).then_some(histogram.moments.max),
            };
            (cause.name().to_owned(), share)
        })
        .collect();
    Thread {
        tid,
        comm: escape(&data.comm),
        episodes: data.delivery.moments.count,
        delivery: data.delivery.distribution(),
        causes,
    }
}

const _: () = assert!(CAUSES == Cause::ALL.len());
