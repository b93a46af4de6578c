//! What a probe in a user program takes beside its kernel program.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::bench::bpf;
use crate::bench::spread::Spread;

/// Calls that are timed, with the probe and without.
const CALLS: usize = 500;

/// Memory that is written between two calls, bytes: the program that is probed, too, has
/// other work between two hits, which leaves little of the kernel's in the caches.
const OTHER: usize = 4 << 20;

/// Of a cache line.
const LINE: usize = 64;

// It begins as Go's functions do behind their stack check: the kernel does a `push` itself and
// need not step over it (`push_setup_xol_ops`, arch/x86/kernel/uprobes.c, 6.18).
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl gohang_probed",
    ".type gohang_probed, @function",
    "gohang_probed:",
    "push rbp",
    "pop rbp",
    "ret",
);

#[cfg(not(target_arch = "x86_64"))]
std::arch::global_asm!(".globl gohang_probed", "gohang_probed:", "ret");

unsafe extern "C" {
    fn gohang_probed();
}

/// Time that an empty probe takes a hit, ns: that of a call with it less that of one without.
/// The kernel's run-time statistics must be on: they tell whether it was hit.
///
/// # Errors
/// The kernel refuses, or the probe was not hit.
pub fn ns() -> Result<f64> {
    let mut other = vec![0u8; OTHER];
    let alone = median(&mut other)?;
    let program = bpf::load_empty_probe()?;
    let link = bpf::attach_probe(&program, c"/proc/self/exe", offset()?)?;
    let probed = median(&mut other)?;
    drop(link);
    let hits = bpf::info(&program)?.runs;
    ensure!(
        hits == CALLS as u64,
        "a probe on a function was hit {hits} times in {CALLS} calls of it"
    );
    Ok(probed - alone)
}

fn median(other: &mut [u8]) -> Result<f64> {
    let times: Vec<f64> = (0..CALLS).map(|_| call_ns(other)).collect();
    Ok(Spread::of(&times).context("no calls")?.median)
}

fn call_ns(other: &mut [u8]) -> f64 {
    for line in other.chunks_mut(LINE) {
        line[0] = line[0].wrapping_add(1);
    }
    std::hint::black_box(&mut *other);
    let begin = Instant::now();
    // SAFETY: the function above, which changes nothing.
    unsafe { gohang_probed() };
    begin.elapsed().as_nanos() as f64
}

/// Where the function lies in this program's file.
fn offset() -> Result<u64> {
    let address = gohang_probed as *const () as u64;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    maps.lines()
        .find_map(|line| in_mapping(line, address))
        .context("the function is in no mapping")
}

/// The file offset of an address, if the mapping of this line has it.
fn in_mapping(line: &str, address: u64) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let (low, high) = words.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (low, high) = (hex(low)?, hex(high)?);
    let start = hex(words.nth(1)?)?;
    (low..high)
        .contains(&address)
        .then(|| start + (address - low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_its_mapping() {
        let line = "5581a000-5581c000 r-xp 00003000 fe:00 12  /bin/x";
        assert_eq!(in_mapping(line, 0x5581_b010), Some(0x4010));
        assert_eq!(in_mapping(line, 0x5581_c000), None);
        assert_eq!(in_mapping("", 1), None);
        assert!(offset().expect("it is mapped") > 0);
    }
}
