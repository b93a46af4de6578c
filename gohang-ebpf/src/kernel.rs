//! Access to kernel fields at the offsets that user space found in BTF.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_user,
};
use gohang_common::abi::ABI_VERSION;
use gohang_common::config::{ABSENT, Offsets, Settings, throttle};

/// The ABI of this object; user space refuses another.
#[unsafe(no_mangle)]
pub static GOHANG_ABI: u32 = ABI_VERSION as u32;

/// Field offsets, written before loading.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::UNSET;

/// What the programs are asked to do, written before loading.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = Settings::UNSET;

/// Reads a value of `.rodata` that user space replaced. Volatile: the compiler
/// must not take the value that the object was built with. The map is frozen,
/// so the verifier knows the result as a constant.
#[inline(always)]
pub fn rodata<T: Copy>(field: &'static T) -> T {
    // SAFETY: a shared reference to an initialised static.
    unsafe { core::ptr::read_volatile(field) }
}

macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::rodata(&$crate::kernel::OFFSETS.$field)
    };
}
macro_rules! setting {
    ($field:ident) => {
        $crate::kernel::rodata(&$crate::kernel::SETTINGS.$field)
    };
}
pub(crate) use {offset, setting};

/// A `task_struct` that the verifier knows by its type.
pub type Task = *const u8;

/// Loads a field through a pointer that the verifier knows by its type.
#[inline(always)]
pub fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the verifier proves that `base` is a kernel object of a known
    // type and that a T lies at the offset; a fault reads as zero.
    unsafe { *(base.add(offset as usize).cast::<T>()) }
}

/// Ids of the current thread and its process, root PID namespace.
#[derive(Clone, Copy)]
pub struct Current {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
}

/// The current thread's ids: by its task where that can be had by its type, which is cheaper than
/// the helper (kernels with one of the two helpers for that have the other).
#[inline(always)]
pub fn current() -> Current {
    if setting!(has_task_pt_regs) != 0 {
        // SAFETY: a helper without preconditions, of kernels that have it.
        let task = unsafe { bpf_get_current_task_btf() } as Task;
        return Current {
            tgid: load(task, offset!(task_tgid)),
            tid: load(task, offset!(task_pid)),
        };
    }
    let ids = bpf_get_current_pid_tgid();
    Current {
        tgid: (ids >> 32) as u32,
        tid: ids as u32,
    }
}

/// Reads kernel memory at an address that the verifier knows nothing about.
#[inline(always)]
pub fn probe<T: Copy>(address: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel((address + offset as u64) as *const T) }.ok()
}

/// Reads user memory of the current process; fails where it is not resident.
#[inline(always)]
pub fn probe_user<T: Copy>(address: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_user((address.wrapping_add(offset as u64)) as *const T) }.ok()
}

/// `PF_EXITING` (include/linux/sched.h).
pub const PF_EXITING: u32 = 0x4;

/// Whether the task is on its way out: no state is made for it.
#[inline(always)]
pub fn is_exiting(task: u64) -> bool {
    probe::<u32>(task, offset!(task_flags)).unwrap_or(PF_EXITING) & PF_EXITING != 0
}

/// `MAX_RT_PRIO` (include/linux/sched/prio.h): lower ones are real-time's and
/// deadline's, which CFS quota does not touch.
pub const MAX_RT_PRIO: i32 = 100;

/// Whether CFS runs a task of this priority and `sched_class`: one of the real-time classes or of
/// a BPF scheduler (sched_ext) names a `cfs_rq` whose quota it does not use.
#[inline(always)]
pub fn is_fair(prio: i32, class: u64) -> bool {
    prio >= MAX_RT_PRIO && (setting!(ext_class) == 0 || class != setting!(ext_class))
}

/// The same of a task that the verifier knows by its type.
#[inline(always)]
pub fn is_fair_task(task: Task) -> bool {
    is_fair(
        load(task, offset!(task_prio)),
        load(task, offset!(task_sched_class)),
    )
}

