//! The running kernel.

mod programs;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use gohang_common::map::GoOffsets;

use super::counted::Counted;
use super::facts::{Enricher, Facts, monotonic_ns};
use super::recording::{Begin, Recorder, Totals};
use super::select::Selection;
use super::signals::{self, SignalFacts};
use super::slices::Slices;
use super::{Item, Source, SourceError, Taken, pending, senders};
use crate::cgroup::GroupHandles;
use crate::event::{Episode, Event, Process, ProcessEvent, ProcessId, decode};
use crate::golang::{FileKey, FoundGo, Inspector, Places, ProbePoints};
use crate::privilege::kernel_release;
use crate::probe::{Counters, LoadOptions, Probe, ProbeError, Snapshot, Sweeps};
use crate::process::{CpuTimes, ProcRoot};
use crate::report::{Machine, Moment};

/// What to trace and how.
#[derive(Clone, Debug, Default)]
pub struct LiveOptions {
    /// What.
    pub selection: Selection,
    /// How; `discover` and `inherit` follow from the selection.
    pub load: LoadOptions,
    /// Whether Go programs are probed only from [`Live::probe_programs`] on.
    pub probe_later: bool,
}

/// The live source.
#[derive(Debug)]
pub struct Live {
    probe: Probe,
    ring: Ring,
    selection: Selection,
    proc: ProcRoot,
    inspector: Inspector,
    enricher: Enricher,
    places: Places,
    /// Threads whose signal masks may still be looked at.
    looks: usize,
    taken: Taken,
    counted: Counted,
    traced: BTreeSet<u32>,
    /// Those of them that run a Go program.
    programs: BTreeSet<u32>,
    /// Whether such programs are probed.
    probes: bool,
    /// Facts read before the first drain.
    found: Vec<Item>,
    /// Ended, with what is still kept in the kernel's maps.
    ended: Vec<ProcessId>,
    harvested: Instant,
    rescanned: Instant,
    sweeps: Sweeps,
    swept: Instant,
    groups: Option<GroupHandles>,
    /// What is probed of each program, none where that cannot be.
    points: HashMap<FileKey, Option<Arc<ProbePoints>>>,
    recorder: Option<Recorder>,
    slices: Slices,
    /// As the window opened.
    cpu: Option<Vec<CpuTimes>>,
}

/// A record and, for a recording, its bytes.
struct Arrived {
    event: Event,
    raw: Option<Vec<u8>>,
}

