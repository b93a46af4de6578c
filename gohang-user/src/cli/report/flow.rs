//! From a source's items to the report: aggregation, rules, output.

use std::io::{self, Write};

use gohang::aggregate::{Aggregate, Context, Groups};
use gohang::alert::{Book, Raised, name_senders};
use gohang::event::{Episode, Event};
use gohang::gate::{self, Gate};
use gohang::report::{Moment, Report};
use gohang::source::recording::{Begin, Totals};
use gohang::source::{Item, Taken};

use super::super::{Exit, Failure};
use super::display::Display;
use super::output::Output;
use super::writer::Writer;

/// What comes behind a source.
pub struct Flow {
    aggregate: Aggregate,
    book: Book,
    output: Output,
    events: bool,
    gates: Vec<Gate>,
    start: Moment,
}

/// A CLOCK_MONOTONIC time as RFC 3339, by the clock pair of the start.
fn wall(start: Moment) -> impl Fn(u64) -> String {
    move |mono_ns| start.wall_of(mono_ns)
}

impl Flow {
    /// Nothing seen yet; what is printed goes to `writer`, and what a slow
    /// reader does not take is dropped, or with `patient` waited for.
    pub fn new(
        display: &Display,
        writer: Box<dyn Write + Send>,
        patient: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            aggregate: Aggregate::default(),
            book: Book::new(display.thresholds),
            output: Output::new(display, Writer::new(writer)?, patient),
            events: display.events,
            gates: display.gates.clone(),
            start: Moment::default(),
        })
    }

    /// The window has opened.
    pub fn begin(&mut self, start: Moment) {
        self.start = start;
        self.output.begin(start.mono_ns);
    }

    /// Whether the reader is gone.
    pub fn is_closed(&self) -> bool {
        self.output.is_closed()
    }

    /// Hands on what has been formatted.
    pub fn flush(&mut self) {
        self.output.flush();
    }

    /// Takes what a source yields.
    pub fn take(&mut self, item: &Item, groups: &mut dyn Groups) {
        self.aggregate.take(item);
        self.tell(|book, wall| book.take(item, wall));
        match item {
            Item::Event(Event::Episode(episode)) => self.print(episode, groups),
            Item::Event(Event::Request(request)) if self.events => self.output.request(request),
            Item::Event(Event::Stop(stop)) if self.events => self.output.stop(stop),
            _ => {}
        }
    }

    /// Tells what the rules find in an episode, ended or pending.
    pub fn raise(&mut self, episode: &Episode) {
        self.tell(|book, wall| book.look(episode, wall));
    }

    /// Tells what the book says is to be told.
    fn tell(&mut self, says: impl FnOnce(&mut Book, &dyn Fn(u64) -> String) -> Vec<Raised>) {
        for raised in says(&mut self.book, &wall(self.start)) {
            self.output.alert(&raised.0);
        }
    }

    fn print(&mut self, episode: &Episode, groups: &mut dyn Groups) {
        if self.events {
            let path = episode.cgroup_id.and_then(|id| groups.path(id));
            self.output.episode(episode, path.as_deref());
        }
    }

    /// Takes the episodes that are pending at the end, which is `now_ns`.
    pub fn pending_at_end(&mut self, pending: &[Episode], now_ns: u64, groups: &mut dyn Groups) {
        self.aggregate.pending_at_end(pending);
        for episode in pending {
            self.raise(episode);
            self.print(episode, groups);
        }
        self.tell(|book, wall| book.end(None, now_ns, wall));
        self.output.flush();
    }

    /// The report as of the totals.
    pub fn report(
        &mut self,
        begin: &Begin,
        totals: Totals,
        taken: Taken,
        groups: &mut dyn Groups,
    ) -> Report {
        let mut alerts = self.book.alerts(&wall(self.start));
        name_senders(&mut alerts, &mut |pid| groups.sender(pid));
        let context = Context {
            output_dropped: self.output.dropped(),
            alerts,
            ..Context::new(begin, totals, taken)
        };
        let mut report = self.aggregate.report(context, groups);
        report.gates = gate::evaluate(&self.gates, &report);
        report
    }

    /// Shows the figures so far.
    pub fn interval(&mut self, report: Report) -> Result<(), Failure> {
        self.output.interval(report)?;
        self.output.flush();
        Ok(())
    }

    /// Prints the report, the last thing on stdout, and then the gates that
    /// failed. Of an incomplete report, what need not add up is not called broken.
    pub fn end(self, report: &Report, complete: bool) -> Result<Exit, Failure> {
        let printed = self.output.end(report, complete);
        let lines = report
            .gates
            .iter()
            .filter_map(|gate| gate::failure(gate).or_else(|| gate::unchecked(gate)));
        for line in lines {
            // A closed stderr does not change the outcome.
            let _ = writeln!(io::stderr(), "gohang: {line}");
        }
        match printed? {
            Exit::Ok if report.gates.iter().any(|gate| gate.failed) => Ok(Exit::Failed),
            exit => Ok(exit),
        }
    }
}
