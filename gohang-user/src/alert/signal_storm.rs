//! `signal-storm`: far more preemption signals than a busy program needs.

use std::collections::{BTreeMap, BTreeSet};

use gohang_common::cause::Outcome;
use serde_json::{Value, json};

use super::{Explanation, Finding, Limit, Rule, Scope, Thresholds};
use crate::event::{Asker, Episode, ProcessId, Request};
use crate::report::{Alert, Severity};
use crate::units::percent;

/// Length of a window: sends are counted over one second.
const WINDOW_NS: u64 = 1_000_000_000;
/// Most processes with a window, threads of one, and senders of one.
const MAX_PROCESSES: usize = 16_384;
const MAX_THREADS: usize = 4096;
const MAX_SENDERS: usize = 64;
/// Senders that the evidence names.
const NAMED_SENDERS: usize = 4;

#[derive(Debug, Default)]
pub(super) struct SignalStorm {
    windows: BTreeMap<ProcessId, Window>,
}

/// A second of one process's signals, from the end of its first episode on.
#[derive(Debug)]
struct Window {
    begin_ns: u64,
    episodes: u64,
    coalesced: u64,
    threads: BTreeSet<u32>,
    /// Episodes by who sent the first signal, none the kernel.
    senders: BTreeMap<Option<u32>, u64>,
    /// Requests of the process itself that sent a signal, by who asked.
    askers: [u64; Asker::ALL.len()],
}

impl Window {
    fn new(begin_ns: u64) -> Self {
        Self {
            begin_ns,
            episodes: 0,
            coalesced: 0,
            threads: BTreeSet::new(),
            senders: BTreeMap::new(),
            askers: [0; Asker::ALL.len()],
        }
    }

    fn add(&mut self, episode: &Episode) {
        self.episodes += 1;
        self.coalesced = self.coalesced.saturating_add(in_window(episode));
        if self.threads.len() < MAX_THREADS {
            self.threads.insert(episode.tid);
        }
        if self.senders.len() < MAX_SENDERS || self.senders.contains_key(&episode.sender_pid) {
            *self.senders.entry(episode.sender_pid).or_insert(0) += 1;
        }
    }

    fn sends(&self) -> u64 {
        self.episodes.saturating_add(self.coalesced)
    }
}

/// Sends into an episode that fall into a window's length, if they came evenly.
fn in_window(episode: &Episode) -> u64 {
    let coalesced = u64::from(episode.coalesced);
    let length = episode.end_ns.saturating_sub(episode.sent_ns);
    if length <= WINDOW_NS {
        return coalesced;
    }
    let part = u128::from(coalesced) * u128::from(WINDOW_NS) / u128::from(length);
    part as u64
}

impl SignalStorm {
    /// Judges a second of signals.
    fn judge(process: ProcessId, window: &Window, limit: u64) -> Option<Finding> {
        let sends = window.sends();
        let threads = window.threads.len() as u64;
        if sends <= limit.saturating_mul(threads) {
            return None;
        }
        let mut senders: Vec<(Option<u32>, u64)> =
            window.senders.iter().map(|(pid, n)| (*pid, *n)).collect();
        senders.sort_by_key(|(_, episodes)| std::cmp::Reverse(*episodes));
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        let coalesced = share(window.coalesced, sends);
        let (main, of_main) = senders.first().copied().unwrap_or((None, 0));
        let (who, advice) = if main == Some(process.pid) {
            (
                "itself".to_owned(),
                "the runtime asks again and again: a goroutine is slow to stop (large copies, assembly, runtime code), or garbage collection never rests; look at gctrace=1, raise GOGC or GOMEMLIMIT, and cut large copies into pieces",
            )
        } else if let Some(pid) = main {
            (
                format!("process {pid}"),
                "another process sends SIGURG: stop it; Go takes each one for a request to preempt and interrupts the thread",
            )
        } else {
            (
                "the kernel".to_owned(),
                "the kernel sends SIGURG for out-of-band data: look for sockets with F_SETOWN that this process owns, and who sends urgent data to them",
            )
        };
        // A window is a second.
        let rate = sends;
        let named: Vec<Value> = senders
            .iter()
            .take(NAMED_SENDERS)
            .map(|(pid, episodes)| {
                json!({
                    "pid": pid,
                    "comm": Value::Null,
                    "self": *pid == Some(process.pid),
                    "episodes": episodes,
                })
            })
            .collect();
        let evidence = [
            ("sends_per_second", json!(rate)),
            ("limit_per_second_and_thread", json!(limit)),
            ("threads", json!(threads)),
            ("episodes", json!(window.episodes)),
            ("coalesced", json!(window.coalesced)),
            (
                "coalesced_share",
                json!((coalesced * 1000.0).round() / 1000.0),
            ),
            ("senders", Value::Array(named)),
            ("asked_by", asked_by(&window.askers)),
        ];
        Some(Finding {
            severity: Severity::Warning,
            headline: format!(
                "{rate} preemption signals a second to {threads} thread{}, {} of them while one was pending already; {} of those taken were sent by {who}",
                if threads == 1 { "" } else { "s" },
                percent(coalesced),
                percent(share(of_main, window.episodes)),
            ),
            evidence: evidence
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            advice,
            since_ns: Some(window.begin_ns),
            weight: rate / threads.max(1),
        })
    }
}