struct Ring(RingBuf<MapData>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

/// How often ended processes' totals are taken out of the kernel's maps.
const HARVEST_EVERY: Duration = Duration::from_millis(500);
/// How often processes are looked at again when a group selects them.
const RESCAN_EVERY: Duration = Duration::from_secs(2);

/// How often it is looked whether much is kept of removed groups.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Live {
    /// Loads and attaches, lets the selected processes through and opens the
    /// window. Returns the source and when the window opened.
    ///
    /// # Errors
    /// See [`ProbeError`].
    pub fn start(options: LiveOptions) -> Result<Self, ProbeError> {
        let LiveOptions {
            selection,
            mut load,
            probe_later,
        } = options;
        load.discover = selection.is_open();
        load.inherit = selection.is_open();
        let proc = ProcRoot::default();
        let mut probe = Probe::new(&load)?;
        let enricher = Enricher::new(proc.clone());
        // Where it is not mounted, nobody can tell which groups exist.
        let groups = enricher
            .hierarchy()
            .and_then(|cpu| GroupHandles::new(cpu).ok());
        let ring = Ring(probe.take_ring()?);
        let mut live = Self {
            probe,
            ring,
            selection,
            inspector: Inspector::new(proc.clone()),
            enricher,
            places: Places::new(proc.clone()),
            looks: signals::BUDGET,
            proc,
            taken: Taken::default(),
            counted: Counted::default(),
            traced: BTreeSet::new(),
            programs: BTreeSet::new(),
            probes: !probe_later,
            found: Vec::new(),
            ended: Vec::new(),
            harvested: Instant::now(),
            rescanned: Instant::now(),
            sweeps: Sweeps::default(),
            swept: Instant::now(),
            groups,
            points: HashMap::new(),
            recorder: None,
            slices: Slices::default(),
            cpu: None,
        };
        live.scan()?;
        Ok(live)
    }

    /// Opens the window: signals first sent from now on are episodes.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn open(&mut self) -> Result<u64, ProbeError> {
        self.cpu = self.proc.cpu_times().ok();
        let now = monotonic_ns();
        self.probe.open_window(now)?;
        Ok(now)
    }

    /// Records everything from here on. Begin before the first drain.
    pub fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// The recording, if there is one.
    pub fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut()
    }

    /// What is known of the run whose window opened at `start`.
    #[must_use]
    pub fn begin(&self, start: Moment) -> Begin {
        Begin {
            gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel_release().map_or_else(|_| "unknown".into(), |kernel| kernel.text),
            start,
            hooks: self.probe.hooks().to_vec(),
            precision: self.probe.precision(),
            has_spans: self.probe.has_spans(),
            attach_ns: self.probe.attach_ns(),
        }
    }

    /// Totals as of `at`, which is now. Costs and what is pending are left empty.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn totals(&mut self, at: Moment) -> Result<Totals, ProbeError> {
        Ok(Totals {
            at,
            snapshot: self.snapshot_now()?,
            counters: self.probe.counters()?,
            taken: self.taken,
            machine: self.machine(),
            go_hooks: self.probe.go_hooks(),
            ..Totals::default()
        })
    }

    /// CPU time that went elsewhere since the window opened.
    fn machine(&self) -> Option<Machine> {
        let now = self.proc.cpu_times().ok()?;
        Machine::between(self.cpu.as_ref()?, &now)
    }

    /// What the kernel side has added up, and the records.
    fn added_up(&self) -> Result<Snapshot, ProbeError> {
        let mut snapshot = self.probe.snapshot()?;
        self.counted.add_to(&mut snapshot);
        Ok(snapshot)
    }

    fn snapshot_now(&mut self) -> Result<Snapshot, ProbeError> {
        let mut snapshot = self.added_up()?;
        // Of an id that was used again, the later process has it now.
        let owners = snapshot.owners.keys().map(|(id, _)| *id);
        let ids: BTreeSet<ProcessId> = owners.collect();
        let now: BTreeMap<u32, ProcessId> = ids.into_iter().map(|id| (id.pid, id)).collect();
        let now = now.into_values();
        // Those that have just ended too: their totals are still in the maps.
        let traced = now.filter(|id| self.traced.contains(&id.pid) || self.ended.contains(id));
        self.add_go(&mut snapshot, &traced.collect())?;
        Ok(snapshot)
    }

    /// Processes traced now.
    #[must_use]
    pub fn traced(&self) -> &BTreeSet<u32> {
        &self.traced
    }

    /// The loaded kernel side.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// The loaded kernel side, to detach it.
    pub fn probe_mut(&mut self) -> &mut Probe {
        &mut self.probe
    }

    /// Facts about groups.
    pub fn enricher(&mut self) -> &mut Enricher {
        &mut self.enricher
    }

    /// Descriptor that becomes readable past the ring's fill threshold.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn ring_fd(&self) -> io::Result<OwnedFd> {
        self.ring.0.as_fd().try_clone_to_owned()
    }

    /// Looks at every process and lets the selected ones through.
    fn scan(&mut self) -> Result<(), ProbeError> {
        let pids: Vec<u32> = if self.selection.is_open() {
            self.proc.pids().unwrap_or_default()
        } else {
            self.selection.pids.iter().copied().collect()
        };
        for pid in pids {
            if self.traced.contains(&pid) || !self.selection.matches(&self.proc, pid) {
                continue;
            }
            let go = match self.inspector.inspect(pid) {
                Ok(go) => go,
                Err(error) => {
                    if !error.is_gone() {
                        log::info!("process {pid}: {error}");
                    }
                    None
                }
            };
            if go.is_some() || (self.selection.non_go && !self.is_kernel_thread(pid)) {
                self.let_through(pid, go.as_ref())?;
            }
        }
        Ok(())
    }

    /// Follows a process from here on, until it executes another program,
    /// whatever was selected and whether or not it is Go.
    ///
    /// # Errors
    /// A map cannot be written.
    pub fn follow(&mut self, pid: u32) -> Result<(), ProbeError> {
        self.let_through(pid, None)
    }

    fn let_through(&mut self, pid: u32, go: Option<&FoundGo>) -> Result<(), ProbeError> {
        // A provisional byte of an exec under way is overwritten: its record
        // will decide anew.
        self.probe.filter().trace(pid);
        let mut facts = self.facts(pid, None, go, false);
        facts.probed_since_ns = self.adopt(pid, go)?;
        self.found.push(Item::Found(Box::new(facts)));
        Ok(())
    }

    fn is_kernel_thread(&self, pid: u32) -> bool {
        // Kernel threads have no program; only kthreadd and its children.
        pid == 2 || self.proc.stat(pid).is_ok_and(|stat| stat.ppid == 2)
    }

    /// Takes a process in. Returns since when its Go functions are probed, if they are.
    fn adopt(&mut self, pid: u32, go: Option<&FoundGo>) -> Result<Option<u64>, ProbeError> {
        let mut probed_since_ns = None;
        self.traced.insert(pid);
        if go.is_some() {
            self.places.follow(pid);
        } else {
            self.places.forget(pid);
        }
        if go.is_some_and(|go| go.library.is_none()) {
            self.programs.insert(pid);
            probed_since_ns = self.probe_go(pid)?;
        } else {
            self.programs.remove(&pid);
        }
        if let Some(Ok(offsets)) = go.map(|go| &go.program.offsets) {
            let offsets = GoOffsets {
                goid: offsets.g_goid,
                m: offsets.g_m,
                procid: offsets.m_procid,
                pad: 0,
            };
            self.probe.set_go(pid, &offsets)?;
        }
        Ok(probed_since_ns)
    }

    fn facts(
        &mut self,
        pid: u32,
        record: Option<&Process>,
        go: Option<&FoundGo>,
        executed: bool,
    ) -> Facts {
        let group = self.enricher.group(pid);
        self.enricher.remember(&group);
        Facts {
            pid,
            start_ns: record.map(|record| record.id.start_ns),
            proc_start_ns: self.enricher.start_ns(pid).unwrap_or(0),
            traced_since_ns: record.map_or_else(monotonic_ns, |record| record.at_ns),
            probed_since_ns: None,
            comm: match record {
                Some(record) => record.comm.clone(),
                None => self.proc.comm(pid).unwrap_or_default(),
            },
            go: go.map(|go| go.program.build.version.to_string()),
            no_goid: go.and_then(|go| go.program.offsets.as_ref().err().map(ToString::to_string)),
            preemption_off: go.and_then(|go| self.preemption_off(pid, record, go)),
            signals: match (go, record) {
                (Some(_), None) => signals::look(&self.proc, pid, &mut self.looks),
                // One that has just begun has what it inherited.
                _ => SignalFacts::default(),
            },
            gone: false,
            executed,
            group,
        }
    }

    /// A process forked, executed or ended: decides whether it is traced.
    fn life(&mut self, record: &Process, into: &mut Vec<Item>) -> Result<(), ProbeError> {
        let pid = record.id.pid;
        match record.event {
            ProcessEvent::Exit => {
                self.traced.remove(&pid);
                self.programs.remove(&pid);
                self.places.forget(pid);
                self.ended.push(record.id);
                self.probe.unprobe_go(pid, true)
            }
            ProcessEvent::Fork | ProcessEvent::Exec => self.decide(record, into),
        }
    }

    fn decide(&mut self, record: &Process, into: &mut Vec<Item>) -> Result<(), ProbeError> {
        let pid = record.id.pid;
        let executed = record.event == ProcessEvent::Exec;
        let provisional = record.filter & gohang_common::map::filter::PROVISIONAL != 0;
        let (go, gone) = match self.inspector.inspect_exe(pid) {
            Ok(program) => (
                program.map(|program| FoundGo {
                    program,
                    library: None,
                }),
                false,
            ),
            Err(error) => {
                if !error.is_gone() {
                    log::info!("process {pid}: {error}");
                }
                (None, error.is_gone())
            }
        };
        let selected = self.selection.matches(&self.proc, pid);
        // One that is gone already cannot be told: its episodes, if it had any,
        // are kept.
        let traced = selected && (go.is_some() || self.selection.non_go)
            || gone && self.selection.may_match_gone(&record.comm)
            || self.selection.pids.contains(&pid);
        let decided = if provisional {
            self.probe.filter().decide(pid, record.filter, traced)
        } else if traced {
            true
        } else {
            self.probe.filter().ignore(pid);
            true
        };
        if traced {
            let mut facts = self.facts(pid, Some(record), go.as_ref(), executed);
            facts.gone = gone;
            if decided {
                facts.probed_since_ns = self.adopt(pid, go.as_ref())?;
            } else {
                // It has ended since, or executes another program: there is nothing more to
                // tell the kernel side, but what it sent up to then is in the ring, before
                // the record that says so.
                self.traced.insert(pid);
            }
            into.push(Item::Found(Box::new(facts)));
        } else {
            self.traced.remove(&pid);
            self.programs.remove(&pid);
            self.places.forget(pid);
            if decided {
                self.probe.unprobe_go(pid, true)?;
                self.probe.drop_process(pid)?;
            }
            self.ended.push(record.id);
            into.push(Item::Foreign(record.id));
        }
        Ok(())
    }

    /// Takes the totals of ended processes out of the kernel's maps.
    fn harvest(&mut self, into: &mut Vec<Item>) -> Result<(), ProbeError> {
        if self.ended.is_empty() || self.harvested.elapsed() < HARVEST_EVERY {
            return Ok(());
        }
        self.harvested = Instant::now();
        let ended = std::mem::take(&mut self.ended);
        let ended: BTreeSet<ProcessId> = ended.into_iter().collect();
        let mut snapshot = self.added_up()?;
        self.add_go(&mut snapshot, &ended)?;
        // An id that a later process has already keeps what there is: it is that one's too.
        let pids = ended.iter().map(|id| id.pid);
        let pids = pids.filter(|pid| !self.traced.contains(pid)).collect();
        self.probe.forget_go(&pids)?;
        snapshot.owners.retain(|(id, _), _| ended.contains(id));
        snapshot.spans.clear();
        self.probe.forget(&snapshot)?;
        self.counted.forget(&snapshot);
        into.push(Item::Ended(Box::new(snapshot)));
        Ok(())
    }

    /// Takes what the kernel side keeps of removed groups out of its maps.
    fn sweep(&mut self, into: &mut Vec<Item>) -> Result<(), ProbeError> {
        let Some(groups) = &self.groups else {
            return Ok(());
        };
        if self.swept.elapsed() < SWEEP_EVERY {
            return Ok(());
        }
        self.swept = Instant::now();
        let sweeps = &mut self.sweeps;
        let gone = self.probe.sweep_queues(sweeps, |id| groups.exists(id))?;
        if gone.is_empty() {
            return Ok(());
        }
        let mut snapshot = self.probe.snapshot()?;
        snapshot.owners.clear();
        snapshot.spans.retain(|(id, _), _| gone.contains(id));
        self.probe.forget(&snapshot)?;
        into.push(Item::Ended(Box::new(snapshot)));
        Ok(())
    }

    /// Takes every record off the ring before any is looked at: looking takes
    /// longer.
    fn take_records(&mut self) -> (Vec<Arrived>, BTreeMap<String, u64>) {
        let mut arrived = Vec::new();
        let mut rejected = BTreeMap::new();
        while let Some(record) = self.ring.0.next() {
            self.taken.received += 1;
            match decode(&record) {
                Ok(event) => {
                    self.taken.decoded += 1;
                    if let Event::Episode(episode) = &event {
                        self.counted.add(episode);
                    }
                    let raw = self.recorder.is_some().then(|| record.to_vec());
                    arrived.push(Arrived { event, raw });
                }
                Err(error) => {
                    self.taken.rejected += 1;
                    if let Some(recorder) = &mut self.recorder {
                        recorder.record(&record, true);
                    }
                    *rejected.entry(error.to_string()).or_insert(0) += 1;
                }
            }
        }
        (arrived, rejected)
    }

    fn record_items(&mut self, items: &[Item]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.items(items);
        }
    }
}

