//! What of a Go program the preemption chain is probed at, and what its probes read.

use std::path::Path;

use gohang_common::runtime::{GoRuntime, Range, UNKNOWN_OFFSET, caller, hit};

use super::buildinfo::BuildInfo;
use super::elf::{Arch, Elf, ElfError};
use super::functions::{Caller, Probe, RuntimeFunctions, Yielder};
use super::image::{FileImage, ReadAt};
use super::layout::{Field, Layout, NoLayout};
use super::symbols::{Function, NoSymbols, Symbols};

/// A probe point of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// The entry of a function, behind its stack check: see [`stack_check`].
    Entry(Probe),
    /// A call of `goschedImpl` for a goroutine that was asked to yield. That function's own
    /// entry is where programs get to that call `runtime.Gosched` all the time.
    Yields(Yielder),
    /// In `asyncPreempt`, behind its call of `asyncPreempt2`: the goroutine runs again.
    Resumed,
    /// The return instruction of `stopTheWorldWithSema`, before Go 1.23: everybody has stopped.
    /// Its return address stays what it is.
    WorldStopped,
}

impl Point {
    /// Every point, in the order in which they are attached: whoever looks up what an
    /// earlier step kept comes first.
    pub const ALL: [Self; 14] = [
        Self::Resumed,
        Self::Entry(Probe::PreemptPark),
        Self::Yields(Yielder::Newstack),
        Self::Yields(Yielder::GopreemptM),
        Self::Yields(Yielder::AsyncPreempt2),
        Self::Entry(Probe::AsyncPreempt),
        Self::Entry(Probe::IsAsyncSafePoint),
        Self::Entry(Probe::DoSigPreempt),
        Self::Entry(Probe::SignalM),
        Self::Entry(Probe::Preemptone),
        Self::Entry(Probe::StartTheWorld),
        Self::WorldStopped,
        Self::Entry(Probe::Gcstopm),
        Self::Entry(Probe::StopTheWorld),
    ];

    /// What it is called in the probe set: the function, and what of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry(probe) => probe.function(),
            Self::Yields(Yielder::Newstack) => "runtime.newstack (yields)",
            Self::Yields(Yielder::GopreemptM) => "runtime.gopreempt_m (yields)",
            Self::Yields(Yielder::AsyncPreempt2) => "runtime.asyncPreempt2 (yields)",
            Self::Resumed => "runtime.asyncPreempt (resumed)",
            Self::WorldStopped => "runtime.stopTheWorldWithSema (stopped)",
        }
    }

    /// Its number in the kernel side's counts of hits.
    #[must_use]
    pub const fn hit(self) -> Option<usize> {
        Some(match self {
            Self::Entry(Probe::Preemptone) => hit::PREEMPTONE,
            Self::Entry(Probe::SignalM) => hit::SIGNAL_M,
            Self::Entry(Probe::DoSigPreempt) => hit::DO_SIG_PREEMPT,
            Self::Entry(Probe::IsAsyncSafePoint) => hit::IS_ASYNC_SAFE_POINT,
            Self::Entry(Probe::AsyncPreempt) => hit::ASYNC_PREEMPT,
            Self::Yields(_) => hit::GOSCHED_IMPL,
            Self::Entry(Probe::PreemptPark) => hit::PREEMPT_PARK,
            Self::Entry(Probe::StopTheWorld) => hit::STOP_THE_WORLD,
            Self::Entry(Probe::StartTheWorld) => hit::START_THE_WORLD,
            Self::Entry(Probe::Gcstopm) => hit::GCSTOPM,
            Self::Entry(Probe::Sighandler | Probe::GoschedImpl) => return None,
            Self::Resumed => hit::RESUMED,
            Self::WorldStopped => hit::WORLD_STOPPED,
        })
    }
}

