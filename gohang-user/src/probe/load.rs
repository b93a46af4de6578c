//! Loading and attaching.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aya::maps::{Array, HashMap, MapData, RingBuf};
use aya::programs::{BtfTracePoint, ProgramError};
use aya::{Ebpf, EbpfLoader};
use gohang_common::config::{Offsets, Settings};
use gohang_common::map::{GoOffsets, ProcessState, filter};

use super::hooks::PROGRAMS;
use super::ladder::{self, Step};
use super::multi::Multi;
use super::read::remove;
use super::types::{self, Theirs};
use super::uprobes::{self, GoProbes};
use super::{
    Filter, Hook, Precision, ProbeError, ProgramCost, ThrottleSource, attach, kernel_offsets,
    multi, object, quota, self_test,
};
use crate::btf::{Btf, VMLINUX};
use crate::privilege::{Lockdown, lockdown};
use crate::process::escape;
use crate::sched_ext::{self, SchedExt};

/// Highest process id a kernel can give, and one (PID_MAX_LIMIT,
/// include/linux/threads.h, 64-bit).
const PIDS: u32 = 4 << 20;

/// Size of the ring if nothing else is asked for: a third of a second of what
/// two cores can make at most, 35 to 47 thousand episodes a second. User space
/// maps it twice, and what is mapped counts as its memory.
pub const RING_BYTES: u32 = 2 << 20;

/// Run queues of groups out of quota that are kept if nothing else is asked for: one a
/// CPU and group.
pub const RUN_QUEUES: u32 = 8192;

/// What to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Let every process through from its exec until user space decides.
    pub discover: bool,
    /// Trace the children of traced processes too.
    pub inherit: bool,
    /// Size of the ring in bytes; rounded up to a power of two and a page.
    pub ring_bytes: u32,
    /// Most threads with state at a time.
    pub max_threads: u32,
    /// Most run queues of groups out of quota that are kept.
    pub max_run_queues: u32,
    /// The kernel's type information.
    pub btf: PathBuf,
    /// The step of the ladder; without one the most exact that the kernel allows.
    pub throttle: Option<Precision>,
    /// Whether the hooks on the quota of run queues are tried.
    pub queue_hooks: bool,
    /// Whether fentry is tried for them, or kprobes only.
    pub fentry: bool,
    /// Whether functions of Go programs are probed.
    pub uprobes: bool,
    /// Another object than the embedded one (for tests).
    pub object: Option<PathBuf>,
}

impl LoadOptions {
    /// A size that the kernel accepts.
    fn ring_bytes(&self) -> u32 {
        self.ring_bytes.max(4096).next_power_of_two()
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            discover: true,
            inherit: true,
            ring_bytes: RING_BYTES,
            max_threads: 16384,
            max_run_queues: RUN_QUEUES,
            btf: VMLINUX.into(),
            throttle: None,
            queue_hooks: true,
            fentry: true,
            uprobes: true,
            object: None,
        }
    }
}

/// The loaded and attached kernel side. Everything ends with it.
pub struct Probe {
    pub(super) ebpf: Ebpf,
    filter: Filter,
    hooks: Vec<Hook>,
    step: Step,
    pub(super) max_run_queues: u32,
    throttle_sources: Vec<ThrottleSource>,
    attach_ns: u64,
    pub(super) go: GoProbes,
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("hooks", &self.hooks)
            .field("precision", &self.step.precision)
            .finish_non_exhaustive()
    }
}

/// A program's refusal, in words.
pub(super) fn program_error(program: &'static str, error: &ProgramError) -> ProbeError {
    if let ProgramError::LoadError { verifier_log, .. } = error
        && is_locked_down(&verifier_log.to_string())
    {
        return ProbeError::Lockdown;
    }
    ProbeError::Program {
        program,
        reason: refusal(error),
    }
}

/// Whether the verifier took the helper that reads kernel memory for one that there is
/// not, as it does under lockdown (`bpf_tracing_func_proto`, kernel/trace/bpf_trace.c);
/// "unknown func" in the words of 6.1, "cannot use helper" in those of 6.18. aya asks
/// for the older helper where the kernel seems to lack the newer.
fn is_locked_down(verifier_log: &str) -> bool {
    let reads = ["bpf_probe_read#", "bpf_probe_read_kernel#"];
    verifier_log.lines().any(|line| {
        let refused = line.contains("unknown func") || line.contains("cannot use helper");
        refused && reads.iter().any(|helper| line.contains(helper))
    })
}

