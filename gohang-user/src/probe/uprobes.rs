//! Probes in Go programs: one set an executable, however many processes run it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::maps::{HashMap as KernelMap, MapError};
use aya::programs::uprobe::{UProbeLink, UProbeScope};
use aya::programs::{ProgramError, UProbe};
use gohang_common::record::Request;
use gohang_common::runtime::{GoRuntime, GoroutineKey, Hits};

use super::load::{map, map_mut, refusal};
use super::multi::Multi;
use super::read::{bad, remove};
use super::release::Releaser;
use super::{Hook, HookState, Probe, ProbeError};
use crate::event::ProcessId;
use crate::golang::{FileKey, Point, ProbePoints};

/// Hits of one probe point in one process within a second past which the point is taken off
/// that program. One costs about a microsecond where the kernel emulates the probed
/// instruction, as behind a stack check (`golang::points`), two where it steps through it, and
/// there 27 in virtual machines that hand that trap to their host (all measured:
/// `cargo xtask bench chain-cost`).
const MAX_RATE: u64 = 5_000;
/// Over what rates are taken.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// How often hits are looked at, a hundred processes at a time: a point that a loop calls is
/// to be gone before it has cost much.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Processes whose hits are read so often; of more, less often.
const LOOKED_AT: usize = 100;
/// How long a program that nobody runs stays probed: what is started over and over again
/// is not probed anew each time, and who unmounts its file system is not kept waiting.
const LINGER: Duration = Duration::from_secs(1);
/// Most programs that are probed at a time: each takes a descriptor a point.
pub(super) const MAX_PROGRAMS: usize = 64;

/// The program of a point.
const fn program(point: Point) -> &'static str {
    use crate::golang::Probe as P;
    match point {
        Point::Entry(P::Preemptone) => "go_preemptone",
        Point::Entry(P::SignalM) => "go_signal_m",
        Point::Entry(P::DoSigPreempt | P::Sighandler) => "go_do_sig_preempt",
        Point::Entry(P::IsAsyncSafePoint) => "go_is_async_safe_point",
        Point::Entry(P::AsyncPreempt) => "go_async_preempt",
        Point::Entry(P::GoschedImpl) | Point::Yields(_) => "go_gosched_impl",
        Point::Entry(P::PreemptPark) => "go_preempt_park",
        Point::Entry(P::StopTheWorld) => "go_stop_the_world",
        Point::Entry(P::StartTheWorld) => "go_start_the_world",
        Point::Entry(P::Gcstopm) => "go_gcstopm",
        Point::Resumed => "go_resumed",
        Point::WorldStopped => "go_world_stopped",
    }
}

/// What a point is used for.
const fn used_for(point: Point) -> &'static str {
    use crate::golang::Probe as P;
    match point {
        Point::Entry(P::Preemptone) => "requests to yield",
        Point::Entry(P::SignalM) => "who sends a signal and why",
        Point::Entry(P::DoSigPreempt | P::Sighandler) => "signals that the runtime handles",
        Point::Entry(P::IsAsyncSafePoint) => "where signals meet a goroutine",
        Point::Entry(P::AsyncPreempt) => "signals that make a goroutine yield",
        Point::Entry(P::GoschedImpl | P::PreemptPark) | Point::Yields(_) => "yields",
        Point::Entry(P::StopTheWorld) => "stops of the world",
        Point::Entry(P::StartTheWorld) => "ends of stops of the world",
        Point::Entry(P::Gcstopm) => "whom a stop of the world waits for",
        Point::Resumed => "goroutines that run again",
        Point::WorldStopped => "how long stopping the world takes",
    }
}

/// Points that only say something together: with one missing, requests would seem to have
/// sent nothing, or signals to have led to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Together {
    /// Requests to yield and what comes of them.
    Requests,
    /// Stops of the world.
    Stops,
}

const fn together(point: Point) -> Together {
    use crate::golang::Probe as P;
    match point {
        Point::Entry(P::StopTheWorld | P::StartTheWorld | P::Gcstopm) | Point::WorldStopped => {
            Together::Stops
        }
        Point::Entry(
            P::Preemptone
            | P::SignalM
            | P::DoSigPreempt
            | P::Sighandler
            | P::IsAsyncSafePoint
            | P::AsyncPreempt
            | P::GoschedImpl
            | P::PreemptPark,
        )
        | Point::Yields(_)
        | Point::Resumed => Together::Requests,
    }
}

/// Names of all programs, each once.
pub(super) fn programs() -> impl Iterator<Item = &'static str> {
    let names: BTreeSet<&str> = Point::ALL.into_iter().map(program).collect();
    names.into_iter()
}

