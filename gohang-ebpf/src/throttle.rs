//! Ends of parks: a parked thread's flag is looked at where quota comes back.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gohang_common::counter::Counter;
use gohang_common::map::PARK_SLOTS;
use gohang_common::thread::{reload, state};

use crate::emit::{atomic_add, count};
use crate::kernel::is_throttled_at;
use crate::maps::{PARKED, ParkList};
use crate::threads::find;

/// Entries in all CPUs' lists: while it is zero, nothing here costs more than
/// one load.
#[unsafe(no_mangle)]
static mut PARKED_TOTAL: u64 = 0;

/// Whether any CPU's list holds an entry.
#[inline(always)]
pub fn any_parked() -> bool {
    // SAFETY: a plain word in `.bss`.
    unsafe { core::ptr::read_volatile(&raw const PARKED_TOTAL) != 0 }
}

#[inline(always)]
fn list() -> Option<&'static mut ParkList> {
    // SAFETY: this CPU's value, touched with interrupts off only.
    PARKED.get_ptr_mut(0).map(|list| unsafe { &mut *list })
}

/// Puts a thread that has just been parked on this CPU's list.
#[inline(always)]
pub fn park(task: u64) {
    let Some(list) = list() else { return };
    let len = list.len as usize;
    if len >= PARK_SLOTS {
        count(Counter::ParkListFull);
        return;
    }
    list.tasks[len & (PARK_SLOTS - 1)] = task;
    list.len = len as u64 + 1;
    atomic_add(&raw mut PARKED_TOTAL, 1);
}

/// Whether the entry is done with: no longer parked, or seen to be so now.
#[inline(always)]
fn is_over(task: u64) -> bool {
    let Some(thread) = find(task) else {
        return true;
    };
    if thread.state != state::PARKED || thread.unpark_ns != 0 {
        return true;
    }
    if is_throttled_at(task) {
        return false;
    }
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    thread.unpark(now);
    true
}

/// Looks at every thread on this CPU's list.
#[inline(never)]
pub fn look_at_all() {
    let Some(list) = list() else { return };
    let before = reload(&list.len);
    if before == 0 {
        return;
    }
    // From the end, so that what moves into a freed slot was looked at.
    for step in 0..PARK_SLOTS as u64 {
        let index = PARK_SLOTS as u64 - 1 - step;
        if index < reload(&list.len) {
            gohang_look_at(index);
        }
    }
    let ended = before.wrapping_sub(reload(&list.len));
    if ended != 0 {
        atomic_add(&raw mut PARKED_TOTAL, 0u64.wrapping_sub(ended));
    }
}

/// Looks at one entry of this CPU's list, and takes it off if its park is over. With
/// a name for the linker it is a function of its own to the verifier too, which looks
/// at it once and not once for each step of a loop around it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn gohang_look_at(index: u64) -> u64 {
    let Some(list) = list() else { return 0 };
    let index = index as usize & (PARK_SLOTS - 1);
    if is_over(reload(&list.tasks[index])) {
        let last = reload(&list.len).wrapping_sub(1);
        list.tasks[index] = reload(&list.tasks[last as usize & (PARK_SLOTS - 1)]);
        list.len = last;
    }
    0
}

/// Looks at one thread on this CPU's list, in turn; at all if that one's park
/// is over. For switches, where 64 looks would be too dear: threads of one
/// group come back together.
#[inline(always)]
pub fn look_at_one() {
    if !any_parked() {
        return;
    }
    let over = {
        let Some(list) = list() else { return };
        if list.len == 0 {
            return;
        }
        list.next = list.next.wrapping_add(1);
        let index = if list.next < list.len { list.next } else { 0 };
        list.next = index;
        is_over(list.tasks[index as usize & (PARK_SLOTS - 1)])
    };
    if over {
        look_at_all();
    }
}

/// `hrtimer_expire_exit(hrtimer)`: the period timer refills on its own CPU.
#[btf_tracepoint(function = "hrtimer_expire_exit")]
pub fn hrtimer_expire_exit(_ctx: BtfTracePointContext) -> i32 {
    if any_parked() {
        look_at_all();
    }
    0
}

/// `csd_function_exit(func, csd)`: other CPUs are refilled by an interrupt.
#[btf_tracepoint(function = "csd_function_exit")]
pub fn csd_function_exit(_ctx: BtfTracePointContext) -> i32 {
    if any_parked() {
        look_at_all();
    }
    0
}
