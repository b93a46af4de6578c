//! Records of the ring buffer. Each begins with a [`Header`].

use crate::abi::ABI_VERSION;
use crate::cause::COMPONENTS;

/// First eight bytes of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u16,
    /// [`ABI_VERSION`] of the object that wrote it.
    pub abi: u16,
    /// Length of the whole record in bytes.
    pub size: u32,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// An [`Episode`].
    Episode = 1,
    /// A [`Process`].
    Process = 2,
    /// A [`Request`].
    Request = 3,
    /// A [`Stop`].
    Stop = 4,
}

impl Header {
    /// The header of a record of this kind and size.
    #[inline(always)]
    #[must_use]
    pub const fn new(kind: Kind, size: usize) -> Self {
        Self {
            kind: kind as u16,
            abi: ABI_VERSION,
            size: size as u32,
        }
    }
}

/// The goroutine id in the record passed its integrity check.
pub const FLAG_GOID: u8 = 1 << 0;
/// A process sent the signal, `sender_tgid` names it (otherwise the kernel did).
pub const FLAG_SENDER: u8 = 1 << 1;
/// Part of `throttled` is an estimate (the park's end was taken to be the
/// switch-in, or the kernel has no per-thread flag).
pub const FLAG_ESTIMATE: u8 = 1 << 2;

/// One episode, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Episode {
    /// Kind, ABI and size.
    pub header: Header,
    /// Start time of the process, CLOCK_MONOTONIC ns.
    pub process_start_ns: u64,
    /// First send, `bpf_ktime_get_ns`.
    pub sent_ns: u64,
    /// Delivery, or what ended the episode instead, `bpf_ktime_get_ns`.
    pub end_ns: u64,
    /// Nanoseconds per [`crate::cause::Component`].
    pub parts: [u64; COMPONENTS],
    /// Goroutine interrupted; valid with [`FLAG_GOID`].
    pub goid: u64,
    /// User instruction pointer at delivery, 0 if not delivered.
    pub pc: u64,
    /// Kernel id of the cgroup that the CPU controller charges, 0 if unknown.
    pub cgroup_id: u64,
    /// Address of the handler that it was delivered to, 0 if to none.
    pub handler: u64,
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Thread, root PID namespace.
    pub tid: u32,
    /// Sending thread of the first send, root PID namespace; valid with
    /// [`FLAG_SENDER`].
    pub sender_tid: u32,
    /// Sending process, root PID namespace; valid with [`FLAG_SENDER`].
    pub sender_tgid: u32,
    /// Later sends that this episode absorbed.
    pub coalesced: u32,
    /// A [`crate::cause::Outcome`].
    pub outcome: u8,
    /// 1 if sent to the process, 0 if to one thread.
    pub process_directed: u8,
    /// A [`crate::cause::Cause`].
    pub cause: u8,
    /// `FLAG_*`.
    pub flags: u8,
    /// CPU that wrote the record.
    pub cpu: u32,
    /// Time on a CPU that a delivery ended and that no sum has yet, ns; 0 if there is none.
    pub ran_ns: u32,
    /// Thread name, NUL padded.
    pub comm: [u8; 16],
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProcessEvent {
    /// A traced process forked: the child is `tgid`.
    Fork = 1,
    /// A process executed a program.
    Exec = 2,
    /// The last thread of a traced process ended.
    Exit = 3,
}

/// Life cycle of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// Kind, ABI and size.
    pub header: Header,
    /// Start time of the process, CLOCK_MONOTONIC ns.
    pub process_start_ns: u64,
    /// When, `bpf_ktime_get_ns`.
    pub at_ns: u64,
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Parent (fork) or the calling thread's id before (exec).
    pub other: u32,
    /// A [`ProcessEvent`].
    pub event: u8,
    /// Filter byte that the kernel side set, for exec (see
    /// [`crate::map::filter`]).
    pub filter: u8,
    /// Padding, zero.
    pub pad: [u8; 6],
    /// Name, NUL padded.
    pub comm: [u8; 16],
}

