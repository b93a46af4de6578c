//! Explanations of rules as text.

use super::text::layout::wrap;
use crate::explain::{Explained, Explanations, Kind};

/// Every rule's explanation, an empty line between two.
#[must_use]
pub fn text(explanations: &Explanations, width: usize) -> String {
    let rules: Vec<String> = explanations
        .rules
        .iter()
        .map(|rule| rule_text(rule, width))
        .collect();
    rules.join("\n")
}

fn rule_text(rule: &Explained, width: usize) -> String {
    let kind = match rule.kind {
        Kind::Alert => "alert",
        Kind::Advice => "advice",
    };
    let first = format!("{} ({kind}): {}", rule.rule, rule.summary);
    let mut lines = wrap(&first, "", 2, width);
    let mut part = |title: &str, text: &str| {
        lines.extend(wrap(text, &format!("  {title}: "), 4, width));
    };
    part("what it means", &rule.meaning);
    part("how it is detected", &rule.detection);
    part("severity", &rule.severity);
    for limit in &rule.limits {
        let text = format!(
            "{} ({} unless given): {}",
            limit.option, limit.default, limit.meaning
        );
        part("threshold", &text);
    }
    if rule.limits.is_empty() && rule.kind == Kind::Alert {
        part("threshold", "none");
    }
    part("what to do", &rule.advice);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::explain;

    #[test]
    fn every_rule_is_told_whole_and_within_the_width() {
        let all = explain(None).expect("all");
        let told = text(&all, 60);
        assert!(told.lines().all(|line| line.len() <= 60), "{told}");
        // As one line, so that wrapping does not matter.
        let words: Vec<&str> = told.split_whitespace().collect();
        let flat = words.join(" ");
        for rule in &all.rules {
            for part in [
                &rule.summary,
                &rule.meaning,
                &rule.detection,
                &rule.severity,
                &rule.advice,
            ] {
                assert!(flat.contains(part.as_str()), "{part}");
            }
            for limit in &rule.limits {
                let want = format!("{} ({} unless given)", limit.option, limit.default);
                assert!(flat.contains(&want), "{want}");
            }
        }
        assert_eq!(told.matches("\n\n").count(), all.rules.len() - 1);
    }
}