/// An attached probe; it is taken off when this is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "what they hold is only kept")]
pub(super) enum Link {
    /// A perf event.
    Event(UProbeLink),
    /// See [`super::multi`].
    Multi(OwnedFd),
}

/// A probed executable.
#[derive(Debug)]
struct Attached {
    links: BTreeMap<Point, Link>,
    /// Processes that run it.
    pids: BTreeSet<u32>,
    /// Since when there are none.
    idle: Option<Instant>,
}

/// What is probed in Go programs.
#[derive(Debug)]
pub(super) struct GoProbes {
    enabled: bool,
    loaded: bool,
    /// How programs are linked where the kernel can do better than by perf events.
    pub(super) multi: Option<Multi>,
    /// Why none is attached any more: the kernel refuses them.
    refused: Option<String>,
    attached: HashMap<FileKey, Attached>,
    of_pid: HashMap<u32, FileKey>,
    /// Points that were taken off, with why.
    detached: BTreeMap<Point, String>,
    ever: BTreeSet<Point>,
    /// Hits at the begin of the window that rates are taken over.
    hits: HashMap<u32, Hits>,
    window: Instant,
    looked: Instant,
    releaser: Releaser,
}

impl GoProbes {
    /// `multi` is given the programs if any are to be attached at all.
    pub fn new(enabled: bool, multi: impl FnOnce() -> Option<Multi>) -> Self {
        Self {
            enabled,
            loaded: false,
            multi: enabled.then(multi).flatten(),
            refused: None,
            attached: HashMap::new(),
            of_pid: HashMap::new(),
            detached: BTreeMap::new(),
            ever: BTreeSet::new(),
            hits: HashMap::new(),
            window: Instant::now(),
            looked: Instant::now(),
            releaser: Releaser::default(),
        }
    }

    /// The points as hooks of the probe set.
    pub fn hooks(&self) -> Vec<Hook> {
        let hook = |point: Point| {
            let (state, reason) = if !self.enabled {
                (HookState::NotNeeded, Some("--no-uprobes".to_owned()))
            } else if let Some(reason) = &self.refused {
                (HookState::Refused, Some(reason.clone()))
            } else if let Some(reason) = self.detached.get(&point) {
                (HookState::Detached, Some(reason.clone()))
            } else if self.ever.contains(&point) {
                (HookState::Attached, None)
            } else {
                let reason = match self.ever.is_empty() {
                    true => "no Go program that can be probed was traced",
                    false => "not there in the programs that were traced, or not needed",
                };
                (HookState::NotNeeded, Some(reason.to_owned()))
            };
            Hook {
                hook: format!("uprobe:{}", point.name()),
                state,
                used_for: used_for(point).to_owned(),
                reason,
            }
        };
        Point::ALL.into_iter().map(hook).collect()
    }
}

impl Probe {
    /// The probe points in Go programs, as hooks of the probe set.
    #[must_use]
    pub fn go_hooks(&self) -> Vec<Hook> {
        self.go.hooks()
    }

    /// Whether Go programs are to be probed at all.
    #[must_use]
    pub fn probes_go(&self) -> bool {
        self.go.enabled && self.go.refused.is_none()
    }

    /// Whether that takes perf events, which ask for `CAP_SYS_ADMIN`: before Linux 6.6.
    #[must_use]
    pub fn probes_go_by_events(&self) -> bool {
        self.probes_go() && self.go.multi.is_none()
    }

    /// How many executables are probed now.
    #[must_use]
    pub fn go_programs(&self) -> usize {
        self.go.attached.len()
    }

    /// Whether an executable is probed already.
    #[must_use]
    pub fn probes_program(&self, key: &FileKey) -> bool {
        self.go.attached.contains_key(key)
    }

