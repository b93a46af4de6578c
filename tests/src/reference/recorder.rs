//! The recorder: perf events on every CPU, drained by a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::perf::{Event as PerfEvent, Ring};
use super::record::{Event, Layout, Record, What};
use crate::run::DoesNotCount;
use crate::sys;

/// Ring data a CPU: at the highest rate seen (about 120 MB/s of records) this is 250 ms.
const RING_BYTES: usize = 32 << 20;

/// Pause between two drains; the rings hold a hundred times as much.
const DRAIN_PAUSE: Duration = Duration::from_millis(2);

/// What one recorder saw.
pub struct Recording {
    /// All events in the order of their clock.
    pub events: Vec<Event>,
    /// What happened but is not in `events`. Must be zero for a comparison to count.
    pub loss: Loss,
    /// Records that could not be decoded. Must be zero as well.
    pub rejected: u64,
    /// From here on every CPU was recorded.
    pub from_ns: u64,
    /// Up to here every CPU was recorded.
    pub to_ns: u64,
    /// The threads alive at the start, as (process, thread).
    pub threads: Vec<(u32, u32)>,
}

impl Recording {
    /// Whether nothing is missing.
    ///
    /// # Errors
    /// [`DoesNotCount`] with what is.
    pub fn check_whole(&self) -> Result<()> {
        if self.loss == Loss::default() && self.rejected == 0 {
            return Ok(());
        }
        let (loss, rejected) = (&self.loss, self.rejected);
        let why = format!("the reference lost {loss:?} and rejected {rejected} records");
        Err(anyhow::Error::new(DoesNotCount(why)))
    }
}

/// What one recorder lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Losses that the kernel wrote into the rings.
    pub reported: u64,
    /// Tracepoints (their number) whose hits, which the kernel counts apart from the rings,
    /// are not as many as their records: (number, hits, records).
    pub uneven: Vec<(u64, u64, u64)>,
}

/// A running recorder.
pub struct Recorder {
    shared: Arc<Shared>,
    drainer: JoinHandle<Drained>,
    /// With the tracepoint's number, 0 for the task records.
    events: Vec<(u64, PerfEvent)>,
    from_ns: u64,
    threads: Vec<(u32, u32)>,
}

/// What the drain thread and its owner tell each other.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    watched: AtomicU32,
    deliveries: AtomicU64,
}

struct Drained {
    events: Vec<Event>,
    /// Records of each tracepoint.
    records: HashMap<u64, u64>,
    lost: u64,
    rejected: u64,
}

impl Recorder {
    /// Attaches to every online CPU and starts recording.
    ///
    /// # Errors
    /// When tracefs or perf refuses; the message names the step.
    pub fn start() -> Result<Self> {
        let layout = load_layout()?;
        let mut events = Vec::new();
        let mut rings = Vec::new();
        for cpu in sys::online_cpus().context("cannot list the CPUs")? {
            let refused = |what: &str| format!("perf_event_open of {what} on CPU {cpu} failed");
            let leader = PerfEvent::task_records(cpu).with_context(|| refused("task records"))?;
            rings.push(
                Ring::map(&leader, RING_BYTES)
                    .with_context(|| format!("cannot map a ring for CPU {cpu}"))?,
            );
            let filter = format!("sig=={}", sys::SIGURG);
            for (id, filter) in [
                (layout.exec, None),
                (layout.exit, None),
                (layout.generate, Some(filter.as_str())),
                (layout.deliver, Some(filter.as_str())),
            ] {
                let event = PerfEvent::tracepoint(id, cpu, filter)
                    .with_context(|| refused(&format!("tracepoint {id}")))?;
                event
                    .output_to(&leader)
                    .context("cannot share a perf ring")?;
                events.push((id, event));
            }
            events.push((0, leader));
        }
        for (_, event) in &events {
            event.enable().context("cannot enable a perf event")?;
        }
        let from_ns = sys::mono_ns();
        let threads = threads_alive().context("cannot list the threads in /proc")?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let drainer = std::thread::Builder::new()
            .name("reference".into())
            .spawn(move || drain(&layout, rings, &theirs))?;
        Ok(Self {
            shared,
            drainer,
            events,
            from_ns,
            threads,
        })
    }

