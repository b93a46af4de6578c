//! Whether the offsets are right: compares with what a helper says.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::{Task, load, offset};
use crate::maps::SELF_TEST;

/// On `sched_switch`: the task that leaves is the current one.
#[btf_tracepoint(function = "sched_switch")]
pub fn self_test(ctx: BtfTracePointContext) -> i32 {
    let prev: Task = ctx.arg(1);
    let Some(result) = SELF_TEST.get_ptr_mut(0) else {
        return 0;
    };
    let by_helper = bpf_get_current_pid_tgid();
    let tgid: u32 = load(prev, offset!(task_tgid));
    let pid: u32 = load(prev, offset!(task_pid));
    let by_offset = (u64::from(tgid) << 32) | u64::from(pid);
    // SAFETY: a map value; a lost count does no harm, and a mismatch stays.
    unsafe {
        (*result).runs += 1;
        if by_offset != by_helper {
            (*result).mismatches += 1;
        }
        (*result).by_offset = by_offset;
        (*result).by_helper = by_helper;
    }
    0
}
