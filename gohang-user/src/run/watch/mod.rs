//! Watching a command: whether it gets on, what keeps it from that, and when it is enough.
//!
//! Progress is output, an event of a test, or CPU time with a sign of work (see [`work`]).
//! Three things end a command: `--timeout`; no progress for `--idle-timeout`; and no progress
//! for `--stall-window` while it was throttled, short of memory, refused new tasks or partly
//! killed for want of memory. Each of those conditions alone is only said: a command that is
//! throttled nine tenths of the time may be slow and healthy.

mod doubt;
mod history;
mod known;
mod meter;
mod pace;
mod verdict;
mod warn;
mod work;

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::time::{Duration, Instant};

use super::breaker::Breaker;
use super::output::{Seen, Streams};
use super::place::Place;
use crate::cgroup::{CgroupError, CgroupLayout};
use crate::process::ProcRoot;
use crate::units::span;

use doubt::{Doubt, Look};
use history::History;
use meter::Meter;
pub(super) use pace::Pacer;
pub use verdict::{Cause, Reason, Verdict};
use warn::Warner;
use work::{Done, Work};

/// A part of the quota from which CPU time can be progress, where the quota is small.
const USEFUL_PART_OF_QUOTA: f64 = 0.2;
/// Events up to this long before the last progress belong to what came after it.
const JUST_BEFORE: Duration = Duration::from_secs(10);
/// From this part of a CPU on a command that gets nothing done is busy.
const BUSY: f64 = 0.1;
/// The part of the quota for it.
const BUSY_PART_OF_QUOTA: f64 = 0.5;

/// A command that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    breaker: Breaker,
    meter: Meter,
    alarms: Vec<File>,
    work: Work,
    history: History,
    warner: Warner,
    doubt: Doubt,
    started: Instant,
    last_tick: Instant,
    last_output: Instant,
    last_work: Instant,
    /// How long it stood still together with gohang.
    paused: Duration,
    /// Nanoseconds of CPU time a second that can be progress.
    useful_cpu_ns: u64,
    /// CPU time of its processes since the watch began, where no group counts it.
    spent_ns: u64,
    /// All that was done in the last look.
    last_done: Done,
}

