//! The classic experiment: how long SIGURG takes to be delivered to a busy thread, without
//! a limit and with less and less of a CPU, by how and from where it is sent.

mod cell;
mod published;
mod report;
mod text;

use std::time::Duration;

pub use report::{Cell, Claim, Delivery, Restarted, Statistic, Verdict, Way};
pub(super) use text::text;

use super::{Choice, Extent, Measured, Part};
use crate::experiment::{
    ExperimentError, Finished, Method, Origin, Plan, Progress, Quota, RESTARTED_METHOD,
    SEND_EVERY_NS, Stage,
};

/// This part.
pub(super) const PART: Part = Part {
    name: "delivery",
    about: "SIGURG delivery by quota, sender and place",
    estimate,
    run,
};

/// The group's label.
const LABEL: &str = "bench";
/// Loading, attaching and the report.
const AROUND: Duration = Duration::from_millis(1500);
/// Starting and ending the processes of a run.
const BETWEEN: Duration = Duration::from_millis(250);

impl Extent {
    /// Hundredths of a CPU.
    const fn quotas(self) -> &'static [Option<u64>] {
        match self {
            Self::Full => &[None, Some(50), Some(20), Some(10)],
            Self::Quick => &[None, Some(10)],
        }
    }

    /// Length of a run.
    const fn run(self) -> Duration {
        match self {
            Self::Full => Duration::from_millis(6500),
            Self::Quick => Duration::from_millis(800),
        }
    }
}

/// A run that is to be made.
#[derive(Clone, Copy, Debug)]
struct Setting {
    quota: Option<Quota>,
    method: Method,
    from: Origin,
}

/// Every run, in order.
fn settings(extent: Extent) -> Vec<Setting> {
    let mut all = Vec::new();
    for percent in extent.quotas() {
        for method in Method::ALL {
            for from in Origin::ALL {
                all.push(Setting {
                    quota: percent.map(Quota::percent),
                    method,
                    from,
                });
            }
        }
    }
    all
}

fn estimate(choice: &Choice) -> Duration {
    let extent = choice.extent;
    AROUND + (extent.run() + BETWEEN) * settings(extent).len() as u32
}

fn run(choice: &Choice, progress: &mut dyn Progress) -> Result<Measured, ExperimentError> {
    let extent = choice.extent;
    let settings = settings(extent);
    let mut stage = Stage::set(LABEL)?;
    let mut runs = Vec::new();
    for (index, setting) in settings.iter().enumerate() {
        let limit = text::limit_of(setting.quota.map(|quota| (quota.quota_ns, quota.period_ns)));
        let name = format!(
            "delivery {}/{}: {limit}, {} from {}",
            index + 1,
            settings.len(),
            setting.method.name(),
            setting.from.name()
        );
        progress.begin(&name, extent.run());
        let plan = Plan {
            quota: setting.quota,
            method: setting.method,
            from: &[setting.from],
            duration: extent.run(),
        };
        runs.push(stage.run(&plan, progress)?);
    }
    let finished = stage.finish()?;
    let cells: Vec<Cell> = settings
        .iter()
        .zip(&runs)
        .map(|(setting, ran)| cell::tell(setting, ran, &finished))
        .collect::<Result<_, _>>()?;
    let Finished {
        report,
        precision,
        cgroup_version,
        cgroup,
        ..
    } = finished;
    Ok(Measured::Delivery(Box::new(Delivery {
        send_every_ns: SEND_EVERY_NS,
        run_ns: extent.run().as_nanos() as u64,
        precision,
        probe_set: report.probe_set,
        attach_ns: report.attach_ns,
        cgroup_version,
        cgroup,
        published: published::judge(&cells),
        cells,
        restarted_clock_method: RESTARTED_METHOD.to_owned(),
        loss: report.loss,
        impossible: report.impossible,
    })))
}

#[cfg(test)]
pub(super) use report::tests::sample;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_measured_once_with_each_quota() {
        for (extent, quotas) in [(Extent::Full, 4), (Extent::Quick, 2)] {
            let settings = settings(extent);
            assert_eq!(settings.len(), 4 * quotas);
            for (index, one) in settings.iter().enumerate() {
                assert!(
                    settings[..index].iter().all(|other| {
                        other.quota != one.quota
                            || other.method != one.method
                            || other.from != one.from
                    }),
                    "{one:?} is there twice"
                );
            }
        }
    }
}
