//! What one run showed.

use super::Setting;
use super::report::{Cell, Restarted};
use crate::bench::Figures;
use crate::experiment::{ExperimentError, Finished, Origin, Pairing, Ran, undelivered};

/// From the report and the episodes of all runs.
pub(super) fn tell(
    setting: &Setting,
    ran: &Ran,
    finished: &Finished,
) -> Result<Cell, ExperimentError> {
    let process = ran.process(&finished.report)?;
    let pairings = ran.pairings(&finished.episodes);
    let latency = Figures::of(pairings.iter().map(|pairing| pairing.latency_ns));
    let sends = match setting.from {
        Origin::Outside => &ran.outside,
        Origin::Inside => &ran.inside,
    };
    Ok(Cell {
        quota_ns: setting.quota.map(|quota| quota.quota_ns),
        period_ns: setting.quota.map(|quota| quota.period_ns),
        method: setting.method,
        from: setting.from,
        duration_ns: ran.sent_for.as_nanos() as u64,
        sends: sends.len() as u64,
        handled: ran.handled,
        episodes: latency.count,
        episodes_in_histograms: process.episodes,
        coalesced: process.coalesced,
        undelivered: undelivered(process),
        latency,
        causes: process.causes.clone(),
        restarted: restarted(&pairings),
        cpu_stat: ran.cpu_stat,
    })
}

/// What a clock restarted at each send shows, and how wrong it is.
pub(super) fn restarted(pairings: &[Pairing]) -> Restarted {
    let error = |pairing: &Pairing| pairing.latency_ns - pairing.restarted_ns;
    let errors: Vec<u64> = pairings.iter().map(error).collect();
    let total: u64 = errors.iter().sum();
    Restarted {
        latency: Figures::of(pairings.iter().map(|pairing| pairing.restarted_ns)),
        wrong: errors.iter().filter(|error| **error > 0).count() as u64,
        mean_error_ns: total.checked_div(errors.len() as u64),
        max_error_ns: errors.iter().max().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_what_is_missing() {
        let pairing = |latency_ns, restarted_ns| Pairing {
            latency_ns,
            restarted_ns,
        };
        let found = restarted(&[pairing(10, 10), pairing(90_000, 600), pairing(20, 20)]);
        assert_eq!(found.wrong, 1);
        assert_eq!(found.mean_error_ns, Some(29_800));
        assert_eq!(found.max_error_ns, Some(89_400));
        assert_eq!(found.latency.max_ns, Some(600));
        let nothing = restarted(&[]);
        assert_eq!((nothing.mean_error_ns, nothing.max_error_ns), (None, None));
    }
}
