//! Tracing what runs in a scenario's groups, as `gohang trace` does.

use std::time::{Duration, Instant};

use crate::aggregate::{Aggregate, Context, loss};
use crate::alert::{Book, Thresholds, name_senders};
use crate::cgroup::OwnGroup;
use crate::event::{Episode, Event, Request, Stop};
use crate::experiment::ExperimentError;
use crate::report::{Alert, Moment, Process, Report};
use crate::source::recording::Totals;
use crate::source::{Item, Live, LiveOptions, Selection, Source as _, monotonic_ns, now};

/// How often what is pending is looked at, as in `trace`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the last records may take to arrive.
const LAST_RECORDS: Duration = Duration::from_millis(500);

/// Whom to trace in the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// Go programs, as `trace` does.
    Go,
    /// Every program (`--non-go`).
    All,
}

/// A trace under way.
pub(super) struct Trace {
    live: Live,
    aggregate: Aggregate,
    book: Book,
    start: Moment,
    looked: Instant,
    episodes: Vec<Episode>,
    requests: Vec<Request>,
    stops: Vec<Stop>,
}

/// What it showed.
#[derive(Debug)]
pub(super) struct Traced {
    /// As `trace -o json` prints it, alerts and all.
    pub report: Report,
    /// Every episode, also those that were pending at the end.
    pub episodes: Vec<Episode>,
    /// Every request to yield that has ended.
    pub requests: Vec<Request>,
    /// Every stop of the world.
    pub stops: Vec<Stop>,
}

impl Trace {
    /// Attaches, and traces from here on whatever runs, or will run, in `groups` and those
    /// below them.
    pub(super) fn start(groups: &[&OwnGroup], whom: Whom) -> Result<Self, ExperimentError> {
        let selection = Selection {
            cgroups: groups.iter().map(|group| group.path().into()).collect(),
            non_go: whom == Whom::All,
            ..Selection::default()
        };
        let mut live = Live::start(LiveOptions {
            selection,
            ..LiveOptions::default()
        })?;
        let mut start = now();
        start.mono_ns = live.open()?;
        Ok(Self {
            live,
            aggregate: Aggregate::default(),
            book: Book::new(Thresholds::default()),
            start,
            looked: Instant::now(),
            episodes: Vec::new(),
            requests: Vec::new(),
            stops: Vec::new(),
        })
    }

    /// Takes what has arrived, and once a second looks at what is pending.
    pub(super) fn pump(&mut self) -> Result<(), ExperimentError> {
        self.take()?;
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            let wall = wall(self.start);
            for episode in self.live.pending(monotonic_ns())? {
                self.book.look(&episode, &wall);
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<(), ExperimentError> {
        let wall = wall(self.start);
        let mut items = Vec::new();
        self.live.drain(&mut items)?;
        for item in items {
            self.aggregate.take(&item);
            self.book.take(&item, &wall);
            match item {
                Item::Event(Event::Episode(episode)) => self.episodes.push(*episode),
                Item::Event(Event::Request(request)) => self.requests.push(request),
                Item::Event(Event::Stop(stop)) => self.stops.push(stop),
                _ => {}
            }
        }
        Ok(())
    }

    /// Detaches, takes the last records and reports.
    pub(super) fn finish(mut self) -> Result<Traced, ExperimentError> {
        self.live.probe_mut().detach()?;
        let end = now();
        self.take_last_records()?;
        let pending = self.live.pending(end.mono_ns)?;
        let wall = wall(self.start);
        self.aggregate.pending_at_end(&pending);
        for episode in &pending {
            self.book.look(episode, &wall);
        }
        self.book.end(None, end.mono_ns, &wall);
        self.episodes.extend(pending.iter().cloned());
        let totals = Totals {
            pending,
            ..self.live.totals(end)?
        };
        let mut alerts = self.book.alerts(&wall);
        let begin = self.live.begin(self.start);
        let taken = totals.taken;
        let groups = self.live.enricher();
        name_senders(&mut alerts, &mut |pid| {
            crate::aggregate::Groups::sender(groups, pid)
        });
        let context = Context {
            alerts,
            ..Context::new(&begin, totals, taken)
        };
        Ok(Traced {
            report: self.aggregate.report(context, groups),
            episodes: self.episodes,
            requests: self.requests,
            stops: self.stops,
        })
    }

    fn take_last_records(&mut self) -> Result<(), ExperimentError> {
        let begin = Instant::now();
        loop {
            self.take()?;
            let counters = self.live.counters()?;
            let loss = loss(&counters, &self.live.taken(), 0);
            if loss.submitted == loss.received || begin.elapsed() > LAST_RECORDS {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A CLOCK_MONOTONIC time as RFC 3339, by the clock pair of the start.
fn wall(start: Moment) -> impl Fn(u64) -> String {
    move |mono_ns| start.wall_of(mono_ns)
}

impl Traced {
    /// A process in the report.
    pub(super) fn process(&self, pid: u32) -> Result<&Process, ExperimentError> {
        let mut processes = self.report.processes.iter();
        let found = processes.find(|process| process.pid == pid);
        found.ok_or(ExperimentError::NotReported)
    }

    /// How many alerts of that rule there are.
    pub(super) fn alerts(&self, rule: &str) -> f64 {
        self.of_rule(rule).count() as f64
    }

    /// Alerts of a rule, most important first.
    pub(super) fn of_rule(&self, rule: &str) -> impl Iterator<Item = &Alert> {
        let alerts = self.report.alerts.iter();
        let rule = rule.to_owned();
        alerts.filter(move |alert| alert.rule == rule)
    }
}