/// Why the kernel refused; the verifier's last lines where it spoke.
pub(super) fn refusal(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let log = log.trim();
            if log.is_empty() {
                format!("load: {io_error} (the verifier said nothing)")
            } else {
                let tail: Vec<&str> = log.lines().rev().take(6).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                format!("load: {io_error}; verifier: {}", tail.join(" | "))
            }
        }
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(inner) = source {
                text.push_str(": ");
                text.push_str(&inner.to_string());
                source = inner.source();
            }
            text
        }
    }
}

/// A map of the object by name and type.
pub(super) fn map<'a, T>(ebpf: &'a Ebpf, name: &'static str) -> Result<T, ProbeError>
where
    T: TryFrom<&'a aya::maps::Map>,
    T::Error: std::fmt::Display,
{
    let found = ebpf.map(name).ok_or_else(|| ProbeError::Map {
        map: name,
        reason: "missing".to_owned(),
    })?;
    T::try_from(found).map_err(|error| ProbeError::Map {
        map: name,
        reason: error.to_string(),
    })
}

/// The same, to write.
pub(super) fn map_mut<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<T, ProbeError>
where
    T: TryFrom<&'a mut aya::maps::Map>,
    T::Error: std::fmt::Display,
{
    let found = ebpf.map_mut(name).ok_or_else(|| ProbeError::Map {
        map: name,
        reason: "missing".to_owned(),
    })?;
    T::try_from(found).map_err(|error| ProbeError::Map {
        map: name,
        reason: error.to_string(),
    })
}

fn settings(options: &LoadOptions, kernel: &Btf, step: Step) -> Settings {
    // aya's own probe cannot tell for programs that need a target.
    let pt_regs = kernel.enum_value(Some("bpf_func_id"), "BPF_FUNC_task_pt_regs");
    let (throttle, run_queues) = step.settings();
    Settings {
        throttle,
        discover: u32::from(options.discover),
        has_task_pt_regs: u32::from(pt_regs.is_some()),
        wake_bytes: options.ring_bytes() / 4,
        // x86_64 without FRED, which came after the helper (arch/x86/include/asm/thread_info.h).
        stack_padding: 0,
        stack_size: 16384,
        inherit: u32::from(options.inherit),
        run_queues,
        ext_class: match step.precision {
            // Threads say themselves that they are parked.
            Precision::ThreadExact => 0,
            _ => sched_ext::class(),
        },
    }
}

/// A program of the object by name.
pub(super) fn tracepoint<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut BtfTracePoint, ProbeError> {
    ebpf.program_mut(name)
        .ok_or_else(|| ProbeError::Object(format!("it has no program {name}")))?
        .try_into()
        .map_err(|error| program_error(name, &error))
}

impl Probe {
    /// Loads the object for this kernel and attaches it. The window stays
    /// closed: nothing is counted yet.
    ///
    /// # Errors
    /// See [`ProbeError`]; a hook that is not required is only reported.
    pub fn new(options: &LoadOptions) -> Result<Self, ProbeError> {
        let begin = Instant::now();
        // Where it cannot be told, the first program that reads kernel memory is refused.
        if lockdown() == Lockdown::Confidentiality {
            return Err(ProbeError::Lockdown);
        }
        let (kernel, theirs, mut loader) = types::read(&options.btf)?;
        let offsets = kernel_offsets(&kernel)?;
        let steps = ladder::steps(&offsets, options.throttle, options.queue_hooks)?;
        let bytes = match &options.object {
            Some(path) => {
                let read = std::fs::read(path);
                Cow::Owned(read.map_err(|source| ProbeError::ObjectFile {
                    path: path.clone(),
                    source,
                })?)
            }
            None => Cow::Borrowed(object::OBJECT),
        };
        object::check_abi(&bytes)?;
        if let Some(found) = SchedExt::read(Path::new("/")).filter(SchedExt::is_on) {
            log::warn!(
                "a BPF scheduler ({}) is {}: {}",
                escape(found.scheduler.as_deref().unwrap_or("unnamed")),
                escape(&found.state),
                sched_ext::MEANING
            );
        }
        let settings: Vec<Settings> = steps
            .iter()
            .map(|step| settings(options, &kernel, *step))
            .collect();
        prepare(&mut loader, options, &offsets);
        let (mut ebpf, step, mut hooks) = climb(
            &mut loader,
            &steps,
            &settings,
            options,
            (&kernel, &theirs),
            &bytes,
        )?;
        let throttle_sources = ladder::survey(&offsets, step, &hooks);
        hooks.extend(attach::attach_all(&mut ebpf, &kernel, theirs.get()?, step)?);
        let filter = {
            let array: Array<_, [u8; filter::BLOCK]> = map(&ebpf, "FILTER")?;
            let blocks = array.len();
            let Some(aya::maps::Map::Array(data)) = ebpf.map("FILTER") else {
                return Err(ProbeError::Map {
                    map: "FILTER",
                    reason: "not an array".into(),
                });
            };
            Filter::new(data.fd(), blocks).map_err(ProbeError::Filter)?
        };
        let go = GoProbes::new(options.uprobes, || Multi::new(&kernel, bytes, &ebpf));
        let logger = aya_log::EbpfLogger::init(&mut ebpf).ok();
        Ok(Self {
            ebpf,
            filter,
            hooks,
            step,
            max_run_queues: options.max_run_queues,
            throttle_sources,
            attach_ns: begin.elapsed().as_nanos() as u64,
            go,
            logger,
        })
    }

