//! The traced window, from its opening to the report.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use gohang::aggregate::{Aggregate, Context, loss};
use gohang::alert::Book;
use gohang::event::{Episode, Event};
use gohang::privilege;
use gohang::process::{CpuTimes, ProcRoot};
use gohang::report::{Clock, Machine, Moment, Report};
use gohang::source::{Item, Live, Source as _, monotonic_ns};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::super::{Exit, Failure};
use super::output::Output;
use super::plan::Plan;
use super::writer::Writer;

/// How often the ring is drained when it does not fill up before.
const DRAIN_EVERY: Duration = Duration::from_millis(50);
/// How often what is pending is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the last records may take to arrive after the programs are gone.
const LAST_RECORDS: Duration = Duration::from_millis(500);

/// A trace under way.
pub(super) struct Session {
    plan: Plan,
    live: Live,
    aggregate: Aggregate,
    book: Book,
    output: Output,
    items: Vec<Item>,
    start: Moment,
    cpu: Option<Vec<CpuTimes>>,
    proc: ProcRoot,
}

/// Watches a descriptor for readiness.
fn readiness(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open and the same until the
    // AsyncFd deregisters and closes it.
    unsafe { AsyncFd::register(fd) }.map_err(|error| error.into_parts().1)
}

/// Now, on both clocks.
fn moment() -> Moment {
    let mono_ns = monotonic_ns();
    let wall = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Moment {
        mono_ns,
        wall_ns: wall.as_nanos() as u64,
    }
}

/// A CLOCK_MONOTONIC time as RFC 3339, by the clock pair of the start.
fn wall(start: Moment) -> impl Fn(u64) -> String {
    move |mono_ns| {
        let wall_ns = start
            .wall_ns
            .wrapping_add(mono_ns)
            .wrapping_sub(start.mono_ns);
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(wall_ns);
        humantime::format_rfc3339_millis(time).to_string()
    }
}

impl Session {
    /// Opens the window, traces until told to end, prints the report.
    pub async fn run(
        plan: Plan,
        live: Live,
        writer: Box<dyn std::io::Write + Send>,
    ) -> Result<Exit, Failure> {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let ring = readiness(live.ring_fd()?)?;
        let proc = ProcRoot::default();
        let mut session = Self {
            output: Output::new(&plan, Writer::new(writer)?),
            book: Book::new(plan.thresholds),
            aggregate: Aggregate::default(),
            items: Vec::new(),
            start: Moment::default(),
            cpu: proc.cpu_times().ok(),
            plan,
            live,
            proc,
        };
        session.start = moment();
        session.start.mono_ns = session.live.open().map_err(Failure::unable)?;
        session.output.begin(session.start.mono_ns);
        super::announce();

        let now = Instant::now();
        let never = now + Duration::from_secs(400 * 24 * 3600);
        let end = session
            .plan
            .duration
            .map_or(never, |duration| now + duration);
        let mut drain = interval_at(now + DRAIN_EVERY, DRAIN_EVERY);
        drain.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval_at(now + LOOK_EVERY, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let refresh = session
            .plan
            .interval
            .unwrap_or(Duration::from_secs(400 * 24 * 3600));
        let mut refresh = interval_at(now + refresh, refresh);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                ready = ring.readable() => {
                    session.pump()?;
                    ready?.clear_ready();
                }
                _ = drain.tick() => session.pump()?,
                _ = look.tick() => session.look()?,
                _ = refresh.tick() => session.refresh()?,
                () = sleep_until(end) => break,
                _ = interrupted.recv() => break,
                _ = terminated.recv() => break,
            }
            if session.output.is_closed() {
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
            self.aggregate.take(&item);
            match &item {
                Item::Event(Event::Episode(episode)) => {
                    self.raise(episode);
                    if self.plan.events {
                        let path = episode
                            .cgroup_id
                            .and_then(|id| self.live.enricher().path_by_id(id));
                        self.output.episode(episode, path.as_deref());
                    }
                }
                Item::Foreign(id) => self.book.forget(*id),
                Item::Event(Event::Process(_)) | Item::Found(_) | Item::Ended(_) => {}
            }
        }
        self.items = items;
        self.output.flush();
        Ok(())
    }

    /// Tells what the rules find in an episode.
    fn raise(&mut self, episode: &Episode) {
        for raised in self.book.look(episode, &wall(self.start)) {
            self.output.alert(&raised.0);
        }
    }

    /// Looks at what is pending.
    fn look(&mut self) -> Result<(), Failure> {
        for episode in self.live.pending(monotonic_ns())? {
            self.raise(&episode);
        }
        self.output.flush();
        Ok(())
    }

    /// Shows the figures so far.
    fn refresh(&mut self) -> Result<(), Failure> {
        self.pump()?;
        let report = self.report(moment(), Vec::new())?;
        self.output.interval(report)?;
        self.output.flush();
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

    fn report(
        &mut self,
        end: Moment,
        costs: Vec<gohang::probe::ProgramCost>,
    ) -> Result<Report, Failure> {
        let snapshot = self.live.snapshot()?;
        let counters = self.live.counters()?;
        let hooks = self.live.probe().hooks().to_vec();
        let context = Context {
            kernel: privilege::kernel_release().map_or_else(|_| "unknown".into(), |k| k.text),
            clock: Clock {
                start: self.start,
                end,
            },
            hooks: &hooks,
            precision: self.live.probe().precision(),
            has_spans: self.live.probe().has_spans(),
            attach_ns: self.live.probe().attach_ns(),
            snapshot,
            counters,
            taken: self.live.taken(),
            output_dropped: self.output.dropped(),
            costs,
            machine: self.machine(),
            alerts: self.book.alerts(&wall(self.start)),
        };
        Ok(self.aggregate.report(context, self.live.enricher()))
    }

    /// CPU time that went elsewhere since the start.
    fn machine(&self) -> Option<Machine> {
        let before = self.cpu.as_ref()?;
        let now = self.proc.cpu_times().ok()?;
        let mut machine = Machine::default();
        for (before, now) in before.iter().zip(&now) {
            let grown = now.since(before).ok()?;
            machine.steal_ns += grown.steal_ns;
            machine.irq_ns += grown.irq_ns;
            machine.softirq_ns += grown.softirq_ns;
            machine.cpus += 1;
        }
        Some(machine)
    }

    /// Detaches, takes the last records and prints the report.
    fn finish(mut self) -> Result<Exit, Failure> {
        let costs = if self.plan.stats {
            self.live.probe().costs()
        } else {
            Vec::new()
        };
        self.live.probe_mut().detach()?;
        let end = moment();
        self.take_last_records()?;
        let pending = self.live.pending(end.mono_ns)?;
        self.aggregate.pending_at_end(&pending);
        for episode in &pending {
            self.raise(episode);
            if self.plan.events {
                let path = episode
                    .cgroup_id
                    .and_then(|id| self.live.enricher().path_by_id(id));
                self.output.episode(episode, path.as_deref());
            }
        }
        self.output.flush();
        let report = self.report(end, costs)?;
        self.output.end(&report)
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