    /// Counts the deliveries to this process as they are recorded.
    pub fn watch(&self, pid: u32) {
        self.shared.watched.store(pid, Ordering::Relaxed);
    }

    /// How many deliveries to the watched process have been recorded so far.
    pub fn deliveries(&self) -> u64 {
        self.shared.deliveries.load(Ordering::Relaxed)
    }

    /// Stops and hands over what was recorded.
    ///
    /// # Errors
    /// When the kernel refuses to stop or to say its counts, or the drain thread panicked.
    pub fn stop(self) -> Result<Recording> {
        let to_ns = sys::mono_ns();
        for (_, event) in &self.events {
            event.disable().context("cannot disable a perf event")?;
        }
        let mut hits = HashMap::new();
        for (id, event) in self.events.iter().filter(|(id, _)| *id != 0) {
            *hits.entry(*id).or_insert(0) +=
                event.count().context("cannot read a perf event's count")?;
        }
        self.shared.stop.store(true, Ordering::Release);
        let drained = self
            .drainer
            .join()
            .map_err(|_| anyhow!("the drain thread panicked"))?;
        let mut events = drained.events;
        events.sort_by_key(|e| e.time_ns);
        let records = |id: u64| drained.records.get(&id).copied().unwrap_or(0);
        let uneven = hits.into_iter().map(|(id, hits)| (id, hits, records(id)));
        let uneven = uneven
            .filter(|(_, hits, records)| hits != records)
            .collect();
        Ok(Recording {
            events,
            loss: Loss {
                reported: drained.lost,
                uneven,
            },
            rejected: drained.rejected,
            from_ns: self.from_ns,
            to_ns,
            threads: self.threads,
        })
    }
}

/// Reads the formats in a thread of its own: should tracefs have to be mounted, then only for
/// that thread, and not for what is started later.
fn load_layout() -> Result<Layout> {
    let load = || {
        let root = sys::tracefs_root().context("tracefs is not there and cannot be mounted")?;
        Layout::load(&root)
    };
    let loaded = std::thread::scope(|scope| scope.spawn(load).join());
    loaded.map_err(|_| anyhow!("reading the tracepoints' formats panicked"))?
}

fn drain(layout: &Layout, mut rings: Vec<Ring>, shared: &Shared) -> Drained {
    sys::raise_priority();
    let mut out = Drained {
        events: Vec::new(),
        records: HashMap::new(),
        lost: 0,
        rejected: 0,
    };
    let mut scratch = Vec::with_capacity(4096);
    loop {
        // Read before the drain: everything recorded before the stop is drained after it.
        let last = shared.stop.load(Ordering::Acquire);
        let watched = shared.watched.load(Ordering::Relaxed);
        for ring in &mut rings {
            ring.drain(&mut scratch, |bytes| {
                if let Some(id) = layout.tracepoint(bytes) {
                    *out.records.entry(id).or_insert(0) += 1;
                }
                match layout.decode(bytes) {
                    Ok(Record::Event(event)) => {
                        let delivery = matches!(event.what, What::Deliver { .. });
                        let counts = delivery && event.pid == watched;
                        shared
                            .deliveries
                            .fetch_add(counts.into(), Ordering::Relaxed);
                        out.events.push(event);
                    }
                    Ok(Record::Lost(n)) => out.lost += n,
                    Ok(Record::Other) => {}
                    Err(_) => out.rejected += 1,
                }
            });
        }
        if last {
            return out;
        }
        std::thread::sleep(DRAIN_PAUSE);
    }
}

/// All threads on the machine as (process, thread).
fn threads_alive() -> std::io::Result<Vec<(u32, u32)>> {
    let number = |e: std::fs::DirEntry| e.file_name().to_str().and_then(|s| s.parse().ok());
    let mut threads = Vec::new();
    for pid in std::fs::read_dir("/proc")?.flatten().filter_map(number) {
        // A process that has just ended has no list any more.
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        threads.extend(
            tasks
                .flatten()
                .filter_map(number)
                .map(|tid: u32| (pid, tid)),
        );
    }
    Ok(threads)
}
