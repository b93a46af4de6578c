//! A block a process: headline, deliveries, causes, stalls.

use super::block;
use super::chain;
use super::layout::{Align, Table, wrap};
use super::{By, TextOptions, headline};
use crate::golang::SafePoint;
use crate::process::escape;
use crate::report::{CauseShare, Process, Report};
use crate::units::{duration, duration_or_dash, percent};

pub(super) fn lines(report: &Report, options: &TextOptions) -> Vec<String> {
    let mut lines = Vec::new();
    for process in &report.processes {
        lines.extend(process_block(report, process, options));
        lines.push(String::new());
    }
    if report.processes.is_empty() {
        lines.push("no process was traced".to_owned());
        lines.push(String::new());
    }
    let folded = &report.folded;
    if folded.processes > 0 {
        let text = format!(
            "{} more processes that ended: {} signals delivered, {} out of quota",
            folded.processes,
            folded.episodes,
            duration(folded.stall_ns)
        );
        lines.extend(wrap(&text, "", 2, options.width));
        lines.push(String::new());
    }
    lines
}

fn process_block(report: &Report, process: &Process, options: &TextOptions) -> Vec<String> {
    let mut lines: Vec<String> = wrap(&title(process), "", 2, options.width)
        .iter()
        .map(|line| options.style().title(line))
        .collect();
    let headline = headline(process, &report.clock, options.slow_ns);
    lines.extend(wrap(&headline, "  ", block::INDENT, options.width));
    lines.extend(block::delivery(&process.delivery, options));
    lines.extend(block::causes(&process.causes, options));
    lines.extend(interrupted(process, options));
    lines.extend(chain::lines(process, options));
    if options.by == By::Thread {
        lines.extend(threads(process, options));
    }
    lines.extend(block::stalls(&process.stall, options));
    lines.extend(block::runqueue(&process.runqueue, options));
    lines.extend(outcomes(process, options));
    lines
}

/// `server (pid 1234) in /team/a, unit x, container y, ended`.
fn title(process: &Process) -> String {
    let mut title = format!("{} (pid {})", escape(&process.comm), process.pid);
    if let Some(path) = &process.cgroup {
        title.push_str(&format!(" in {}", escape(path)));
    }
    if let Some(unit) = &process.unit {
        title.push_str(&format!(", unit {}", escape(unit)));
    }
    if let Some(id) = &process.container {
        let short: String = id.chars().take(12).collect();
        title.push_str(&format!(", container {}", escape(short)));
    }
    if let Some(limit) = &process.limit
        && Some(&limit.owner) != process.cgroup.as_ref()
    {
        title.push_str(&format!(", quota set by {}", escape(&limit.owner)));
    }
    match process.execs {
        0 => (),
        1 => title.push_str(", executed another program"),
        n => title.push_str(&format!(", executed {n} programs")),
    }
    if process.ended_ns.is_some() {
        title.push_str(", ended");
    }
    title
}

/// The function interrupted most often, and whether it can be preempted there.
fn interrupted(process: &Process, options: &TextOptions) -> Vec<String> {
    let Some(top) = process.interrupted.first() else {
        return Vec::new();
    };
    let function = top
        .function
        .as_ref()
        .map_or_else(|| "code without a name".to_owned(), escape);
    let mut text = format!(
        "interrupted most often: {function}, {} of {} signals ({})",
        top.count,
        process.episodes,
        percent(top.count as f64 / process.episodes.max(1) as f64),
    );
    let safe = SafePoint::Safe.name();
    let classes = top.safe_points.iter();
    let unsafe_ones = classes.filter(|(name, _)| *name != safe);
    if let Some((name, count)) = unsafe_ones.max_by_key(|(_, count)| **count)
        && *count > 0
    {
        let class = SafePoint::ALL.iter().find(|class| class.name() == name);
        let what = class.map_or_else(|| escape(name), |class| class.describe().to_owned());
        text.push_str(&format!(
            ", {count} of them where none can preempt it ({what})"
        ));
    }
    wrap(&text, "  ", block::INDENT + 2, options.width)
}

/// Outcomes other than plain deliveries, and absorbed sends.
fn outcomes(process: &Process, options: &TextOptions) -> Vec<String> {
    let mut parts: Vec<String> = process
        .outcomes
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{} {count}", escape(name)))
        .collect();
    if parts.len() <= 1
        && process.coalesced == 0
        && process.outcomes.keys().all(|k| k == "delivered")
    {
        return Vec::new();
    }
    if process.coalesced > 0 {
        parts.push(format!("further sends absorbed {}", process.coalesced));
    }
    wrap(
        &format!("outcomes: {}", parts.join(", ")),
        "  ",
        block::INDENT + 2,
        options.width,
    )
}

fn threads(process: &Process, options: &TextOptions) -> Vec<String> {
    if process.threads.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(&[
        ("tid", Align::Right),
        ("thread", Align::Left),
        ("signals", Align::Right),
        ("median", Align::Right),
        ("p99", Align::Right),
        ("longest", Align::Right),
        ("most delay", Align::Left),
    ]);
    for thread in &process.threads {
        table.row([
            thread.tid.to_string(),
            escape(&thread.comm),
            thread.episodes.to_string(),
            duration_or_dash(thread.delivery.p50_ns),
            duration_or_dash(thread.delivery.p99_ns),
            duration_or_dash(thread.delivery.max_ns),
            costliest(&thread.causes),
        ]);
    }
    table.lines(block::INDENT, options.width, options.style())
}

/// The component that cost most: `throttled 86 ms`.
pub(super) fn costliest(causes: &std::collections::BTreeMap<String, CauseShare>) -> String {
    causes
        .iter()
        .max_by_key(|(_, share)| share.total_ns)
        .filter(|(_, share)| share.total_ns > 0)
        .map_or_else(
            || "-".to_owned(),
            |(name, share)| format!("{} {}", escape(name), duration(share.total_ns)),
        )
}
