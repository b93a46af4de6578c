//! How slow the machine is: an emulated one, or one whose host has other work, takes so long to
//! have a thread run on another CPU that the times of the scenes must be longer.

use anyhow::{Context, Result};

use super::witness::{Rank, Witness};
use super::{LIMIT_NS, other_than};
use crate::page::Page;
use crate::sys;

/// How long it takes on a fast machine at most, ns; there the pace is 1. Measured: 75 us on
/// two processors, 170 to 320 us on two emulated ones.
const FAST_NS: u64 = 150_000;

/// The greatest pace: a quota's period is then 100 ms, as it usually is.
const SLOWEST: u64 = 10;

/// How often it is tried.
const TIMES: usize = 101;

/// Of all tries, so many percent take no longer than what counts.
const PERCENT: usize = 75;

/// Prints `pace N`: how many times as long as on a fast machine it takes to have a thread of
/// the highest rank run on this CPU and to see that it has.
pub fn measure(cpu: usize) -> Result<()> {
    sys::pin(0, other_than(cpu)?);
    sys::raise_priority();
    let mut witness = Witness::start(cpu, Rank::Same, &Page::default())?;
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let begin_ns = sys::mono_ns();
        let looked = witness.look(|| sys::mono_ns() < begin_ns + LIMIT_NS)?;
        looked.with_context(|| format!("no thread gets to run on CPU {cpu}"))?;
        took.push(sys::mono_ns() - begin_ns);
        // So that the CPU is asleep, as it is in a scene.
        sys::sleep_ns(FAST_NS);
    }
    took.sort_unstable();
    println!("pace {}", of(took[TIMES * PERCENT / 100]));
    Ok(())
}

fn of(took_ns: u64) -> u64 {
    took_ns.div_ceil(FAST_NS).clamp(1, SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_within_its_bounds() {
        for (took_ns, pace) in [(0, 1), (FAST_NS, 1), (FAST_NS + 1, 2), (u64::MAX, SLOWEST)] {
            assert_eq!(of(took_ns), pace, "{took_ns}");
        }
    }
}
