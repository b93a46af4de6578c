//! What is said long before anything is ended, each thing once while it lasts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::history::Throttled;
use super::meter::{Memory, Sample};
use super::verdict::{Verdict, tests};
use super::{Breaker, View};
use crate::run::output::Seen;
use crate::units::{self, span};

/// The same is said again no sooner.
const AGAIN: Duration = Duration::from_secs(60);
/// The part of a limit at which it is said that it comes near.
const NEAR: f64 = 0.5;
/// The same for `--timeout`, which a healthy command may use up.
const NEAR_TIMEOUT: f64 = 0.8;

/// Remembers what was said.
#[derive(Debug)]
pub(super) struct Warner {
    throttled_share: f64,
    throttled_for: Duration,
    memory_share: f64,
    slow_after: Option<Duration>,
    idle_timeout: Option<Duration>,
    timeout: Option<Duration>,
    throttled: Once,
    memory: Once,
    refused: Once,
    /// Without progress for this long it is said next; while there is progress, as at first.
    next_slow: Option<Duration>,
    near_timeout: bool,
    oom_kills: u64,
    refusals: u64,
}

/// Something that is said once while it lasts, and not too often.
#[derive(Debug, Default)]
struct Once {
    lasts: bool,
    said: Option<Instant>,
}

impl Once {
    /// Whether to say it now.
    fn now(&mut self, holds: bool, now: Instant) -> bool {
        let begins = holds && !self.lasts;
        self.lasts = holds;
        let again = self
            .said
            .is_none_or(|said| now.saturating_duration_since(said) >= AGAIN);
        if begins && again {
            self.said = Some(now);
            return true;
        }
        // What was not said because it was too soon still can be.
        if begins {
            self.lasts = false;
        }
        false
    }
}

impl Warner {
    pub fn new(breaker: &Breaker) -> Self {
        let first = [
            breaker.slow_after,
            breaker.idle_timeout.map(|limit| limit.mul_f64(NEAR)),
        ];
        Self {
            throttled_share: breaker.throttled_share,
            throttled_for: breaker.throttled_for,
            memory_share: breaker.memory_share,
            slow_after: first.into_iter().flatten().min(),
            idle_timeout: breaker.idle_timeout,
            timeout: breaker.timeout,
            throttled: Once::default(),
            memory: Once::default(),
            refused: Once::default(),
            next_slow: None,
            near_timeout: false,
            oom_kills: 0,
            refusals: 0,
        }
    }

    /// Whether something may soon be said of a command that has been `idle` for so long.
    pub fn is_suspect(&self, idle: Duration, elapsed: Duration) -> bool {
        let near = |limit: Duration| elapsed >= limit.mul_f64(NEAR_TIMEOUT);
        self.slow_after.is_some_and(|first| idle >= first / 2) || self.timeout.is_some_and(near)
    }

    /// Says what there is to say.
    pub fn warn(&mut self, view: &View<'_>, seen: &Seen, say: &mut dyn FnMut(&str)) {
        if let Some(last) = view.history.last() {
            self.warn_of_events(last, say);
        }
        // Only over the whole of the time.
        let throttled = view
            .history
            .throttled(self.throttled_for)
            .filter(|_| view.history.span() >= self.throttled_for)
            .filter(|found| found.share > self.throttled_share);
        if self.throttled.now(throttled.is_some(), view.now)
            && let Some(found) = throttled
        {
            let words = throttled_words(&found, Some(view.meter.quota(found.index)));
            say(&format!(
                "slow: in the last {} {words}",
                span(self.throttled_for)
            ));
        }
        let memory = view
            .history
            .last()
            .and_then(|sample| sample.memory.as_ref());
        let memory = memory.filter(|memory| memory.share() > self.memory_share);
        if self.memory.now(memory.is_some(), view.now)
            && let Some(memory) = memory
        {
            say(&format!("slow: {}", memory_words(memory)));
        }
        self.warn_of_slowness(view, seen, say);
    }

    /// Says what the kernel did to the command.
    pub fn warn_of_events(&mut self, last: &Sample, say: &mut dyn FnMut(&str)) {
        let kills = last.oom_kills.saturating_sub(self.oom_kills);
        if kills > 0 {
            self.oom_kills = last.oom_kills;
            let limit = last.memory.as_ref().map_or_else(String::new, |memory| {
                format!(" (the limit is {})", bytes(memory.limit))
            });
            say(&format!(
                "out of memory: the kernel killed {kills} of the command's processes{limit}"
            ));
        }
        let refused = last.refused.saturating_sub(self.refusals);
        if self.refused.now(refused > 0, last.at) {
            self.refusals = last.refused;
            let limit = last.tasks.map_or_else(String::new, |(_, limit)| {
                format!(" (the limit is {limit} tasks)")
            });
            say(&format!("out of tasks: {}{limit}", refused_words(refused)));
            self.refused.lasts = false;
        }
    }

    fn warn_of_slowness(&mut self, view: &View<'_>, seen: &Seen, say: &mut dyn FnMut(&str)) {
        let running = || {
            let running = Verdict::tests(&seen.running(), view.now);
            if running.is_empty() {
                String::new()
            } else {
                format!("; running: {}", tests(&running))
            }
        };
        if let Some(limit) = self.timeout
            && !self.near_timeout
            && view.elapsed >= limit.mul_f64(NEAR_TIMEOUT)
        {
            self.near_timeout = true;
            let left = limit.saturating_sub(view.elapsed);
            say(&format!(
                "slow: --timeout {} ends it in {}{}",
                span(limit),
                span(left),
                running()
            ));
        }
        let Some(first) = self.slow_after else {
            return;
        };
        if view.idle < first {
            self.next_slow = None;
        }
        let next = self.next_slow.unwrap_or(first);
        if view.idle >= next {
            self.next_slow = Some(next * 2);
            let ending = self.idle_timeout.map_or_else(String::new, |limit| {
                let left = limit.saturating_sub(view.idle);
                format!("; --idle-timeout ends it in {}", span(left))
            });
            say(&format!(
                "slow: no output, test event or useful CPU for {}{}{ending}",
                span(view.idle),
                running()
            ));
        }
    }
}

/// How a group was throttled.
pub(super) fn throttled_words(found: &Throttled, quota: Option<(PathBuf, Option<f64>)>) -> String {
    let Throttled {
        periods, of, share, ..
    } = found;
    let owner = match quota {
        Some((path, Some(quota))) => {
            format!(
                " (the quota of {} CPU is that of {})",
                units::cpus(quota),
                path.display()
            )
        }
        Some((path, None)) => format!(" (a quota above {})", path.display()),
        None => String::new(),
    };
    format!(
        "it was out of CPU quota {} of the time, in {periods} of {of} periods{owner}",
        units::percent(*share)
    )
}

/// How often no process or thread could be started.
pub(super) fn refused_words(refused: u64) -> String {
    match refused {
        1 => "a fork was refused".to_owned(),
        _ => format!("{refused} forks were refused"),
    }
}

/// How full the memory is.
pub(super) fn memory_words(memory: &Memory) -> String {
    format!(
        "{} of {} of memory are in use, {} (the limit of {})",
        bytes(memory.used),
        bytes(memory.limit),
        units::percent(memory.share()),
        memory.path.display()
    )
}

/// Bytes as `512 MiB`.
fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .iter()
        .find(|(shift, _)| bytes >> shift >= 10 || bytes == 1 << shift);
    match unit {
        Some((shift, unit)) => format!("{} {unit}", (bytes + (1 << (shift - 1))) >> shift),
        None => format!("{bytes} bytes"),
    }
}
