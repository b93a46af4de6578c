//! Alerts, most important first as the report has them.

use serde_json::Value;

use super::TextOptions;
use super::layout::wrap;
use crate::process::escape;
use crate::report::{Alert, Severity};
use crate::units::duration;

pub(super) fn lines(alerts: &[Alert], options: &TextOptions) -> Vec<String> {
    let mut lines: Vec<String> = alerts
        .iter()
        .flat_map(|alert| alert_lines(alert, options))
        .collect();
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// An alert as it is raised: what happened, the evidence, what to do.
fn alert_lines(alert: &Alert, options: &TextOptions) -> Vec<String> {
    let style = options.style();
    let (word, paint): (_, fn(_, &str) -> String) = match alert.severity {
        Severity::Critical => ("critical", super::Style::critical),
        Severity::Warning => ("warning", super::Style::warning),
        Severity::Info => ("note", super::Style::faint),
    };
    let mut target = format!("pid {}", alert.pid);
    if let Some(tid) = alert.tid {
        target.push_str(&format!(" tid {tid}"));
    }
    if let Some(goid) = alert.goid {
        target.push_str(&format!(" goroutine {goid}"));
    }
    let times = if alert.count > 1 {
        format!(", {} times", alert.count)
    } else {
        String::new()
    };
    let first = format!(
        "{word}: {} ({target}): {}{times}, since {}",
        escape(&alert.rule),
        escape(&alert.headline),
        escape(&alert.wall)
    );
    let mut lines: Vec<String> = wrap(&first, "", 2, options.width)
        .iter()
        .map(|line| paint(style, line))
        .collect();
    let evidence: Vec<String> = alert
        .evidence
        .iter()
        .filter_map(|(name, value)| evidence(name, value))
        .collect();
    if !evidence.is_empty() {
        lines.extend(wrap(&evidence.join(", "), "  evidence: ", 4, options.width));
    }
    if !alert.advice.is_empty() {
        lines.extend(wrap(&escape(&alert.advice), "  advice: ", 4, options.width));
    }
    lines
}

/// `latency 88 ms` of `latency_ns: 88000000`; null says nothing.
fn evidence(name: &str, value: &Value) -> Option<String> {
    let text = match (name.strip_suffix("_ns"), value) {
        (_, Value::Null) => return None,
        (Some(name), Value::Number(ns)) if ns.is_u64() => {
            return Some(format!("{} {}", escape(name), duration(ns.as_u64()?)));
        }
        (_, Value::String(text)) => escape(text),
        (_, value) => escape(value.to_string()),
    };
    Some(format!("{} {text}", escape(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn evidence_has_units_and_no_control_bytes() {
        for (name, value, want) in [
            ("latency_ns", json!(88_000_000), Some("latency 88 ms")),
            ("latency_ns", json!(-1), Some("latency_ns -1")),
            ("coalesced", json!(3), Some("coalesced 3")),
            ("share", json!(0.5), Some("share 0.5")),
            ("cgroup", json!("/a\x1b[2J"), Some("cgroup /a\\x1b[2J")),
            ("pids", json!([1, "\u{9b}"]), Some("pids [1,\"\\u{9b}\"]")),
            ("goid", Value::Null, None),
        ] {
            assert_eq!(evidence(name, &value).as_deref(), want);
        }
    }
}
