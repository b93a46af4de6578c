//! The traced window, from its opening to the report.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;

use gohang::aggregate::{Remembering, loss};
use gohang::event::Episode;
use gohang::probe::ProgramCost;
use gohang::report::{Moment, Report};
use gohang::source::recording::{Begin, Recorder, Totals};
use gohang::source::{Item, Live, Source as _, monotonic_ns, now};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::super::report::Flow;
use super::super::{Exit, Failure};
use super::keep::{Keeper, Place};
use super::plan::Plan;
use super::ticks::Ticks;

/// How often the ring is drained when it does not fill up before, and nobody executes a program:
/// both wake the reader. Most of what the process takes beside a busy Go service, whose work
/// empties the caches, is for a round, not for its records (`cargo xtask bench parts`); hits of
/// probes are looked at as often.
const DRAIN_EVERY: Duration = Duration::from_millis(200);
/// How often what is pending is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the last records may take to arrive after the programs are gone.
const LAST_RECORDS: Duration = Duration::from_millis(500);

/// A trace under way.
pub(super) struct Session {
    plan: Plan,
    live: Live,
    flow: Flow,
    items: Vec<Item>,
    begin: Begin,
    keeper: Option<Keeper>,
}

/// Watches a descriptor for readiness.
pub(super) fn readiness(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open and the same until the
    // AsyncFd deregisters and closes it.
    unsafe { AsyncFd::register(fd) }.map_err(|error| error.into_parts().1)
}

impl Session {
    /// Opens the window, traces until told to end, prints the report.
    pub async fn run(
        plan: Plan,
        live: Live,
        writer: Box<dyn std::io::Write + Send>,
        place: Option<Place>,
    ) -> Result<Exit, Failure> {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let ring = readiness(live.ring_fd()?)?;
        let mut session = Self {
            flow: Flow::new(&plan.display, writer, false)?,
            items: Vec::new(),
            keeper: place.map(Place::start).transpose()?,
            begin: live.begin(Moment::default()),
            plan,
            live,
        };
        let mut start = now();
        start.mono_ns = session.live.open().map_err(Failure::unable)?;
        session.begin.start = start;
        session.flow.begin(start);
        if session.keeper.is_some() {
            session.live.record(Recorder::new(&session.begin));
            session.keep();
        }
        super::announce();

        let began = Instant::now();
        let mut looked = began;
        let never = began + Duration::from_secs(400 * 24 * 3600);
        let end = session
            .plan
            .duration
            .map_or(never, |duration| began + duration);
        // Set once: each setting wakes the process.
        let mut end = pin!(sleep_until(end));
        let drain = Ticks::every(DRAIN_EVERY)?;
        let refresh = session
            .plan
            .interval
            .unwrap_or(Duration::from_secs(400 * 24 * 3600));
        let mut refresh = interval_at(began + refresh, refresh);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                ready = ring.readable() => {
                    session.pump()?;
                    ready?.clear_ready();
                }
                tick = drain.next() => {
                    tick?;
                    session.pump()?;
                    if looked.elapsed() >= LOOK_EVERY {
                        looked = Instant::now();
                        session.look()?;
                    }
                }
                _ = refresh.tick() => session.refresh()?,
                () = &mut end => break,
                _ = interrupted.recv() => break,
                _ = terminated.recv() => break,
            }
            if session.flow.is_closed() {
                break;
            }
            // Given processes that have all ended: nothing more can come.
            if !session.plan.selection.is_open() && session.live.traced().is_empty() {
                break;
            }
        }
        drop(ring);
        session.finish()
    }

    /// Takes what has arrived.
    fn pump(&mut self) -> Result<(), Failure> {
        let mut items = std::mem::take(&mut self.items);
        self.live.drain(&mut items)?;
        for item in items.drain(..) {
            self.flow.take(&item, self.live.enricher());
        }
        self.items = items;
        self.flow.flush();
        self.keep();
        Ok(())
    }

    /// Hands on what has been recorded.
    fn keep(&mut self) {
        if let Some((recorder, keeper)) = self.live.recorder().zip(self.keeper.as_ref()) {
            keeper.write(recorder.take());
        }
    }

    /// Looks at what is pending.
    fn look(&mut self) -> Result<(), Failure> {
        let pending = self.live.pending(monotonic_ns())?;
        for episode in &pending {
            self.flow.raise(episode);
        }
        self.flow.flush();
        if let Some(recorder) = self.live.recorder() {
            recorder.pending(&pending);
        }
        let since_begin = monotonic_ns() - self.begin.start.mono_ns;
        if let Some(keeper) = &mut self.keeper
            && keeper.due(Duration::from_nanos(since_begin))
        {
            let totals = self.totals(now(), Vec::new(), Vec::new())?;
            self.report(totals, Recorder::totals);
        }
        self.keep();
        Ok(())
    }

    /// Shows the figures so far.
    fn refresh(&mut self) -> Result<(), Failure> {
        self.pump()?;
        let totals = self.totals(now(), Vec::new(), Vec::new())?;
        let report = self.report(totals, |_, _| ());
        self.flow.interval(report)?;
        if self.plan.self_stats {
            self.print_self_stats()?;
        }
        Ok(())
    }

    fn print_self_stats(&self) -> Result<(), Failure> {
        let [threads, processes, summaries, buckets] = self.live.probe().entries()?;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .map_or("unknown", str::trim)
            .to_owned();
        let _ = writeln!(
            std::io::stderr(),
            "gohang: self: rss {rss}, threads {threads}, processes {processes}, summaries {summaries}, buckets {buckets}"
        );
        Ok(())
    }

    /// What the report needs beside the items.
    fn totals(
        &mut self,
        at: Moment,
        pending: Vec<Episode>,
        costs: Vec<ProgramCost>,
    ) -> Result<Totals, Failure> {
        Ok(Totals {
            costs,
            pending,
            ..self.live.totals(at)?
        })
    }

    /// The report as of the totals, which are recorded with what was asked for
    /// it.
    fn report(&mut self, totals: Totals, record: fn(&mut Recorder, &Totals)) -> Report {
        let taken = totals.taken;
        if self.keeper.is_none() {
            return self
                .flow
                .report(&self.begin, totals, taken, self.live.enricher());
        }
        let mut groups = Remembering::new(self.live.enricher());
        let report = self
            .flow
            .report(&self.begin, totals.clone(), taken, &mut groups);
        let totals = Totals {
            groups: groups.answers,
            ..totals
        };
        if let Some(recorder) = self.live.recorder() {
            record(recorder, &totals);
        }
        report
    }

    /// Detaches, takes the last records and prints the report.
    fn finish(mut self) -> Result<Exit, Failure> {
        let costs = if self.plan.stats {
            self.live.probe().costs()
        } else {
            Vec::new()
        };
        self.live.probe_mut().detach()?;
        let end = now();
        self.take_last_records()?;
        let pending = self.live.pending(end.mono_ns)?;
        self.flow
            .pending_at_end(&pending, end.mono_ns, self.live.enricher());
        let totals = self.totals(end, pending, costs)?;
        let report = self.report(totals, Recorder::end);
        self.keep();
        let exit = self.flow.end(&report, true)?;
        if let Some(keeper) = self.keeper {
            keeper.finish()?;
        }
        Ok(exit)
    }

    /// Drains until everything that was submitted has arrived.
    fn take_last_records(&mut self) -> Result<(), Failure> {
        let begin = std::time::Instant::now();
        loop {
            self.pump()?;
            let counters = self.live.counters()?;
            let loss = loss(&counters, &self.live.taken(), 0);
            if loss.submitted == loss.received || begin.elapsed() > LAST_RECORDS {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
