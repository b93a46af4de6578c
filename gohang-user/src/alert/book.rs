//! What was raised: one alert a rule and thread, the worst of its findings,
//! with a limit on how often it is told.

use std::collections::BTreeMap;

use super::{Finding, Rule, Thresholds, rules};
use crate::event::{Episode, ProcessId};
use crate::report::Alert;

/// An alert is told again only after this long, if it got worse.
const TELL_EVERY_NS: u64 = 10_000_000_000;
/// Most alerts that are kept.
const MAX_ALERTS: usize = 4096;

type Key = (&'static str, ProcessId, u32);

#[derive(Debug)]
struct Entry {
    finding: Finding,
    goid: Option<u64>,
    since_ns: u64,
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

    /// Lets every rule look at an episode; `wall` turns CLOCK_MONOTONIC ns into
    /// an RFC 3339 time. Returns what is to be told now.
    pub fn look(&mut self, episode: &Episode, wall: &dyn Fn(u64) -> String) -> Vec<Raised> {
        let mut raised = Vec::new();
        for index in 0..self.rules.len() {
            let Some(finding) = self.rules[index].look(episode, &self.thresholds) else {
                continue;
            };
            let key = (self.rules[index].name(), episode.process, episode.tid);
            if self.note(key, finding, episode) {
                raised.push(Raised(alert(&key, &self.entries[&key], wall)));
            }
        }
        raised
    }

    /// Notes a finding; true if it is to be told.
    fn note(&mut self, key: Key, finding: Finding, episode: &Episode) -> bool {
        let now = episode.end_ns;
        if let Some(entry) = self.entries.get_mut(&key) {
            // A pending signal is looked at again and again: one finding.
            if episode.outcome.is_delivered() || entry.since_ns != episode.sent_ns {
                entry.count += 1;
            }
            let worse = finding.weight > entry.finding.weight;
            if worse {
                entry.finding = finding;
                entry.goid = episode.goid;
            }
            let tell = entry.finding.weight > entry.told_weight.saturating_mul(2)
                && now.saturating_sub(entry.told_ns) >= TELL_EVERY_NS;
            if tell {
                entry.told_ns = now;
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
            goid: episode.goid,
            since_ns: episode.sent_ns,
            count: 1,
            told_ns: now,
            told_weight,
        };
        self.entries.insert(key, entry);
        true
    }

    /// Drops what was noted of a process that is not traced after all.
    pub fn forget(&mut self, process: ProcessId) {
        self.entries.retain(|(_, of, _), _| *of != process);
    }

    /// Everything, most important first.
    #[must_use]
    pub fn alerts(&self, wall: &dyn Fn(u64) -> String) -> Vec<Alert> {
        let mut all: Vec<(&Key, &Entry)> = self.entries.iter().collect();
        all.sort_by_key(|(_, entry)| {
            std::cmp::Reverse((entry.finding.severity, entry.finding.weight, entry.count))
        });
        all.into_iter()
            .map(|(key, entry)| alert(key, entry, wall))
            .collect()
    }
}

fn alert(key: &Key, entry: &Entry, wall: &dyn Fn(u64) -> String) -> Alert {
    let (rule, process, tid) = key;
    Alert {
        rule: (*rule).to_owned(),
        severity: entry.finding.severity,
        pid: process.pid,
        tid: Some(*tid),
        goid: entry.goid,
        since_ns: entry.since_ns,
        wall: wall(entry.since_ns),
        count: entry.count,
        headline: entry.finding.headline.clone(),
        evidence: entry.finding.evidence.clone(),
        advice: entry.finding.advice.to_owned(),
    }
}
