//! The functions of the Go runtime that make up a preemption, and those that ask for
//! one.
//!
//! Names are those of 1.18 to 1.27; where they differ, all are listed.

use super::elf::ElfError;
use super::image::ReadAt;
use super::symbols::{Function, Symbols};

/// A step of a preemption that can be probed at its entry. What it gets as arguments
/// stands in registers (`ABIInternal`: amd64 rax, rbx, rcx, rdi; arm64 x0 to x3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// A P is asked to give up its goroutine: `preemptone(pp *p)`.
    Preemptone,
    /// A signal is sent to a thread: `signalM(mp *m, sig int)`. Preemption is only one
    /// of its uses.
    SignalM,
    /// The handler runs: `sighandler(sig, info, ctxt, gp *g)`; for every signal.
    Sighandler,
    /// The handler was called for a preemption: `doSigPreempt(gp *g, ctxt)`.
    DoSigPreempt,
    /// The yield is still wanted; can it be made here?
    /// `isAsyncSafePoint(gp *g, pc, sp, lr uintptr)`.
    IsAsyncSafePoint,
    /// It can: the goroutine comes back into this function instead of where it was. It
    /// is assembly without arguments; the goroutine is in its usual register.
    AsyncPreempt,
    /// The goroutine goes to the queue: `goschedImpl(gp *g, preempted bool)`, without
    /// the second argument before 1.22. Also called by `runtime.Gosched`.
    GoschedImpl,
    /// The goroutine stops for who asked: `preemptPark(gp *g)`.
    PreemptPark,
    /// The world is being stopped: `stopTheWorldWithSema`.
    StopTheWorld,
    /// The world goes on: `startTheWorldWithSema`.
    StartTheWorld,
    /// A thread stops for a stop of the world: `gcstopm()`.
    Gcstopm,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 11] = [
        Self::Preemptone,
        Self::SignalM,
        Self::Sighandler,
        Self::DoSigPreempt,
        Self::IsAsyncSafePoint,
        Self::AsyncPreempt,
        Self::GoschedImpl,
        Self::PreemptPark,
        Self::StopTheWorld,
        Self::StartTheWorld,
        Self::Gcstopm,
    ];

    /// The function's name; the same in every version.
    #[must_use]
    pub const fn function(self) -> &'static str {
        match self {
            Self::Preemptone => "runtime.preemptone",
            Self::SignalM => "runtime.signalM",
            Self::Sighandler => "runtime.sighandler",
            Self::DoSigPreempt => "runtime.doSigPreempt",
            Self::IsAsyncSafePoint => "runtime.isAsyncSafePoint",
            Self::AsyncPreempt => "runtime.asyncPreempt",
            Self::GoschedImpl => "runtime.goschedImpl",
            Self::PreemptPark => "runtime.preemptPark",
            Self::StopTheWorld => "runtime.stopTheWorldWithSema",
            Self::StartTheWorld => "runtime.startTheWorldWithSema",
            Self::Gcstopm => "runtime.gcstopm",
        }
    }
}

/// A function that a probed one is called by, found by the return address at the
/// probed one's entry (amd64 at the stack pointer, arm64 in x30). The callers further
/// up are found by the frame pointer, which there still is the caller's: the word
/// behind where it points is the next return address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Caller {
    /// Calls `signalM` for one P; see its own caller for why.
    Preemptone,
    /// Calls `signalM` to stop one goroutine; see its own caller for why.
    SuspendG,
    /// Calls `signalM` for `syscall.AllThreadsSyscall`: no preemption.
    AllThreadsSyscall,
    /// Calls `preemptone`: sysmon found that a goroutine has run for its slice (10 ms).
    Retake,
    /// Calls `preemptone` for every P; see its own caller for why.
    Preemptall,
    /// Calls `preemptone`: the collector wants another worker.
    EnlistWorker,
    /// Calls `preemptall`: the world is being stopped.
    StopTheWorld,
    /// Calls `preemptall`: a function is to run on every P, as the collector needs at
    /// the end of a phase.
    ForEachP,
    /// Calls `preemptall`: the program ends with a fatal error or a dump.
    Freezetheworld,
    /// Calls `suspendG`: the collector scans a stack.
    Markroot,
    /// Calls `suspendG`: an execution trace begins a new generation.
    TraceAdvance,
}

impl Caller {
    /// Every caller.
    pub const ALL: [Self; 11] = [
        Self::Preemptone,
        Self::SuspendG,
        Self::AllThreadsSyscall,
        Self::Retake,
        Self::Preemptall,
        Self::EnlistWorker,
        Self::StopTheWorld,
        Self::ForEachP,
        Self::Freezetheworld,
        Self::Markroot,
        Self::TraceAdvance,
    ];

