//! What was raised: one alert a rule and thread or process, the worst of its
//! findings, with a limit on how often it is told.

use std::collections::BTreeMap;

use super::{Finding, Rule, Scope, Thresholds, rank, rules};
use crate::event::{Episode, Event, ProcessEvent, ProcessId, Request, Stop};
use crate::report::Alert;
use crate::source::{Facts, Item, SenderUse, same_start};

/// An alert is told again only after this long, if it got worse.
const TELL_EVERY_NS: u64 = 10_000_000_000;
/// Most alerts that are kept.
const MAX_ALERTS: usize = 4096;

/// Rule, process, thread if it is about one.
type Key = (&'static str, ProcessId, Option<u32>);

/// Turns CLOCK_MONOTONIC ns into an RFC 3339 time.
type Wall<'a> = &'a dyn Fn(u64) -> String;

/// What rules are shown, and when it was.
struct About {
    process: ProcessId,
    tid: Option<u32>,
    goid: Option<u64>,
    since_ns: u64,
    now_ns: u64,
    /// Seen once and for all.
    is_over: bool,
}

/// A finding and when it was made.
struct Sighting {
    finding: Finding,
    goid: Option<u64>,
    /// When what was found began, CLOCK_MONOTONIC ns.
    since_ns: u64,
    /// When it was seen.
    now_ns: u64,
    /// Seen once and for all; else looked at again while it lasts.
    is_over: bool,
}

#[derive(Debug)]
struct Entry {
    finding: Finding,
    goid: Option<u64>,
    since_ns: u64,
    /// Begin of what was found last.
    last_since_ns: u64,
    count: u64,
    told_ns: u64,
    told_weight: u64,
}

/// Alerts so far.
#[derive(Debug)]
pub struct Book {
    rules: Vec<Box<dyn Rule>>,
    thresholds: Thresholds,
    entries: BTreeMap<Key, Entry>,
    /// Findings that were not kept because the book is full.
    pub dropped: u64,
}

/// An alert to be told now.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised(pub Alert);

impl Book {
    /// An empty book with every rule.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            rules: rules(),
            thresholds,
            entries: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// Shows the rules what a source yields; as [`Book::look`].
    pub fn take(&mut self, item: &Item, wall: Wall) -> Vec<Raised> {
        match item {
            Item::Event(Event::Episode(episode)) => self.look(episode, wall),
            Item::Event(Event::Request(request)) => self.request(request, wall),
            Item::Event(Event::Stop(stop)) => self.stop(stop, wall),
            Item::Event(Event::Process(record)) if record.event == ProcessEvent::Exit => {
                self.end(Some(record.id), record.at_ns, wall)
            }
            Item::Found(facts) => self.found(facts, wall),
            Item::Foreign(id) => {
                self.forget(*id);
                Vec::new()
            }
            Item::Senders(senders) => senders
                .iter()
                .flat_map(|sender| self.sender(sender, wall))
                .collect(),
            Item::Event(Event::Process(_)) | Item::Ended(_) => Vec::new(),
        }
    }

    /// Lets every rule look at an episode; `wall` turns CLOCK_MONOTONIC ns into
    /// an RFC 3339 time. Returns what is to be told now.
    pub fn look(&mut self, episode: &Episode, wall: Wall) -> Vec<Raised> {
        let about = About {
            process: episode.process,
            tid: Some(episode.tid),
            goid: episode.goid,
            since_ns: episode.sent_ns,
            now_ns: episode.end_ns,
            is_over: episode.outcome.is_delivered(),
        };
        self.ask(about, wall, |rule, limits| rule.look(episode, limits))
    }

    /// Lets every rule look at a process that is traced from here on; as
    /// [`Book::look`].
    pub fn found(&mut self, facts: &Facts, wall: Wall) -> Vec<Raised> {
        let process = ProcessId {
            pid: facts.pid,
            start_ns: facts.start_ns.unwrap_or(facts.proc_start_ns),
        };
        let about = About {
            process,
            tid: None,
            goid: None,
            since_ns: facts.traced_since_ns,
            now_ns: facts.traced_since_ns,
            is_over: true,
        };
        self.ask(about, wall, |rule, limits| rule.found(facts, limits))
    }

    /// Lets every rule look at a request to yield that has ended; as [`Book::look`].
    pub fn request(&mut self, request: &Request, wall: Wall) -> Vec<Raised> {
        let about = About {
            process: request.process,
            tid: Some(request.tid),
            goid: request.goid,
            since_ns: request.first_ns,
            now_ns: request.end_ns,
            is_over: true,
        };
        self.ask(about, wall, |rule, limits| rule.request(request, limits))
    }

    /// Lets every rule look at a stop of the world; as [`Book::look`].
    pub fn stop(&mut self, stop: &Stop, wall: Wall) -> Vec<Raised> {
        let about = About {
            process: stop.process,
            tid: stop.last_tid,
            goid: stop.last_goid,
            since_ns: stop.begin_ns,
            now_ns: stop.end_ns(),
            is_over: true,
        };
        self.ask(about, wall, |rule, limits| rule.stop(stop, limits))
    }

    /// Lets every rule look at how a sending thread got to run; as [`Book::look`].
    pub fn sender(&mut self, sender: &SenderUse, wall: Wall) -> Vec<Raised> {
        let about = About {
            process: sender.process,
            tid: Some(sender.tid),
            goid: None,
            since_ns: sender.at_ns,
            now_ns: sender.at_ns,
            is_over: true,
        };
        self.ask(about, wall, |rule, limits| rule.sender(sender, limits))
    }

    /// Asks every rule, notes what it finds and returns what is to be told now.
    fn ask(
        &mut self,
        about: About,
        wall: Wall,
        mut ask: impl FnMut(&mut dyn Rule, &Thresholds) -> Option<Finding>,
    ) -> Vec<Raised> {
        let mut raised = Vec::new();
        for index in 0..self.rules.len() {
            let rule = self.rules[index].as_mut();
            let Some(finding) = ask(rule, &self.thresholds) else {
                continue;
            };
            let (tid, goid) = match rule.scope() {
                Scope::Thread => (about.tid, about.goid),
                Scope::Process => (None, None),
            };
            let key = self.key(index, about.process, tid);
            let sighting = Sighting {
                goid,
                since_ns: finding.since_ns.unwrap_or(about.since_ns),
                is_over: finding.since_ns.is_none() && about.is_over,
                finding,
                now_ns: about.now_ns,
            };
            if self.note(key, sighting) {
                raised.push(Raised(alert(&key, &self.entries[&key], wall)));
            }
        }
        raised
    }

    /// The key of a rule's alert: under the process's first known start time,
    /// which /proc rounds.
    fn key(&self, rule: usize, process: ProcessId, tid: Option<u32>) -> Key {
        let key = (self.rules[rule].name(), process, tid);
        // What is known of threads comes from the kernel, which does not round.
        if tid.is_some() || self.entries.contains_key(&key) {
            return key;
        }
        let at = |start_ns| ProcessId {
            start_ns,
            ..process
        };
        self.entries
            .range((key.0, at(0), None)..=(key.0, at(u64::MAX), None))
            .map(|(known, _)| *known)
            .find(|(_, known, _)| same_start(known, process.start_ns))
            .unwrap_or(key)
    }

    /// Notes a finding; true if it is to be told.
    fn note(&mut self, key: Key, sighting: Sighting) -> bool {
        let Sighting {
            finding,
            goid,
            since_ns,
            now_ns,
            is_over,
        } = sighting;
        if let Some(entry) = self.entries.get_mut(&key) {
            // A pending signal, or whatever a rule dates itself, is looked at again and
            // again: one finding.
            if is_over || entry.last_since_ns != since_ns {
                entry.count += 1;
            }
            entry.last_since_ns = since_ns;
            let worse = finding.weight > entry.finding.weight;
            if worse {
                entry.finding = finding;
                entry.goid = goid;
            }
            let tell = entry.finding.weight > entry.told_weight.saturating_mul(2)
                && now_ns.saturating_sub(entry.told_ns) >= TELL_EVERY_NS;
            if tell {
                entry.told_ns = now_ns;
                entry.told_weight = entry.finding.weight;
            }
            return tell;
        }
        if self.entries.len() >= MAX_ALERTS {
            self.dropped += 1;
            return false;
        }
        let told_weight = finding.weight;
        let entry = Entry {
            finding,
            goid,
            since_ns,
            last_since_ns: since_ns,
            count: 1,
            told_ns: now_ns,
            told_weight,
        };
        self.entries.insert(key, entry);
        true
    }

    /// Drops what was noted of a process that is not traced after all.
    pub fn forget(&mut self, process: ProcessId) {
        self.entries
            .retain(|(_, of, _), _| of.pid != process.pid || !same_start(of, process.start_ns));
        for rule in &mut self.rules {
            // Nobody wants to know.
            drop(rule.end(Some(process), &self.thresholds));
        }
    }

    /// A process has ended at `now_ns`, or, of none, tracing has: its alerts
    /// stay. Returns what is to be told now.
    pub fn end(&mut self, process: Option<ProcessId>, now_ns: u64, wall: Wall) -> Vec<Raised> {
        let mut raised = Vec::new();
        for index in 0..self.rules.len() {
            for (process, finding) in self.rules[index].end(process, &self.thresholds) {
                let key = self.key(index, process, None);
                let sighting = Sighting {
                    goid: None,
                    since_ns: finding.since_ns.unwrap_or(now_ns),
                    is_over: finding.since_ns.is_none(),
                    finding,
                    now_ns,
                };
                if self.note(key, sighting) {
                    raised.push(Raised(alert(&key, &self.entries[&key], wall)));
                }
            }
        }
        raised
    }

    /// Everything, most important first.
    #[must_use]
    pub fn alerts(&self, wall: Wall) -> Vec<Alert> {
        let mut all: Vec<(&Key, &Entry)> = self.entries.iter().collect();
        rank::sort(&mut all, |(key, entry)| rank::Standing {
            process: key.1,
            rule: key.0,
            severity: entry.finding.severity,
            weight: entry.finding.weight,
            count: entry.count,
        });
        all.into_iter()
            .map(|(key, entry)| alert(key, entry, wall))
            .collect()
    }
}

fn alert(key: &Key, entry: &Entry, wall: Wall) -> Alert {
    let (rule, process, tid) = key;
    Alert {
        rule: (*rule).to_owned(),
        severity: entry.finding.severity,
        pid: process.pid,
        tid: *tid,
        goid: entry.goid,
        since_ns: entry.since_ns,
        wall: wall(entry.since_ns),
        count: entry.count,
        headline: entry.finding.headline.clone(),
        evidence: entry.finding.evidence.clone(),
        advice: entry.finding.advice.to_owned(),
    }
}
