//! `gohang run`: real commands, bare and under it.

mod breaker;
mod contract;
mod evidence;
mod fetch;
mod go_test;
mod in_time;
mod junit;
mod keep;
mod leftovers;
mod limits;
mod signals;
mod thresholds;
mod verdicts;

use crate::run::Test;

/// The tests of this folder.
pub fn tests() -> Vec<Test> {
    [
        contract::tests(),
        signals::tests(),
        limits::tests(),
        leftovers::tests(),
        breaker::tests(),
        thresholds::tests(),
        evidence::tests(),
        go_test::tests(),
        fetch::tests(),
        verdicts::tests(),
        junit::tests(),
        keep::tests(),
        in_time::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
