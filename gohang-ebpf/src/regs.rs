//! User registers of the current thread. x86_64: the names of the registers
//! stand here and in user space's offset table, nowhere else.

use aya_ebpf::helpers::{bpf_get_current_task_btf, bpf_task_pt_regs};
use gohang_common::map::GoOffsets;
use gohang_common::thread::Thread;

use crate::kernel::{load, offset, probe, probe_user, setting};

/// The registers that matter.
#[derive(Clone, Copy, Default)]
pub struct Regs {
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Code segment; its low two bits are 3 in user mode.
    pub cs: u64,
    /// Number of the system call that it is in, -1 outside of one and after
    /// sigreturn (arch/x86/kernel/signal_64.c, restore_sigcontext).
    pub orig_ax: i64,
    /// Where Go keeps g.
    pub g: u64,
}

/// The registers with which `current` (the same task, by address) left user
/// mode.
#[inline(always)]
pub fn user_regs(current: u64) -> Regs {
    if setting!(has_task_pt_regs) != 0 {
        // SAFETY: helpers without preconditions, of kernels that have them. The verifier
        // knows the result by its type.
        let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const u8;
        return Regs {
            ip: load(regs, offset!(regs_ip)),
            sp: load(regs, offset!(regs_sp)),
            cs: load(regs, offset!(regs_cs)),
            orig_ax: load(regs, offset!(regs_orig_ax)),
            g: load(regs, offset!(regs_g)),
        };
    }
    let stack = probe::<u64>(current, offset!(task_stack)).unwrap_or(0);
    let top = u64::from(setting!(stack_size) - setting!(stack_padding) - offset!(regs_size));
    let base = stack + top;
    Regs {
        ip: probe(base, offset!(regs_ip)).unwrap_or(0),
        sp: probe(base, offset!(regs_sp)).unwrap_or(0),
        cs: probe(base, offset!(regs_cs)).unwrap_or(0),
        orig_ax: probe(base, offset!(regs_orig_ax)).unwrap_or(0),
        g: probe(base, offset!(regs_g)).unwrap_or(0),
    }
}

/// The goroutine that was interrupted, if g is really g: its m's thread id must
/// be the current thread's (in C code, the vDSO or the runtime's own assembly
/// the register holds something else), `own_tid` in its own PID namespace.
#[inline(always)]
pub fn goroutine(own_tid: u32, regs: &Regs, offsets: &GoOffsets) -> Option<u64> {
    if regs.cs & 3 != 3 || regs.g == 0 {
        return None;
    }
    let m = probe_user::<u64>(regs.g, offsets.m)?;
    let procid = probe_user::<u64>(m, offsets.procid)?;
    if own_tid == 0 || procid != u64::from(own_tid) {
        return None;
    }
    probe_user::<u64>(regs.g, offsets.goid)
}

/// Least distance from the interrupted stack pointer to the handler's frames:
/// the red zone (128), the smallest FPU state (512) and most of an rt_sigframe.
const FRAME_MIN: u64 = 1024;
/// A handler's frames are taken to end here.
const FRAME_MAX: u64 = 256 << 10;

/// Whether it is SIGURG's own handler that blocks it in the current thread,
/// which leaves its CPU, or blocked it up to now. Notices that the handler has
/// returned.
#[inline(never)]
pub fn is_own_handler(current: u64, thread: &mut Thread, blocked: bool) -> bool {
    if thread.took_handler == 0 {
        return false;
    }
    let regs = user_regs(current);
    if blocked {
        return in_own_handler(current, thread, &regs);
    }
    // Until the handler's first instruction it is not blocked either.
    if regs.ip != thread.handler_return_ip && regs.ip != thread.handler_ip {
        thread.took_handler = 0;
    }
    // What was blocked up to now and has not been delivered yet left a system
    // call that unblocked it, or sigreturn.
    regs.orig_ax < 0
}

/// Whether the current thread, which last took a SIGURG at
/// `thread.handler_sp`, is still inside that handler: its stack pointer lies on
/// the signal stack, or below the signal frame on the stack it interrupted.
#[inline(always)]
fn in_own_handler(current: u64, thread: &Thread, regs: &Regs) -> bool {
    let size = probe::<u64>(current, offset!(task_sas_ss_size)).unwrap_or(0);
    if size != 0 {
        let low = probe::<u64>(current, offset!(task_sas_ss_sp)).unwrap_or(0);
        let above = regs.sp.wrapping_sub(low);
        if above <= size {
            return true;
        }
    }
    let below = thread.handler_sp.wrapping_sub(regs.sp);
    (FRAME_MIN..FRAME_MAX).contains(&below)
}
