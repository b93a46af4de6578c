//! The tracer's thread.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::setpriority_process;

use super::{Ask, Outcome, Told, system};
use crate::aggregate::{Aggregate, Context, Groups, loss};
use crate::alert::{Book, Thresholds, name_senders};
use crate::privilege::{kernel_release, raise_memlock};
use crate::report::{Moment, Report};
use crate::source::recording::{Begin, Totals};
use crate::source::{Item, Live, LiveOptions, Selection, Source as _, monotonic_ns, now};

/// How often the ring is drained when it does not fill up before.
const DRAIN_EVERY: Duration = Duration::from_millis(100);
/// How often what is pending is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the last records may take to arrive after the programs are gone.
const LAST_RECORDS: Duration = Duration::from_millis(500);
/// Nice value of what loads beside a command that runs: of a CPU that the command has work for,
/// loading then takes a tenth (weights 110 and 1024, kernel `sched_prio_to_weight`), and all of
/// one that idles.
const NICE: i32 = 10;

/// Traces `group`, when asked to begin if it `waits` for that, until told to stop, and hands
/// over the report.
pub(super) fn run(group: PathBuf, waits: bool, asked: &Receiver<Ask>, tell: &Sender<Told>) {
    let first = if waits { asked.recv() } else { Ok(Ask::Begin) };
    let closer = match first {
        Ok(Ask::Begin) => false,
        Ok(Ask::Closer) => true,
        // Who did not ask it to begin expects nothing.
        Ok(Ask::End) | Err(RecvError) => return,
    };
    // A command that is only in doubt is not to be slowed down.
    let begin = Tracing::begin(group, closer, waits && !closer);
    let outcome = begin.and_then(|mut tracing| {
        let _ = tell.send(Told::Open(tracing.begin.start.mono_ns));
        // Before the probes are off, which takes a while.
        if let Some(report) = tracing.follow(asked)? {
            let _ = tell.send(Told::End(Box::new(report)));
        }
        Ok(())
    });
    if let Err(error) = outcome {
        let _ = tell.send(Told::Failed(error.to_string()));
    }
}

/// Loads in a thread of lower priority, which its own threads inherit. A thread without
/// privileges cannot raise its priority again, so this one keeps it.
fn start_gently(options: LiveOptions) -> Outcome<Live> {
    let load = move || {
        // It loads all the same where that is refused.
        let _ = setpriority_process(None, NICE);
        Live::start(options)
    };
    let thread = std::thread::Builder::new().name("loader".into());
    let thread = thread.spawn(load).map_err(system("start a thread"))?;
    match thread.join() {
        Ok(live) => Ok(live?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A trace under way.
struct Tracing {
    live: Live,
    aggregate: Aggregate,
    book: Book,
    items: Vec<Item>,
    begin: Begin,
}

impl Tracing {
    fn begin(group: PathBuf, closer: bool, gently: bool) -> Outcome<Self> {
        raise_memlock(&kernel_release()?)?;
        let options = LiveOptions {
            selection: Selection {
                cgroups: [group].into(),
                ..Selection::default()
            },
            // A command that goes on is not to pay for them.
            probe_later: !closer,
            ..LiveOptions::default()
        };
        let mut live = if gently {
            start_gently(options)?
        } else {
            Live::start(options)?
        };
        let mut start = now();
        start.mono_ns = live.open()?;
        Ok(Self {
            begin: live.begin(start),
            live,
            aggregate: Aggregate::default(),
            book: Book::new(Thresholds::default()),
            items: Vec::new(),
        })
    }

    /// Until told to stop; `None` when nobody is there any more to take the report.
    fn follow(&mut self, asked: &Receiver<Ask>) -> Outcome<Option<Report>> {
        let ring = self.live.ring_fd().map_err(system("watch the ring"))?;
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: DRAIN_EVERY.subsec_nanos().into(),
        };
        let mut looked = Instant::now();
        loop {
            let mut fds = [PollFd::new(&ring, PollFlags::IN)];
            match poll(&mut fds, Some(&limit)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(system("watch the ring")(error.into())),
            }
            match asked.try_recv() {
                Ok(Ask::Closer) => self.live.probe_programs()?,
                Ok(Ask::End) => return self.finish().map(Some),
                Err(TryRecvError::Disconnected) => return Ok(None),
                Ok(Ask::Begin) | Err(TryRecvError::Empty) => {}
            }
            self.pump()?;
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                for episode in &self.live.pending(monotonic_ns())? {
                    self.book.look(episode, &wall(self.begin.start));
                }
            }
        }
    }

    /// Takes what has arrived.
    fn pump(&mut self) -> Outcome<()> {
        let mut items = std::mem::take(&mut self.items);
        self.live.drain(&mut items)?;
        let wall = wall(self.begin.start);
        for item in items.drain(..) {
            self.aggregate.take(&item);
            // What is told at once elsewhere is in the report's alerts here.
            drop(self.book.take(&item, &wall));
        }
        self.items = items;
        Ok(())
    }

    /// Detaches, takes the last records and makes the report.
    fn finish(&mut self) -> Outcome<Report> {
        self.live.probe_mut().detach()?;
        let end = now();
        let began = Instant::now();
        loop {
            self.pump()?;
            let loss = loss(&self.live.counters()?, &self.live.taken(), 0);
            if loss.submitted == loss.received || began.elapsed() > LAST_RECORDS {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let pending = self.live.pending(end.mono_ns)?;
        self.aggregate.pending_at_end(&pending);
        let wall = wall(self.begin.start);
        for episode in &pending {
            self.book.look(episode, &wall);
        }
        self.book.end(None, end.mono_ns, &wall);
        let totals = Totals {
            pending,
            ..self.live.totals(end)?
        };
        let taken = totals.taken;
        let groups: &mut dyn Groups = self.live.enricher();
        let mut alerts = self.book.alerts(&wall);
        name_senders(&mut alerts, &mut |pid| groups.sender(pid));
        let context = Context {
            alerts,
            ..Context::new(&self.begin, totals, taken)
        };
        Ok(self.aggregate.report(context, groups))
    }
}

/// A CLOCK_MONOTONIC time as RFC 3339, by the clock pair of the start.
fn wall(start: Moment) -> impl Fn(u64) -> String {
    move |mono_ns| start.wall_of(mono_ns)
}
