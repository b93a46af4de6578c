//! The state map: traced threads and processes, and the process filter.

use gohang_common::config::throttle;
use gohang_common::map::{ProcessState, filter};
use gohang_common::thread::{Pending, Shared, Thread, state};

use crate::kernel::{
    Task, cgroup_id, is_exiting, is_throttled_at, load, namespace_tid, offset, probe, setting,
};
use crate::maps::{FILTER, NEW_THREAD, PROCESSES, THREADS};

/// The filter's byte of a process.
#[inline(always)]
fn filter_byte(tgid: u32) -> Option<*mut u8> {
    // Ids that the filter does not hold are beyond its last block.
    let block = FILTER.get_ptr_mut(tgid >> 16)?;
    // SAFETY: the offset is below the block's size.
    Some(unsafe { block.cast::<u8>().add(tgid as usize & (filter::BLOCK - 1)) })
}

/// What the filter says of a process: the one load that a foreign one costs.
#[inline(always)]
pub fn filtered(tgid: u32) -> u8 {
    match filter_byte(tgid) {
        // SAFETY: a byte of a map value.
        Some(byte) => unsafe { core::ptr::read_volatile(byte) },
        None => filter::FOREIGN,
    }
}

/// Sets the filter's byte of a process.
#[inline(always)]
pub fn set_filter(tgid: u32, value: u8) {
    if let Some(byte) = filter_byte(tgid) {
        // SAFETY: a byte of a map value; user space exchanges it atomically.
        unsafe { core::ptr::write_volatile(byte, value) };
    }
}

/// A thread's state, if it is traced.
#[inline(always)]
pub fn find(task: u64) -> Option<&'static mut Thread> {
    // SAFETY: map values stay valid while the program runs; who writes which
    // field is ruled in gohang_common::thread.
    THREADS
        .get_ptr_mut(task)
        .map(|thread| unsafe { &mut *thread })
}

/// What is known of a thread that is not in the map yet.
pub struct Origin {
    /// One of [`state`].
    pub state: u8,
    /// Begin of that state, 0 for "before we looked".
    pub since_ns: u64,
    /// 1 if the state is read off rather than seen to begin.
    pub guessed: u8,
    /// 1 if nothing can be pending that we have not seen.
    pub known: u8,
}

/// Makes a traced thread's state. Never for a task on its way out. `slot` is
/// one of [`crate::maps::scratch`].
#[inline(always)]
pub fn create(task: u64, origin: &Origin, slot: u32) -> Option<&'static mut Thread> {
    if is_exiting(task) {
        return None;
    }
    let leader = probe::<u64>(task, offset!(task_group_leader))?;
    let group = probe::<u64>(task, offset!(task_group))?;
    let new = NEW_THREAD.get_ptr_mut(slot)?;
    // SAFETY: this CPU's value; who may write it is ruled in `maps::scratch`.
    unsafe {
        (*new).tgid = probe(task, offset!(task_tgid))?;
        (*new).tid = probe(task, offset!(task_pid))?;
        (*new).own_tid = namespace_tid(task).unwrap_or(0);
        (*new).process_start_ns = probe(leader, offset!(task_start_time))?;
        (*new).group = group;
        (*new).cgroup_id = cgroup_id(group);
        (*new).state = origin.state;
        (*new).since_ns = origin.since_ns;
        (*new).guessed = origin.guessed;
        (*new).estimate = (setting!(throttle) == throttle::SWITCH_POINT) as u8;
        (*new).private.known = origin.known;
        (*new).comm = probe(task, offset!(task_comm))?;
        let blocked: u64 = probe(task, offset!(task_blocked))?;
        (*new).blocked = (blocked & gohang_common::abi::SIGURG_BIT != 0) as u8;
        // BPF_NOEXIST: its own side and the signal side may both come first.
        let _ = THREADS.insert(task, &*new, 1);
    }
    find(task)
}