/// Why a program's preemption chain cannot be probed.
#[derive(Debug, thiserror::Error)]
pub enum NoPoints {
    /// The file is damaged, or reading it failed.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// Not Go.
    #[error("it is not Go")]
    NotGo,
    /// Arguments are read from registers of amd64.
    #[error("its functions are probed on amd64 only")]
    Arch,
    /// Before 1.17 arguments are on the stack.
    #[error("functions of Go 1.{minor} take their arguments on the stack")]
    TooOld {
        /// The minor version.
        minor: u32,
    },
    /// Functions cannot be found.
    #[error(transparent)]
    Symbols(#[from] NoSymbols),
    /// Where the runtime keeps what is read is not known.
    #[error(transparent)]
    Layout(#[from] NoLayout),
    /// A member without which nothing can be told.
    #[error("where its runtime keeps {structure}.{member} is not known")]
    Member {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
}

/// What of a program is probed; addresses are those of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbePoints {
    /// Each point that the program has, and where it lies in the file.
    pub points: Vec<(Point, u64)>,
    runtime: GoRuntime,
    /// Where the program headers are loaded; none if no segment holds them.
    headers: Option<u64>,
    position_independent: bool,
}

/// Offset of the program headers: behind the header of a 64-bit file, where every linker
/// puts them.
const PROGRAM_HEADERS: u64 = 64;
/// `AT_PHDR` (include/uapi/linux/auxvec.h).
const AT_PHDR: u64 = 3;
/// Most bytes of a function that are looked through.
const MAX_CODE: u64 = 64 << 10;

impl ProbePoints {
    /// Reads those of the program at `path`.
    ///
    /// # Errors
    /// [`NoPoints`], the reason why there are none.
    pub fn read(path: &Path) -> Result<Self, NoPoints> {
        let file = std::fs::File::open(path).map_err(ElfError::Io)?;
        Self::of(FileImage::new(file).map_err(ElfError::Io)?)
    }

    /// Reads those of the program in `image`.
    ///
    /// # Errors
    /// [`NoPoints`], the reason why there are none.
    pub fn of(image: impl ReadAt) -> Result<Self, NoPoints> {
        let elf = Elf::parse(image)?;
        if elf.arch() != Arch::Amd64 {
            return Err(NoPoints::Arch);
        }
        let build = BuildInfo::read(&elf)?.ok_or(NoPoints::NotGo)?;
        if let Some(minor @ ..17) = build.version.minor() {
            return Err(NoPoints::TooOld { minor });
        }
        let layout = Layout::of(&elf, &build.version)?;
        let mut runtime = offsets(&layout)?;
        if build.version.minor().is_some_and(|minor| minor >= 26) {
            runtime.g_status = layout.get(Field::GAtomicstatus).unwrap_or(UNKNOWN_OFFSET);
        }
        let has_times = build.version.minor().is_some_and(|minor| minor >= 23);
        runtime.stop_times = u32::from(has_times);
        let symbols = Symbols::open(elf)?;
        let functions = RuntimeFunctions::find(&symbols)?;
        for (caller, function) in functions.callers() {
            if let Some(slot) = slot(caller) {
                runtime.callers[slot] = Range {
                    start: function.entry,
                    end: function.end,
                };
            }
        }
        let mut points = Vec::new();
        let queues = functions.probe(Probe::GoschedImpl).map(|found| found.entry);
        for point in Point::ALL {
            let vaddr = match point {
                Point::Yields(yielder) => calls(&symbols, functions.yielder(yielder), queues)?,
                Point::Entry(probe) => begins(&symbols, functions.probe(probe))?,
                Point::Resumed => resumed(&symbols, functions.probe(Probe::AsyncPreempt))?,
                // Later the runtime says itself when all had stopped, and a return instruction
                // takes the second trap.
                Point::WorldStopped if has_times => None,
                Point::WorldStopped => returns(&symbols, functions.probe(Probe::StopTheWorld))?,
            };
            let offset = vaddr.and_then(|vaddr| symbols.file_offset(vaddr));
            points.extend(offset.map(|offset| (point, offset)));
        }
        let elf = symbols.elf();
        let headers = elf
            .segments()
            .iter()
            .find(|segment| segment.offset == 0 && segment.file_size > PROGRAM_HEADERS);
        Ok(Self {
            points,
            runtime,
            headers: headers.map(|segment| segment.vaddr.wrapping_add(PROGRAM_HEADERS)),
            position_independent: elf.is_position_independent(),
        })
    }

    /// What the kernel side needs of a process that runs the program and has this
    /// `/proc/PID/auxv`. None if where it was loaded is not known.
    #[must_use]
    pub fn runtime(&self, auxv: &[u8]) -> Option<GoRuntime> {
        let bias = if self.position_independent {
            headers_at(auxv)?.wrapping_sub(self.headers?)
        } else {
            0
        };
        let mut runtime = self.runtime;
        for range in &mut runtime.callers {
            if range.end != 0 {
                range.start = range.start.wrapping_add(bias);
                range.end = range.end.wrapping_add(bias);
            }
        }
        Some(runtime)
    }
}

/// Where the kernel loaded the program headers.
fn headers_at(auxv: &[u8]) -> Option<u64> {
    let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
    auxv.chunks_exact(16)
        .filter_map(|pair| Some((word(&pair[..8])?, word(&pair[8..])?)))
        .find(|(kind, _)| *kind == AT_PHDR)
        .map(|(_, value)| value)
}

fn slot(from: Caller) -> Option<usize> {
    Some(match from {
        Caller::Preemptone => caller::PREEMPTONE,
        Caller::SuspendG => caller::SUSPEND_G,
        Caller::Retake => caller::RETAKE,
        Caller::Preemptall => caller::PREEMPTALL,
        Caller::EnlistWorker => caller::ENLIST_WORKER,
        Caller::StopTheWorld => caller::STOP_THE_WORLD,
        Caller::ForEachP => caller::FOR_EACH_P,
        Caller::Freezetheworld => caller::FREEZE,
        Caller::AllThreadsSyscall | Caller::Markroot | Caller::TraceAdvance => return None,
    })
}

fn offsets(layout: &Layout) -> Result<GoRuntime, NoPoints> {
    let must = |field: Field| {
        layout.get(field).ok_or_else(|| {
            let (structure, member) = field.path();
            NoPoints::Member { structure, member }
        })
    };
    let may = |field: Field| layout.get(field).unwrap_or(UNKNOWN_OFFSET);
    Ok(GoRuntime {
        callers: [Range::default(); caller::COUNT],
        g_goid: must(Field::GGoid)?,
        g_m: must(Field::GM)?,
        m_procid: must(Field::MProcid)?,
        m_curg: must(Field::MCurg)?,
        m_p: must(Field::MP)?,
        m_mallocing: may(Field::MMallocing),
        // A string: its address, then its length.
        m_preemptoff_len: layout
            .get(Field::MPreemptoff)
            .map_or(UNKNOWN_OFFSET, |offset| offset.saturating_add(8)),
        m_locks: may(Field::MLocks),
        m_signal_pending: may(Field::MSignalPending),
        p_m: must(Field::PM)?,
        p_schedtick: must(Field::PSchedtick)?,
        p_sysmon_tick: must(Field::PSysmontickSchedtick)?,
        p_sysmon_when: must(Field::PSysmontickSchedwhen)?,
        g_status: UNKNOWN_OFFSET,
        stop_times: 0,
        pad: 0,
    })
}

/// A function's code.
fn code<R: ReadAt>(
    symbols: &Symbols<R>,
    function: Option<&Function>,
) -> Result<Option<(u64, Vec<u8>)>, ElfError> {
    let Some(function) = function else {
        return Ok(None);
    };
    let length = function.end.saturating_sub(function.entry).min(MAX_CODE);
    let Some(offset) = symbols.file_offset(function.entry) else {
        return Ok(None);
    };
    let mut bytes = vec![0; length as usize];
    symbols.elf().image().read_exact_at(offset, &mut bytes)?;
    Ok(Some((function.entry, bytes)))
}

/// Where a function begins behind its [`stack_check`].
fn begins<R: ReadAt>(
    symbols: &Symbols<R>,
    function: Option<&Function>,
) -> Result<Option<u64>, ElfError> {
    let code = code(symbols, function)?;
    Ok(code.map(|(entry, bytes)| entry.wrapping_add(stack_check(&bytes) as u64)))
}

/// Bytes of the stack check that Go's compiler begins a function with (`stacksplit`,
/// cmd/internal/obj/x86/obj6.go), where it is one of those for frames of less than 4 KiB and
/// `push %rbp` follows; otherwise 0. Arguments, stack pointer and return address are there
/// what they were at the entry, and:
///
/// - the kernel emulates a `push` (`push_setup_xol_ops`, arch/x86/kernel/uprobes.c, from 4.16
///   on), while it has to step through the check's comparison by itself, which is a second
///   trap. In a virtual machine that one goes to the host: 25 µs a hit instead of about 1;
/// - a function whose stack has to grow is called once more, and counts once all the same.
fn stack_check(code: &[u8]) -> usize {
    let (compared, is_big) = match code {
        // lea disp8(%rsp),%r12 or lea disp32(%rsp),%r12
        [0x4c, 0x8d, 0x64, 0x24, _, ..] => (5, true),
        [0x4c, 0x8d, 0xa4, 0x24, _, _, _, _, ..] => (8, true),
        _ => (0, false),
    };
    let branched = match (is_big, code.get(compared..)) {
        // cmp disp8(%r14),%rsp or cmp disp8(%r14),%r12
        (false, Some([0x49, 0x3b, 0x66, _, ..])) | (true, Some([0x4d, 0x3b, 0x66, _, ..])) => {
            compared + 4
        }
        _ => return 0,
    };
    let behind = match code.get(branched..) {
        // jbe rel8 or jbe rel32
        Some([0x76, _, ..]) => branched + 2,
        Some([0x0f, 0x86, _, _, _, _, ..]) => branched + 6,
        _ => return 0,
    };
    // push %rbp
    if code.get(behind) == Some(&0x55) {
        behind
    } else {
        0
    }
}

/// The calls in a function's code: `e8 rel32`, where each lies and what it calls. Among them is
/// what only looks like one: who reads this knows what can be called.
fn all_calls(entry: u64, code: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    code.windows(5).enumerate().filter_map(move |(at, window)| {
        let [0xe8, rel @ ..] = window else {
            return None;
        };
        let rel = i32::from_le_bytes(rel.try_into().ok()?);
        let call = entry.wrapping_add(at as u64);
        Some((call, call.wrapping_add(5).wrapping_add_signed(rel.into())))
    })
}

/// Where a function calls the one at `callee`, which gets its arguments in registers: they are
/// there. The kernel emulates a call as it does a `push` (see [`stack_check`]).
fn calls<R: ReadAt>(
    symbols: &Symbols<R>,
    function: Option<&Function>,
    callee: Option<u64>,
) -> Result<Option<u64>, ElfError> {
    let (Some((entry, bytes)), Some(callee)) = (code(symbols, function)?, callee) else {
        return Ok(None);
    };
    let found = all_calls(entry, &bytes).find(|(_, target)| *target == callee);
    Ok(found.map(|(call, _)| call))
}

/// Behind `asyncPreempt`'s call of `asyncPreempt2`, of that function or its wrapper.
fn resumed<R: ReadAt>(
    symbols: &Symbols<R>,
    function: Option<&Function>,
) -> Result<Option<u64>, ElfError> {
    let Some((entry, bytes)) = code(symbols, function)? else {
        return Ok(None);
    };
    for (call, target) in all_calls(entry, &bytes) {
        let callee = symbols.lookup(target)?;
        if callee
            .is_some_and(|callee| callee.entry == target && callee.name == "runtime.asyncPreempt2")
        {
            return Ok(Some(call.wrapping_add(5)));
        }
    }
    Ok(None)
}

/// The one return instruction of a function: `ret` behind `pop %rbp` behind the addition to
/// the stack pointer of what the prologue took off it. None if there are several: some
/// returns would be missed.
fn returns<R: ReadAt>(
    symbols: &Symbols<R>,
    function: Option<&Function>,
) -> Result<Option<u64>, ElfError> {
    let Some((entry, bytes)) = code(symbols, function)? else {
        return Ok(None);
    };
    let mut found = bytes.windows(6).enumerate().filter_map(|(at, window)| {
        // add $imm8,%rsp; pop %rbp; ret - or the last bytes of the form with imm32.
        let short = matches!(*window, [0x48, 0x83, 0xc4, _, 0x5d, 0xc3]);
        let long = matches!(*window, [_, _, _, _, 0x5d, 0xc3])
            && at.checked_sub(3).and_then(|start| bytes.get(start..at))
                == Some(&[0x48, 0x81, 0xc4]);
        (short || long).then(|| entry.wrapping_add(at as u64 + 5))
    });
    let first = found.next();
    Ok(first.filter(|_| found.next().is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_kernel_put_the_headers() {
        let mut auxv = Vec::new();
        for word in [6_u64, 4096, AT_PHDR, 0x5555_0000_0040, 0, 0] {
            auxv.extend(word.to_ne_bytes());
        }
        assert_eq!(headers_at(&auxv), Some(0x5555_0000_0040));
        assert_eq!(headers_at(&auxv[..20]), None);
        assert_eq!(headers_at(&[]), None);
    }

    #[test]
    fn a_function_begins_behind_its_stack_check() {
        // signalM of Go 1.27.3, preemptone and stopTheWorldWithSema.
        let near = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x54, 0x55, 0x48, 0x89, 0xe5];
        let far = [
            0x49, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0xaa, 0, 0, 0, 0x55, 0x48,
        ];
        let big = [
            0x4c, 0x8d, 0x64, 0x24, 0xe8, 0x4d, 0x3b, 0x66, 0x18, 0x0f, 0x86, 0x0e, 4, 0, 0, 0x55,
        ];
        assert_eq!(stack_check(&near), 6);
        assert_eq!(stack_check(&far), 10);
        assert_eq!(stack_check(&big), 15);
        // Without a check, without a frame, cut off.
        assert_eq!(stack_check(&near[6..]), 0);
        assert_eq!(stack_check(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x54, 0x48]), 0);
        for end in 0..big.len() {
            assert_eq!(stack_check(&big[..end]), 0, "{end}");
        }
    }

    #[test]
    fn calls_are_found_by_what_they_call() {
        // nop; call 0x1000 + 6 - 2; call 0x1000 + 11 + 0x100; the rest is cut off.
        let code = [
            0x90, 0xe8, 0xfe, 0xff, 0xff, 0xff, 0xe8, 0, 1, 0, 0, 0xe8, 0, 0,
        ];
        let found: Vec<_> = all_calls(0x1000, &code).collect();
        assert_eq!(found, [(0x1001, 0x1004), (0x1006, 0x110b)]);
        assert_eq!(all_calls(u64::MAX, &code).count(), 2);
    }

    #[test]
    fn every_point_counts_apart_but_for_yields() {
        let mut numbers: Vec<_> = Point::ALL.iter().filter_map(|point| point.hit()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let all: Vec<usize> = (0..Point::ALL.len() - Yielder::ALL.len() + 1).collect();
        assert_eq!(numbers, all);
    }
}
