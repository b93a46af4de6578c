//! B6: memory is cleared in assembly, which cannot be preempted.

use std::process::Command;
use std::time::Duration;

use super::check::Check;
use super::job::Job;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::trace::{Trace, Traced, Whom};
use crate::bench::Extent;
use crate::experiment::ExperimentError;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B6",
    title: "Clearing much memory",
    source: "#35825, #31222, #69327, #36365",
    reported: "100 ms and more without preemption on clearing 512 MB, tail to 1.48 s",
    scale: "64 MiB cleared eight times in a row for 512 MB at once, so that small machines have \
            the memory: the loop around has no place to yield either",
    needs: &[Need::Go],
    estimate: |extent| length(extent) + Duration::from_secs(2),
    run,
};

/// Megabytes that are cleared at once, and how often in a row.
const MIB: u64 = 64;
const CLEARS: u64 = 8;
/// How many times 512 MiB a turn clears: some 0.5 s where memory is cleared at 35 GB/s. The
/// rule tells of what lasts for 0.1 s.
const TURN: u64 = 32;

const fn length(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(6),
        Extent::Quick => Duration::from_millis(1500),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let (job, traced) = clear_program(stand, length(stand.extent), CLEARS * TURN, false)?;
    let setting = "clearing 512 MiB";
    outcome.heard(setting, &traced);
    let turns = job.figures("turn");
    let each = turns.iter().sum::<f64>() / turns.len() as f64 / TURN as f64;
    outcome.row(
        setting,
        "clearing 512 MiB, mean",
        Some(100e6),
        Some(each),
        Unit::Ns,
    );
    let late = job.figures("late").into_iter().fold(f64::NAN, f64::max);
    let figure = "other goroutine late by, longest";
    outcome.row(setting, figure, Some(1.48e9), Some(late), Unit::Ns);

    let chain = traced.process(job.pid())?.chain.clone().unwrap_or_default();
    let (sent, delivered) = (chain.sent as f64, chain.delivered as f64);
    outcome.row(
        setting,
        "signals for requests to yield",
        None,
        Some(sent),
        Unit::Count,
    );
    let share = Some(delivered / sent).filter(|share| share.is_finite());
    outcome.check(Check::at_least(
        "share of signals delivered",
        share,
        0.95,
        Unit::Share,
    ));
    let unsafe_points = chain.unsafe_points.values().sum::<u64>() as f64;
    let share = Some(unsafe_points / delivered).filter(|share| share.is_finite());
    outcome.row(
        setting,
        "of these, met no safe point",
        None,
        share,
        Unit::Share,
    );
    outcome.check(Check::at_least(
        "share that met no safe point",
        share,
        0.8,
        Unit::Share,
    ));
    outcome.check(Check::raised(setting, &traced, "unsafe-loop"));
    let named = traced.of_rule("unsafe-loop").filter(|alert| {
        let function = alert.evidence["function"].as_str().unwrap_or_default();
        function.contains("memclr")
    });
    let what = "alerts unsafe-loop that name the function that clears";
    outcome.check(Check::at_least(
        what,
        named.count() as f64,
        1.0,
        Unit::Count,
    ));
    let throttled = traced.report.processes.iter().map(|own| own.stall.total_ns);
    let throttled = throttled.sum::<u64>() as f64;
    outcome.check(Check::at_most(
        "time out of quota",
        throttled,
        0.0,
        Unit::Ns,
    ));
    Ok(outcome)
}

/// Runs the program that clears memory, and stops the world beside that or not.
pub(super) fn clear_program(
    stand: &mut Stand<'_>,
    length: Duration,
    clears: u64,
    stops: bool,
) -> Result<(Job, Traced), ExperimentError> {
    let program = stand.program("clear", include_str!("go/clear.go"))?;
    let group = stand.group(None)?;
    let mut trace = Trace::start(&[&group], Whom::Go)?;
    let mut command = Command::new(program);
    let numbers = [length.as_millis() as u64, MIB, clears, u64::from(stops)];
    command.args(numbers.map(|number| number.to_string()));
    let mut job = stand.start("clear", command, Some(&group))?;
    stand.until_ended(
        &mut job,
        Some(&mut trace),
        length * 4 + Duration::from_secs(20),
    )?;
    let traced = trace.finish()?;
    stand.close(group)?;
    Ok((job, traced))
}