    /// Probes the executable at `path`, on behalf of a process, unless it is already; and
    /// tells the kernel side about the process's runtime.
    ///
    /// # Errors
    /// A map cannot be written. A refused probe is no error: it is in the probe set.
    pub fn probe_go(
        &mut self,
        pid: u32,
        key: FileKey,
        path: &Path,
        points: &ProbePoints,
        runtime: &GoRuntime,
    ) -> Result<bool, ProbeError> {
        if !self.probes_go() {
            return Ok(false);
        }
        let mut runtimes: KernelMap<_, u32, GoRuntime> = map_mut(&mut self.ebpf, "RUNTIMES")?;
        runtimes.insert(pid, *runtime, 0).map_err(bad("RUNTIMES"))?;
        self.filter().is_go(pid);
        let mut hits: KernelMap<_, u32, Hits> = map_mut(&mut self.ebpf, "HITS")?;
        if hits.get(&pid, 0).is_err() {
            hits.insert(pid, Hits::default(), 0).map_err(bad("HITS"))?;
        }
        self.unprobe_go(pid, false)?;
        self.go.of_pid.insert(pid, key);
        if let Some(attached) = self.go.attached.get_mut(&key) {
            attached.pids.insert(pid);
            attached.idle = None;
            return Ok(true);
        }
        if self.go.attached.len() >= MAX_PROGRAMS {
            self.release_idle(Duration::ZERO);
        }
        if self.go.attached.len() >= MAX_PROGRAMS {
            log::warn!(
                "process {pid}: {MAX_PROGRAMS} Go programs are probed already; of this one only \
                 what the kernel sees is told"
            );
            return Ok(false);
        }
        let mut attached = Attached {
            links: BTreeMap::new(),
            pids: BTreeSet::from([pid]),
            idle: None,
        };
        for (point, offset) in &points.points {
            match self.attach_point(*point, *offset, path) {
                Ok(link) => {
                    self.go.ever.insert(*point);
                    attached.links.insert(*point, link);
                }
                Err(reason) if path.exists() => {
                    log::info!("uprobe:{}: {reason}", point.name());
                    self.detach_all(attached);
                    self.go.refused = Some(reason);
                    return Ok(false);
                }
                // The process has ended meanwhile.
                Err(_) => {
                    self.detach_all(attached);
                    return Ok(false);
                }
            }
        }
        self.go.attached.insert(key, attached);
        Ok(true)
    }

    fn attach_point(&mut self, point: Point, offset: u64, path: &Path) -> Result<Link, String> {
        if !self.go.loaded {
            self.load_go()?;
            self.go.loaded = true;
        }
        let name = program(point);
        if let Some(multi) = &self.go.multi {
            let link = multi.attach(name, offset, path);
            return link.map(Link::Multi).map_err(|error| error.to_string());
        }
        self.attach_event(name, offset, path)
            .map(Link::Event)
            .map_err(|error| refusal(&error))
    }

    /// Loads the programs: for links of their own if the kernel lets us, else for perf events.
    fn load_go(&mut self) -> Result<(), String> {
        if let Some(multi) = &mut self.go.multi {
            match multi.load(programs()) {
                Ok(()) => return Ok(()),
                Err(reason) => log::info!("uprobes by perf events: {reason}"),
            }
            self.go.multi = None;
        }
        for name in programs() {
            self.uprobe(name)
                .and_then(UProbe::load)
                .map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    fn attach_event(
        &mut self,
        name: &'static str,
        offset: u64,
        path: &Path,
    ) -> Result<UProbeLink, ProgramError> {
        let program = self.uprobe(name)?;
        let link = program.attach(offset, path, UProbeScope::AllProcesses)?;
        program.take_link(link)
    }

    fn uprobe(&mut self, name: &'static str) -> Result<&mut UProbe, ProgramError> {
        self.ebpf
            .program_mut(name)
            .ok_or(ProgramError::NotLoaded)?
            .try_into()
    }

    fn detach_all(&mut self, attached: Attached) {
        for link in attached.links.into_values() {
            self.go.releaser.release(link);
        }
    }

    /// Takes the probes off the programs that nobody has run for so long.
    fn release_idle(&mut self, linger: Duration) {
        let over = |attached: &Attached| attached.idle.is_some_and(|idle| idle.elapsed() >= linger);
        let idle = self.go.attached.extract_if(|_, attached| over(attached));
        let idle: Vec<Attached> = idle.map(|(_, attached)| attached).collect();
        for attached in idle {
            self.detach_all(attached);
        }
    }

    /// Takes the probes off every program.
    pub(super) fn release_all(&mut self) {
        for attached in std::mem::take(&mut self.go.attached).into_values() {
            self.detach_all(attached);
        }
    }

    /// A process has ended, or runs another program. Some time after the last one of an
    /// executable its probes are taken off.
    ///
    /// # Errors
    /// A map cannot be written.
    pub fn unprobe_go(&mut self, pid: u32, ended: bool) -> Result<(), ProbeError> {
        let Some(key) = self.go.of_pid.remove(&pid) else {
            return Ok(());
        };
        if ended {
            let mut runtimes: KernelMap<_, u32, GoRuntime> = map_mut(&mut self.ebpf, "RUNTIMES")?;
            remove(runtimes.remove(&pid)).map_err(bad("RUNTIMES"))?;
        }
        let Some(attached) = self.go.attached.get_mut(&key) else {
            return Ok(());
        };
        attached.pids.remove(&pid);
        if attached.pids.is_empty() {
            attached.idle = Some(Instant::now());
        }
        Ok(())
    }

    /// The counts of hits of some processes, by their keys: a walk over the map asks the kernel
    /// twice as often.
    fn read_go_hits(
        &self,
        pids: impl Iterator<Item = u32>,
    ) -> Result<HashMap<u32, Hits>, ProbeError> {
        let mut found = HashMap::new();
        if !self.go.loaded {
            return Ok(found);
        }
        let hits: KernelMap<_, u32, Hits> = map(&self.ebpf, "HITS")?;
        for pid in pids {
            match hits.get(&pid, 0) {
                Ok(counts) => drop(found.insert(pid, counts)),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(bad("HITS")(error)),
            }
        }
        Ok(found)
    }

    /// Those of some processes; of a process without any there is no entry.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn hits_of(
        &self,
        processes: impl Iterator<Item = ProcessId>,
    ) -> Result<BTreeMap<ProcessId, Hits>, ProbeError> {
        let ids: Vec<ProcessId> = processes.collect();
        let all = self.read_go_hits(ids.iter().map(|id| id.pid))?;
        Ok(ids
            .into_iter()
            .filter_map(|id| Some((id, *all.get(&id.pid)?)))
            .collect())
    }

    /// Drops what is kept of the goroutines and counts of processes that have ended.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn forget_go(&mut self, ended: &BTreeSet<u32>) -> Result<(), ProbeError> {
        if !self.go.loaded {
            return Ok(());
        }
        let mut yielded: KernelMap<_, GoroutineKey, Request> = map_mut(&mut self.ebpf, "YIELDED")?;
        let gone: Vec<GoroutineKey> = yielded
            .keys()
            .filter_map(Result::ok)
            .filter(|key| ended.contains(&key.tgid))
            .collect();
        for key in gone {
            remove(yielded.remove(&key)).map_err(bad("YIELDED"))?;
        }
        let mut hits: KernelMap<_, u32, Hits> = map_mut(&mut self.ebpf, "HITS")?;
        for tgid in ended {
            remove(hits.remove(tgid)).map_err(bad("HITS"))?;
        }
        Ok(())
    }

