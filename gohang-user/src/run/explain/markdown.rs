//! The verdict for people: three lines first, and the rest below.

use std::fmt::Write as _;

use super::verdict::Verdict;
use super::words;
use crate::process::escape;

/// Most running tests that are named in one line.
const NAMED: usize = 3;

/// The verdict in three lines: what, why, and what next.
#[must_use]
pub fn first_lines(verdict: &Verdict) -> [String; 3] {
    let kind = verdict
        .kind
        .as_ref()
        .map_or_else(String::new, |kind| format!(" ({})", kind.replace('_', " ")));
    let cause = format!(
        "{}{kind}, {}: {}",
        verdict.cause.title(),
        verdict.confidence.name(),
        verdict.summary
    );
    let because = verdict
        .evidence
        .first()
        .map_or("nothing more is known", String::as_str);
    let next = verdict
        .next
        .first()
        .map_or("gohang open BUNDLE", String::as_str);
    let running = verdict.running.iter().take(NAMED).map(|test| {
        let of = if test.package.is_empty() {
            String::new()
        } else {
            format!(" in {}", test.package)
        };
        format!("{}{of} ({})", test.test, words::time(test.ran_ns))
    });
    let running = running.collect::<Vec<_>>().join(", ");
    let running = match verdict.running.len() {
        0 => running,
        1..=NAMED => format!("; running: {running}"),
        many => format!("; running: {running} and {} more", many - NAMED),
    };
    [
        format!("verdict: {}", escape(cause)),
        format!("evidence: {}", escape(format!("{because}{running}"))),
        format!("next: {}", escape(next)),
    ]
}

/// The whole verdict, in Markdown. What comes from processes stands in it as code, which it
/// cannot end.
#[must_use]
pub fn markdown(verdict: &Verdict) -> String {
    let mut text = String::new();
    for line in first_lines(verdict) {
        // Two blanks at its end break a line.
        let _ = writeln!(text, "{}  ", plain(&line));
    }
    let _ = writeln!(text);
    let _ = writeln!(
        text,
        "- command: {}",
        code(&words::command(&verdict.command))
    );
    if let Some(exceeded) = &verdict.exceeded {
        let _ = writeln!(
            text,
            "- ended because: {} {} was exceeded, after {} in all and {} without progress",
            exceeded.option,
            words::time(exceeded.limit_ns),
            words::time(verdict.elapsed_ns),
            words::time(verdict.idle_ns)
        );
    }
    let _ = writeln!(text, "- decided: {}", verdict.decided);
    let _ = writeln!(text, "- fingerprint: {}", verdict.fingerprint);
    for test in verdict.running.iter().take(10) {
        let of = if test.package.is_empty() {
            String::new()
        } else {
            format!(" in {}", test.package)
        };
        let name = code(&format!("{}{of}", test.test));
        let _ = writeln!(text, "- running: {name}, for {}", words::time(test.ran_ns));
    }
    list(&mut text, "Evidence", &verdict.evidence);
    list(&mut text, "Next", &verdict.next);
    let others = verdict.others.iter().map(|other| {
        format!(
            "{}, {}: {}",
            other.cause.title(),
            other.confidence.name(),
            other.summary
        )
    });
    list(
        &mut text,
        "What else would fit",
        &others.collect::<Vec<_>>(),
    );
    list(&mut text, "What is not known", &verdict.lacking);
    if verdict.provisional {
        let _ = writeln!(
            text,
            "\nGoroutines were not known yet when this was written."
        );
    }
    text
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## {title}\n");
    for line in lines {
        let _ = writeln!(text, "- {}", code(line));
    }
}

/// A text in which Markdown and HTML mean nothing.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_[]<>|#&".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// As code: fenced with more backticks than it has in a row.
fn code(text: &str) -> String {
    let text = escape(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    if longest == 0 {
        format!("`{text}`")
    } else {
        format!("{fence} {text} {fence}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a``b`"), "``` a``b` ```");
        assert_eq!(code("a\nb\u{1b}"), "`a\\nb\\x1b`");
        assert_eq!(plain("<b>_x_"), r"\<b\>\_x\_");
    }
}