    /// The process filter.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The probe set.
    #[must_use]
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// What "throttled" rests on.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.step.precision
    }

    /// What this kernel can do of each step of the ladder.
    #[must_use]
    pub fn throttle_sources(&self) -> &[ThrottleSource] {
        &self.throttle_sources
    }

    /// Whether spans of groups out of quota are measured.
    #[must_use]
    pub fn has_spans(&self) -> bool {
        self.step.run_queues
    }

    /// How long loading and attaching took, ns.
    #[must_use]
    pub fn attach_ns(&self) -> u64 {
        self.attach_ns
    }

    /// Takes the ring's reading end; once.
    ///
    /// # Errors
    /// The map is missing, or was taken.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>, ProbeError> {
        let bad = |reason: String| ProbeError::Map {
            map: "RECORDS",
            reason,
        };
        let map = self
            .ebpf
            .take_map("RECORDS")
            .ok_or_else(|| bad("missing".to_owned()))?;
        RingBuf::try_from(map).map_err(|error| bad(error.to_string()))
    }

    /// Opens the window: signals first sent from `now_ns` on are episodes.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn open_window(&mut self, now_ns: u64) -> Result<(), ProbeError> {
        self.set_window(now_ns)
    }

    /// Lets the window begin then, CLOCK_MONOTONIC ns.
    fn set_window(&mut self, begin_ns: u64) -> Result<(), ProbeError> {
        let mut window: Array<_, u64> = map_mut(&mut self.ebpf, "WINDOW")?;
        window.set(0, begin_ns, 0).map_err(|error| ProbeError::Map {
            map: "WINDOW",
            reason: error.to_string(),
        })
    }

    /// Tells the kernel side where a process's Go version keeps a goroutine's id.
    ///
    /// # Errors
    /// The map is full or cannot be written.
    pub fn set_go(&mut self, pid: u32, offsets: &GoOffsets) -> Result<(), ProbeError> {
        let mut go: HashMap<_, u32, GoOffsets> = map_mut(&mut self.ebpf, "GO")?;
        go.insert(pid, *offsets, 0)
            .map_err(|error| ProbeError::Map {
                map: "GO",
                reason: error.to_string(),
            })?;
        self.filter().is_go(pid);
        Ok(())
    }

    /// Drops what is kept of a process that is not traced after all.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn drop_process(&mut self, pid: u32) -> Result<(), ProbeError> {
        let mut processes: HashMap<_, u32, ProcessState> = map_mut(&mut self.ebpf, "PROCESSES")?;
        remove(processes.remove(&pid)).map_err(|error| ProbeError::Map {
            map: "PROCESSES",
            reason: error.to_string(),
        })
    }

    /// Detaches every program: nothing is written any more. Those in Go programs are still
    /// being taken off for a while, but find the window closed.
    ///
    /// # Errors
    /// A program cannot be unloaded, or a map not be written.
    pub fn detach(&mut self) -> Result<(), ProbeError> {
        for program in PROGRAMS {
            if let Some(loaded) = self.ebpf.program_mut(program.name)
                && loaded.fd().is_ok()
            {
                let loaded: &mut BtfTracePoint = loaded
                    .try_into()
                    .map_err(|error| program_error(program.name, &error))?;
                loaded
                    .unload()
                    .map_err(|error| program_error(program.name, &error))?;
            }
        }
        quota::unload(&mut self.ebpf)?;
        self.set_window(u64::MAX)?;
        self.release_all();
        Ok(())
    }

    /// Names of all programs.
    fn names() -> impl Iterator<Item = &'static str> {
        quota::programs()
            .chain(PROGRAMS.iter().map(|program| program.name))
            .chain(uprobes::programs())
    }

    /// What a program cost so far, if it is loaded.
    fn cost(&self, name: &str) -> Option<multi::Cost> {
        if let Some(cost) = self.go.multi.as_ref().and_then(|multi| multi.cost(name)) {
            return Some(cost);
        }
        let info = self.ebpf.program(name)?.info().ok()?;
        Some(multi::Cost {
            runs: info.run_count(),
            ns: info.run_time().as_nanos() as u64,
            verified: info.verified_instruction_count(),
        })
    }

    /// What each program cost so far (zeros unless the statistics are on).
    #[must_use]
    pub fn costs(&self) -> Vec<ProgramCost> {
        let cost = |name: &'static str| {
            self.cost(name).map(|cost| ProgramCost {
                program: name.to_owned(),
                runs: cost.runs,
                ns: cost.ns,
            })
        };
        Self::names().filter_map(cost).collect()
    }

    /// Instructions that the verifier looked at, by program.
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(&'static str, Option<u32>)> {
        let verified = |name| self.cost(name).map(|cost| (name, cost.verified));
        Self::names().filter_map(verified).collect()
    }

    /// Passes the kernel side's rare diagnostics on to `log`.
    pub fn log_diagnostics(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

/// Tells the loader what is the same on every step.
fn prepare<'a>(loader: &mut EbpfLoader<'a>, options: &LoadOptions, offsets: &'a Offsets) {
    loader
        .override_global("OFFSETS", offsets, true)
        .map_max_entries("RECORDS", options.ring_bytes())
        .map_max_entries("THREADS", options.max_threads)
        .map_max_entries("CFS_RQS", options.max_run_queues)
        .map_max_entries("FILTER", PIDS / filter::BLOCK as u32);
}

