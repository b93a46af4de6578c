//! The recorder: perf events on every CPU, drained by a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::perf::{Event as PerfEvent, Ring};
use super::record::{Event, Layout, Record, What};
use crate::sys;

/// Ring data a CPU: at the highest rate seen (about 120 MB/s of records) this is 250 ms.
const RING_BYTES: usize = 32 << 20;

/// Pause between two drains; the rings hold a hundred times as much.
const DRAIN_PAUSE: Duration = Duration::from_millis(2);

/// What one recorder saw.
pub struct Recording {
    /// All events in the order of their clock.
    pub events: Vec<Event>,
    /// Records that happened but are not in `events`: what the kernel counted less what the
    /// rings held, and what the kernel itself reported as lost. Must be zero for a comparison
    /// to count.
    pub lost: u64,
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
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.rejected == 0
    }
}

/// A running recorder.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    deliveries: Arc<AtomicU64>,
    drainer: JoinHandle<Drained>,
    events: Vec<PerfEvent>,
    from_ns: u64,
    threads: Vec<(u32, u32)>,
}

struct Drained {
    events: Vec<Event>,
    samples: u64,
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
                events.push(event);
            }
            events.push(leader);
        }
        for event in &events {
            event.enable().context("cannot enable a perf event")?;
        }
        let from_ns = sys::mono_ns();
        let threads = threads_alive().context("cannot list the threads in /proc")?;
        let stop = Arc::new(AtomicBool::new(false));
        let deliveries = Arc::new(AtomicU64::new(0));
        let (seen, tally) = (Arc::clone(&stop), Arc::clone(&deliveries));
        let drainer = std::thread::Builder::new()
            .name("reference".into())
            .spawn(move || drain(&layout, rings, &seen, &tally))?;
        Ok(Self {
            stop,
            deliveries,
            drainer,
            events,
            from_ns,
            threads,
        })
    }

    /// How many deliveries have been recorded so far, of all processes.
    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    /// Stops and hands over what was recorded.
    ///
    /// # Errors
    /// When the kernel refuses to stop or to say its counts, or the drain thread panicked.
    pub fn stop(self) -> Result<Recording> {
        let to_ns = sys::mono_ns();
        let mut counted = 0;
        for event in &self.events {
            event.disable().context("cannot disable a perf event")?;
        }
        for event in &self.events {
            counted += event.count().context("cannot read a perf event's count")?;
        }
        self.stop.store(true, Ordering::Release);
        let drained = self
            .drainer
            .join()
            .map_err(|_| anyhow!("the drain thread panicked"))?;
        let mut events = drained.events;
        events.sort_by_key(|e| e.time_ns);
        Ok(Recording {
            events,
            lost: drained.lost.max(counted.abs_diff(drained.samples)),
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

fn drain(
    layout: &Layout,
    mut rings: Vec<Ring>,
    stop: &AtomicBool,
    deliveries: &AtomicU64,
) -> Drained {
    sys::raise_priority();
    let mut out = Drained {
        events: Vec::new(),
        samples: 0,
        lost: 0,
        rejected: 0,
    };
    let mut scratch = Vec::with_capacity(4096);
    loop {
        // Read before the drain: everything recorded before the stop is drained after it.
        let last = stop.load(Ordering::Acquire);
        for ring in &mut rings {
            ring.drain(&mut scratch, |bytes| {
                out.samples += u64::from(bytes[0] == 9);
                match layout.decode(bytes) {
                    Ok(Record::Event(event)) => {
                        let delivery = matches!(event.what, What::Deliver { .. });
                        deliveries.fetch_add(delivery.into(), Ordering::Relaxed);
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