/// Askers by their names, those that asked; null if none is known.
fn asked_by(askers: &[u64]) -> Value {
    let known: BTreeMap<&str, u64> = Asker::ALL
        .iter()
        .zip(askers)
        .filter(|(_, count)| **count > 0)
        .map(|(asker, count)| (asker.name(), *count))
        .collect();
    if known.is_empty() {
        Value::Null
    } else {
        json!(known)
    }
}

/// Fills in the names of senders, which the records do not have.
pub fn name_senders(alerts: &mut [Alert], name: &mut dyn FnMut(u32) -> Option<String>) {
    for sender in alerts
        .iter_mut()
        .filter_map(|alert| alert.evidence.get_mut("senders"))
        .filter_map(Value::as_array_mut)
        .flatten()
    {
        let pid = sender["pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok());
        if let Some(name) = pid.and_then(&mut *name) {
            sender["comm"] = name.into();
        }
    }
}

impl Rule for SignalStorm {
    fn name(&self) -> &'static str {
        "signal-storm"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the process gets far more preemption signals than it needs",
            meaning: "A busy thread is preempted about every 10 ms, 100 times a second, and now and then by garbage collection. Each signal interrupts its thread for some microseconds. Far more of them take CPU time from the program, and are the sign of a goroutine that does not stop when asked, of garbage collection that never rests, or of somebody else who sends SIGURG.",
            detection: "sends (signals that became pending, and those coalesced into a pending one) of one second, divided by the number of threads that they went to, so that a program with many busy threads is no storm. A signal that is pending for longer counts with its part. Senders are those of the first send of each; with probes in the runtime, the evidence says which part of it asked (asked_by)",
            severity: "warning, always",
            limits: &[Limit {
                option: "--storm-rate",
                default: "1000",
                meaning: "most sends a second, for each thread that gets any, that are not reported",
            }],
            advice: "look at the evidence's senders. The process itself: find what is slow to stop (large copies, assembly) and how often garbage collection runs (gctrace=1). Another process: stop it. The kernel (null): sockets with urgent data and F_SETOWN.",
        }
    }

    fn scope(&self) -> Scope {
        Scope::Process
    }

    fn look(&mut self, episode: &Episode, thresholds: &Thresholds) -> Option<Finding> {
        let process = episode.process;
        if episode.outcome == Outcome::PendingAtEnd {
            // It is looked at again and again, and belongs to no window.
            if episode.end_ns.checked_sub(episode.sent_ns)? < WINDOW_NS {
                return None;
            }
            let mut window = Window::new(episode.sent_ns);
            window.add(episode);
            return Self::judge(process, &window, thresholds.storm_rate);
        }
        let at = episode.end_ns;
        let over = self
            .windows
            .get(&process)
            .is_some_and(|window| at.saturating_sub(window.begin_ns) >= WINDOW_NS);
        let finding = if over {
            let window = self.windows.remove(&process)?;
            Self::judge(process, &window, thresholds.storm_rate)
        } else {
            None
        };
        if self.windows.len() >= MAX_PROCESSES && !self.windows.contains_key(&process) {
            // Those of ended processes whose end was not seen.
            self.windows
                .retain(|_, window| at.saturating_sub(window.begin_ns) < WINDOW_NS);
        }
        if self.windows.len() < MAX_PROCESSES || self.windows.contains_key(&process) {
            self.windows
                .entry(process)
                .or_insert_with(|| Window::new(at))
                .add(episode);
        }
        finding
    }

    fn request(&mut self, request: &Request, _thresholds: &Thresholds) -> Option<Finding> {
        // To the window that its signal falls into, or nearly so.
        if request.sent_ns.is_some()
            && let Some(window) = self.windows.get_mut(&request.process)
        {
            window.askers[request.asker as usize] += 1;
        }
        None
    }

    fn end(
        &mut self,
        process: Option<ProcessId>,
        thresholds: &Thresholds,
    ) -> Vec<(ProcessId, Finding)> {
        let ended: Vec<(ProcessId, Window)> = match process {
            Some(process) => {
                let window = self.windows.remove(&process);
                window.into_iter().map(|window| (process, window)).collect()
            }
            None => std::mem::take(&mut self.windows).into_iter().collect(),
        };
        ended
            .iter()
            .filter_map(|(process, window)| {
                let finding = Self::judge(*process, window, thresholds.storm_rate)?;
                Some((*process, finding))
            })
            .collect()
    }
}