/// Creates the maps for the first step whose hooks the kernel allows.
fn climb<'a>(
    loader: &mut EbpfLoader<'a>,
    steps: &[Step],
    settings: &'a [Settings],
    options: &LoadOptions,
    (kernel, theirs): (&Btf, &Theirs),
    bytes: &[u8],
) -> Result<(Ebpf, Step, Vec<Hook>), ProbeError> {
    let mut hooks = Vec::new();
    let mut is_tested = false;
    for (position, (step, settings)) in steps.iter().zip(settings).enumerate() {
        // Its maps would be made for nothing; but the last step's refusal is told as an error, which
        // is to be the kernel's answer to gohang's own programs.
        let is_last = position + 1 == steps.len();
        if step.run_queues
            && !is_last
            && let Some(refused) = quota::refused_beforehand(kernel, options.fentry)
        {
            hooks = refused;
            continue;
        }
        let mut ebpf = loader
            .override_global("SETTINGS", settings, true)
            .load(bytes)
            .map_err(|error| ProbeError::Maps(Box::new(error)))?;
        if !is_tested {
            self_test::run(&mut ebpf, theirs.get()?)?;
            is_tested = true;
        }
        if step.run_queues {
            let tried = quota::attach(&mut ebpf, kernel, theirs.get()?, options.fentry)?;
            hooks = tried.hooks;
            if !tried.attached {
                continue;
            }
        }
        return Ok((ebpf, *step, hooks));
    }
    Err(ProbeError::ThrottleSource {
        wanted: steps.last().map_or("", |step| step.precision.name()),
        reason: ladder::refusals(&hooks),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_read_of_kernel_memory_is_lockdown() {
        for line in [
            "907: (85) call bpf_probe_read#4\nunknown func bpf_probe_read#4",
            "program of this type cannot use helper bpf_probe_read_kernel#113",
        ] {
            assert!(is_locked_down(line), "{line}");
        }
        for line in [
            "15: (85) call bpf_probe_read_kernel#113\nR2 type=scalar expected=fp",
            "unknown func bpf_task_pt_regs#175",
            "",
        ] {
            assert!(!is_locked_down(line), "{line}");
        }
    }
}
