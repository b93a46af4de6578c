//! gohang's kernel programs.
//!
//! A file a subject: `sched` (switches and wake-ups), `signal` (generate and
//! deliver), `throttle` (ends of parks), `bandwidth` (quota of run queues),
//! `unreported` (events kept from us), `life` (fork, exec, exit, free), `go` (entries of
//! functions of the Go runtime; `chain` and `stop` are what they keep), `self_test`; below them `threads` (the state map), `emit` (records,
//! histograms, counters), `regs` (user registers), `kernel` (field access) and
//! `maps`.
#![no_std]
#![no_main]
#![feature(core_intrinsics, asm_experimental_arch)]
#![expect(internal_features, reason = "the BPF target has no other atomic add")]

mod bandwidth;
mod chain;
mod emit;
mod go;
mod kernel;
mod life;
mod maps;
mod regs;
mod sched;
mod self_test;
mod signal;
mod stop;
mod threads;
mod throttle;
mod unreported;

/// The licence that the tracing helpers ask for.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