/// The goroutine in the record passed its integrity check.
pub const REQUEST_GOID: u8 = 1 << 0;
/// `late_ns` is known.
pub const REQUEST_LATE: u8 = 1 << 1;
/// The request's signal was sent more than once, as it met no safe point.
pub const REQUEST_SENT_AGAIN: u8 = 1 << 2;

/// Its signal is the one of the record before, which told of it while it was pending.
pub const REQUEST_CARRIED: u8 = 1 << 3;

/// One request that a goroutine yield, and what came of it. Times are
/// `bpf_ktime_get_ns`, 0 of a step that was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// Kind, ABI and size.
    pub header: Header,
    /// Start time of the process, CLOCK_MONOTONIC ns; 0 if not known.
    pub process_start_ns: u64,
    /// First request for this slice; the same for those that repeat it.
    pub first_ns: u64,
    /// This request: entry of `preemptone`, of `suspendG`'s that of `signalM`.
    pub requested_ns: u64,
    /// Entry of `signalM`.
    pub sent_ns: u64,
    /// Entry of `doSigPreempt`.
    pub delivered_ns: u64,
    /// Entry of `goschedImpl` or `preemptPark`.
    pub yielded_ns: u64,
    /// Back in `asyncPreempt`.
    pub resumed_ns: u64,
    /// Latest time that is known of it.
    pub end_ns: u64,
    /// Goroutine; valid with [`REQUEST_GOID`].
    pub goid: u64,
    /// User instruction pointer where the signal met it, 0 if it met none.
    pub pc: u64,
    /// How long the slice of 10 ms had been over; valid with [`REQUEST_LATE`].
    pub late_ns: u64,
    /// Time that the asking thread was out of quota since it last woke up, ns.
    pub sender_throttled_ns: u64,
    /// Time that it waited for a CPU since then, ns.
    pub sender_runqueue_ns: u64,
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Thread that runs the goroutine, root PID namespace, 0 if that is not known.
    pub tid: u32,
    /// Thread that asked, root PID namespace.
    pub sender_tid: u32,
    /// Requests that this one stands for beside the first.
    pub repeats: u32,
    /// A [`crate::chain::Asker`].
    pub asker: u8,
    /// A [`crate::chain::RequestEnd`].
    pub end: u8,
    /// `REQUEST_*`.
    pub flags: u8,
    /// Padding, zero.
    pub pad: [u8; 5],
}

/// One stop of the world. Times are `bpf_ktime_get_ns`, 0 of a step that was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stop {
    /// Kind, ABI and size.
    pub header: Header,
    /// Start time of the process, CLOCK_MONOTONIC ns.
    pub process_start_ns: u64,
    /// Entry of `stopTheWorldWithSema`.
    pub begin_ns: u64,
    /// Its return: everybody had stopped.
    pub stopped_ns: u64,
    /// Entry of `startTheWorldWithSema`.
    pub started_ns: u64,
    /// When the last thread stopped; 0 if none was seen to.
    pub last_ns: u64,
    /// The goroutine that ran on it last, 0 if that is not known.
    pub last_goid: u64,
    /// What that thread did from the begin until it stopped, ns by
    /// [`crate::cause::Component`], as far as its last three intervals reach back.
    pub parts: [u64; COMPONENTS],
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Thread that stops the others, root PID namespace.
    pub tid: u32,
    /// Thread that stopped last, root PID namespace.
    pub last_tid: u32,
    /// Padding, zero.
    pub pad: u32,
}

const _: () = {
    assert!(size_of::<Request>() == 8 + 13 * 8 + 16 + 8);
    assert!(size_of::<Stop>() == 8 + 6 * 8 + 9 * 8 + 16);
    assert!(align_of::<Request>() == 8 && align_of::<Stop>() == 8);
    assert!(size_of::<Header>() == 8);
    assert!(size_of::<Episode>() == 8 + 24 + 72 + 32 + 20 + 12 + 16);
    assert!(core::mem::offset_of!(Episode, parts) == 32);
    assert!(core::mem::offset_of!(Episode, comm) == size_of::<Episode>() - 16);
    assert!(size_of::<Process>() == 8 + 16 + 8 + 8 + 16);
    assert!(align_of::<Episode>() == 8 && align_of::<Process>() == 8);
};
