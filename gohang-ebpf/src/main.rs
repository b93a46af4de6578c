//! gohang's kernel programs.
#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};

/// Context switches, by CPU.
#[map]
static SWITCHES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Counts context switches.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(_ctx: BtfTracePointContext) -> i32 {
    if let Some(count) = SWITCHES.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's alone while the program runs.
        unsafe { *count += 1 };
    }
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
