//! Parts that blocks of processes and of control groups share: deliveries,
//! causes, stalls, run-queue waits.

use std::collections::BTreeMap;

use gohang_common::cause::Cause;

use super::TextOptions;
use super::histogram::histogram;
use super::layout::{Align, Table, wrap};
use crate::process::escape;
use crate::report::{CauseShare, Distribution, Spans, Waits};
use crate::units::{duration, duration_or_dash, percent};

/// Indent of what stands below a headline.
pub(super) const INDENT: usize = 2;

/// Delivery latency: one line of quantiles, and the histogram.
pub(super) fn delivery(delivery: &Distribution, options: &TextOptions) -> Vec<String> {
    if delivery.count == 0 {
        return Vec::new();
    }
    let text = format!(
        "delivery of {} signals: median {}, p90 {}, p99 {}, p99.9 {}, longest {}",
        delivery.count,
        duration_or_dash(delivery.p50_ns),
        duration_or_dash(delivery.p90_ns),
        duration_or_dash(delivery.p99_ns),
        duration_or_dash(delivery.p999_ns),
        duration_or_dash(delivery.max_ns),
    );
    let mut lines = wrap(&text, "  ", INDENT + 2, options.width);
    lines.extend(histogram(
        &delivery.buckets,
        INDENT,
        options.width,
        options.style(),
    ));
    lines
}

/// What is kept by cause, in the order that settles their ties; names that are
/// none of ours come last.
pub(crate) fn by_cause<T>(causes: &BTreeMap<String, T>) -> Vec<(&String, &T)> {
    let known = |name: &str| Cause::ALL.iter().any(|cause| cause.name() == name);
    Cause::ALL
        .iter()
        .filter_map(|cause| causes.get_key_value(cause.name()))
        .chain(causes.iter().filter(|(name, _)| !known(name)))
        .collect()
}

/// Every cause that has a share, as a table.
pub(super) fn causes(causes: &BTreeMap<String, CauseShare>, options: &TextOptions) -> Vec<String> {
    let mut rows = by_cause(causes);
    rows.retain(|(_, share)| share.count > 0 || share.total_ns > 0);
    if rows.is_empty() {
        return Vec::new();
    }
    let episodes: u64 = rows.iter().map(|(_, share)| share.count).sum();
    let time: u64 = rows.iter().map(|(_, share)| share.total_ns).sum();
    let of = |part: u64, all: u64| match all {
        0 => "-".to_owned(),
        all => percent(part as f64 / all as f64),
    };
    let mut table = Table::new(&[
        ("cause", Align::Left),
        ("signals", Align::Right),
        ("share", Align::Right),
        ("time in all", Align::Right),
        ("share", Align::Right),
        ("longest", Align::Right),
    ]);
    for (name, share) in rows {
        table.row([
            cause_words(name),
            share.count.to_string(),
            of(share.count, episodes),
            duration(share.total_ns),
            of(share.total_ns, time),
            duration_or_dash(share.max_ns),
        ]);
    }
    table.lines(INDENT, options.width, options.style())
}

/// A cause as in every output, with what it means.
pub(super) fn cause_words(name: &str) -> String {
    let meaning = match name {
        "throttled" => "out of quota",
        "masked" => "SIGURG blocked",
        "blocked" => "asleep or stopped",
        "runqueue" => "waiting for a CPU",
        "running" => "on a CPU",
        _ => return escape(name),
    };
    format!("{name} ({meaning})")
}

/// Stalls: one line, and a histogram.
pub(super) fn stalls(stall: &Waits, options: &TextOptions) -> Vec<String> {
    if stall.count == 0 {
        return Vec::new();
    }
    let text = format!("out of quota: {}", waits(stall, "stalls"));
    let mut lines = wrap(&text, "  ", INDENT + 2, options.width);
    lines.extend(histogram(
        &stall.buckets,
        INDENT,
        options.width,
        options.style(),
    ));
    lines
}

/// Spans of the group itself: one line, with whose limit it was, and a histogram.
pub(super) fn spans(spans: &Spans, options: &TextOptions) -> Vec<String> {
    if spans.all.count == 0 {
        return Vec::new();
    }
    let mut text = format!(
        "the group itself, by CPU: {}",
        waits(&spans.all, "times out of quota")
    );
    for owner in &spans.owners {
        let path = owner.path.as_deref().unwrap_or("a group that is unknown");
        text.push_str(&format!("; limit of {}: {}", escape(path), owner.count));
    }
    let mut lines = wrap(&text, "  ", INDENT + 2, options.width);
    lines.extend(histogram(
        &spans.all.buckets,
        INDENT,
        options.width,
        options.style(),
    ));
    lines
}

/// Run-queue waits: one line.
pub(super) fn runqueue(runqueue: &Waits, options: &TextOptions) -> Vec<String> {
    if runqueue.count == 0 {
        return Vec::new();
    }
    let text = format!("run queue: {}", waits(runqueue, "waits for a CPU"));
    wrap(&text, "  ", INDENT + 2, options.width)
}

fn waits(waits: &Waits, what: &str) -> String {
    format!(
        "{} {what}, {} in all, p99 {}, longest {}",
        waits.count,
        duration(waits.total_ns),
        duration_or_dash(waits.p99_ns),
        duration_or_dash(waits.max_ns),
    )
}
