//! Runs the self-test program: do the offsets describe this kernel?

use std::time::{Duration, Instant};

use aya::maps::Array;
use gohang_common::map::SelfTest;

use super::ProbeError;
use super::load::{map, program_error, tracepoint};

/// Limit for seeing one context switch.
const PATIENCE: Duration = Duration::from_millis(500);

/// Compares pid and tgid read through the offsets with the kernel's helper.
///
/// # Errors
/// They differ, or no switch was seen.
pub(super) fn run(ebpf: &mut aya::Ebpf, btf: &aya::Btf) -> Result<(), ProbeError> {
    const NAME: &str = "self_test";
    let program = tracepoint(ebpf, NAME)?;
    program
        .load("sched_switch", btf)
        .map_err(|error| program_error(NAME, &error))?;
    let link = program
        .attach()
        .map_err(|error| program_error(NAME, &error))?;
    let begin = Instant::now();
    let result = loop {
        // Sleeping makes a switch away from this task, and one back.
        std::thread::sleep(Duration::from_micros(200));
        let results: Array<_, SelfTest> = map(ebpf, "SELF_TEST")?;
        let result = results.get(&0, 0).map_err(|error| ProbeError::Map {
            map: "SELF_TEST",
            reason: error.to_string(),
        })?;
        if result.runs >= 2 {
            break result;
        }
        if begin.elapsed() > PATIENCE {
            return Err(ProbeError::SelfTestIdle(PATIENCE.as_millis() as u64));
        }
    };
    let program = tracepoint(ebpf, NAME)?;
    program
        .detach(link)
        .map_err(|error| program_error(NAME, &error))?;
    program
        .unload()
        .map_err(|error| program_error(NAME, &error))?;
    if result.mismatches == 0 {
        return Ok(());
    }
    let pair = |word: u64| ((word >> 32) as u32, word as u32);
    Err(ProbeError::SelfTest {
        by_offset: pair(result.by_offset),
        by_helper: pair(result.by_helper),
        mismatches: result.mismatches,
        runs: result.runs,
    })
}
