//! What the watch knows, for the evidence.

use std::time::{Duration, Instant};

use super::meter::Sample;
use super::{Cause, JUST_BEFORE, Reason, Verdict, Watch};
use crate::run::evidence::{
    self, Counts, Evidence, Exceeded, MemoryUse, Progress, TasksUse, ThrottledBy, nanoseconds,
};
use crate::run::output::Streams;

impl Watch {
    /// Puts it into `evidence`, as of the decision at `now`.
    pub fn fill(
        &self,
        evidence: &mut Evidence,
        verdict: &Verdict,
        now: Instant,
        streams: &Streams,
    ) {
        let history = &self.history;
        let idle = self.idle(now);
        evidence.decided_ns = nanoseconds(self.since_start(now));
        evidence.exceeded = Some(exceeded(verdict));
        evidence.progress = Progress {
            elapsed_ns: nanoseconds(self.elapsed(now)),
            idle_ns: nanoseconds(idle),
            silent_ns: nanoseconds(now.saturating_duration_since(self.last_output)),
            cpus: history.cpus_used(idle.max(Duration::from_secs(1))),
            getting_on: verdict.cause == Cause::Slow,
            blind: streams.is_blind(),
        };
        evidence.place.levels = self.meter.levels();
        evidence.samples = history.samples().map(|s| self.sample(s)).collect();
        let within = idle.max(Duration::from_secs(1)).min(history.span());
        evidence.throttled = history
            .throttled_each(within)
            .into_iter()
            .map(|found| {
                let (path, quota_cpus) = self.meter.quota(found.index);
                let path = path.display().to_string();
                let own = evidence.place.levels.iter();
                let own = own
                    .filter(|level| level.own)
                    .any(|level| level.path == path);
                ThrottledBy {
                    path,
                    own,
                    quota_cpus,
                    within_ns: nanoseconds(within),
                    periods: found.periods,
                    of: found.of,
                    share: found.share,
                }
            })
            .collect();
        let last = history.last();
        let lately = |count: fn(&Sample) -> u64| history.growth(idle + JUST_BEFORE, count);
        evidence.counts = Counts {
            oom_kills: last.map_or(0, |sample| sample.oom_kills),
            oom_kills_lately: lately(|sample| sample.oom_kills),
            refused: last.map_or(0, |sample| sample.refused),
            refused_lately: lately(|sample| sample.refused),
            memory_hits: last.map_or(0, |sample| sample.memory_hits),
            memory_hits_lately: lately(|sample| sample.memory_hits),
        };
        evidence.tests = streams.seen().tests(now);
        evidence.tail = streams.seen().tail();
    }

    /// Adds what each process used last.
    pub fn add_shares(&self, processes: &mut [evidence::Process]) {
        for process in processes {
            process.cpus = self.work.share(process.pid);
        }
    }

    /// Files of the command's groups, as they are now.
    pub fn group_files(&self) -> Vec<(String, String)> {
        self.meter.files()
    }

    /// Since the command's start.
    pub fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    fn sample(&self, sample: &Sample) -> evidence::Sample {
        let throttling = sample.throttling.iter();
        evidence::Sample {
            at_ns: nanoseconds(self.since_start(sample.at)),
            used_ns: sample.used_ns,
            nr_throttled: throttling.clone().map(|level| level.throttled).collect(),
            throttled_ns: throttling.map(|level| level.throttled_ns).collect(),
            memory: sample.memory.as_ref().map(|memory| MemoryUse {
                path: memory.path.display().to_string(),
                used_bytes: memory.used,
                limit_bytes: memory.limit,
            }),
            tasks: sample
                .tasks
                .map(|(current, limit)| TasksUse { current, limit }),
            oom_kills: sample.oom_kills,
            memory_hits: sample.memory_hits,
            refused: sample.refused,
            output_bytes: sample.output_bytes,
        }
    }
}

/// What was exceeded. A stall's condition is the cause that was found with it.
fn exceeded(verdict: &Verdict) -> Exceeded {
    let (option, limit, stalled) = match verdict.reason {
        Reason::Timeout(limit) => ("--timeout", limit, false),
        Reason::Idle(limit) => ("--idle-timeout", limit, false),
        Reason::Stalled(limit) => ("--stall-window", limit, true),
    };
    let condition = match verdict.cause {
        _ if !stalled => None,
        Cause::Throttled => Some("throttled"),
        Cause::OutOfMemory => Some("out_of_memory"),
        Cause::MemoryPressure => Some("memory_pressure"),
        Cause::OutOfTasks => Some("out_of_tasks"),
        Cause::Busy | Cause::Waiting | Cause::Slow => None,
    };
    Exceeded {
        option: option.to_owned(),
        limit_ns: nanoseconds(limit),
        condition: condition.map(str::to_owned),
    }
}
