//! The report for people.

mod alerts;
mod block;
mod cgroups;
mod chain;
mod headline;
mod histogram;
pub mod layout;
mod machine;
mod processes;

pub(crate) use block::by_cause;
pub use headline::{headline, traced_ns};
pub use histogram::histogram;
use layout::{Style, wrap};

use super::loss::loss_lines;
use crate::probe::EstimateError;
use crate::process::escape;
use crate::report::Report;
use crate::units::{duration, percent};

/// What text is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One block a process.
    Process,
    /// One block a process, and a line for each of its threads.
    Thread,
    /// One block a control group.
    Cgroup,
}

/// How text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextOptions {
    /// What it is grouped by.
    pub by: By,
    /// With colour.
    pub colour: bool,
    /// Widest line; see [`layout::usable_width`].
    pub width: usize,
    /// A delivery that took longer is slow.
    pub slow_ns: u64,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            by: By::Process,
            colour: false,
            width: layout::MAX_WIDTH,
            slow_ns: 10_000_000,
        }
    }
}

impl TextOptions {
    fn style(&self) -> Style {
        Style {
            colour: self.colour,
        }
    }
}

/// The whole report as text, ending with the loss line.
#[must_use]
pub fn report(report: &Report, options: &TextOptions) -> String {
    let mut lines = opening(report, options);
    lines.push(String::new());
    lines.extend(match options.by {
        By::Process | By::Thread => processes::lines(report, options),
        By::Cgroup => cgroups::lines(report, options),
    });
    lines.extend(alerts::lines(&report.alerts, options));
    lines.extend(machine::lines(report, options));
    lines.extend(cost(report, options));
    if report
        .processes
        .iter()
        .any(|process| process.stall.count > 0)
    {
        lines.extend(wrap(
            "\"of the time\": of the time that threads wanted to run, that is ran, waited for a \
             CPU, or were out of quota.",
            "",
            0,
            options.width,
        ));
    }
    // Not wrapped: they are looked for.
    lines.extend(loss_lines(report));
    lines.join("\n") + "\n"
}

fn estimate(error: Option<EstimateError>) -> String {
    let text = "time out of quota is an estimate (switch-point-estimate)";
    error.map_or(text.to_owned(), |error| {
        format!("{text}: an episode's is {error}")
    })
}

fn opening(report: &Report, options: &TextOptions) -> Vec<String> {
    let precision = match report.precision.as_str() {
        "thread-exact" => "time out of quota is exact (thread-exact)".to_owned(),
        "cfs-rq-overlay" => "time out of quota is exact (cfs-rq-overlay)".to_owned(),
        "switch-point-estimate" => estimate(report.estimate_error),
        "no-bandwidth-control" => "this kernel has no CPU quotas".to_owned(),
        other => escape(other),
    };
    let text = format!(
        "gohang {}, kernel {}: traced {} (attached in {}); {precision}",
        escape(&report.gohang_version),
        escape(&report.kernel),
        duration(report.duration_ns),
        duration(report.attach_ns),
    );
    let lines = wrap(&text, "", 2, options.width);
    lines
        .iter()
        .map(|line| options.style().faint(line))
        .collect()
}

/// What the kernel programs cost, with `--stats`.
fn cost(report: &Report, options: &TextOptions) -> Vec<String> {
    use layout::{Align, Table};
    if report.bpf_cost.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(&[
        ("kernel program", Align::Left),
        ("runs", Align::Right),
        ("a run", Align::Right),
        ("of one CPU", Align::Right),
    ]);
    for program in &report.bpf_cost {
        let each = program.ns.checked_div(program.runs);
        let share = (report.duration_ns > 0)
            .then(|| percent(program.ns as f64 / report.duration_ns as f64));
        table.row([
            escape(&program.program),
            program.runs.to_string(),
            crate::units::duration_or_dash(each),
            share.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let mut lines = table.lines(0, options.width, options.style());
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests;
