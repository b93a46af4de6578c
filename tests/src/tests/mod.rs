//! The tests, a file a subject, in the order in which they run: simple things first.

mod agreement;
mod agreement_bpftrace;
mod agreement_fates;
mod agreement_go;
mod alerts;
mod bench;
mod boots;
mod causes;
mod chain;
mod chain_handler;
mod chain_life;
mod chain_starved;
mod chain_stops;
mod churn;
mod components;
mod cost;
mod counts;
mod diagnosis;
mod doctor;
mod input;
mod inspect;
mod ladder;
mod life;
mod names;
mod preempted;
mod recording;
mod reference;
mod run;
mod selection;
mod shape;
mod storm;
mod systemd;
mod throttle;
mod wakes;

use crate::run::Test;

pub use chain_stops::{bucket, newest as newest_stops};
pub use inspect::programs as inspect_programs;
pub use storm::storm;

/// All tests in their order.
pub fn all() -> Vec<Test> {
    [
        reference::tests(),
        input::tests(),
        inspect::tests(),
        doctor::tests(),
        boots::tests(),
        run::tests(),
        systemd::tests(),
        selection::tests(),
        alerts::tests(),
        diagnosis::tests(),
        shape::tests(),
        agreement::tests(),
        agreement_fates::tests(),
        agreement_go::tests(),
        agreement_bpftrace::tests(),
        counts::tests(),
        agreement::total(),
        names::tests(),
        chain::tests(),
        chain_handler::tests(),
        chain_life::tests(),
        chain_starved::tests(),
        chain_stops::tests(),
        preempted::tests(),
        components::tests(),
        wakes::tests(),
        causes::tests(),
        ladder::tests(),
        throttle::tests(),
        churn::tests(),
        cost::tests(),
        recording::tests(),
        storm::tests(),
        bench::tests(),
        life::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
