//! A block a control group.

use super::TextOptions;
use super::block;
use super::layout::wrap;
use crate::process::escape;
use crate::report::{Cgroup, Report};
use crate::units::{cpus, duration, percent};

pub(super) fn lines(report: &Report, options: &TextOptions) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &report.cgroups {
        lines.extend(group_block(report, group, options));
        lines.push(String::new());
    }
    if report.cgroups.is_empty() {
        lines.push("no control group was seen".to_owned());
        lines.push(String::new());
    }
    lines
}

fn group_block(report: &Report, group: &Cgroup, options: &TextOptions) -> Vec<String> {
    let title = match &group.path {
        Some(path) => escape(path),
        None if group.id == 0 => "autogroup (no control group)".to_owned(),
        None => format!("control group {} (gone)", group.id),
    };
    let mut lines: Vec<String> = wrap(&title, "", 2, options.width)
        .iter()
        .map(|l| options.style().title(l))
        .collect();
    lines.extend(wrap(
        &headline(report, group),
        "  ",
        block::INDENT,
        options.width,
    ));
    lines.extend(block::delivery(&group.delivery, options));
    lines.extend(block::stalls(&group.stall, options));
    if let Some(spans) = &group.spans {
        lines.extend(block::spans(spans, options));
    }
    lines.extend(block::runqueue(&group.runqueue, options));
    lines
}

/// `quota 0.20 CPU (20 ms every 100 ms): its threads were out of quota for 6.4 s
/// (longest 96 ms); 1 process: server (1234)`.
fn headline(report: &Report, group: &Cgroup) -> String {
    let mut text = match (group.quota_ns, group.period_ns) {
        (Some(quota), Some(period)) if period > 0 => format!(
            "quota {} CPU ({} every {})",
            cpus(quota as f64 / period as f64),
            duration(quota),
            duration(period)
        ),
        _ if group.stall.count > 0 => "quota unknown".to_owned(),
        _ => "no quota".to_owned(),
    };
    if let Some(owner) = group
        .limit_owner
        .as_ref()
        .filter(|o| Some(*o) != group.path.as_ref())
    {
        text.push_str(&format!(", set by {}", escape(owner)));
    }
    text.push_str(": ");
    text.push_str(&match group.stall.max_ns {
        Some(longest) if group.stall.count > 0 => format!(
            "its threads were out of quota for {} (longest {})",
            duration(group.stall.total_ns),
            duration(longest)
        ),
        _ => "never out of quota".to_owned(),
    });
    let waited = group.stall.total_ns + group.runqueue.total_ns;
    if waited > 0 && group.runqueue.total_ns > 0 {
        text.push_str(&format!(
            "; {} of their waiting was for a CPU",
            percent(group.runqueue.total_ns as f64 / waited as f64)
        ));
    }
    let names: Vec<String> = group
        .pids
        .iter()
        .take(SHOWN)
        .map(|pid| {
            let process = report.processes.iter().find(|process| process.pid == *pid);
            process.map_or_else(
                || pid.to_string(),
                |p| format!("{} ({pid})", escape(&p.comm)),
            )
        })
        .collect();
    if !names.is_empty() {
        let more = group.pids.len() - names.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        text.push_str(&format!("; processes: {}{more}", names.join(", ")));
    }
    text
}

/// Processes that a headline names.
const SHOWN: usize = 8;