impl Watch {
    /// Of the command in process `pid`, started at `now`. `own`: its groups hold nothing else.
    /// `test_limit`: its own limit on a test binary.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn new(
        breaker: &Breaker,
        layout: &CgroupLayout,
        proc: &ProcRoot,
        pid: u32,
        own: bool,
        test_limit: Option<Duration>,
        now: Instant,
    ) -> Result<Self, CgroupError> {
        let mut meter = Meter::new(layout, proc, pid, own)?;
        let quota = (0..).map_while(|index| {
            let (path, quota) = meter.quota(index);
            (!path.as_os_str().is_empty()).then_some(quota)
        });
        let quota = quota.flatten().fold(f64::INFINITY, f64::min);
        let useful = breaker.useful_cpu.min(quota * USEFUL_PART_OF_QUOTA);
        // What was just before the last progress counts too.
        let mut history = History::new(breaker.looks_back() + JUST_BEFORE);
        let first = meter.sample(now);
        let doubt = Doubt::new(breaker, test_limit, &first);
        history.push(first);
        let alarms = meter.alarms();
        // The first reading arms them.
        alarms.iter().for_each(read);
        Ok(Self {
            alarms,
            meter,
            work: Work::new(proc.clone(), now),
            history,
            warner: Warner::new(breaker),
            doubt,
            started: now,
            last_tick: now,
            last_output: now,
            last_work: now,
            paused: Duration::ZERO,
            useful_cpu_ns: (useful * 1e9) as u64,
            spent_ns: 0,
            last_done: Done::default(),
            breaker: breaker.clone(),
        })
    }

    /// When the next look is due.
    pub fn next_tick(&self) -> Instant {
        let next = self.last_tick + self.breaker.sample_every;
        let at = |limit: Duration| self.started + self.paused + limit;
        let doubt = self.doubt.after().map(at);
        let doubt = doubt.filter(|at| self.last_tick < *at);
        let end = self.breaker.timeout.map(at);
        [doubt, end].into_iter().flatten().fold(next, Instant::min)
    }

    /// Looks, says what is worth saying, and judges.
    pub fn tick(
        &mut self,
        now: Instant,
        place: &dyn Place,
        streams: &mut Streams,
        say: &mut dyn FnMut(&str),
    ) -> Option<Verdict> {
        self.account_for_stops(now);
        self.last_tick = now;
        streams.look(now);
        let output = streams.seen().last_output();
        if output > self.last_output {
            self.last_output = output;
        } else {
            self.look_at_work(now, place, streams.is_blind());
        }
        let mut sample = self.meter.sample(now);
        if sample.used_ns.is_none() {
            sample.used_ns = Some(self.spent_ns);
        }
        sample.output_bytes = streams.seen().total_bytes();
        self.history.push(sample);
        let view = View {
            now,
            elapsed: self.elapsed(now),
            idle: self.idle(now),
            silent: now.saturating_duration_since(self.last_output),
            history: &self.history,
            meter: &self.meter,
        };
        let exceeded = self.exceeded(&view);
        if exceeded.is_some() {
            self.history
                .last()
                .into_iter()
                .for_each(|sample| self.warner.warn_of_events(sample, say));
        } else {
            self.warner.warn(&view, streams.seen(), say);
        }
        exceeded.map(|(reason, certain)| self.verdict(reason, certain, now, streams))
    }

    /// Whether there has been no progress for half as long as until that is said, or
    /// `--timeout` comes near.
    pub fn is_suspect(&self, now: Instant) -> bool {
        self.warner.is_suspect(self.idle(now), self.elapsed(now))
    }

    /// Whether there is a first sign that a verdict may be needed.
    pub fn is_doubtful(&self, now: Instant, seen: &Seen) -> bool {
        let since = || seen.longest_running();
        let test = self.doubt.is_about_tests().then(since).flatten();
        self.history.last().is_some_and(|sample| {
            self.doubt.is_raised(&Look {
                elapsed: self.elapsed(now),
                idle: self.idle(now),
                test: test.map(|since| now.saturating_duration_since(since)),
                sample,
            })
        })
    }

    /// Files of which a change (`POLLPRI`) is worth a look at once.
    pub fn alarms(&self) -> &[File] {
        &self.alarms
    }

    /// Looks at once, and says what the kernel did.
    pub fn alarm(&mut self, now: Instant, say: &mut dyn FnMut(&str)) {
        self.alarms.iter().for_each(read);
        self.say_events(now, say);
    }

    /// At the command's own end: what has happened since the last look is said.
    pub fn end(&mut self, now: Instant, streams: &mut Streams, say: &mut dyn FnMut(&str)) {
        streams.look(now);
        self.say_events(now, say);
    }

    fn say_events(&mut self, now: Instant, say: &mut dyn FnMut(&str)) {
        let sample = self.meter.sample(now);
        self.warner.warn_of_events(&sample, say);
        self.history.push(sample);
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
            .saturating_sub(self.paused)
    }

    fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_output.max(self.last_work))
    }

    /// A job that was stopped (Ctrl-Z) stood still together with gohang: that time counts for
    /// nothing.
    fn account_for_stops(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last_tick);
        let usual = self.breaker.sample_every * 5 + Duration::from_secs(2);
        if gap > usual {
            self.paused += gap;
            self.last_output += gap;
            self.last_work += gap;
            self.history.shift(gap);
        }
    }

    fn look_at_work(&mut self, now: Instant, place: &dyn Place, blind: bool) {
        let Ok(pids) = place.processes() else {
            return;
        };
        let Some(done) = self.work.look(&pids, now) else {
            return;
        };
        self.spent_ns = self.spent_ns.saturating_add(done.activity.cpu_ns);
        self.last_done = done;
        if blind && done.has_written() {
            self.last_output = now;
        }
        if done.is_work(self.useful_cpu_ns) {
            self.last_work = now;
        }
    }

    /// What is exceeded, and the cause where the threshold is one of that cause.
    fn exceeded(&self, view: &View<'_>) -> Option<(Reason, Option<Cause>)> {
        let breaker = &self.breaker;
        if let Some(limit) = breaker.timeout.filter(|limit| view.elapsed >= *limit) {
            return Some((Reason::Timeout(limit), None));
        }
        if let Some(limit) = breaker.idle_timeout.filter(|limit| view.idle >= *limit) {
            return Some((Reason::Idle(limit), None));
        }
        let window = breaker.stall_window?;
        let stalled = Reason::Stalled(window);
        if view.idle >= window {
            let history = view.history;
            let since = view.idle + JUST_BEFORE;
            if history.growth(since, |sample| sample.oom_kills) > 0 {
                return Some((stalled, Some(Cause::OutOfMemory)));
            }
            let throttled = history.throttled(window);
            if throttled.is_some_and(|found| found.periods >= breaker.throttled_periods) {
                return Some((stalled, Some(Cause::Throttled)));
            }
            let hit = history.growth(since, |sample| sample.memory_hits) > 0;
            if hit && view.memory_share() >= breaker.memory_share {
                return Some((stalled, Some(Cause::MemoryPressure)));
            }
        }
        // Trying to fork is no progress where that is refused.
        if view.silent >= window && view.history.growth(window, |sample| sample.refused) > 0 {
            return Some((stalled, Some(Cause::OutOfTasks)));
        }
        None
    }

    fn verdict(
        &self,
        reason: Reason,
        certain: Option<Cause>,
        now: Instant,
        streams: &Streams,
    ) -> Verdict {
        let history = &self.history;
        let idle = self.idle(now);
        let since = idle + JUST_BEFORE;
        // What was before the last progress did not keep it from getting on.
        let throttled = history.throttled(match reason {
            Reason::Timeout(_) if idle < self.breaker.throttled_for => self.breaker.throttled_for,
            _ => idle,
        });
        let used = history.cpus_used(idle.max(Duration::from_secs(1)));
        let memory = history.last().and_then(|sample| sample.memory.as_ref());
        let oom_kills = history.growth(since, |sample| sample.oom_kills);
        let refused = history.growth(since, |sample| sample.refused);
        let quota = throttled.map(|found| self.meter.quota(found.index));
        let is_throttled = throttled
            .is_some_and(|found| found.share >= self.breaker.throttled_share && found.periods > 0);
        let hit = history.growth(since, |sample| sample.memory_hits) > 0;
        let is_short = hit && memory.is_some_and(|m| m.share() >= self.breaker.memory_share);
        let recent = (self.elapsed(now) / 4).clamp(self.breaker.sample_every, JUST_BEFORE);
        let getting_on = idle < recent && !matches!(reason, Reason::Idle(_));
        let busy_from = quota
            .as_ref()
            .and_then(|(_, quota)| *quota)
            .map_or(BUSY, |quota| BUSY.min(quota * BUSY_PART_OF_QUOTA));
        let cause = certain.unwrap_or(match () {
            () if oom_kills > 0 => Cause::OutOfMemory,
            () if refused > 0 => Cause::OutOfTasks,
            () if is_throttled => Cause::Throttled,
            () if is_short => Cause::MemoryPressure,
            () if getting_on => Cause::Slow,
            () if used.is_some_and(|used| used >= busy_from) => Cause::Busy,
            () => Cause::Waiting,
        });
        let mut evidence = Vec::new();
        if idle >= Duration::from_secs(1) {
            evidence.push(format!(
                "no output, test event or useful CPU for {}",
                span(idle)
            ));
        }
        if oom_kills > 0 {
            evidence.push(format!("the kernel killed {oom_kills} of its processes"));
        }
        if refused > 0 {
            evidence.push(warn::refused_words(refused));
        }
        if let Some(found) = throttled.filter(|_| is_throttled || cause == Cause::Throttled) {
            evidence.push(warn::throttled_words(&found, quota));
        }
        if let Some(memory) = memory.filter(|m| m.share() >= self.breaker.memory_share) {
            evidence.push(warn::memory_words(memory));
        }
        if let Some(used) = used {
            evidence.push(format!("it used {used:.2} of a CPU"));
        }
        Verdict {
            reason,
            cause,
            evidence,
            running: Verdict::tests(&streams.seen().running(), now),
            goroutines: Vec::new(),
        }
    }
}

/// Reads a file to its end; what is in it is read again with all others.
fn read(mut file: &File) {
    let mut text = [0; 512];
    let _ = file.rewind();
    while let Ok(1..) = file.read(&mut text) {}
}

/// What warnings and judgements rest on.
struct View<'a> {
    now: Instant,
    /// Since the start.
    elapsed: Duration,
    /// Since the last progress.
    idle: Duration,
    /// Since the last output.
    silent: Duration,
    history: &'a History,
    meter: &'a Meter,
}

impl View<'_> {
    fn memory_share(&self) -> f64 {
        let memory = self
            .history
            .last()
            .and_then(|sample| sample.memory.as_ref());
        memory.map_or(0.0, meter::Memory::share)
    }
}