impl Source for Live {
    fn drain(&mut self, into: &mut Vec<Item>) -> Result<(), SourceError> {
        let begin = into.len();
        let first = begin;
        into.append(&mut self.found);
        self.record_items(&into[first..]);
        let (arrived, rejected) = self.take_records();
        for (reason, count) in rejected {
            log::warn!("{count} records rejected: {reason}");
        }
        self.places.begin_round();
        for Arrived { mut event, raw } in arrived {
            let first = into.len();
            let traced = match &mut event {
                Event::Process(record) => {
                    self.life(record, into)?;
                    true
                }
                // Else written before the decision that its process is foreign.
                event => {
                    let pid = event.process().pid;
                    for (pc, place) in event.instructions() {
                        *place = self.places.at(pid, pc);
                    }
                    self.traced.contains(&pid)
                }
            };
            self.record_items(&into[first..]);
            if let Some((recorder, raw)) = self.recorder.as_mut().zip(raw) {
                recorder.group_of(&event, &mut self.enricher);
                recorder.places_of(&mut event);
                recorder.record(&raw, traced);
            }
            if traced {
                if let Event::Episode(episode) = &event
                    && let Some(sender) = episode.sender_pid
                    && sender != episode.process.pid
                {
                    self.enricher.remember_sender(sender);
                }
                into.push(Item::Event(event));
            }
        }
        let first = into.len();
        self.harvest(into)?;
        self.sweep(into)?;
        self.probe.look_at_rates()?;
        self.record_items(&into[first..]);
        for item in &mut into[begin..] {
            self.slices.look(item);
        }
        if self.selection.by_group() && self.rescanned.elapsed() >= RESCAN_EVERY {
            self.rescanned = Instant::now();
            self.scan()?;
        }
        self.probe.log_diagnostics();
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
        Ok(self.snapshot_now()?)
    }

    fn counters(&mut self) -> Result<Counters, SourceError> {
        Ok(self.probe.counters()?)
    }

    fn pending(&mut self, now_ns: u64) -> Result<Vec<Episode>, SourceError> {
        let threads = self.probe.threads()?;
        let senders = senders::uses(&threads, &self.traced, now_ns);
        if !senders.is_empty() {
            self.found.push(Item::Senders(senders));
        }
        let pending = self.probe.pending(threads)?;
        Ok(pending
            .iter()
            .filter(|pending| self.traced.contains(&pending.thread.tgid))
            .map(|pending| pending::episode(pending, now_ns))
            .collect())
    }

    fn taken(&self) -> Taken {
        self.taken
    }
}