    /// The functions that it can be, in one version or another.
    const fn functions(self) -> &'static [&'static str] {
        match self {
            Self::Preemptone => &["runtime.preemptone"],
            Self::SuspendG => &["runtime.suspendG"],
            Self::AllThreadsSyscall => &["syscall.runtime_doAllThreadsSyscall"],
            Self::Retake => &["runtime.retake"],
            Self::Preemptall => &["runtime.preemptall"],
            Self::EnlistWorker => &["runtime.(*gcControllerState).enlistWorker"],
            Self::StopTheWorld => &["runtime.stopTheWorldWithSema"],
            // The second since 1.22.
            Self::ForEachP => &["runtime.forEachP", "runtime.forEachPInternal"],
            Self::Freezetheworld => &["runtime.freezetheworld"],
            // On the system stack, in a closure.
            Self::Markroot => &["runtime.markroot.func1"],
            Self::TraceAdvance => &["runtime.traceAdvance.func1.1"],
        }
    }
}

/// A function that calls `goschedImpl` for a goroutine that was asked to yield, where
/// `gosched_m` and `goschedguarded_m` do for one that gives way by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Yielder {
    /// At a stack check, from 1.22 on (before, it calls `gopreempt_m`).
    Newstack,
    /// After a signal, up to 1.25; before 1.22 at a stack check too.
    GopreemptM,
    /// After a signal, from 1.26 on: a closure of `asyncPreempt2`.
    AsyncPreempt2,
}

impl Yielder {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Newstack, Self::GopreemptM, Self::AsyncPreempt2];

    /// The function's name.
    #[must_use]
    pub const fn function(self) -> &'static str {
        match self {
            Self::Newstack => "runtime.newstack",
            Self::GopreemptM => "runtime.gopreempt_m",
            Self::AsyncPreempt2 => "runtime.asyncPreempt2.func1",
        }
    }
}

/// Where the functions of one program are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeFunctions {
    probes: Vec<(Probe, Function)>,
    callers: Vec<(Caller, Function)>,
    yielders: Vec<(Yielder, Function)>,
}

impl RuntimeFunctions {
    /// Finds them in one pass over the program's table of functions.
    ///
    /// # Errors
    /// When the table is damaged or reading fails; functions that are not there are
    /// left out.
    pub fn find<R: ReadAt>(symbols: &Symbols<R>) -> Result<Self, ElfError> {
        let callers: Vec<(Caller, &str)> = Caller::ALL
            .into_iter()
            .flat_map(|caller| caller.functions().iter().map(move |name| (caller, *name)))
            .collect();
        let names: Vec<&str> = Probe::ALL
            .into_iter()
            .map(Probe::function)
            .chain(callers.iter().map(|(_, name)| *name))
            .chain(Yielder::ALL.into_iter().map(Yielder::function))
            .collect();
        let mut found = symbols.find(&names)?.into_iter();
        let probes = Probe::ALL
            .into_iter()
            .zip(found.by_ref())
            .filter_map(|(probe, function)| Some((probe, function?)))
            .collect();
        let callers = callers
            .into_iter()
            .zip(found.by_ref())
            .filter_map(|((caller, _), function)| Some((caller, function?)))
            .collect();
        let yielders = Yielder::ALL
            .into_iter()
            .zip(found)
            .filter_map(|(yielder, function)| Some((yielder, function?)))
            .collect();
        Ok(Self {
            probes,
            callers,
            yielders,
        })
    }

    /// Where the function of `probe` is; `None` when the program has none.
    #[must_use]
    pub fn probe(&self, probe: Probe) -> Option<&Function> {
        let mut all = self.probes.iter();
        all.find(|(own, _)| *own == probe).map(|(_, found)| found)
    }

    /// Where that function is; `None` when the program has none.
    #[must_use]
    pub fn yielder(&self, yielder: Yielder) -> Option<&Function> {
        let mut all = self.yielders.iter();
        all.find(|(own, _)| *own == yielder).map(|(_, found)| found)
    }

    /// What to attach entry probes to: each function found, and its place in the file.
    pub fn attach_points<R: ReadAt>(&self, symbols: &Symbols<R>) -> Vec<(Probe, u64)> {
        self.probes
            .iter()
            .filter_map(|(probe, function)| Some((*probe, symbols.file_offset(function.entry)?)))
            .collect()
    }

    /// Which caller a call returns to at `vaddr` (before the load bias); `None` when it
    /// is none of these.
    #[must_use]
    pub fn caller(&self, vaddr: u64) -> Option<Caller> {
        self.callers()
            .find(|(_, function)| function.is_returned_to_at(vaddr))
            .map(|(caller, _)| caller)
    }

    /// The callers found, for whoever classifies elsewhere; a return address `a` is in
    /// one if `entry < a <= end`.
    pub fn callers(&self) -> impl Iterator<Item = (Caller, &Function)> {
        self.callers.iter().map(|(caller, found)| (*caller, found))
    }
}