    /// Takes points off programs that call them too often, and all of them off programs
    /// that nobody runs any more; now and then, whenever it is called.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn look_at_rates(&mut self) -> Result<(), ProbeError> {
        let times = 1 + self.go.of_pid.len() / LOOKED_AT;
        let every = LOOK_EVERY * u32::try_from(times).unwrap_or(u32::MAX);
        if !self.go.loaded || self.go.looked.elapsed() < every.min(RATE_WINDOW) {
            return Ok(());
        }
        self.go.looked = Instant::now();
        self.release_idle(LINGER);
        let hits = self.read_go_hits(self.go.of_pid.keys().copied())?;
        let since = self.go.window.elapsed();
        let limit = MAX_RATE as f64 * since.max(RATE_WINDOW).as_secs_f64();
        let mut hot = Vec::new();
        for (pid, counts) in &hits {
            let before = self.go.hits.get(pid).copied().unwrap_or_default();
            for point in Point::ALL {
                let Some(what) = point.hit() else { continue };
                let more = counts[what].saturating_sub(before[what]);
                if more as f64 > limit {
                    hot.push((*pid, point, more as f64 / since.as_secs_f64()));
                }
            }
        }
        if since >= RATE_WINDOW {
            self.go.hits = hits;
            self.go.window = Instant::now();
        }
        for (pid, point, rate) in hot {
            self.take_off(pid, point, rate);
        }
        Ok(())
    }

    /// Takes a point off the program of a process that gets there at this rate, and those
    /// that say nothing without it.
    fn take_off(&mut self, pid: u32, hot: Point, rate: f64) {
        let file = self.go.of_pid.get(&pid);
        let Some(attached) = file.and_then(|file| self.go.attached.get_mut(file)) else {
            return;
        };
        if !attached.links.contains_key(&hot) {
            return;
        }
        let reason = format!(
            "taken off the program of process {pid}, which got to {} {rate:.0} times a second",
            hot.name()
        );
        // In this order: nobody asks first, and what has been asked for is followed for as long
        // as can be.
        let with = Point::ALL
            .into_iter()
            .rev()
            .filter(|point| together(*point) == together(hot));
        let mut names = Vec::new();
        for point in with {
            if let Some(link) = attached.links.remove(&point) {
                self.go.releaser.release(link);
                names.push(format!("uprobe:{}", point.name()));
                self.go.detached.insert(point, reason.clone());
            }
        }
        log::warn!("{}: {reason}", names.join(", "));
    }
}
