//! Arguments validated into a plan.

use std::path::PathBuf;
use std::time::Duration;

use gohang::btf::VMLINUX;
use gohang::probe::{LoadOptions, Precision};
use gohang::source::Selection;

use super::super::Failure;
use super::super::group::group;
use super::super::report::Display;
use super::super::report::args::Output;
use super::args::{SelectArgs, TraceArgs};

/// What `trace` does.
#[derive(Debug)]
pub(super) struct Plan {
    pub selection: Selection,
    pub load: LoadOptions,
    pub duration: Option<Duration>,
    pub interval: Option<Duration>,
    pub display: Display,
    pub stats: bool,
    pub self_stats: bool,
    pub record: Option<PathBuf>,
}

impl Plan {
    /// Checks what clap cannot.
    pub fn new(args: TraceArgs) -> Result<Self, Failure> {
        if args.display.output == Output::Json && args.interval.is_some() {
            return Err(Failure::usage(anyhow::anyhow!(
                "-o json prints one document at the end and cannot go with -i; use -o jsonl"
            )));
        }
        if args.record.is_some() && args.record == args.display.out {
            return Err(Failure::usage(anyhow::anyhow!(
                "--record and --out name the same file; give each its own"
            )));
        }
        if args.tuning.no_queue_hooks
            && args.tuning.throttle_source == Some(Precision::CfsRqOverlay)
        {
            return Err(Failure::usage(anyhow::anyhow!(
                "--throttle-source cfs-rq-overlay rests on the hooks that --no-queue-hooks does \
                 without; give one of the two"
            )));
        }
        let load = LoadOptions {
            ring_bytes: args.tuning.ring_bytes,
            max_threads: args.tuning.max_threads,
            max_run_queues: args.tuning.max_run_queues,
            btf: args.tuning.btf.unwrap_or_else(|| VMLINUX.into()),
            throttle: args.tuning.throttle_source,
            queue_hooks: !args.tuning.no_queue_hooks,
            fentry: !args.tuning.no_fentry,
            uprobes: !args.tuning.no_uprobes,
            object: args.tuning.object,
            ..LoadOptions::default()
        };
        Ok(Self {
            selection: selection(args.select)?,
            load,
            duration: args.duration,
            interval: args.interval,
            display: Display::new(args.display)?,
            stats: args.stats,
            self_stats: args.tuning.self_stats,
            record: args.record,
        })
    }
}

/// What the selection's options ask for.
pub(in super::super) fn selection(args: SelectArgs) -> Result<Selection, Failure> {
    let cgroups = args
        .cgroup
        .iter()
        .map(|text| group(text))
        .collect::<Result<_, _>>()?;
    if let Some(short) = args.container.iter().find(|id| id.len() < 6) {
        return Err(Failure::usage(anyhow::anyhow!(
            "container id {short} is too short: give at least 6 of its digits"
        )));
    }
    Ok(Selection {
        pids: args.pid.into_iter().collect(),
        comms: args.comm.into_iter().collect(),
        cgroups,
        containers: args.container.into_iter().collect(),
        units: args.unit.into_iter().collect(),
        non_go: args.non_go,
        by_hand: false,
    })
}