/// A thread's state; made from what its task says, if need be.
#[inline(always)]
pub fn find_or_read(task: u64, slot: u32) -> Option<&'static mut Thread> {
    if let Some(found) = find(task) {
        return Some(found);
    }
    let on_cpu = probe::<u32>(task, offset!(task_on_cpu)).unwrap_or(0) != 0;
    // Whoever signals a sleeper wakes it first; what still sleeps here ignores
    // signals, and shows that at its next wake-up.
    let state = if on_cpu {
        state::ON_CPU
    } else if is_throttled_at(task) {
        state::PARKED
    } else {
        let bits = probe::<u32>(task, offset!(task_state)).unwrap_or(0);
        gohang_common::thread::classify(false, bits, false, false)
    };
    create(
        task,
        &Origin {
            state,
            since_ns: 0,
            guessed: 1,
            known: 0,
        },
        slot,
    )
}

/// A thread's state at a transition that implies what it did before.
#[inline(always)]
pub fn find_or_imply(task: u64, state_before: u8, slot: u32) -> Option<&'static mut Thread> {
    if let Some(found) = find(task) {
        return Some(found);
    }
    create(
        task,
        &Origin {
            state: state_before,
            since_ns: 0,
            guessed: 1,
            known: 0,
        },
        slot,
    )
}

/// Brings the thread's cgroup up to date.
#[inline(always)]
pub fn refresh_group(thread: &mut Thread, task: Task) {
    let group: u64 = load(task, offset!(task_group));
    if group != thread.group {
        thread.group = group;
        thread.cgroup_id = cgroup_id(group);
    }
}

/// A process's state, if there is one.
#[inline(always)]
pub fn process(tgid: u32) -> Option<&'static mut ProcessState> {
    // SAFETY: map values stay valid while the program runs; the signal side
    // alone writes it, under siglock.
    PROCESSES
        .get_ptr_mut(tgid)
        .map(|process| unsafe { &mut *process })
}

/// A process's state, made if need be.
#[inline(always)]
pub fn process_or_new(tgid: u32, start_ns: u64, known: u8) -> Option<&'static mut ProcessState> {
    if let Some(found) = process(tgid) {
        return Some(found);
    }
    let new = ProcessState {
        start_ns,
        shared: Pending {
            known,
            ..Pending::default()
        },
    };
    let _ = PROCESSES.insert(tgid, &new, 1);
    process(tgid)
}

/// Bytes of [`SIGNALLED`]; a power of two.
const SIGNALLED_BYTES: usize = 4096;

/// For the low bits of a process id, 1 once a process with such an id was sent a SIGURG as a
/// whole. Most never are, and so need no look into the map at each switch.
#[unsafe(no_mangle)]
static mut SIGNALLED: [u8; SIGNALLED_BYTES] = [0; SIGNALLED_BYTES];

/// The process is about to be sent a SIGURG as a whole.
#[inline(always)]
pub fn set_signalled(tgid: u32) {
    // SAFETY: an element of `.bss`; all who write it write the same.
    unsafe {
        let byte = (&raw mut SIGNALLED).cast::<u8>();
        core::ptr::write_volatile(byte.add(tgid as usize & (SIGNALLED_BYTES - 1)), 1);
    }
}

#[inline(always)]
fn is_signalled(tgid: u32) -> bool {
    // SAFETY: as above.
    unsafe {
        let byte = (&raw const SIGNALLED).cast::<u8>();
        core::ptr::read_volatile(byte.add(tgid as usize & (SIGNALLED_BYTES - 1))) != 0
    }
}

/// What the process's shared queue holds.
#[inline(always)]
pub fn shared(tgid: u32) -> Shared {
    if !is_signalled(tgid) {
        return Shared::default();
    }
    let sent_ns = match process(tgid) {
        // SAFETY: a field of a map value that another CPU may write.
        Some(process) => unsafe { core::ptr::read_volatile(&raw const process.shared.sent_ns) },
        None => 0,
    };
    Shared { sent_ns }
}