/// Whether the thread is parked for want of quota, or its run queue is out of it,
/// as the step of the ladder has it. On the overlay no thread counts as parked. For a task that the verifier knows by its type.
#[inline(always)]
pub fn is_throttled(task: Task) -> bool {
    if setting!(throttle) == throttle::THREAD_EXACT {
        return load::<u8>(task, offset!(task_throttled)) != 0;
    }
    if setting!(throttle) == throttle::SWITCH_POINT {
        let cfs_rq: *const u8 = load(task, offset!(task_cfs_rq));
        return load::<i32>(cfs_rq, offset!(cfs_rq_throttle_count)) > 0 && is_fair_task(task);
    }
    false
}

/// The same for a task by address.
#[inline(always)]
pub fn is_throttled_at(task: u64) -> bool {
    if setting!(throttle) == throttle::THREAD_EXACT {
        return probe::<u8>(task, offset!(task_throttled)).unwrap_or(0) != 0;
    }
    if setting!(throttle) == throttle::SWITCH_POINT {
        let cfs_rq = probe::<u64>(task, offset!(task_cfs_rq)).unwrap_or(0);
        return probe::<i32>(cfs_rq, offset!(cfs_rq_throttle_count)).unwrap_or(0) > 0
            && is_fair(
                probe(task, offset!(task_prio)).unwrap_or(0),
                probe(task, offset!(task_sched_class)).unwrap_or(0),
            );
    }
    false
}

/// Whether the task's cgroup (v2) is frozen.
#[inline(always)]
pub fn is_frozen(task: Task) -> bool {
    if offset!(task_frozen) == ABSENT {
        return false;
    }
    u32::from(load::<u8>(task, offset!(task_frozen))) & offset!(task_frozen_mask) != 0
}

/// Kernel id of the cgroup that the CPU controller charges for a task group.
///
/// 0 for an autogroup, which has no cgroup.
#[inline(always)]
pub fn cgroup_id(group: u64) -> u64 {
    if group == 0 || offset!(group_cgroup) == ABSENT {
        return 0;
    }
    let Some(cgroup) = probe::<u64>(group, offset!(group_cgroup)) else {
        return 0;
    };
    if cgroup == 0 {
        return 0;
    }
    let Some(kn) = probe::<u64>(cgroup, offset!(cgroup_kn)) else {
        return 0;
    };
    probe::<u64>(kn, offset!(kn_id)).unwrap_or(0)
}

/// The thread id in the task's own PID namespace.
#[inline(always)]
pub fn namespace_tid(task: u64) -> Option<u32> {
    let pid = probe::<u64>(task, offset!(task_thread_pid))?;
    let level = probe::<u32>(pid, offset!(pid_level))?;
    // MAX_PID_NS_LEVEL (include/linux/pid_namespace.h).
    if level > 32 {
        return None;
    }
    let entry = offset!(pid_numbers) + level * offset!(upid_size);
    probe::<u32>(pid, entry + offset!(upid_nr))
}

/// The element of an array in a map value, if the array has it.
///
/// The verifier must see the bound in the register that is added. Compiled from
/// plain Rust, the check may look at one copy of the index and the addition take
/// another from the stack; only kernels after 6.1 know that they are the same.
#[inline(always)]
pub fn element<T, const N: usize>(array: &mut [T; N], index: u64) -> Option<&mut T> {
    if index >= N as u64 {
        return None;
    }
    let mut bounded = index;
    // SAFETY: only the register is written; the jump stays inside. It never
    // happens that the index is set here: it was checked above.
    unsafe {
        core::arch::asm!(
            "if {index} < {len} goto +1",
            "{index} = 0",
            index = inout(reg) bounded,
            len = const N,
            options(pure, nomem, nostack),
        );
    }
    // SAFETY: it is the checked index.
    Some(unsafe { array.get_unchecked_mut(bounded as usize) })
}
