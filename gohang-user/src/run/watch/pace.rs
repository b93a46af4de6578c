//! How a command gets on while something is tried.

use std::time::{Duration, Instant};

use super::Watch;
use super::work::{Done, Work};
use crate::process::ProcRoot;
use crate::run::evidence::Pace;
use crate::run::output::Streams;
use crate::run::place::Place;

/// So much more CPU time than before counts, with a sign of work, as getting on.
const FASTER: f64 = 1.5;

/// Measures from its beginning on.
#[derive(Debug)]
pub(in crate::run) struct Pacer {
    begun: Instant,
    used_ns: Option<u64>,
    output_bytes: u64,
    last_output: Instant,
    test_events: u64,
    work: Work,
    /// All that was done since.
    done: Done,
    useful_cpu_ns: u64,
    before: Pace,
    /// There was progress shortly before.
    getting_on: bool,
}

impl Pacer {
    /// Begins at `now`.
    pub fn begin(
        watch: &mut Watch,
        proc: &ProcRoot,
        place: &dyn Place,
        streams: &Streams,
        now: Instant,
        getting_on: bool,
    ) -> Self {
        let mut work = Work::new(proc.clone(), now);
        // The first look says where they are.
        let _ = work.look(&place.processes().unwrap_or_default(), now);
        Self {
            begun: now,
            used_ns: watch.meter.sample(now).used_ns,
            output_bytes: streams.seen().total_bytes(),
            last_output: streams.seen().last_output(),
            test_events: streams.seen().test_events(),
            work,
            done: Done::default(),
            useful_cpu_ns: watch.useful_cpu_ns,
            before: watch.pace_before(now),
            getting_on,
        }
    }

    /// How it got on before.
    pub fn before(&self) -> Pace {
        self.before
    }

    /// For how long it has been watched.
    pub fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    /// Looks: how it gets on since the beginning, and whether that is progress.
    pub fn look(
        &mut self,
        watch: &mut Watch,
        place: &dyn Place,
        streams: &Streams,
        now: Instant,
    ) -> (Pace, bool) {
        if let Some(done) = place
            .processes()
            .ok()
            .and_then(|pids| self.work.look(&pids, now))
        {
            self.done.activity += done.activity;
            self.done.started += done.started;
        }
        self.done.within = self.elapsed(now);
        let seconds = self.done.within.as_secs_f64().max(1e-3);
        let seen = streams.seen();
        let rate = |count: u64| count as f64 / seconds;
        let used = watch.meter.sample(now).used_ns;
        let used = used
            .zip(self.used_ns)
            .map_or(self.done.activity.cpu_ns, |(now, then)| {
                now.saturating_sub(then)
            });
        let output = seen.total_bytes() - self.output_bytes;
        let events = seen.test_events() - self.test_events;
        let pace = Pace {
            cpus: Some(used as f64 / 1e9 / seconds),
            output_bytes: rate(output),
            test_events: rate(events),
            calls: rate(self.done.activity.calls),
            faults: rate(self.done.activity.faults),
            started: rate(self.done.started),
        };
        let speaks = output > 0
            || events > 0
            || seen.last_output() > self.last_output
            || streams.is_blind() && self.done.has_written();
        let is_faster =
            pace.cpus.unwrap_or_default() >= FASTER * self.before.cpus.unwrap_or_default();
        let works = is_faster && self.done.is_work(self.useful_cpu_ns);
        let progress = if self.getting_on {
            is_faster && (speaks || works)
        } else {
            speaks || works
        };
        (pace, progress)
    }
}

impl Watch {
    /// How it got on before `now`, while idle.
    fn pace_before(&self, now: Instant) -> Pace {
        let idle = self.idle(now).max(Duration::from_secs(1));
        let within = idle.min(self.history.span());
        let seconds = within.as_secs_f64().max(1e-3);
        let done = &self.last_done;
        let looked = done.within.as_secs_f64();
        let rate = |count: u64| {
            if looked > 0.0 {
                count as f64 / looked
            } else {
                0.0
            }
        };
        Pace {
            cpus: self.history.cpus_used(within),
            output_bytes: self.history.growth(within, |s| s.output_bytes) as f64 / seconds,
            test_events: 0.0,
            calls: rate(done.activity.calls),
            faults: rate(done.activity.faults),
            started: rate(done.started),
        }
    }
}
